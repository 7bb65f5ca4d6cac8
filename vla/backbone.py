"""The shared backbone: patch features, instruction and proprioception in, a short context sequence out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from hardware.config import Config
from vla import encoders
from vla.efficientnet import COARSE_CHANNELS
from vla.keypoints import NUMBERS, Keypoints
from vla.transformer import Layer, sinusoids


class Architecture(Config):
    """Sizes of the trained part. The defaults learn 30 demonstrations on two CPU cores in minutes."""

    image_px: int = Field(default=128, multiple_of=encoders.COARSE_STRIDE)
    width: PositiveInt = Field(default=192, multiple_of=4)
    heads: PositiveInt = 6
    readers: PositiveInt = 8
    """Learned queries that read the pictures."""
    keypoints: PositiveInt = 16
    """Of each camera."""
    context_layers: PositiveInt = 2
    token_layers: PositiveInt = 2
    consistency_layers: PositiveInt = 2

    @property
    def slots(self) -> int:
        """N of a context: readers, scene, aim, state, instruction, measured position."""
        return self.readers + KNOWN_SLOTS


KNOWN_SLOTS = 5
PLACE_UNITS = 2 * math.pi
"""A picture's side, in radians of the fastest sinusoid."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What the backbone made of an observation."""

    context: Float[Tensor, "B N W"]
    aim: Float[Tensor, "B S"]
    """The state that it expects at the next keyframe, normalised."""


class Backbone(nn.Module):
    """Keypoints, state and instruction together say where the arm is bound for (`aim`). A few learned readers look at
    all patches of all cameras, and exchange what they saw with all that, layer by layer. Patches do not look at each
    other: the pretrained encoder has done that.
    """

    def __init__(self, architecture: Architecture, cameras: int, state_dims: int) -> None:
        super().__init__()
        width = architecture.width
        _, coarse = encoders.patch_counts(architecture.image_px)
        self.image_px, self.cameras, self.state_dims = architecture.image_px, cameras, state_dims
        self.keypoints = Keypoints(cameras, architecture.keypoints)
        self.patches = nn.Sequential(nn.LayerNorm(COARSE_CHANNELS), nn.Linear(COARSE_CHANNELS, width))
        self.places = nn.Parameter(places(cameras, coarse, width))
        if cameras == 0:  # nothing to project, and nothing to train
            for unused in (self.keypoints, self.patches, self.places):
                unused.requires_grad_(False)
        self.readers = nn.Parameter(torch.randn(architecture.readers, width) * width**-0.5)
        inputs = max(state_dims, 1)
        self.state = nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))
        self.instruction = nn.Linear(encoders.INSTRUCTION_DIMS, width)
        known = cameras * architecture.keypoints * NUMBERS + inputs + width
        self.scene = nn.Sequential(
            nn.Linear(known, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, 2 * width),
            nn.GELU(),
            nn.LayerNorm(2 * width),
        )
        self.scene_slot, self.aim = nn.Linear(2 * width, width), nn.Linear(2 * width, inputs)
        self.aim_slot = nn.Linear(2 * inputs, width)
        layers = [Layer(width, architecture.heads) for _ in range(architecture.context_layers)]
        self.layers = nn.ModuleList(layers)
        self.memory_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(
        self,
        features: Float[Tensor, "B C F"],
        instruction: Float[Tensor, "B 384"],
        state: Float[Tensor, "B S"],
        position: Float[Tensor, "B D"],
    ) -> Seen:
        """`position`: where the arm is measured to be, in the actions' own normalised units; the last slot holds it as
        it is, and heads count their chunks from it.
        """
        return self.think(self.perceive(features), instruction, state, position)

    @property
    def percept_dims(self) -> int:
        """P of a percept; 0 without cameras."""
        _, coarse = encoders.patch_counts(self.image_px)
        return self.cameras * (self.keypoints.count * NUMBERS + coarse * COARSE_CHANNELS)

    def perceive(self, features: Float[Tensor, "B C F"]) -> Float[Tensor, "B P"]:
        """All that `think` takes of the pictures: where the keypoints are, then the coarse patches. It depends on
        `keypoints` alone, so learners that leave those as they are may keep it: it is a third as large as the features.
        """
        fine, coarse = encoders.split(features, self.image_px)
        where = self.keypoints(fine, coarse).flatten(1) if self.cameras else coarse.flatten(1)
        return torch.cat([where, coarse.flatten(1)], dim=1)

    def think(
        self,
        percept: Float[Tensor, "B P"],
        instruction: Float[Tensor, "B 384"],
        state: Float[Tensor, "B S"],
        position: Float[Tensor, "B D"],
    ) -> Seen:
        """The rest of `forward`, from a percept."""
        rows, numbers = len(state), self.cameras * self.keypoints.count * NUMBERS
        where, patches = percept[:, :numbers], percept[:, numbers:]
        given = state if self.state_dims else state.new_zeros(rows, 1)
        with torch.autocast(state.device.type, enabled=False):  # few rows; places pass through them
            told = self.instruction(instruction.float())
            scene = self.scene(torch.cat([where.float(), given.float(), told], dim=1))
            aim = given + self.aim(scene)
            bound_for = torch.cat([aim, aim - given], dim=1)
            known = [self.scene_slot(scene), self.aim_slot(bound_for), self.state(given.float()), told]
        context = torch.cat([self.readers.expand(rows, -1, -1), torch.stack(known, dim=1)], dim=1)
        memory = self.memory_norm(self._patches(patches) if self.cameras else torch.zeros_like(context[:, :1]))
        for layer in self.layers:
            assert isinstance(layer, Layer)
            context = layer(context, layer.memory_attention.keys_values(memory))
        return Seen(
            torch.cat([self.norm(context), slot(position, context.shape[2])[:, None]], dim=1),
            aim[:, : self.state_dims],
        )

    def _patches(self, flat: Float[Tensor, "B coarse"]) -> Float[Tensor, "B CP W"]:
        coarse = flat.reshape(len(flat), self.cameras, -1, COARSE_CHANNELS)
        return (self.patches(coarse) + self.places).flatten(1, 2)


def slot(position: Float[Tensor, "B D"], width: int) -> Float[Tensor, "B W"]:
    """As wide as the other slots, with zeros behind."""
    return torch.nn.functional.pad(position, (0, width - position.shape[1]))


def places(cameras: int, patches: int, width: int) -> Float[Tensor, "C P W"]:
    """Where each patch lies, in two dimensions, and a code for its camera. Smooth: what is learned at one place holds
    near it.
    """
    side = math.isqrt(patches)
    centres = (torch.arange(side) + 0.5) / side * PLACE_UNITS
    along = sinusoids(centres, width // 2)
    rows, columns = along[:, None].expand(-1, side, -1), along[None].expand(side, -1, -1)
    own = torch.randn(cameras, 1, width) * width**-0.5
    return torch.cat([rows, columns], dim=-1).flatten(0, 1) + own
