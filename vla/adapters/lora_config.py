"""What low-rank adapters (LoRA) may be told."""

from __future__ import annotations

from pydantic import PositiveInt, model_validator

from hardware.config import Config


class Lora(Config):
    """Low-rank adapters for a policy of LeRobot's: its own weights stay as they are, and are in memory once."""

    rank: PositiveInt | None = None
    """None: all weights learn, or the adapters that the policy's folder holds already."""
    alpha: PositiveInt | None = None
    """The adapters' part is scaled by alpha / rank. None: twice the rank."""
    target_modules: tuple[str, ...] = ()
    """Ends of the names of the layers that get one. Empty: attention and MLP projections of the language model."""

    @model_validator(mode="after")
    def _has_a_rank(self) -> Lora:
        if self.rank is None and (self.alpha is not None or self.target_modules):
            raise ValueError("adapters need a rank, too: --lora.rank 16")
        return self
