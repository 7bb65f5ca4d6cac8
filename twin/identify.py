# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""`tandem twin identify`: recorded episodes in, how the cell's servos differ from the arm model's out (`servos.json`).

Stiffness, damping, dry friction and delay are fitted by least squares to the measured joint angles, by simulating
the arm alone under the commands that were sent. Every third episode is held out and says how good the fit is.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import mujoco
import numpy as np
import tyro
from jaxtyping import Float
from mujoco import rollout
from numpy import ndarray
from pydantic import PositiveFloat, PositiveInt
from rich.console import Console
from scipy.optimize import least_squares

from hardware import artefact, gate
from hardware.bench.arm_models import ARMS, ArmModel
from hardware.config import Config
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput
from hardware.gate import Gate
from twin import object_asset, servos
from twin.export import mjcf
from twin.replay import Commands
from twin.servos import IdentifiedServos, Servos

log = logging.getLogger(__name__)

LOWEST = np.array([*np.log([0.2, 0.2, 0.05]), 0.0])
HIGHEST = np.array([*np.log([5.0, 5.0, 20.0]), 0.25])
"""Logarithms of stiffness, of damping and friction as shares of it; then the delay in s."""
FIRST_GUESS = np.array([0.0, 0.0, 0.0, 0.01])
DIFFERENCE = np.array([0.03, 0.03, 0.1, 0.004])
"""Steps of the derivative: well above what MuJoCo's solver leaves over."""
HELD_OUT_EVERY = 3
LIMIT_DEG = 1.0


class IdentifyServos(Config):
    """Finds how the cell's servos differ from the arm model's, from episodes recorded on the cell."""

    bundle: tyro.conf.Positional[Path]
    """A twin of that cell, with its robot."""
    episodes: tyro.conf.Positional[Path]
    """An episode store that a recorder wrote."""
    most: PositiveInt = 6
    """Episodes used, the held-out ones included: the longest motions."""
    most_s: PositiveFloat = 12.0
    """Of each episode, from its start."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the result here."""


class ArmAlone:
    """The arm under given commands, without table and things."""

    def __init__(self, arm: ArmModel) -> None:
        spec = arm.spec()
        spec.option.timestep = mjcf.STEP_S
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        for geom in spec.geoms:
            geom.contype = geom.conaffinity = 0
        self.arm, self.model, self.simulations = arm, spec.compile(), 0
        self._q_at = np.array([self.model.joint(name).qposadr[0] for name in arm.joints])
        self._servo = np.array([self.model.actuator(name).id for name in arm.joints])

    def q_rad(self, commands: Commands, guess: Servos, most_s: float) -> tuple[ndarray, ndarray]:
        """(measured, simulated), R × J, at the readings within `most_s`."""
        model = copy.copy(self.model)
        servos.apply(model, self.arm.joints, "", guess)
        data = mujoco.MjData(model)
        data.qpos[self._q_at] = commands.q_rad[0]
        count = int(np.ceil(min(most_s, commands.end_s) / model.opt.timestep)) + 1
        ctrl = np.full((count, model.nu), self.arm.gripper_ctrl[1])
        span = model.actuator_ctrlrange[self._servo]
        goals = held_goals(commands, guess.delay_s, count, model.opt.timestep)[:, :-1]
        ctrl[:, self._servo] = np.clip(goals, span[:, 0], span[:, 1])
        start = np.empty(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS))
        mujoco.mj_getState(model, data, start, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        states = np.asarray(rollout.rollout(model, data, start, ctrl)[0])
        path = np.concatenate([start[None], states[0]])[:, 1 + self._q_at]  # a state begins with its time
        self.simulations += 1
        kept = commands.read_s <= most_s
        times_s = np.arange(count + 1) * model.opt.timestep
        found = np.stack([np.interp(commands.read_s[kept], times_s, column) for column in path.T], 1)
        return commands.q_rad[kept], found


def held_goals(commands: Commands, delay_s: float, count: int, step_s: float) -> Float[ndarray, "T D"]:
    """The mean over each step of the commands in force: smooth in the delay, so that it can be fitted."""
    edges = np.concatenate([commands.sent_s + delay_s, [np.inf]])
    edges[0] = -np.inf
    begin = np.arange(count) * step_s
    first = np.searchsorted(edges, begin, side="right") - 1
    last = np.searchsorted(edges, begin + step_s, side="left") - 1
    changes = np.where(first == last, begin + step_s, np.minimum(edges[np.minimum(first + 1, len(edges) - 1)], 1e9))
    share = np.clip((changes - begin) / step_s, 0.0, 1.0)[:, None]
    return share * commands.actions[first] + (1 - share) * commands.actions[last]


def identify(config: IdentifyServos) -> int:
    """Writes `servos.json` into the bundle, unless the held-out error is beyond the gate."""
    result = fit(config)
    found = result.servos
    Console().print(
        f"stiffness × {found.stiffness:.3f}, damping × {found.damping:.3f}, friction × {found.friction:.3f}, "
        f"delay {1000 * found.delay_s:.1f} ms; held-out joints {result.held_out_deg:.3f}° "
        f"(before: {result.before_deg:.3f}°), {result.simulations} simulations"
    )
    if config.json_file is not None:
        artefact.write_model(config.json_file, result)
    gate.check([quality(result)])
    artefact.write_model(config.bundle / servos.SERVOS, result)
    return 0


def quality(result: IdentifiedServos) -> Gate:
    return Gate(
        name="joint angles of held-out episodes",
        value=result.held_out_deg,
        relation="<=",
        limit=LIMIT_DEG,
        unit="°",
        advice="do the episodes touch or lift heavy things? record the arm moving freely, fast and slowly",
    )


def fit(config: IdentifyServos) -> IdentifiedServos:
    """Raises `BadInput` for a bundle without a robot, and for fewer than two episodes of its arm."""
    robot = object_asset.robot(config.bundle)
    if robot is None:
        raise BadInput(f"{config.bundle} has no robot", "tandem twin segment BUNDLE --robot …")
    arm = ARMS[robot.model]
    store = EpisodeStore.open(config.episodes)
    recorded = {one.number: Commands.of(one, arm.joints) for one in store.finished()}
    chosen = sorted(sorted(recorded, key=lambda n: -travel_rad(recorded[n]))[: config.most])
    if len(chosen) < 2:
        raise BadInput(
            f"{config.episodes} has {len(chosen)} finished episode(s): one to fit, one to check", "record"
        )
    held_out = chosen[::HELD_OUT_EVERY] if len(chosen) > 2 else chosen[:1]
    fitted = [number for number in chosen if number not in held_out]
    alone = ArmAlone(arm)
    found = solve(alone, [recorded[number] for number in fitted], config.most_s)
    checked = [recorded[number] for number in held_out]
    return IdentifiedServos(
        servos=found,
        model=robot.model,
        episodes=tuple(fitted),
        store=config.episodes.name,
        date=datetime.now(UTC).replace(microsecond=0),
        fitted_deg=rms_deg(alone, [recorded[number] for number in fitted], found, config.most_s),
        held_out_deg=rms_deg(alone, checked, found, config.most_s),
        before_deg=rms_deg(alone, checked, Servos(), config.most_s),
        simulations=alone.simulations,
    )


def solve(alone: ArmAlone, episodes: Sequence[Commands], most_s: float) -> Servos:
    """Least squares over all joints of all episodes; a robust loss, since a grip or a touch is no servo's doing."""

    def residuals(x: Float[ndarray, 4]) -> ndarray:
        pairs = [alone.q_rad(commands, as_servos(x), most_s) for commands in episodes]
        return np.concatenate([(found - measured).ravel() for measured, found in pairs]) / np.radians(0.2)

    def jacobian(x: Float[ndarray, 4]) -> ndarray:
        inside = np.clip(x, LOWEST, HIGHEST - DIFFERENCE)
        here = residuals(inside)
        return np.stack([(residuals(inside + step) - here) / step.sum() for step in np.diag(DIFFERENCE)], 1)

    solved = least_squares(
        residuals,
        FIRST_GUESS,
        jac=jacobian,  # pyright: ignore[reportArgumentType] - its stub knows only names of schemes
        bounds=(LOWEST, HIGHEST),
        loss="soft_l1",
        xtol=1e-4,
        ftol=1e-7,
        x_scale=np.array([0.1, 0.1, 0.3, 0.01]),
        max_nfev=40,
    )
    log.info("servos fitted after %d evaluations: %s", solved.nfev, as_servos(solved.x))
    return as_servos(solved.x)


def as_servos(x: Float[ndarray, 4]) -> Servos:
    """Motion shows damping and friction per stiffness well, stiffness itself only where weight bends the arm."""
    stiffness, damping, friction = (float(value) for value in np.exp(x[:3] + x[0] * np.array([0.0, 1.0, 1.0])))
    return Servos(stiffness=stiffness, damping=damping, friction=friction, delay_s=max(0.0, float(x[3])))


def rms_deg(alone: ArmAlone, episodes: Sequence[Commands], guess: Servos, most_s: float) -> float:
    pairs = [alone.q_rad(commands, guess, most_s) for commands in episodes]
    errors = np.concatenate([(found - measured).ravel() for measured, found in pairs])
    return float(np.degrees(np.sqrt(np.mean(errors**2))))


def travel_rad(commands: Commands) -> float:
    """How far the joints went in all."""
    return float(np.abs(np.diff(commands.q_rad, axis=0)).sum())
