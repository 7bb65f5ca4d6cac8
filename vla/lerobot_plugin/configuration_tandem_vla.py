"""`--policy.type=tandem_vla` for LeRobot: the flags of a TandemVLA, as LeRobot's commands parse them.

LeRobot finds the policy and its processors by this file's name (`modeling_…`, `processor_…` beside it), and registers
the type when this module is imported; the small distribution in `distribution/` does that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig, CosineDecayWithWarmupSchedulerConfig

from vla.backbone import Architecture
from vla.lerobot_folder import TYPE
from vla.sft.config import Optimisation
from vla.tandem_vla import Voice

DEFAULT, SCHEDULE = Architecture(), Optimisation()


@PreTrainedConfig.register_subclass(TYPE)
@dataclass
class TandemVLAConfig(PreTrainedConfig):
    """A new policy is made from these; one that is loaded keeps its own `tandem.json`, whatever is said here."""

    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(("VISUAL", "STATE", "ACTION"), NormalizationMode.IDENTITY)
    )
    """The policy normalises for itself, by quantiles."""
    chunk_size: int = 16
    n_action_steps: int = 16
    """Steps of a chunk that are executed before the next one is asked for."""
    language: bool = True
    voice: Voice = "consistency"
    token_weight: float = 0.1
    consistency_weight: float = 1.0
    unfrozen_encoder: bool = False
    ema: float = SCHEDULE.ema
    """Decay of the averaged weights, which are what is evaluated and kept."""
    image_px: int = DEFAULT.image_px
    width: int = DEFAULT.width
    heads: int = DEFAULT.heads
    readers: int = DEFAULT.readers
    keypoints: int = DEFAULT.keypoints
    context_layers: int = DEFAULT.context_layers
    token_layers: int = DEFAULT.token_layers
    consistency_layers: int = DEFAULT.consistency_layers
    optimizer_lr: float = SCHEDULE.learning_rate
    optimizer_weight_decay: float = SCHEDULE.weight_decay
    optimizer_grad_clip_norm: float = SCHEDULE.clip_norm
    scheduler_warmup_steps: int = SCHEDULE.warmup_steps
    scheduler_decay_steps: int = 100_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.voice not in ("consistency", "tokens"):
            raise ValueError(f"no voice '{self.voice}'; have: consistency, tokens")
        if not 1 <= self.n_action_steps <= self.chunk_size:
            raise ValueError(f"n_action_steps is {self.n_action_steps}, a chunk has {self.chunk_size} steps")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is {self.ema}, a decay is 0 (no average) or more and less than 1")

    @property
    def architecture(self) -> Architecture:
        return Architecture.model_validate({name: getattr(self, name) for name in Architecture.model_fields})

    def validate_features(self) -> None:
        if self.action_feature is None:
            raise ValueError("the dataset has no 'action'")
        if not self.image_features and self.robot_state_feature is None:
            raise ValueError("the dataset has neither pictures nor 'observation.state'")

    def get_optimizer_preset(self) -> AdamWConfig:
        return AdamWConfig(
            lr=self.optimizer_lr,
            weight_decay=self.optimizer_weight_decay,
            grad_clip_norm=self.optimizer_grad_clip_norm,
        )

    def get_scheduler_preset(self) -> CosineDecayWithWarmupSchedulerConfig:
        """LeRobot shortens it to the run's own number of steps."""
        return CosineDecayWithWarmupSchedulerConfig(
            num_warmup_steps=self.scheduler_warmup_steps,
            num_decay_steps=self.scheduler_decay_steps,
            peak_lr=self.optimizer_lr,
            decay_lr=self.optimizer_lr * SCHEDULE.last_share,
        )

    @property
    def observation_delta_indices(self) -> None:
        return None

    @property
    def action_delta_indices(self) -> list[int]:
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        return None
