# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""An arm's model → the meshes of its links, and where links, tip and camera are at some joint angles. Base frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hardware.bench.arm_models import TIP, ArmModel
from hardware.spatial import Pose
from hardware.urdf import DRAWN_GROUPS

OPTICAL = np.diag([1.0, -1.0, -1.0])
"""MuJoCo's camera looks along −z with y up."""
LINKAGE = {"driver": 1.0, "spring_link": 1.0, "follower": -1.0}
"""How the links of a 2F-85 turn with its driver: both fingers stay parallel."""


@dataclass(frozen=True, eq=False)
class LinkMesh:
    """Triangles in the link's frame."""

    link: str
    vertices_m: Float[ndarray, "V 3"]
    faces: Int[ndarray, "F 3"]
    rgb: tuple[int, int, int]


class DrawnArm:
    """One thread. `names`: the cell's joints, as the arm's own model calls them or in its order."""

    def __init__(self, arm: ArmModel, names: Sequence[str]) -> None:
        self._arm, self._model = arm, arm.spec_with_tip().compile()
        self._data = mujoco.MjData(self._model)
        joints = names if set(names) <= set(arm.joints) else arm.joints
        self._places = [self._model.joint(name).qposadr[0] for name in joints]
        self._links = sorted({mesh.link for mesh in self.meshes()})
        self._jaws = [
            (self._model.jnt_qposadr[number], LINKAGE[part])
            for number in range(self._model.njnt)
            for part in LINKAGE
            if f"_{part}_" in self._model.joint(number).name
        ] or [(self._model.joint(arm.gripper_joint).qposadr[0], 1.0)]

    def meshes(self) -> list[LinkMesh]:
        """Those that are drawn, not those that only touch; one per geometry."""
        model, found = self._model, []
        for geom in range(model.ngeom):
            if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_MESH or model.geom_group[geom] not in DRAWN_GROUPS:
                continue
            mesh, material = model.geom_dataid[geom], model.geom_matid[geom]
            first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
            face, faces = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
            link = model.body(model.geom_bodyid[geom]).name
            T_link_geom = Pose.from_quat_wxyz(
                "link", "geom", model.geom_quat[geom].tolist(), model.geom_pos[geom].tolist()
            )
            rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
            red, green, blue = (round(255 * float(share)) for share in rgba[:3])
            found.append(
                LinkMesh(
                    link,
                    T_link_geom.apply(model.mesh_vert[first : first + count].astype(np.float64)),
                    model.mesh_face[face : face + faces].astype(np.int64),
                    (red, green, blue),
                )
            )
        return found

    def move(self, q_rad: Sequence[float], gripper_open: float | None = None) -> None:
        """All poses below are those of the newest move. An opening of None leaves the jaws as they are."""
        self._data.qpos[self._places] = q_rad
        if gripper_open is not None:
            closed, opened = self._arm.gripper_rad
            for place, share in self._jaws:
                self._data.qpos[place] = share * (closed + gripper_open * (opened - closed))
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def Ts_base_link(self) -> dict[str, Pose]:
        return {
            link: self._pose(link, self._data.body(link).xmat, self._data.body(link).xpos) for link in self._links
        }

    def T_base_tip(self) -> Pose:
        site = self._data.site(TIP)
        return self._pose("tip", site.xmat, site.xpos)

    def T_base_cam(self) -> Pose:
        """Of the camera that the arm's own model has on its wrist; optical frame."""
        camera = self._data.camera(self._arm.wrist_camera)
        return Pose.from_parts("base", "cam", camera.xmat.reshape(3, 3) @ OPTICAL, camera.xpos)

    @property
    def fov_rad(self) -> float:
        """Vertical, of that camera."""
        return math.radians(float(self._model.camera(self._arm.wrist_camera).fovy[0]))

    @property
    def home_m(self) -> float:
        """How far the tip is from the base's axis where the arm rests."""
        self.move(self._arm.home_rad)
        return float(np.linalg.norm(self.T_base_tip().translation_m[:2]))

    def path_m(self, rows_rad: Sequence[Sequence[float]]) -> Float[ndarray, "T 3"]:
        """Where the tip goes through these angles."""
        points = []
        for row in rows_rad:
            self.move(row)
            points.append(self.T_base_tip().translation_m)
        return np.array(points).reshape(-1, 3)

    @staticmethod
    def _pose(name: str, rotation: ndarray, translation_m: ndarray) -> Pose:
        return Pose.from_parts("base", name, rotation.reshape(3, 3), translation_m.copy())
