"""A policy's chunks beside demonstrations that it did not learn from, as successes and trials by task.

No environment is needed, and none is pretended: an episode counts when the policy, shown every demonstrated
observation, stays near the demonstrated actions. A robot that drifts off would see other observations.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vla import outcomes, policy_file
from vla.continual.joined import Part
from vla.outcomes import Outcome
from vla.policy import ObservationBatch
from vla.tandem_vla import TandemVLA

log = logging.getLogger(__name__)


class OpenLoopEvaluator:
    """An `Evaluator`."""

    def __init__(self, unseen: Mapping[str, Part], error_limit: float, dataset: str) -> None:
        """`dataset` is whose ranges hold, if the policy knows it."""
        self.unseen, self.error_limit, self.dataset = unseen, error_limit, dataset

    def __call__(self, policy: Path, tasks: Sequence[str], file: Path) -> None:
        loaded = policy_file.load_policy(policy)
        outcomes.write(file, {task: self.of_task(loaded, self.unseen[task]) for task in tasks})

    def of_task(self, policy: TandemVLA, part: Part) -> Outcome:
        errors = [self.error(policy, part, number) for number in range(part.first, part.first + part.count)]
        log.debug("'%s': open-loop errors %s", part.dataset.name, np.round(errors, 3))
        return Outcome(successes=sum(error <= self.error_limit for error in errors), trials=len(errors))

    def error(self, policy: TandemVLA, part: Part, number: int) -> float:
        """Mean |action − demonstrated| over the episode, normalised: chunks behind each other, none past the end."""
        episode, horizon = part.dataset[number], policy.interface.horizon_steps
        starts = list(range(0, len(episode), horizon))
        pictures = {camera: episode.pictures(camera)[starts] for camera in policy.interface.cameras}
        names = (self.dataset,) if self.dataset in policy.config.normalisation else ()
        language = policy.interface.language
        seen = ObservationBatch(
            state=episode.state[starts],
            images=pictures,
            instructions=(episode.instruction,) * len(starts) if language else (),
            datasets=names * len(starts),
        )
        predicted = policy.act(seen).reshape(-1, episode.actions.shape[1])[: len(episode)]
        normal = [policy.actions.normalise(values[None], names) for values in (predicted, episode.actions)]
        return float(np.abs(normal[0] - normal[1]).mean())
