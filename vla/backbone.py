"""The shared backbone: patch features, instruction and proprioception in, a short context sequence out."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from hardware.config import Config
from vla import encoders
from vla.efficientnet import COARSE_CHANNELS, FINE_CHANNELS
from vla.transformer import Layer, sinusoids


class Architecture(Config):
    """Sizes of the trained part. The defaults learn 30 demonstrations on two CPU cores in minutes."""

    image_px: int = Field(default=128, multiple_of=encoders.COARSE_STRIDE)
    width: PositiveInt = Field(default=192, multiple_of=4)
    heads: PositiveInt = 6
    readers: PositiveInt = 16
    """Learned queries that read the pictures."""
    context_layers: PositiveInt = 3
    token_layers: PositiveInt = 2
    consistency_layers: PositiveInt = 2


PLACE_UNITS = 2 * math.pi
"""A picture's side, in radians of the fastest sinusoid."""


class Backbone(nn.Module):
    """A few learned readers look at all patches of all cameras, and exchange what they saw with the state and the
    instruction, layer by layer. Patches do not look at each other: the pretrained encoder has done that.
    """

    def __init__(self, architecture: Architecture, cameras: int, state_dims: int) -> None:
        super().__init__()
        width = architecture.width
        fine, coarse = encoders.patch_counts(architecture.image_px)
        self.image_px, self.cameras = architecture.image_px, cameras
        self.fine = nn.Sequential(nn.LayerNorm(FINE_CHANNELS), nn.Linear(FINE_CHANNELS, width))
        self.coarse = nn.Sequential(nn.LayerNorm(COARSE_CHANNELS), nn.Linear(COARSE_CHANNELS, width))
        if cameras == 0:  # nothing to project, and nothing to train
            self.fine.requires_grad_(False)
            self.coarse.requires_grad_(False)
        self.fine_places = nn.Parameter(places(cameras, fine, width))
        self.coarse_places = nn.Parameter(places(cameras, coarse, width))
        self.readers = nn.Parameter(torch.randn(architecture.readers, width) * width**-0.5)
        self.state = nn.Sequential(nn.Linear(max(state_dims, 1), width), nn.GELU(), nn.Linear(width, width))
        self.instruction = nn.Linear(encoders.INSTRUCTION_DIMS, width)
        layers = [Layer(width, architecture.heads) for _ in range(architecture.context_layers)]
        self.layers = nn.ModuleList(layers)
        self.memory_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(
        self,
        features: Float[Tensor, "B C F"],
        instruction: Float[Tensor, "B 384"],
        state: Float[Tensor, "B S"],
    ) -> Float[Tensor, "B N W"]:
        rows = len(state)
        patches = self.memory_norm(self._patches(features))
        known = [self.state(state if state.shape[1] else state.new_zeros(rows, 1)), self.instruction(instruction)]
        context = torch.cat([self.readers.expand(rows, -1, -1), torch.stack(known, dim=1)], dim=1)
        for layer in self.layers:
            assert isinstance(layer, Layer)
            context = layer(context, layer.memory_attention.keys_values(patches))
        return self.norm(context)

    def _patches(self, features: Float[Tensor, "B C F"]) -> Float[Tensor, "B P W"]:
        if self.cameras == 0:
            return features.new_zeros(len(features), 1, self.readers.shape[1])
        fine, coarse = encoders.split(features, self.image_px)
        fine, coarse = self.fine(fine) + self.fine_places, self.coarse(coarse) + self.coarse_places
        return torch.cat([fine.flatten(1, 2), coarse.flatten(1, 2)], dim=1)


def places(cameras: int, patches: int, width: int) -> Float[Tensor, "C P W"]:
    """Where each patch lies, in two dimensions and the same units at every stride, and a code for its camera.

    Smooth, so that what is learned at one place holds near it; the two strides share coordinates.
    """
    side = math.isqrt(patches)
    centres = (torch.arange(side) + 0.5) / side * PLACE_UNITS
    along = sinusoids(centres, width // 2)
    rows, columns = along[:, None].expand(-1, side, -1), along[None].expand(side, -1, -1)
    own = torch.randn(cameras, 1, width) * width**-0.5
    return torch.cat([rows, columns], dim=-1).flatten(0, 1) + own
