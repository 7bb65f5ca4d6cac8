# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""How the cell's servos differ from the arm model's: `servos.json` of a bundle, and its effect on a MuJoCo model."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import mujoco
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat

from hardware.config import Config, read

SERVOS = "servos.json"


class Servos(Config):
    """Shares of what the arm's own model says, the same for all its joints, and a delay."""

    stiffness: PositiveFloat = 1.0
    """Of the position servo."""
    damping: PositiveFloat = 1.0
    """Of servo and joint together."""
    friction: NonNegativeFloat = 1.0
    """Dry friction of the joints."""
    delay_s: NonNegativeFloat = 0.0
    """From a command's stamp to the servo. Engines do not know it: whoever gives actions delays them."""


class IdentifiedServos(Config):
    """`servos.json`: written by `tandem twin identify`, never by hand."""

    servos: Servos
    model: str
    """The arm's."""
    episodes: tuple[int, ...]
    store: str
    date: datetime
    fitted_deg: NonNegativeFloat
    """Root mean square of measured against simulated joint angles, on the episodes fitted."""
    held_out_deg: NonNegativeFloat
    """The same on episodes that were not."""
    before_deg: NonNegativeFloat
    """On the same held-out ones, with the arm model's own servos and no delay."""
    simulations: NonNegativeInt


def find(bundle: Path) -> IdentifiedServos | None:
    return read(IdentifiedServos, bundle / SERVOS) if (bundle / SERVOS).is_file() else None


def of(bundle: Path) -> Servos:
    """The arm model's own where none were identified."""
    found = find(bundle)
    return Servos() if found is None else found.servos


def apply(model: mujoco.MjModel, joints: tuple[str, ...], prefix: str, servos: Servos) -> None:
    """Changes position servos and joints of the arm in a compiled model; a gripper's are left alone."""
    for name in joints:
        actuator, dof = model.actuator(prefix + name).id, model.joint(prefix + name).dofadr[0]
        model.actuator_gainprm[actuator, 0] *= servos.stiffness
        model.actuator_biasprm[actuator, 1] *= servos.stiffness
        model.actuator_biasprm[actuator, 2] *= servos.damping
        model.dof_damping[dof] *= servos.damping
        model.dof_frictionloss[dof] *= servos.friction
