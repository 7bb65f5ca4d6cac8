"""From the gradient of a pose's twelve entries to that of a small motion of the camera, and a step along it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.spatial import Pose


def twist_gradient(T_cam_world: Float[ndarray, "4 4"], grad: Float[ndarray, "3 4"]) -> Float[ndarray, 6]:
    """d loss / d [v, ω] at 0 of exp([v, ω]) @ T_cam_world, from d loss / d [R | t].

    exp moves column c of R by ω × c, and t by v + ω × t.
    """
    by_turn = np.cross(T_cam_world[:3].T, grad.T).sum(0)
    return np.concatenate([grad[:, 3], by_turn])


def moved(T_cam_world: Float[ndarray, "4 4"], twist: Float[ndarray, 6]) -> Float[ndarray, "4 4"]:
    """exp(twist) @ T_cam_world; stays a rigid motion."""
    return Pose.exp("cam", "cam", twist).matrix @ T_cam_world
