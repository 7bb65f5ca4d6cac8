"""Where learned things are in a picture: a few keypoints for each camera, to a fraction of a patch.

Soft-argmax of feature maps (Finn et al., arXiv 1509.06113): attention says what is there, these say where, to which a
grasp of a thing a few pixels wide is sensitive.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vla.efficientnet import COARSE_CHANNELS, FINE_CHANNELS

HIDDEN = 64
NUMBERS = 3
"""Of a keypoint: x and y in ±1 of the picture, and its spread."""


class Keypoints(nn.Module):
    """Both strides mixed at the finer one; every camera has its own keypoints."""

    def __init__(self, cameras: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.fine = nn.Sequential(nn.LayerNorm(FINE_CHANNELS), nn.Linear(FINE_CHANNELS, HIDDEN))
        self.coarse = nn.Sequential(nn.LayerNorm(COARSE_CHANNELS), nn.Linear(COARSE_CHANNELS, HIDDEN))
        self.of = nn.Parameter(torch.randn(cameras, HIDDEN, count) * HIDDEN**-0.5)  # flat: sharp ones fit noise

    def forward(
        self, fine: Float[Tensor, "B C fine 40"], coarse: Float[Tensor, "B C coarse 112"]
    ) -> Float[Tensor, "B C K 3"]:
        mixed = F.gelu(self.fine(fine) + enlarged(self.coarse(coarse)))
        heat = torch.einsum("bcph,chk->bckp", mixed, self.of).float().softmax(dim=-1)
        with torch.autocast(heat.device.type, enabled=False):  # bfloat16 knows places to a quarter of a pixel only
            places = grid(math.isqrt(fine.shape[2]), heat)
            at = heat @ places
            spread = (heat @ places.square() - at.square()).sum(dim=-1, keepdim=True)
        return torch.cat([at, spread], dim=-1)


def grid(side: int, like: Tensor) -> Float[Tensor, "P 2"]:
    """(x, y) of the patches' centres in ±1, in rows from the top left."""
    along = (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) / side * 2 - 1
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1).flatten(0, 1)


def enlarged(patches: Float[Tensor, "B C coarse h"]) -> Float[Tensor, "B C fine h"]:
    """Twice as many along each side, in between by two lines."""
    side = math.isqrt(patches.shape[2])
    maps = patches.flatten(0, 1).transpose(1, 2).unflatten(2, (side, side))
    large = F.interpolate(maps, scale_factor=2, mode="bilinear")
    return large.flatten(2).transpose(1, 2).unflatten(0, patches.shape[:2])
