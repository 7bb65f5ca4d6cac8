"""`tandem rl reward train`: labelled moments in; a judge with a threshold for a wanted precision out.

Whole episodes are held out. After each fit, the negatives that the judge takes for successes join the next one with a
larger weight (hard-negative mining); the threshold is then set on the held-out episodes so that what is judged a
success is one: a false success teaches a policy to cheat, a missed one only costs an episode.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from numpy import ndarray
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from rich.console import Console
from rich.table import Table

from hardware import artefact
from hardware.config import Config
from hardware.errors import BadInput
from rl_online.judge import picture
from rl_online.judge.frames import UNSURE, Moments, Scored, open_all
from rl_online.judge.model import JudgeScores, RewardManifest, RewardModel, first_judged, in_a_row, probabilities
from vla.intervals import wilson

log = logging.getLogger(__name__)

PICTURE = "reward.png"
LEAST_DEVIATION = 0.02
"""A feature that varies less is not blown up."""
HARD = 0.2
"""From this probability on, a negative is mined."""
ITERATIONS = 120


class TrainReward(Config):
    """Labelled moments → a judge of success."""

    data: tyro.conf.Positional[tuple[Path, ...]] = Field(min_length=1)
    """Folders of `tandem rl reward collect`."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The judge's folder: reward.json, reward.safetensors, reward.png."""
    wanted_precision: float = Field(default=0.98, gt=0.5, le=1)
    """On held-out moments and held-out episodes."""
    held_out: float = Field(default=0.3, gt=0, lt=1)
    """Share of the successes, and of the failures, that is held out."""
    consecutive: PositiveInt = 3
    """Moments in a row that must be above the threshold."""
    rounds: NonNegativeInt = 2
    """Of hard-negative mining."""
    hard_weight: PositiveFloat = 4.0
    """Of a mined negative, against 1."""
    decay: PositiveFloat = 3e-3
    """L2."""
    seed: NonNegativeInt = 0
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None


def train(config: TrainReward) -> int:
    """The verb."""
    labels, episodes = open_all(config.data)
    learned, held_out = split(episodes, config.held_out, config.seed)
    weight, bias, mined = fit(learned, config)
    scored = [Scored(one, probabilities(one.rows, weight, bias)) for one in held_out]
    threshold = pick(scored, config.wanted_precision, config.consecutive)
    measured = scores(scored, threshold, config.consecutive)
    manifest = RewardManifest(
        task=labels.task,
        view=labels.view,
        threshold=threshold,
        consecutive=config.consecutive,
        wanted_precision=config.wanted_precision,
        held_out=measured,
        learned_episodes=len(learned),
        mined_frames=mined,
        data=", ".join(map(str, config.data)),
        seed=config.seed,
    )
    model = RewardModel(manifest, weight, bias)
    model.save(config.output)
    picture.draw(config.output / PICTURE, scored, threshold, labels.task)
    if config.json_file is not None:
        artefact.write_model(config.json_file, model.manifest)
    Console().print(table(measured, threshold, "held out (the threshold was chosen there)"))
    print(f"judge: {config.output}; {len(learned)} episodes learned from, {mined} moments mined as hard negatives")
    return 0


def split(episodes: Sequence[Moments], share: float, seed: int) -> tuple[list[Moments], list[Moments]]:
    """(to learn from, held out): by episode, successes and failures apart. Raises `BadInput` for too few."""
    rng, learned, held_out = np.random.default_rng([seed, 1]), [], []
    for success in (True, False):
        of_kind = [one for one in episodes if one.episode.success is success]
        if success and len(of_kind) < 3:
            raise BadInput(f"{len(of_kind)} successes are too few to learn from", "collect ten or more")
        out = set(rng.permutation(len(of_kind))[: round(share * len(of_kind))].tolist())
        if of_kind and not out:
            out = {0} if len(of_kind) > 1 else set()
        learned += [one for number, one in enumerate(of_kind) if number not in out]
        held_out += [one for number, one in enumerate(of_kind) if number in out]
    if not any(not one.episode.success for one in episodes):
        log.warning("there is no failed episode: what failures look like at their end, the judge cannot know")
    return learned, held_out


def fit(episodes: Sequence[Moments], config: TrainReward) -> tuple[ndarray, float, int]:
    """(weight, bias, mined): logistic regression, then again with the negatives that it was wrong about.

    The first fit sees as many negatives of each episode as there are positives in all divided by the episodes, evenly
    spread; what it is wrong about among the others is mined.
    """
    rows = np.concatenate([one.rows[one.known] for one in episodes]).astype(np.float32)
    label = np.concatenate([one.label[one.known] for one in episodes])
    spread = _spread(episodes)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    scale = 1 / (np.maximum(deviation, LEAST_DEVIATION) * np.sqrt(rows.shape[1]))
    x = torch.from_numpy(((rows - mean) * scale).astype(np.float32))
    y = torch.from_numpy(label.astype(np.float32))
    emphasis = np.where(spread | (label == 1), 1.0, 0.0)
    weight, bias = _logistic(x, y, emphasis, config.decay)
    for number in range(config.rounds):
        p = torch.sigmoid(x @ weight + bias).numpy()
        hard = (label == 0) & (p > HARD)
        new = int((hard & (emphasis < config.hard_weight)).sum())
        log.info("round %d of mining: %d hard negatives, %d of them new", number + 1, int(hard.sum()), new)
        if new == 0:
            break
        emphasis = np.where(hard, config.hard_weight, emphasis)
        weight, bias = _logistic(x, y, emphasis, config.decay)
    plain = weight.numpy() * scale
    mined = int((emphasis == config.hard_weight).sum())
    return plain.astype(np.float32), float(bias - float(plain @ mean)), mined


def _spread(episodes: Sequence[Moments]) -> ndarray:
    """Which of the known moments the first fit takes as negatives: about twice as many as there are positives."""
    positives = sum(int((one.label == 1).sum()) for one in episodes)
    each = max(4, 2 * positives // max(1, len(episodes)))
    chosen = []
    for one in episodes:
        known = one.label[one.known]
        negatives = np.flatnonzero(known == 0)
        taken = np.zeros(len(known), bool)
        taken[negatives[:: max(1, len(negatives) // each)]] = True
        chosen.append(taken)
    return np.concatenate(chosen)


def _logistic(x: torch.Tensor, y: torch.Tensor, emphasis: ndarray, decay: float) -> tuple[torch.Tensor, float]:
    """Both classes weigh alike in all; L-BFGS, from zero."""
    e = torch.from_numpy(emphasis.astype(np.float32))
    balance = torch.where(y == 1, e / (e * y).sum(), e / (e * (1 - y)).sum().clamp(min=1)) / 2
    weight, bias = torch.zeros(x.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        each = torch.nn.functional.binary_cross_entropy_with_logits(x @ weight + bias, y, reduction="none")
        loss = (balance * each).sum() + decay * weight.square().sum() / 2
        loss.backward()
        return loss

    optimiser.step(closure)
    return weight.detach(), float(bias.detach())


def pick(scored: Sequence[Scored], wanted: float, consecutive: int) -> float:
    """The threshold: of those that reach the wanted precision on moments and on episodes, the ones that miss fewest
    successes, and of these the middle one (in log-odds): the most room on both sides.
    """
    candidates = np.unique(np.concatenate([1 / (1 + np.exp(-np.linspace(-2, 8, 101))), [0.5]]))
    measured = [scores(scored, float(threshold), consecutive) for threshold in candidates]
    good = [
        number
        for number, one in enumerate(measured)
        if one.frame_precision >= wanted and one.true_successes and 1 - one.false_share >= wanted
    ]
    if not good:
        log.warning("no threshold reaches a precision of %.2f on the held-out episodes", wanted)
        return float(candidates[max(range(len(measured)), key=lambda n: (measured[n].frame_precision, -n))])
    fewest = min(measured[number].missed for number in good)
    best = [number for number in good if measured[number].missed == fewest]
    return float(candidates[best[len(best) // 2]])


def scores(scored: Sequence[Scored], threshold: float, consecutive: int) -> JudgeScores:
    """Over moments that have a label, and over whole episodes as the judge would end them.

    A moment is judged done when it and those before it are, `consecutive` in all: one odd picture judges nothing.
    """
    label = np.concatenate([one.moments.label for one in scored])
    above = np.concatenate([in_a_row(one.probabilities, consecutive) for one in scored]) >= threshold
    hits, alarms = int((above & (label == 1)).sum()), int((above & (label == 0)).sum())
    true = false = missed = 0
    for one in scored:
        at = first_judged(one.probabilities, threshold, consecutive)
        true += at is not None and one.moments.episode.success and one.moments.label[at] != 0
        false += at is not None and (not one.moments.episode.success or one.moments.label[at] == 0)
        missed += at is None and one.moments.episode.success
    low, high = wilson(false, true + false)
    return JudgeScores(
        frames=int((label != UNSURE).sum()),
        frame_precision=hits / max(1, hits + alarms),
        frame_recall=hits / max(1, int((label == 1).sum())),
        episodes=len(scored),
        true_successes=true,
        false_successes=false,
        missed=missed,
        false_share=false / max(1, true + false),
        false_interval=(float(low), float(high)),
    )


def table(measured: JudgeScores, threshold: float, title: str) -> Table:
    low, high = measured.false_interval
    made = Table("", "", title=title, title_justify="left", show_header=False)
    made.add_row("threshold", f"{threshold:.3f}")
    made.add_row("moments: precision", f"{measured.frame_precision:.3f} of {measured.frames} with a label")
    made.add_row("moments: recall", f"{measured.frame_recall:.3f}")
    made.add_row("episodes judged a success, rightly", str(measured.true_successes))
    judged = measured.true_successes + measured.false_successes
    made.add_row(
        "episodes judged a success, wrongly",
        f"{measured.false_successes} of {judged} = {measured.false_share:.0%} (95 %: {low:.0%} … {high:.0%})",
    )
    made.add_row("successes missed", f"{measured.missed} of {measured.episodes} episodes")
    return made
