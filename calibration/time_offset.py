"""Two streams of poses of one rigid body, each with its own clock, in; how far the clocks are apart, out.

The speed of turning is the same in both (it does not depend on where on the body, or in which frame, one looks), so a
correlation of the two speeds finds the offset to about a sample; then the offset that makes the hand-eye fit of the
streams tightest refines it (as in Furrer et al. 2017, https://doi.org/10.1007/978-3-319-67361-5_10).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation, Slerp

from calibration import hand_eye
from calibration.hand_eye import Mounting
from hardware.errors import BadInput
from hardware.spatial import Pose

GRID_S = 0.01
SMOOTH_S = 0.06
LEAST_TURN_RAD_S = 0.05
VIEWS = 90
"""Poses of the fit, spread over the time in which both streams run."""
NEAR_S = 0.06
"""How far from the correlation's answer the fit may move it."""
LONGEST_GAP_S = 0.25


@dataclass(frozen=True, eq=False)
class PoseStream:
    """Poses in time order; `stamps_s` by the stream's own clock."""

    stamps_s: Float[ndarray, " N"]
    Ts: Float[ndarray, "N 4 4"]

    def __post_init__(self) -> None:
        if len(self.stamps_s) < 20:
            raise BadInput(f"a stream of {len(self.stamps_s)} poses is too short", "record 20 s or more of motion")
        if not (np.diff(self.stamps_s) > 0).all():
            at = int(np.argmin(np.diff(self.stamps_s)))
            raise BadInput(
                f"stamps must increase; sample {at + 1} does not", "sort the stream, drop repeated stamps"
            )

    def at(self, stamps_s: Float[ndarray, " M"]) -> Float[ndarray, "M 4 4"]:
        """Interpolated; stamps must lie within the stream."""
        Ts = np.tile(np.eye(4), (len(stamps_s), 1, 1))
        Ts[:, :3, :3] = Slerp(self.stamps_s, Rotation.from_matrix(self.Ts[:, :3, :3]))(stamps_s).as_matrix()
        for axis in range(3):
            Ts[:, axis, 3] = np.interp(stamps_s, self.stamps_s, self.Ts[:, axis, 3])
        return Ts

    def turning_rad_s(self, grid_s: Float[ndarray, " M"]) -> Float[ndarray, " M"]:
        """Speed of turning, over `SMOOTH_S`, on a grid of times; zero outside the stream."""
        inside = (grid_s >= self.stamps_s[0] + SMOOTH_S) & (grid_s <= self.stamps_s[-1] - SMOOTH_S)
        before, after = (self.at(grid_s[inside] + s * SMOOTH_S / 2)[:, :3, :3] for s in (-1, 1))
        turn = Rotation.from_matrix(np.einsum("nji,njk->nik", before, after)).magnitude()
        speed = np.zeros(len(grid_s))
        speed[inside] = turn / SMOOTH_S
        return speed

    def gap_s(self, stamps_s: Float[ndarray, " M"]) -> Float[ndarray, " M"]:
        """The time between the samples on either side."""
        after = np.clip(np.searchsorted(self.stamps_s, stamps_s), 1, len(self.stamps_s) - 1)
        return self.stamps_s[after] - self.stamps_s[after - 1]


@dataclass(frozen=True, eq=False)
class TimeOffset:
    offset_s: float
    """Add it to the camera's stamps to get the robot's clock."""
    deviation_s: float
    coarse_s: float
    """By correlation alone."""
    answer: hand_eye.HandEye


def solve(robot: PoseStream, camera: PoseStream, mounting: Mounting, widest_s: float = 2.0) -> TimeOffset:
    """`robot`: T_base_tool; `camera`: T_cam_board. Raises `BadInput` where the streams do not turn, or never agree."""
    coarse_s = correlate(robot, camera, widest_s)
    moments = usable_moments(robot, camera, coarse_s)

    def spread_mm(offset_s: float) -> float:
        A, B = at_offset(robot, camera, moments, offset_s, mounting)
        fitted = hand_eye.fit(A, B, X)  # robust by its loss; outliers are named at the end
        size = np.linalg.norm(hand_eye.misses(A, B, fitted.X, fitted.Z), axis=-1).max(-1)
        return float(np.sqrt((np.minimum(size, 4 * np.median(size)) ** 2).mean()) * 1000)

    A, B = at_offset(robot, camera, moments, coarse_s, mounting)
    hand_eye.require_motion(A[:: max(1, len(A) // 40)])
    X, _ = hand_eye.best_start(A[::3], B[::3])
    found = minimize_scalar(
        spread_mm, bounds=(coarse_s - NEAR_S, coarse_s + NEAR_S), method="bounded", options={"xatol": 3e-4}
    )
    offset_s = float(found.x)  # pyright: ignore[reportAttributeAccessIssue]
    A, B = at_offset(robot, camera, moments, offset_s, mounting)
    views = [
        hand_eye.HandEyeView(
            f"{stamp:.3f} s", Pose("base", "tool", base_tool(a, mounting)), Pose("cam", "board", b)
        )
        for stamp, a, b in zip(moments, A, B, strict=True)
    ]
    return TimeOffset(
        offset_s, deviation_s(spread_mm, offset_s, len(moments)), coarse_s, hand_eye.solve(views, mounting)
    )


def base_tool(A: Float[ndarray, "4 4"], mounting: Mounting) -> Float[ndarray, "4 4"]:
    return A if mounting == "eye_in_hand" else np.linalg.inv(A)


def correlate(robot: PoseStream, camera: PoseStream, widest_s: float) -> float:
    """The offset at which the two speeds of turning are most alike, interpolated between grid points."""
    start = min(robot.stamps_s[0], camera.stamps_s[0]) - widest_s
    stop = max(robot.stamps_s[-1], camera.stamps_s[-1]) + widest_s
    grid_s = np.arange(start, stop, GRID_S)
    a, b = robot.turning_rad_s(grid_s), camera.turning_rad_s(grid_s)
    if max(np.percentile(a, 95), np.percentile(b, 95)) < LEAST_TURN_RAD_S:
        raise BadInput("the tool hardly turned", "wave the wrist about two axes, quickly, while recording")
    a, b = np.minimum(a, np.percentile(a, 99)), np.minimum(b, np.percentile(b, 99))
    length = 2 * len(grid_s)
    product = np.fft.irfft(np.fft.rfft(a, length) * np.conj(np.fft.rfft(b, length)), length)
    energy_a, energy_b = (np.fft.rfft(x * x, length) for x in (a, b))
    mask_a, mask_b = (np.fft.rfft((x > 0).astype(float), length) for x in (a, b))
    over_a = np.fft.irfft(energy_a * np.conj(mask_b), length)
    over_b = np.fft.irfft(mask_a * np.conj(energy_b), length)
    score = product / np.sqrt(np.maximum(over_a * over_b, 1e-12 * (over_a.max() * over_b.max())))
    shifts = np.arange(-int(widest_s / GRID_S), int(widest_s / GRID_S) + 1)
    values = score[shifts]
    best = int(np.argmax(values))
    if values[best] < 0.5:
        raise BadInput(
            f"the streams' turning never agrees within ±{widest_s:g} s (correlation {values[best]:.2f})",
            "check that both are of the same motion, or search wider",
        )
    if 0 < best < len(values) - 1:
        left, middle, right = values[best - 1 : best + 2]
        return float((shifts[best] + 0.5 * (left - right) / (left - 2 * middle + right)) * GRID_S)
    return float(shifts[best] * GRID_S)


def usable_moments(robot: PoseStream, camera: PoseStream, offset_s: float) -> Float[ndarray, " M"]:
    """The camera's own stamps (nothing of it is interpolated), where the robot's stream has no gap."""
    reach = robot.stamps_s[0] + NEAR_S, robot.stamps_s[-1] - NEAR_S
    on_robot = camera.stamps_s + offset_s
    inside = (on_robot > reach[0]) & (on_robot < reach[1])
    good = camera.stamps_s[inside][robot.gap_s(on_robot[inside]) < LONGEST_GAP_S]
    if len(good) < hand_eye.FEWEST_VIEWS:
        raise BadInput("the two streams do not overlap in time", "record both at once")
    return good[np.unique(np.linspace(0, len(good) - 1, VIEWS).astype(int))]


def at_offset(
    robot: PoseStream, camera: PoseStream, moments_s: Float[ndarray, " M"], offset_s: float, mounting: Mounting
) -> tuple[Float[ndarray, "M 4 4"], Float[ndarray, "M 4 4"]]:
    A = robot.at(moments_s + offset_s)
    return (A if mounting == "eye_in_hand" else np.linalg.inv(A)), camera.at(moments_s)


def deviation_s(spread_mm, offset_s: float, count: int) -> float:
    """From the curvature of the squared spread: cost(t) = s² (1 + (t − t₀)² / (n σ²))."""
    step = 0.02
    middle, sides = (
        spread_mm(offset_s) ** 2,
        (spread_mm(offset_s - step) ** 2 + spread_mm(offset_s + step) ** 2) / 2,
    )
    gain = (sides - middle) / middle / step**2
    return float(1 / np.sqrt(max(gain, 1e-9) * count))
