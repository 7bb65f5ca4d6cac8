# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""A world's choice in; its solid side out: may the arm stand like this, and what is the object's surface?

The very model that the episodes run in: the bench's plant, or the twin's scene. Everything in the arm's base frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mujoco
import numpy as np
import trimesh
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.bench import workcell
from hardware.bench.arm_models import ARMS, ArmModel
from hardware.bench.scene import ARM_PREFIX
from hardware.errors import BadInput
from hardware.spatial import Pose
from rl_online.worlds.open_world import WorldChoice, plant_config
from twin.sim import scene
from twin.sim.scene import settled_gripper

SINK_M = 0.0005
"""Overlap that does not count: resting contacts have as much."""


class Solids:
    """One arm, one object that it is to handle, and all that neither may run into."""

    def __init__(
        self, model: mujoco.MjModel, arm: ArmModel, prefix: str, object_name: str, T_world_base: Pose
    ) -> None:
        self.arm, self.object_name = arm, object_name
        self.model, self._data = model, mujoco.MjData(model)
        self._T_world_base = T_world_base
        self._joints = np.array([model.joint(prefix + name).qposadr[0] for name in arm.joints])
        self._prefix = prefix
        self._object = model.body(object_name).id
        self._object_joint = int(model.jnt_qposadr[model.body_jntadr[self._object]])
        root = model.body_rootid[model.geom_bodyid]
        self._is_object: Bool[ndarray, " G"] = root == self._object
        names = [model.body(int(body)).name for body in model.geom_bodyid]
        self._is_arm: Bool[ndarray, " G"] = np.array([name.startswith(prefix) for name in names])
        self._held: Pose | None = None
        self._tip_parent = model.body(prefix + arm.tip_parent).id
        self._T_parent_tip = Pose.from_quat_wxyz("parent", "tip", arm.tip_quat_wxyz, arm.tip_at_m)
        self._usual: set[tuple[int, int]] = set()
        self._usual = self._overlaps(np.array(arm.home_rad), arm.approach_open)

    def place(self, T_base_object: Pose) -> None:
        """The object stands there now, and is not held."""
        self._held = None
        self._put(T_base_object)

    @contextmanager
    def holding(self, T_tip_obj: Pose) -> Iterator[None]:
        """Meanwhile the object goes with the tip, and jaws may touch it."""
        self._held = T_tip_obj
        try:
            yield
        finally:
            self._held = None

    def is_free(self, q_rad: Float[ndarray, " J"], gripper_open: float, touching: bool = False) -> bool:
        """Whether arm and held object run into nothing. `touching`: the arm may touch the object."""
        return not self._overlaps(q_rad, gripper_open, touching=touching) - self._usual

    def surface(self) -> trimesh.Trimesh:
        """Of the object's contact geometry, in the object's frame."""
        model = self.model
        pieces = []
        for geom in np.flatnonzero(self._is_object & (model.geom_contype > 0)):
            piece = _mesh(model, int(geom))
            turn = np.empty(9)
            mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
            T_obj_geom = np.eye(4)
            T_obj_geom[:3, :3], T_obj_geom[:3, 3] = turn.reshape(3, 3), model.geom_pos[geom]
            piece.apply_transform(T_obj_geom)
            pieces.append(piece)
        if not pieces:
            raise BadInput(f"'{self.object_name}' has no contact geometry", "tandem twin contact gives it")
        whole = trimesh.util.concatenate(pieces)
        assert isinstance(whole, trimesh.Trimesh)
        return whole

    def _overlaps(
        self, q_rad: Float[ndarray, " J"], gripper_open: float, touching: bool = False
    ) -> set[tuple[int, int]]:
        """Pairs of geoms that overlap and of which one is the arm's or held."""
        data, model = self._data, self.model
        data.qpos[self._joints] = q_rad
        for name, angle in settled_gripper_angles(self.arm, gripper_open).items():
            data.qpos[model.joint(self._prefix + name).qposadr[0]] = angle
        mujoco.mj_kinematics(model, data)
        if self._held is not None:
            self._put(self._T_base_tip() @ self._held)
            mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        contact = data.contact
        pairs, deep = contact.geom, contact.dist < -SINK_M
        arm, thing = self._is_arm[pairs], self._is_object[pairs]
        carried = thing if self._held is not None else np.zeros_like(thing)
        wrong = (arm | carried).any(axis=1) & deep
        if touching or self._held is not None:
            wrong &= ~(arm.any(axis=1) & thing.any(axis=1))
        return {(int(one), int(other)) for one, other in np.sort(pairs[wrong], axis=1)}

    def _put(self, T_base_object: Pose) -> None:
        T_world_object = self._T_world_base @ T_base_object
        at = self._object_joint
        self._data.qpos[at : at + 3] = T_world_object.translation_m
        self._data.qpos[at + 3 : at + 7] = T_world_object.quat_wxyz

    def _T_base_tip(self) -> Pose:
        body = self._tip_parent
        rotation = self._data.xmat[body].reshape(3, 3)
        T_world_parent = Pose.from_parts("world", "parent", rotation, self._data.xpos[body])
        return self._T_world_base.inverse() @ T_world_parent @ self._T_parent_tip


def open_solids(choice: WorldChoice, object_name: str) -> Solids:
    """Of the world that `open_world` opens for the same choice."""
    arm = ARMS[choice.arm]
    if choice.bundle is None:
        model = workcell.build(plant_config(choice)).model
        return Solids(model, arm, ARM_PREFIX, object_name, Pose.identity("world", "base"))
    read = scene.read(choice.bundle)
    if read.hand.arm is None:
        raise BadInput(f"{choice.bundle} has no arm to plan for", "tandem twin align puts one in")
    return Solids(read.compile(), read.hand.arm, read.hand.prefix, object_name, read.T_world_base)


_settled: dict[tuple[str, float], dict[str, float]] = {}


def settled_gripper_angles(arm: ArmModel, gripper_open: float) -> dict[str, float]:
    """Of the gripper's joints, to a hundredth of the opening."""
    key = arm.name, round(gripper_open, 2)
    if key not in _settled:
        _settled[key] = settled_gripper(arm, key[1])
    return _settled[key]


def _mesh(model: mujoco.MjModel, geom: int) -> trimesh.Trimesh:
    kind, size = model.geom_type[geom], model.geom_size[geom]
    shapes = mujoco.mjtGeom
    if kind == shapes.mjGEOM_BOX:
        return trimesh.creation.box(2 * size)
    if kind == shapes.mjGEOM_CYLINDER:
        return trimesh.creation.cylinder(size[0], 2 * size[1])
    if kind == shapes.mjGEOM_CAPSULE:
        return trimesh.creation.capsule(2 * size[1], size[0])
    if kind == shapes.mjGEOM_SPHERE:
        return trimesh.creation.icosphere(2, size[0])
    if kind == shapes.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        vertices = slice(model.mesh_vertadr[mesh], model.mesh_vertadr[mesh] + model.mesh_vertnum[mesh])
        faces = slice(model.mesh_faceadr[mesh], model.mesh_faceadr[mesh] + model.mesh_facenum[mesh])
        return trimesh.Trimesh(model.mesh_vert[vertices], model.mesh_face[faces])
    raise BadInput(f"contact geometry of kind {kind} cannot be grasped", "give a box, cylinder, sphere or mesh")
