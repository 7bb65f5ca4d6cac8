"""A person walks round a table with a phone: where the camera is at each photo, and how it moves meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from numpy.random import Generator

from hardware.spatial import Pose


@dataclass(frozen=True)
class Ring:
    """One walk round the table: how far from the point looked at, and how steeply down."""

    distance_m: float
    elevation_rad: float


RINGS = (
    Ring(0.80, math.radians(33)),
    Ring(0.74, math.radians(46)),
    Ring(0.70, math.radians(62)),
)
"""At the chest, at eye height, with raised arms."""

WANDER_M, AIM_WANDER_M, ROLL_WANDER_RAD = 0.035, 0.03, math.radians(4)
"""How far a hand strays from the ring, from the point aimed at, from the horizon (standard deviations)."""

TURN_RATE_RAD_S = (math.radians(2.5), 0.7, math.radians(9))
"""Of a hand that holds still for a photo: median, spread of the logarithm, and most."""
SPEED_M_S = (0.02, 0.6, 0.08)

EXPOSURE_S = (1 / 160, 1 / 80)
PHOTO_EVERY_S = 1.3
EXPOSURE_DRIFT = 0.09
"""Of the automatic exposure: most, as a share of the light."""


@dataclass(frozen=True, eq=False)
class Shot:
    """One press of the button. `twist` is the camera's `[v, ω]` in its own frame, m/s and rad/s."""

    T_base_cam: Pose
    twist: Float[ndarray, 6]
    exposure_s: float
    gain: float
    stamp_s: float

    def at(self, share: float) -> Pose:
        """T_base_cam when this share (0 … 1) of the exposure has passed; half is `T_base_cam`."""
        moved = Pose.exp("cam", "moved", self.twist * (share - 0.5) * self.exposure_s)
        return Pose("base", "cam", (self.T_base_cam @ moved).matrix)


def walk(rng: Generator, count: int, target_m: Float[ndarray, 3]) -> list[Shot]:
    """`count` shots in the order they are taken: ring after ring, all round, the hand wandering smoothly."""
    place = np.arange(count) * len(RINGS) / count
    ring = np.minimum(place.astype(int), len(RINGS) - 1)
    azimuth_rad = 2 * np.pi * (place - ring + ring * 0.37) + 0.08 * rng.normal(size=count) + rng.uniform(0, 6.28)
    strays = np.stack([_wander(rng, count) for _ in range(7)], -1)
    drift = _wander(rng, count)
    stamps_s = np.cumsum(PHOTO_EVERY_S * rng.uniform(0.75, 1.35, count))
    places_m = target_m + _on_rings(ring, azimuth_rad) + WANDER_M * strays[:, :3]
    aims_m = target_m + AIM_WANDER_M * strays[:, 3:6]
    return [
        Shot(
            T_base_cam=look(places_m[n], aims_m[n], ROLL_WANDER_RAD * float(strays[n, 6])),
            twist=np.concatenate([_tremor(rng, SPEED_M_S), _tremor(rng, TURN_RATE_RAD_S)]),
            exposure_s=float(rng.uniform(*EXPOSURE_S)),
            gain=1 + EXPOSURE_DRIFT * math.tanh(float(drift[n])),
            stamp_s=float(stamps_s[n]),
        )
        for n in range(count)
    ]


def _on_rings(ring: Int[ndarray, " N"], azimuth_rad: Float[ndarray, " N"]) -> Float[ndarray, "N 3"]:
    """From the point looked at to the camera, metres."""
    distance_m = np.array([r.distance_m for r in RINGS])[ring]
    elevation_rad = np.array([r.elevation_rad for r in RINGS])[ring]
    level_m = distance_m * np.cos(elevation_rad)
    return np.stack(
        [level_m * np.cos(azimuth_rad), level_m * np.sin(azimuth_rad), distance_m * np.sin(elevation_rad)], -1
    )


def look(at_m: Float[ndarray, 3], towards_m: Float[ndarray, 3], roll_rad: float) -> Pose:
    """T_base_cam of an optical frame at one point that faces another, its x axis level but for the roll."""
    forward = (towards_m - at_m) / np.linalg.norm(towards_m - at_m)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cos, sin = math.cos(roll_rad), math.sin(roll_rad)
    rotation = np.stack([cos * right + sin * down, cos * down - sin * right, forward], -1)
    return Pose.from_parts("base", "cam", rotation, at_m)


def _wander(rng: Generator, count: int) -> Float[ndarray, " N"]:
    """A smooth random line of about unit deviation: sines of 4 … 25 photos' length and a little jitter."""
    n = np.arange(count)
    lengths, phases = rng.uniform(4, 25, 5), rng.uniform(0, 2 * np.pi, 5)
    sines = np.sin(2 * np.pi * n[:, None] / lengths + phases).sum(1) / math.sqrt(5 / 2)
    return 0.95 * sines + 0.3 * rng.normal(size=count)


def _tremor(rng: Generator, of: tuple[float, float, float]) -> Float[ndarray, 3]:
    median, spread, most = of
    way = rng.normal(size=3)
    return way / np.linalg.norm(way) * min(most, median * math.exp(spread * rng.normal()))
