# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""Joint angles ↔ where the tool is, for any arm with a MuJoCo model; also how close the arm comes to table and itself.

Inverse kinematics is mink's (Zakka, 2024): a quadratic program per step, with the joints' ranges as hard limits. An
object of this module keeps scratch memory: use one per thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import mink
import mujoco
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.arm_models import PANDA, SO101, TIP, ArmModel
from hardware.errors import TandemError
from hardware.spatial import Pose

POSITION_TOLERANCE_M, ROTATION_TOLERANCE_RAD = 2e-4, 2e-3
STEPS = 40
PATIENCE = 5
"""A search that has not come a tenth nearer in so many steps is given up."""
STEP_S = 0.1
"""mink's step; with gain 1 a Gauss-Newton step whose velocity is bounded by nothing but the ranges."""
POSTURE_COST = 1e-3
"""Of leaving the start posture, against 1 for each metre and each radian of the tool's error."""
FAR_M = 1.0
JAW_AJAR = 0.3
"""The opening at which the gripper stands in the kinematic model."""


class Unreachable(TandemError):
    """No angles within the joints' ranges bring the tool there (as far as the search from that start could find)."""


class Kinematics:
    """Of one arm, whose model has hinge joints only: those of the arm, in order. Base frame: the model's world.

    `tip` is a site of the model.
    """

    def __init__(self, model: mujoco.MjModel, tip: str) -> None:
        if model.nq != model.njnt or not (model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE).all():
            raise ValueError("every joint of the model must be a hinge of the arm")
        self.model = model
        self.names = tuple(model.joint(number).name for number in range(model.njnt))
        self.lower_rad: Float[ndarray, " J"] = model.jnt_range[:, 0].copy()
        self.upper_rad: Float[ndarray, " J"] = model.jnt_range[:, 1].copy()
        self._data = mujoco.MjData(model)
        self._tip = tip
        self._tip_id = model.site(tip).id
        self._configuration = mink.Configuration(model)
        self._range_limit = mink.ConfigurationLimit(model)

    def T_base_tip(self, q_rad: Float[ndarray, " J"]) -> Pose:
        self._move(q_rad)
        rotation = self._data.site_xmat[self._tip_id].reshape(3, 3)
        return Pose.from_parts("base", "tip", rotation, self._data.site_xpos[self._tip_id])

    def jacobian(self, q_rad: Float[ndarray, " J"]) -> Float[ndarray, "6 J"]:
        """Rows: the tip's velocity (m/s), then its angular velocity (rad/s), both in the base frame, per rad/s."""
        self._move(q_rad)
        mujoco.mj_comPos(self.model, self._data)
        jacobian = np.zeros((6, self.model.nv))
        mujoco.mj_jacSite(self.model, self._data, jacobian[:3], jacobian[3:], self._tip_id)
        return jacobian

    def solve(
        self,
        T_base_tip: Pose,
        q_near_rad: Float[ndarray, " J"],
        rotation_tolerance_rad: float = ROTATION_TOLERANCE_RAD,
        rotation_cost_m_rad: float = 0.3,
    ) -> Float[ndarray, " J"]:
        """Angles near `q_near_rad` that bring the tip there within 0.2 mm and the tolerance.

        Raises `Unreachable`. An arm of five joints reaches only those rotations that it can; with a large tolerance
        and a small cost (metres that a radian is worth) it comes as near as its ranges let it.
        """
        task = mink.FrameTask(
            self._tip, "site", position_cost=1.0, orientation_cost=rotation_cost_m_rad, lm_damping=1e-6
        )
        task.set_target(mink.SE3.from_matrix(T_base_tip.matrix))
        posture = mink.PostureTask(self.model, cost=POSTURE_COST)
        posture.set_target(q_near_rad)
        tasks: Sequence[mink.Task] = (task, posture) if self.model.nv > 6 else (task,)
        arm = self._configuration
        arm.update(np.clip(q_near_rad, self.lower_rad, self.upper_rad))
        before = away_m = away_rad = np.inf
        for step in range(STEPS):
            error = task.compute_error(arm)
            away_m, away_rad = float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:]))
            if away_m < POSITION_TOLERANCE_M and away_rad < rotation_tolerance_rad:
                return arm.q.copy()
            if step % PATIENCE == PATIENCE - 1:
                if away_m + rotation_cost_m_rad * away_rad > 0.9 * before:
                    break
                before = away_m + rotation_cost_m_rad * away_rad
            velocity = mink.solve_ik(
                arm, tasks, STEP_S, "daqp", damping=1e-9, limits=[self._range_limit], safety_break=False
            )
            arm.integrate_inplace(velocity, STEP_S)
        at = ", ".join(f"{x:.3f}" for x in T_base_tip.translation_m)
        raise Unreachable(f"the arm does not reach ({at}) m: {1e3 * away_m:.1f} mm and {away_rad:.3f} rad remain")

    def tool_points_m(self, q_rad: Float[ndarray, " J"]) -> Float[ndarray, "N 3"]:
        """The outermost points of all that the last joint carries, in the base frame."""
        points_m, body = self._tool_points_m, self._last_body
        self._move(q_rad)
        rotation = self._data.xmat[body].reshape(3, 3)
        return points_m @ rotation.T + self._data.xpos[body]

    def clearance_m(self, q_rad: Float[ndarray, " J"]) -> float:
        """The least distance between links that are not neighbours, negative inside each other; at most `FAR_M`."""
        pairs = self._pairs
        self._move(q_rad)
        centres = self._data.geom_xpos
        radius = self.model.geom_rbound
        apart = np.linalg.norm(centres[pairs[:, 0]] - centres[pairs[:, 1]], axis=1)
        at_least = apart - radius[pairs[:, 0]] - radius[pairs[:, 1]]
        least = FAR_M
        for number in np.argsort(at_least):
            if at_least[number] > least:
                break
            one, other = pairs[number]
            least = min(least, mujoco.mj_geomDistance(self.model, self._data, one, other, least, None))
        return float(least)

    @cached_property
    def lever_m(self) -> float:
        """The furthest that any point of arm or tool moves per radian of any joint: the stretched arm's length."""
        points_m = self.tool_points_m(np.zeros(self.model.nv))
        anchors = self._data.xanchor
        links = np.linalg.norm(np.diff(anchors, axis=0), axis=1).sum()
        return float(links + np.linalg.norm(points_m - anchors[-1], axis=1).max())

    @cached_property
    def _last_body(self) -> int:
        return int(self.model.jnt_bodyid[-1])

    @cached_property
    def _links(self) -> Sequence[ndarray]:
        """The geoms of each link that touch things, base first; where a link has none, its drawn ones."""
        ids = self.model.body_weldid[self.model.geom_bodyid]
        touching = self.model.geom_contype > 0
        links = []
        for body in (0, *self.model.jnt_bodyid):
            geoms = np.flatnonzero((ids == body) & touching)
            links.append(geoms if len(geoms) else np.flatnonzero(ids == body))
        return links

    @cached_property
    def _pairs(self) -> ndarray:
        """Geoms of links at least two joints apart; those that meet at every posture are left out."""
        links = self._links
        pairs = [
            (one, other)
            for first in range(len(links))
            for second in range(first + 2, len(links))
            for one in links[first]
            for other in links[second]
        ]
        rng = np.random.default_rng(0)
        postures = rng.uniform(self.lower_rad, self.upper_rad, (60, len(self.names)))
        apart = np.zeros(len(pairs), bool)
        for q_rad in postures:
            self._move(q_rad)
            for number, (one, other) in enumerate(pairs):
                if not apart[number]:
                    apart[number] = mujoco.mj_geomDistance(self.model, self._data, one, other, 0.01, None) > 0
        return np.array([pair for pair, free in zip(pairs, apart, strict=True) if free])

    @cached_property
    def _tool_points_m(self) -> Float[ndarray, "N 3"]:
        """In the frame of the last joint's body."""
        self._move(np.zeros(self.model.nv))
        corners = np.concatenate([self._corners_m(int(geom)) for geom in self._links[-1]])
        body = self._last_body
        local = (corners - self._data.xpos[body]) @ self._data.xmat[body].reshape(3, 3)
        outermost = np.unique(np.argmax(local @ _directions().T, axis=0))
        return local[outermost]

    def _corners_m(self, geom: int) -> Float[ndarray, "N 3"]:
        """Of a mesh, its vertices; of anything else, the corners of its bounding box. In the base frame."""
        model = self.model
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
            mesh = model.geom_dataid[geom]
            start, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
            local = model.mesh_vert[start : start + count]
        else:
            centre, half = model.geom_aabb[geom].reshape(2, 3)
            signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), -1).reshape(-1, 3)
            local = centre + signs * half
        return local @ self._data.geom_xmat[geom].reshape(3, 3).T + self._data.geom_xpos[geom]

    def _move(self, q_rad: Float[ndarray, " J"]) -> None:
        self._data.qpos[:] = q_rad
        mujoco.mj_kinematics(self.model, self._data)


def _directions() -> Float[ndarray, "N 3"]:
    """Where to look for outermost points: 200 directions, evenly spread (a spiral over the sphere)."""
    count = 200
    z = np.linspace(-1, 1, count)
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    around = np.sqrt(1 - z * z)
    return np.stack([around * np.cos(angle), around * np.sin(angle), z], -1)


def kinematic_model(arm: ArmModel) -> mujoco.MjModel:
    """The bench's arm without its gripper's joints: the jaws stand ajar."""
    spec = arm.spec_with_tip()
    for group in (spec.actuators, spec.equalities, spec.tendons):
        for element in list(group):
            spec.delete(element)
    closed, opened = arm.gripper_rad
    ajar_rad = closed + JAW_AJAR * (opened - closed)
    for joint in list(spec.joints):
        if joint.name not in arm.joints:
            if joint.name == arm.gripper_joint:
                half = ajar_rad / 2
                turn = np.array([np.cos(half), *(np.sin(half) * np.array(joint.axis))])
                quat = np.empty(4)
                mujoco.mju_mulQuat(quat, np.array(joint.parent.quat) / np.linalg.norm(joint.parent.quat), turn)
                joint.parent.quat = quat
            spec.delete(joint)
    return spec.compile()


def so101_kinematics() -> Kinematics:
    """The SO-101's five joints; the tip lies between the jaws' ends."""
    return Kinematics(kinematic_model(SO101), TIP)


def panda_kinematics() -> Kinematics:
    """The Panda's seven joints; the tip is the pinch point of its 2F-85."""
    return Kinematics(kinematic_model(PANDA), TIP)
