"""Where joints, tool and things went: a simulator and actions in, poses over time out; two such, compared."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from twin.sim.protocol import SimState, Simulator, Start


@dataclass(frozen=True, eq=False)
class Track:
    """One environment, from its start (row 0) on."""

    time_s: Float[ndarray, " T"]
    q_rad: Float[ndarray, "T J"]
    gripper_open: Float[ndarray, " T"]
    Ts_base_tool: Float[ndarray, "T 4 4"]
    Ts_base_object: dict[str, Float[ndarray, "T 4 4"]]
    touching: Bool[ndarray, " T"]

    def __len__(self) -> int:
        return len(self.time_s)

    def cut(self, count: int) -> Track:
        """Its first `count` rows."""
        things = {name: poses[:count] for name, poses in self.Ts_base_object.items()}
        return Track(
            self.time_s[:count],
            self.q_rad[:count],
            self.gripper_open[:count],
            self.Ts_base_tool[:count],
            things,
            self.touching[:count],
        )


@dataclass(frozen=True, eq=False)
class Played:
    """Tracks of all environments, and what a control step of all together took."""

    tracks: tuple[Track, ...]
    step_s: float
    """Median wall time."""


def play(simulator: Simulator, starts: Sequence[Start], actions: Float[ndarray, "N T D"]) -> Played:
    """Resets every environment, then steps through the actions."""
    states, taken = [simulator.reset(starts)], []
    for step in range(actions.shape[1]):
        began = time.perf_counter()
        states.append(simulator.step(actions[:, step]))
        taken.append(time.perf_counter() - began)
    tracks = tuple(_track(states, env) for env in range(simulator.n_envs))
    return Played(tracks, float(np.median(taken)) if taken else 0.0)


def _track(states: Sequence[SimState], env: int) -> Track:
    def stacked(name: str) -> ndarray:
        return np.stack([getattr(state, name)[env] for state in states])

    names = states[0].Ts_base_object
    return Track(
        time_s=stacked("time_s"),
        q_rad=stacked("q_rad"),
        gripper_open=stacked("gripper_open"),
        Ts_base_tool=stacked("Ts_base_tool"),
        Ts_base_object={name: np.stack([state.Ts_base_object[name][env] for state in states]) for name in names},
        touching=stacked("touching"),
    )


def apart_mm(a: Float[ndarray, "T 4 4"], b: Float[ndarray, "T 4 4"]) -> Float[ndarray, " T"]:
    return 1000 * np.linalg.norm(a[:, :3, 3] - b[:, :3, 3], axis=1)


def apart_deg(a: Float[ndarray, "T 4 4"], b: Float[ndarray, "T 4 4"]) -> Float[ndarray, " T"]:
    """Angle of the rotation between them. Through sine and cosine: an arc cosine is blind below 0.02°."""
    between = np.swapaxes(a[:, :3, :3], 1, 2) @ b[:, :3, :3]
    skewed = between - np.swapaxes(between, 1, 2)
    sine = np.linalg.norm(np.stack([skewed[:, 2, 1], skewed[:, 0, 2], skewed[:, 1, 0]], 1), axis=1) / 2
    cosine = (np.trace(between, axis1=1, axis2=2) - 1) / 2
    return np.degrees(np.arctan2(sine, cosine))


def when_s(time_s: Float[ndarray, " T"], values: Float[ndarray, " T"], level: float) -> float | None:
    """When a quantity first passes a level, between samples; None where it never does."""
    above = np.flatnonzero(values > level)
    if not len(above) or above[0] == 0:
        return float(time_s[0]) if len(above) else None
    at = above[0]
    part = (level - values[at - 1]) / (values[at] - values[at - 1])
    return float(time_s[at - 1] + part * (time_s[at] - time_s[at - 1]))


def last_s(time_s: Float[ndarray, " T"], values: Float[ndarray, " T"], level: float) -> float | None:
    """When a quantity was last above a level, between samples; None where it never was."""
    above = np.flatnonzero(values > level)
    if not len(above):
        return None
    at = above[-1]
    if at + 1 == len(values):
        return float(time_s[at])
    part = (values[at] - level) / (values[at] - values[at + 1])
    return float(time_s[at] + part * (time_s[at + 1] - time_s[at]))
