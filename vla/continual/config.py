"""What a run of continual learning may be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from hardware.config import Config
from hardware.messages import ActionSpace
from vla.augmentation import Augmentation
from vla.backbone import Architecture
from vla.fast_tokens import VOCABULARY
from vla.rft.config import Grpo, RftEvaluation, RftSchedule
from vla.rft.process_rewards import RewardWeights
from vla.run_folder import TrainingRun
from vla.sft.config import Evaluation, Optimisation, require_taught


class Teaching(Config):
    """Of the supervised part of every stage. What a policy is, the base stage decides."""

    cameras: tuple[str, ...] = ()
    horizon_steps: PositiveInt = 16
    space: ActionSpace = "joint_pos_rad"
    language: bool = True
    architecture: Architecture = Architecture()
    voice: Literal["consistency", "tokens"] = "consistency"
    token_weight: NonNegativeFloat = 1.0
    consistency_weight: NonNegativeFloat = 1.0
    fast_vocabulary: PositiveInt = VOCABULARY
    cached_variants: PositiveInt = 3
    augmentation: Augmentation = Augmentation()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _teaches_what_acts(self) -> Teaching:
        require_taught(self.voice, self.token_weight, self.consistency_weight)
        return self


class LearnContinually(TrainingRun):
    """A base of several tasks, then one task after another from a few demonstrations each, with replay of old ones.

    After every stage all tasks so far are evaluated. The same command goes on after a stop.
    """

    base: tuple[Path, ...] = Field(min_length=1)
    """One dataset per task; its folder's name is the task's."""
    then: tuple[Path, ...] = ()
    """The tasks that come later, in this order."""
    method: Literal["sft", "rft"] = "rft"
    """sft: each stage is supervised only. rft: process rewards follow in each stage."""
    base_demos: PositiveInt = 50
    demos: PositiveInt = 10
    """Of each later task. The first ones of the dataset are taken."""
    replay: NonNegativeInt = 5
    """Demonstrations of each earlier task that a stage learns from again; 0: none."""
    evaluator: str = "open-loop"
    """A command: 'tandem vla eval {policy} … --tasks {tasks} --json {json}'. open-loop needs no environment: the
    demonstrations that no stage learns from are followed; that is no success rate of a robot."""
    error_limit: PositiveFloat = 0.2
    """open-loop: the mean error, of half an action's 1–99 % range, that still counts as a success."""
    base_policy: Path | None = None
    """What a supervised base stage with these demonstrations left before: it is not taught again."""
    sft: Teaching = Teaching()
    base_schedule: Optimisation = Optimisation()
    stage_schedule: Optimisation = Optimisation(steps=400, learning_rate=2e-4)
    rft_schedule: RftSchedule = RftSchedule()
    rft_evaluation: RftEvaluation = RftEvaluation()
    grpo: Grpo = Grpo()
    rewards: RewardWeights = RewardWeights()
    gripper: tuple[str, ...] = ()
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """The scores, also here."""

    @model_validator(mode="after")
    def _tasks_have_names_of_their_own(self) -> LearnContinually:
        names = [folder.resolve().name for folder in (*self.base, *self.then)]
        if len(set(names)) != len(names):
            raise ValueError(f"two tasks have the same name: {', '.join(sorted(names))}")
        return self
