"""Chunks as a sampled policy would have given them along a smooth demonstration: a seed goes in, chunks come out.

Each chunk starts near where the arm was (observation noise), follows the demonstration at its own pace (5 %), strays
from it more the further it looks ahead (a smooth random walk, as modes of a policy disagree), and its rows jitter by
half a milliradian. So neighbouring chunks disagree by about 10 … 50 mrad where they overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy import ndarray
from scipy.interpolate import CubicSpline, make_interp_spline

from hardware.execution.run_log import read_run
from hardware.messages import NANOSECONDS_PER_SECOND, ActionChunk

JOINTS = 6
NAMES = tuple(f"joint_{index}" for index in range(1, JOINTS + 1))
START_NS = 100 * NANOSECONDS_PER_SECOND
ROW_HZ, ROWS, EVERY_S = 20.0, 40, 0.4
_VIA_S, _REACH_RAD = 1.0, 0.25
_OBSERVATION_RAD, _STRAY_RAD, _ROW_RAD, _PACE = 0.004, 0.03, 0.0005, 0.05


@dataclass(frozen=True, eq=False)
class Recording:
    """`chunks` in the order of their observations, which are made at `observed_ns`."""

    names: tuple[str, ...]
    begin: ndarray
    """[D] where the arm is at the start."""
    chunks: tuple[ActionChunk, ...]
    observed_ns: tuple[int, ...]
    truth: CubicSpline | None
    """The demonstration, rad over seconds since `START_NS`; None for a run of a real cell."""


def make(seed: int, duration_s: float) -> Recording:
    random = np.random.default_rng(seed)
    demonstration = smooth_motion(random, duration_s + ROWS / ROW_HZ + 2)
    observed_s = np.arange(0.0, duration_s, EVERY_S)
    chunks = tuple(chunk_at(t, demonstration, random) for t in observed_s.tolist())
    return Recording(NAMES, demonstration(0.0), chunks, tuple(chunk.start_ns for chunk in chunks), demonstration)


def smooth_motion(random: np.random.Generator, duration_s: float) -> CubicSpline:
    """From rest through random postures, one a second, by a quintic spline; sampled finely."""
    via_s = np.arange(0.0, duration_s + 2 * _VIA_S, _VIA_S)
    postures = random.normal(0, _REACH_RAD, (len(via_s), JOINTS))
    at_rest = [(order, np.zeros(JOINTS)) for order in (1, 2)]
    quintic = make_interp_spline(via_s, postures, k=5, bc_type=(at_rest, at_rest))
    fine_s = np.linspace(0, via_s[-1], 40 * len(via_s))
    return CubicSpline(fine_s, quintic(fine_s))


def chunk_at(t: float, demonstration: CubicSpline, random: np.random.Generator) -> ActionChunk:
    ahead_s = (np.arange(ROWS) + 1) / ROW_HZ
    pace = 1 + random.normal(0, _PACE)
    start = demonstration(t) + random.normal(0, _OBSERVATION_RAD, JOINTS)
    steps = random.normal(0, _STRAY_RAD, (6, JOINTS)) * np.linspace(0, 1, 6)[:, None]
    stray = CubicSpline(np.linspace(0, ROWS / ROW_HZ, 6), steps, bc_type="natural")
    values = start + demonstration(t + pace * ahead_s) - demonstration(t) + stray(ahead_s)
    values = values + random.normal(0, _ROW_RAD, values.shape)
    start_ns = START_NS + round(t * NANOSECONDS_PER_SECOND)
    return ActionChunk(start_ns, ROW_HZ, "joint_pos_rad", NAMES, values)


def read(folder: Path) -> Recording:
    """The joints of the chunks that a real cell's executor logged."""
    run = read_run(folder)
    count = len(run.info.joint_names)
    chunks = tuple(
        ActionChunk(
            recorded.chunk.start_ns,
            recorded.chunk.rate_hz,
            "joint_pos_rad",
            run.info.joint_names,
            recorded.chunk.values[:, :count],
        )
        for recorded in run.chunks
    )
    observed_ns = tuple(recorded.observation_ns for recorded in run.chunks)
    return Recording(run.info.joint_names, chunks[0].values[0], chunks, observed_ns, None)
