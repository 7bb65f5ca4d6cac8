"""The policy's chunks as they come, in; what of the newest two is still to be driven, out: for whoever draws it.

The executor leaves a running chunk for a newer one within a few control steps, and blends for 0.3 s: for so long the
arm is on its way from the one to the other.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.messages import ActionChunk


class ChunkPreview:
    """Chunks may come from any thread. `names`: the arm's joints; a chunk without one of them is not drawn."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._newest: tuple[ActionChunk, ...] = ()

    def add(self, chunk: ActionChunk) -> None:
        if chunk.space == "joint_pos_rad" and set(self._names) <= set(chunk.names):
            self._newest = (*self._newest, chunk)[-2:]

    def due_rad(self, now_ns: int) -> list[Float[ndarray, "T J"]]:
        """Rows still due of the chunk before and of the newest, in this order; those that are over are left out."""
        due = [chunk.after(now_ns) for chunk in self._newest]
        return [self._joints(chunk) for chunk in due if chunk is not None]

    def _joints(self, chunk: ActionChunk) -> Float[ndarray, "T J"]:
        return np.ascontiguousarray(chunk.values[:, [chunk.names.index(name) for name in self._names]])
