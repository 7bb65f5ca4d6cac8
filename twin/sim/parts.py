# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""What a scene looks like, carrier by carrier: the splats of links, objects and of what never moves."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
import trimesh
from jaxtyping import Float
from numpy import ndarray

from hardware.errors import BadInput
from hardware.spatial import quat_wxyz_from_rotation
from twin import object_asset, robot_splat, splat_ply
from twin.sim.scene import PUSHER_LONG_M, PUSHER_RADIUS_M, SimScene
from twin.splat import Splat
from twin.splat_motion import moved

NOTHING = Splat(*(np.zeros(shape) for shape in ((0, 3), (0, 4), (0, 3), (0,), (0, 1, 3))))


@dataclass(frozen=True, eq=False)
class Part:
    """Gaussians in the frame of the body that carries them."""

    name: str
    body: int
    """Of the model; 0 is the world."""
    splat: Splat


def moving(scene: SimScene, model: mujoco.MjModel) -> list[Part]:
    """Links and objects that can move."""
    parts = [part for part in links(scene, model) if model.body_weldid[part.body] != 0]
    for asset in scene.objects:
        file = object_asset.folder(scene.bundle, asset.name) / asset.splat
        parts.append(Part(asset.name, model.body(asset.name).id, splat_ply.read(file)))
    return parts


def still(scene: SimScene, model: mujoco.MjModel) -> Splat:
    """In the world's frame: the background, and the things and links that are fixed to the world."""
    file = scene.bundle / object_asset.BACKGROUND
    if not file.is_file():
        raise BadInput(
            f"{scene.bundle} has no {file.name}: nothing to draw behind the objects", "tandem twin segment"
        )
    fixed = [splat_ply.read(file)]
    for asset in scene.fixed:
        own = splat_ply.read(object_asset.folder(scene.bundle, asset.name) / asset.splat)
        fixed.append(moved(own, asset.pose.rotation, asset.pose.translation_m))
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    for part in links(scene, model):
        if model.body_weldid[part.body] == 0:
            fixed.append(moved(part.splat, data.xmat[part.body].reshape(3, 3), data.xpos[part.body]))
    return Splat.concatenate(fixed)


def links(scene: SimScene, model: mujoco.MjModel) -> list[Part]:
    """As the scan saw them; grey, sampled from the arm's meshes, where robot.json names no splats."""
    hand, robot = scene.hand, scene.robot
    if robot is None:
        return [Part(hand.tool_body, model.body(hand.tool_body).id, rod())]
    if robot.links:
        splats = {name: splat_ply.read(scene.bundle / file) for name, file in robot.links.items()}
    else:
        placed = robot_splat.placed_links(robot.model, scene.T_world_base, robot.q_rad)
        splats = {link.name: robot_splat.link_splat(link, NOTHING) for link in placed}
    return [Part(name, model.body(hand.prefix + name).id, splat) for name, splat in splats.items()]


def rod() -> Splat:
    """The pusher's surface, grey; its frame is at its lower end."""
    shape = trimesh.creation.capsule(PUSHER_LONG_M - 2 * PUSHER_RADIUS_M, PUSHER_RADIUS_M)
    vertices: Float[ndarray, "V 3"] = np.asarray(shape.vertices, np.float64)
    vertices[:, 2] += PUSHER_LONG_M / 2 - shape.bounds.mean(0)[2]
    points, normals = robot_splat.sampled(vertices, np.asarray(shape.faces), np.random.default_rng(0))
    side = np.cross(normals, np.where(np.abs(normals[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]]))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    facing = np.stack([side, np.cross(normals, side), normals], 2)
    return Splat(
        means_m=points,
        quats_wxyz=quat_wxyz_from_rotation(facing),
        scales_m=np.tile([2.2e-3, 2.2e-3, 3e-4], (len(points), 1)),
        opacities=np.full(len(points), 0.95),
        sh=np.zeros((len(points), 1, 3)),
    )
