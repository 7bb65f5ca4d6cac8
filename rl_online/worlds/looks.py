"""A twin's scene and a seed in; the same scene under other light, colours, textures and from other eyes out.

Each episode has one look, a function of the seed and of its start. Tint and texture are painted on the Gaussians, the
cameras are moved before they draw, light and colour are laid over the finished picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.spatial import Pose, rotation_from_rotvec
from twin.object_asset import rows
from twin.sim.cameras import SimCamera
from twin.sim.parts import Part
from twin.sim.pixels import SplatPixels
from twin.splat import Splat

Y00 = 0.5 / math.sqrt(math.pi)
"""The constant spherical harmonic: colour = 0.5 + Y00 · sh[0] + …"""
GREY = np.array([0.299, 0.587, 0.114])
"""Rec. 601."""
WAVES = 8
Span = tuple[PositiveFloat, PositiveFloat]
"""Drawn evenly in the logarithm."""


class Light(Config):
    """Brightness, and how it falls off across the picture."""

    on: bool = True
    exposure: Span = (0.7, 1.35)
    gamma: Span = (0.85, 1.18)
    slope: NonNegativeFloat = 0.25
    """At most this share brighter on one side of the picture, and darker on the other."""


class Colour(Config):
    """Of the lamp and the sensor."""

    on: bool = True
    channel: Span = (0.9, 1.11)
    """Gain of red, green and blue, each its own."""
    saturation: Span = (0.65, 1.4)


class Camera(Config):
    """Where the eyes are, against what was calibrated."""

    on: bool = True
    shift_m: NonNegativeFloat = 0.006
    """Deviation along each axis."""
    turn_rad: NonNegativeFloat = 0.012
    """Deviation about each axis."""
    zoom: Span = (0.97, 1.03)


class Texture(Config):
    """Of the background and of each movable part."""

    on: bool = True
    tint: Span = (0.75, 1.3)
    """Gain of red, green and blue of a whole part; the task's own object is left its colour."""
    grain: NonNegativeFloat = 0.15
    """Largest gain of a smooth pattern."""
    wave_m: Span = (0.015, 0.2)
    """Wavelength of the pattern."""


class Looks(Config):
    """How far pictures are varied."""

    light: Light = Light()
    colour: Colour = Colour()
    camera: Camera = Camera()
    texture: Texture = Texture()
    seed: NonNegativeInt = Field(default=0)


@dataclass(frozen=True, eq=False)
class Filter:
    """Light and colour of one look."""

    gain: Float[ndarray, " 3"]
    gamma: float
    saturation: float
    slope: Float[ndarray, " 2"]
    """Along the picture's x and y, from its middle to its edge."""

    def apply(self, rgb: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "H W 3"]:
        height, width = rgb.shape[:2]
        y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
        shade = 1 + self.slope[0] * x + self.slope[1] * y
        light = (rgb / np.float32(255.0)) ** np.float32(self.gamma) * (shade[..., None] * self.gain)
        grey = light @ GREY
        mixed = grey[..., None] + self.saturation * (light - grey[..., None])
        return np.round(255 * np.clip(mixed, 0, 1)).astype(np.uint8)


class Painter:
    """Draws environments, each in the look of its episode."""

    def __init__(self, pixels: SplatPixels, looks: Looks, object_name: str) -> None:
        self._pixels, self._looks, self._object_name = pixels, looks, object_name
        self._dressed: dict[int, tuple[SplatPixels, Filter]] = {}

    def begin(self, env: int, start: TaskStart) -> None:
        """A new episode. The same start and seed give the same look, in whichever environment."""
        bits = np.array([start.x_m, start.y_m, start.yaw_rad]).view(np.uint32).tolist()
        rng = np.random.default_rng([self._looks.seed, *bits])
        self._dressed[env] = (self._redressed(rng), drawn_filter(self._looks, rng))

    def picture(
        self, camera: str, env: int, width_px: int, height_px: int, Ts_world_body: Float[ndarray, "B 4 4"]
    ) -> UInt8[ndarray, "H W 3"]:
        pixels, light = self._dressed[env]
        return light.apply(pixels.render(camera, width_px, height_px, Ts_world_body[None])[0])

    def _redressed(self, rng: np.random.Generator) -> SplatPixels:
        looks, pixels = self._looks, self._pixels
        cameras = dict(pixels.scene.cameras)
        if looks.camera.on:
            cameras = {name: moved(camera, looks.camera, rng) for name, camera in cameras.items()}
        still, parts = pixels.still, list(pixels.moving)
        if looks.texture.on:
            still = painted(still, looks.texture, rng)
            parts = [self._painted(part, rng) for part in parts]
        return pixels.redressed(still, parts, cameras)

    def _painted(self, part: Part, rng: np.random.Generator) -> Part:
        texture = self._looks.texture
        own = texture if part.name != self._object_name else texture.but(tint=(1.0, 1.0))
        return Part(part.name, part.body, painted(part.splat, own, rng))


def drawn_filter(looks: Looks, rng: np.random.Generator) -> Filter:
    """What is switched off leaves the picture alone."""
    light, colour = looks.light, looks.colour
    exposure, gamma = between(light.exposure, rng), between(light.gamma, rng)
    slope = rng.uniform(-light.slope, light.slope, 2)
    channels = np.array([between(colour.channel, rng) for _ in range(3)])
    saturation = between(colour.saturation, rng)
    return Filter(
        gain=(exposure if light.on else 1.0) * (channels if colour.on else np.ones(3)),
        gamma=gamma if light.on else 1.0,
        saturation=saturation if colour.on else 1.0,
        slope=slope if light.on else np.zeros(2),
    )


def moved(camera: SimCamera, vary: Camera, rng: np.random.Generator) -> SimCamera:
    """Shifted and turned in its own frame, zoomed."""
    turn = rotation_from_rotvec(rng.normal(0.0, vary.turn_rad, 3))
    off = Pose.from_parts("cam", "cam", turn, rng.normal(0.0, vary.shift_m, 3))
    zoom, model = between(vary.zoom, rng), camera.camera
    zoomed = model.model_dump() | {"fx_px": model.fx_px * zoom, "fy_px": model.fy_px * zoom}
    return SimCamera(
        camera=type(model).model_validate(zoomed), mount=camera.mount, T_mount_cam=rows(camera.pose @ off)
    )


def painted(splat: Splat, texture: Texture, rng: np.random.Generator) -> Splat:
    """Colours times a tint and a smooth pattern in space, seen from every side alike."""
    tint = np.array([between(texture.tint, rng) for _ in range(3)])
    pattern = np.zeros(len(splat))
    for _ in range(WAVES):
        direction = rng.normal(size=3)
        direction *= 2 * math.pi / (np.linalg.norm(direction) * between(texture.wave_m, rng))
        pattern += np.sin(splat.means_m @ direction + rng.uniform(0, 2 * math.pi))
    gain = tint * (1 + texture.grain * pattern / WAVES)[:, None]
    sh = splat.sh * gain[:, None]
    sh[:, 0] += 0.5 * (gain - 1) / Y00
    return replace(splat, sh=sh)


def between(span: Span, rng: np.random.Generator) -> float:
    low, high = span
    return math.exp(rng.uniform(math.log(low), math.log(high)))
