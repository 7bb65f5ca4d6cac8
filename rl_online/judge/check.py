"""`tandem rl reward check`: a judge and new labelled episodes in; how often it is fooled out.

The labels are a person's, or the bench's truth, and the judge never saw the episodes: what it calls a success and is
none is what a policy would be rewarded for wrongly.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field
from rich.console import Console

from hardware import artefact
from hardware.config import Config
from hardware.errors import BadInput
from rl_online.judge import picture as reward_picture
from rl_online.judge.frames import Scored, open_all
from rl_online.judge.model import JudgeScores, load_reward
from rl_online.judge.train import scores, table

log = logging.getLogger(__name__)


class CheckReward(Config):
    """A judge against the labels of episodes that it has not seen."""

    reward: tyro.conf.Positional[Path]
    """The judge's folder."""
    data: Annotated[tuple[Path, ...], tyro.conf.arg(aliases=["-d"])] = Field(min_length=1)
    """Folders of `tandem rl reward collect`, of other episodes than it learned from."""
    picture: Path | None = None
    """A PNG of the probabilities."""
    most_false: float = Field(default=0.1, ge=0, le=1)
    """Exit code 1 when more of what it judges a success is none."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None


class CheckFigures(Config):
    """What a check found."""

    reward: str
    data: tuple[str, ...]
    threshold: float
    measured: JudgeScores
    fooled_by: tuple[str, ...]
    """`store episode` of each false success."""


def check(config: CheckReward) -> int:
    """The verb. 0: no more false successes than allowed. 1: too many."""
    model = load_reward(config.reward)
    labels, episodes = open_all(config.data)
    if labels.view != model.manifest.view:
        raise BadInput(f"{config.data[0]} shows other cameras than {config.reward} looks through", "collect again")
    seen = {str(folder) for folder in config.data} & set(model.manifest.data.split(", "))
    if seen:
        log.warning("%s was learned from: these figures flatter", ", ".join(sorted(seen)))
    scored = [Scored(one, model.probabilities(one.rows)) for one in episodes]
    threshold, consecutive = model.manifest.threshold, model.manifest.consecutive
    measured = scores(scored, threshold, consecutive)
    alone = [(one, scores([one], threshold, consecutive)) for one in scored]
    fooled = tuple(
        f"{one.moments.episode.store} {one.moments.episode.number}" for one, own in alone if own.false_successes
    )
    figures = CheckFigures(
        reward=str(config.reward),
        data=tuple(map(str, config.data)),
        threshold=threshold,
        measured=measured,
        fooled_by=fooled,
    )
    if config.json_file is not None:
        artefact.write_model(config.json_file, figures)
    if config.picture is not None:
        reward_picture.draw(config.picture, scored, threshold, labels.task)
    Console().print(table(measured, threshold, f"{config.reward} on {len(scored)} new episodes"))
    for one in fooled:
        print(f"fooled by {one}")
    return int(measured.false_share > config.most_false)
