"""A simulator and actions in; states, pictures and how long each part took out: what `tandem twin sim` and the
benchmark measure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.config import Config
from twin.sim.protocol import SimState, Simulator, Start


class Timing(Config):
    """Of the control steps of N environments together; medians, wall time."""

    engine: str
    environments: int
    width_px: int
    height_px: int
    control_hz: float
    physics_ms: float
    """Of one control step of all environments."""
    render_ms: float
    """Of one picture of every environment."""

    @property
    def total_ms(self) -> float:
        return self.physics_ms + self.render_ms

    @property
    def env_steps_per_s(self) -> float:
        """With pixels."""
        return 1e3 * self.environments / self.total_ms

    @property
    def physics_steps_per_s(self) -> float:
        """Control steps of environments, without pixels."""
        return 1e3 * self.environments / self.physics_ms

    @property
    def times_real(self) -> float:
        """Simulated seconds of all environments in one second."""
        return self.env_steps_per_s / self.control_hz


@dataclass(eq=False)
class Rollout:
    """From the start (row 0) on."""

    states: list[SimState] = field(default_factory=list)
    pictures: list[UInt8[ndarray, "N H W 3"]] = field(default_factory=list)
    physics_s: list[float] = field(default_factory=list)
    render_s: list[float] = field(default_factory=list)

    def timing(self, simulator: Simulator, width_px: int, height_px: int) -> Timing:
        return Timing(
            engine=simulator.engine,
            environments=simulator.n_envs,
            width_px=width_px,
            height_px=height_px,
            control_hz=simulator.control_hz,
            physics_ms=1e3 * float(np.median(self.physics_s)),
            render_ms=1e3 * float(np.median(self.render_s)),
        )


def play(
    simulator: Simulator,
    starts: Sequence[Start],
    actions: Float[ndarray, "T N D"],
    camera: str,
    width_px: int,
    height_px: int,
    keep_pictures: bool = True,
) -> Rollout:
    """Resets all environments, then steps and draws each row of actions."""
    done = Rollout(states=[simulator.reset(starts)])
    first = simulator.render(camera, width_px, height_px)  # compiles, and draws what never moves
    if keep_pictures:
        done.pictures.append(first)
    for action in actions:
        began = time.perf_counter()
        state = simulator.step(action)
        stepped = time.perf_counter()
        picture = simulator.render(camera, width_px, height_px)
        done.render_s.append(time.perf_counter() - stepped)
        done.physics_s.append(stepped - began)
        done.states.append(state)
        if keep_pictures:
            done.pictures.append(picture)
    return done
