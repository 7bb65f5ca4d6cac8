"""LeRobot's batches (tensors under keys, pictures as floats) as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from hardware.errors import BadInput
from vla.lerobot_folder import ACTION, PICTURES, STATE
from vla.policy import Batch, Interface, ObservationBatch

PADDED, TASK = "action_is_pad", "task"


def observations(batch: Mapping[str, Any], interface: Interface) -> ObservationBatch:
    """Raises `BadInput` that names a key which the policy reads and the batch lacks."""
    wanted = [PICTURES + camera for camera in interface.cameras] + [STATE] * bool(interface.state_names)
    missing = [key for key in wanted if key not in batch]
    if missing:
        raise BadInput(f"the batch has no {', '.join(missing)}; have: {', '.join(sorted(batch))}")
    pictures = {camera: as_pictures(batch[PICTURES + camera]) for camera in interface.cameras}
    state = (
        batch[STATE].float().cpu().numpy()
        if interface.state_names
        else np.zeros((rows(batch, interface), 0), np.float32)
    )
    if state.shape[1:] != (len(interface.state_names),):
        raise BadInput(f"'{STATE}' has {state.shape[1:]} columns, the policy reads {len(interface.state_names)}")
    return ObservationBatch(state, pictures, instructions(batch, len(state)) if interface.language else ())


def demonstrated(batch: Mapping[str, Any], interface: Interface) -> Batch:
    """The batch of a training step: a chunk of actions follows each observation."""
    actions = batch[ACTION].float().cpu().numpy()
    expected = (interface.horizon_steps, interface.action_dims)
    if actions.shape[1:] != expected:
        raise BadInput(f"the batch's chunks are {actions.shape[1:]}, the policy's are {expected}")
    padded = batch[PADDED].cpu().numpy() if PADDED in batch else np.zeros(actions.shape[:2], bool)
    return Batch(observations(batch, interface), actions, padded)


def as_pictures(pixels: Float[Tensor, "B 3 H W"]) -> UInt8[ndarray, "B H W 3"]:
    """From LeRobot's 0 … 1, channels first."""
    return (pixels * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def as_pixels(pictures: UInt8[ndarray, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
    """The inverse of `as_pictures`."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def instructions(batch: Mapping[str, Any], count: int) -> tuple[str, ...]:
    said = batch.get(TASK)
    if said is None:
        raise BadInput(f"the policy follows instructions, and the batch has no '{TASK}'")
    return (said,) * count if isinstance(said, str) else tuple(map(str, said))


def rows(batch: Mapping[str, Any], interface: Interface) -> int:
    return len(batch[PICTURES + interface.cameras[0]])
