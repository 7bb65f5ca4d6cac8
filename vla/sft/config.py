"""What a supervised fine-tuning run may be told."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from hardware.config import Config
from hardware.messages import ActionSpace
from vla.augmentation import Augmentation
from vla.backbone import Architecture
from vla.fast_tokens import SCALE, VOCABULARY
from vla.run_folder import TrainingRun


class Schedule(Config):
    """AdamW with a warm-up and a cosine."""

    steps: PositiveInt = 2000
    batch: PositiveInt = 32
    """Per process. Halved, with a word, when a GPU's memory does not hold it."""
    learning_rate: PositiveFloat = 1e-3
    last_share: float = Field(default=0.05, ge=0, le=1)
    """Of the learning rate, at the end of the cosine."""
    encoder_share: float = Field(default=0.1, ge=0, le=1)
    """Of the learning rate, for an unfrozen encoder."""
    warmup_steps: NonNegativeInt = 100
    weight_decay: NonNegativeFloat = 0.02
    clip_norm: PositiveFloat = 1.0


class Optimisation(Schedule):
    """The same, with averaged weights."""

    ema: float = Field(default=0.995, ge=0, lt=1)
    """Decay of the averaged weights, which are what is evaluated and kept."""


class Evaluation(Config):
    """Against episodes that were held out."""

    held_out_share: float = Field(default=0.1, ge=0, lt=1)
    """Of each dataset's episodes, at least one where there are two."""
    every_steps: PositiveInt = 200
    most_windows: PositiveInt = 256
    patience: NonNegativeInt = 5
    """Evaluations without a better open-loop error before training stops; 0: never."""


def require_taught(voice: Literal["consistency", "tokens"], token_weight: float, consistency_weight: float) -> None:
    """Raises for a voice of weight 0: the policy would act with a head that has learned nothing."""
    weights = {"tokens": ("token_weight", token_weight), "consistency": ("consistency_weight", consistency_weight)}
    name, weight = weights[voice]
    if weight == 0:
        raise ValueError(
            f"the voice '{voice}' learns nothing with {name} 0: give it a weight, or take the other voice"
        )


class TrainPolicy(TrainingRun):
    """Demonstrations → a TandemVLA policy. The same command goes on after a stop, exactly as if there had been none."""

    data: tyro.conf.Positional[tuple[Path, ...]] = Field(min_length=1)
    """LeRobot v3 datasets or episode stores, all with the same cameras, rate and counts of joints."""
    start_from: Path | None = None
    """Go on with this policy: its chunks, tokens, ranges and architecture are kept, whatever is said here."""
    ranges: Literal["shared", "own"] = "shared"
    """shared: datasets with the same columns are of one arm, real or in its twin, and their numbers mean the same.
    own: each dataset is scaled by its own 1–99 %; whoever acts must then say of which it is."""
    weights: tuple[NonNegativeFloat, ...] = ()
    """How often each dataset is drawn from, e.g. 1 1 for half real, half twin. Empty: by its number of frames."""
    cameras: tuple[str, ...] = ()
    """Empty: all that the first dataset has (three at most)."""
    state_names: tuple[str, ...] = ()
    """The columns of the state that the policy reads, as a cell has them (joints, gripper). Empty: all recorded."""
    horizon_steps: PositiveInt = 16
    """H, the steps of one chunk."""
    imitate_misses: bool = False
    """Learn from tries that closed the gripper on nothing, too. Otherwise they are left out of episodes that try again:
    what follows shows how to get back, without teaching to miss."""
    space: ActionSpace = "joint_pos_rad"
    language: bool = True
    """no-language: one task, no instruction is read."""
    architecture: Architecture = Architecture()
    voice: Literal["consistency", "tokens"] = "consistency"
    token_weight: NonNegativeFloat = 0.1
    """Small: a few demonstrations' tokens are learned by heart, at the expense of what the heads share."""
    token_share: float = Field(default=1.0, gt=0, le=1)
    """Of each batch's windows, those whose tokens are learned, too: tokens are half of a step's time."""
    consistency_weight: NonNegativeFloat = 1.0
    fast: Path | None = None
    """Folder of the universal FAST tokenizer. Without it, tokens are fitted on this data."""
    fast_scale: PositiveFloat = SCALE
    fast_vocabulary: PositiveInt = VOCABULARY
    unfrozen_encoder: bool = False
    """Train the image encoder too: slower, and no features are cached."""
    cached_variants: PositiveInt = 3
    """With a frozen encoder: features are computed once for each picture and for this many less one of its
    augmentations."""
    picture_stride: PositiveInt = 1
    """Steps from one picture that is looked at to the next; a chunk begins at each. Neighbours show nearly the same,
    and looking is most of the work."""
    augmentation: Augmentation = Augmentation()
    optimisation: Optimisation = Optimisation()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _teaches_what_acts(self) -> TrainPolicy:
        if self.start_from is None:
            require_taught(self.voice, self.token_weight, self.consistency_weight)
        return self
