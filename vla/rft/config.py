"""What a reinforcement fine-tuning run may be told."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from hardware.config import Config
from vla.adapters.lora_config import Lora
from vla.augmentation import Augmentation
from vla.rft.process_rewards import RewardWeights
from vla.run_folder import TrainingRun
from vla.sft.config import Schedule


class RftSchedule(Schedule):
    """The paper's rate, 1e-6, is for three billion weights. A policy of a few million learns at this one without losing
    what it knew: at 2e-4 its samples' reward rises too, and its own chunks get worse (`benchmarks/metaworld.py`).
    """

    steps: PositiveInt = 300
    batch: PositiveInt = 16
    """Observations in a step, each with a group of chunks. Halved, with a word, when a GPU's memory is too small."""
    learning_rate: PositiveFloat = 3e-5
    warmup_steps: int = Field(default=10, ge=0)
    weight_decay: NonNegativeFloat = 0.0


class Grpo(Config):
    """The paper's values; the clip and the counts of updates are ours."""

    group: int = Field(default=8, ge=2)
    """G: chunks sampled for an observation."""
    temperature: PositiveFloat = 0.8
    clip: PositiveFloat = 0.2
    kl_weight: NonNegativeFloat = 0.001
    updates: PositiveInt = 1
    """Gradient steps on each set of samples. Above 1 the ratio is what keeps them honest."""


class RftEvaluation(Config):
    """Against episodes that were held out."""

    held_out_share: float = Field(default=0.1, ge=0, lt=1)
    every_steps: PositiveInt = 50
    most_windows: PositiveInt = 128


class ReinforcePolicy(TrainingRun):
    """A policy and the demonstrations it learned from → a better one, by process rewards and without an environment.

    The same command goes on after a stop, exactly as if there had been none.
    """

    policy: tyro.conf.Positional[Path]
    """What supervised fine-tuning left."""
    data: tyro.conf.Positional[tuple[Path, ...]] = Field(min_length=1)
    """Its demonstrations: LeRobot v3 datasets or episode stores."""
    weights: tuple[NonNegativeFloat, ...] = ()
    """How often each dataset is drawn from. Empty: by its number of frames."""
    rewards: RewardWeights = RewardWeights()
    gripper: tuple[str, ...] = ()
    """Actions that open and close. Empty: those whose name says gripper."""
    grpo: Grpo = Grpo()
    lora: Lora = Lora()
    consistency_weight: NonNegativeFloat = 1.0
    """Of the consistency head's imitation loss beside the token head's rewards."""
    voice: Literal["same", "consistency", "tokens"] = "same"
    """Which head the new policy acts with; same: as before."""
    cached_variants: PositiveInt = 3
    picture_stride: PositiveInt = 1
    """Steps from one picture that is looked at to the next; a chunk begins at each. Neighbours show nearly the same,
    and looking is most of the work."""
    augmentation: Augmentation = Augmentation()
    optimisation: RftSchedule = RftSchedule()
    evaluation: RftEvaluation = RftEvaluation()
