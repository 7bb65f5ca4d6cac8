# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""Starts and actions → MuJoCo's qpos and ctrl, and back: qpos and body poses → the states that `protocol` names."""

from __future__ import annotations

import math

import mujoco
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.errors import BadInput
from twin.sim.protocol import SimState, Start
from twin.sim.scene import SimScene


class Layout:
    """Where in a compiled model the scene's joints, servos, objects and bodies are."""

    def __init__(self, scene: SimScene, model: mujoco.MjModel) -> None:
        hand = scene.hand
        self.scene, self.model = scene, model
        self.T_base_world: Float[ndarray, "4 4"] = scene.T_world_base.inverse().matrix
        joints = [model.joint(hand.prefix + name) for name in hand.joints]
        self.q_at = np.array([joint.qposadr[0] for joint in joints])
        self.dq_at = np.array([joint.dofadr[0] for joint in joints])
        self.actuators = np.array([model.actuator(hand.prefix + name).id for name in hand.joints])
        self.q_range: Float[ndarray, "J 2"] = model.actuator_ctrlrange[self.actuators].copy()
        self.tool_body = model.body(hand.prefix + hand.tool_body).id
        objects = [model.joint(name) for name in scene.object_names]
        self.object_q_at = [int(joint.qposadr[0]) for joint in objects]
        self.object_dq_at = [int(joint.dofadr[0]) for joint in objects]
        self.object_bodies = [model.body(name).id for name in scene.object_names]
        names = [model.body(body).name for body in model.geom_bodyid]
        self.robot_geoms: Bool[ndarray, " G"] = np.array([n.startswith(hand.bodies_start_with) for n in names])
        self._rest = mujoco.MjData(model).qpos.copy()

    def qpos(self, start: Start) -> Float[ndarray, " Q"]:
        """Where everything of a start is; `qvel` says how fast."""
        hand, qpos = self.scene.hand, self._rest.copy()
        qpos[self.q_at] = self.q_rad(start)
        for name, angle_rad in self.scene.gripper_rest(start.gripper_open).items():
            qpos[self.model.joint(hand.prefix + name).qposadr[0]] = angle_rad
        scan = self.scene.Ts_base_scan
        for name, at in zip(self.scene.object_names, self.object_q_at, strict=True):
            T_base_object = start.objects[name].matrix if name in start.objects else scan[name].matrix
            T_world_object = self.scene.T_world_base.matrix @ T_base_object
            qpos[at : at + 3] = T_world_object[:3, 3]
            mujoco.mju_mat2Quat(qpos[at + 3 : at + 7], T_world_object[:3, :3].ravel())
        return qpos

    def qvel(self, start: Start) -> Float[ndarray, " V"]:
        qvel = np.zeros(self.model.nv)
        for name, at in zip(self.scene.object_names, self.object_dq_at, strict=True):
            if name in start.speeds_m_s:
                qvel[at : at + 3] = self.scene.T_world_base.rotation @ start.speeds_m_s[name]
        return qvel

    def q_rad(self, start: Start) -> Float[ndarray, " J"]:
        return self.scene.hand.home if start.q_rad is None else np.asarray(start.q_rad, np.float64)

    def ctrl(self, action: Float[ndarray, "N D"]) -> Float[ndarray, "N U"]:
        """Of checked actions; every servo's goal is kept within its range."""
        ctrl = np.zeros((len(action), self.model.nu))
        ctrl[:, self.actuators] = np.clip(action[:, :-1], self.q_range[:, 0], self.q_range[:, 1])
        arm = self.scene.hand.arm
        if arm is not None:
            closed, opened = arm.gripper_ctrl
            gripper = self.model.actuator(f"{self.scene.hand.prefix}gripper").id
            ctrl[:, gripper] = closed + np.clip(action[:, -1], 0.0, 1.0) * (opened - closed)
        return ctrl

    def gripper_open(self, qpos: Float[ndarray, "N Q"]) -> Float[ndarray, " N"]:
        arm = self.scene.hand.arm
        if arm is None:
            return np.zeros(len(qpos))
        closed, opened = arm.gripper_rad
        at = self.model.joint(self.scene.hand.prefix + arm.gripper_joint).qposadr[0]
        return np.clip((qpos[:, at] - closed) / (opened - closed), 0.0, 1.0)

    def state(
        self,
        time_s: Float[ndarray, " N"],
        qpos: Float[ndarray, "N Q"],
        qvel: Float[ndarray, "N V"],
        Ts_world_body: Float[ndarray, "N B 4 4"],
        touching: Bool[ndarray, " N"],
        penetration_m: Float[ndarray, " N"],
    ) -> SimState:
        """Copies everything."""
        tool = Ts_world_body[:, self.tool_body] @ self.scene.hand.T_body_tool
        objects = zip(self.scene.object_names, self.object_bodies, strict=True)
        return SimState(
            time_s=time_s.copy(),
            q_rad=qpos[:, self.q_at],
            dq_rad_s=qvel[:, self.dq_at],
            gripper_open=self.gripper_open(qpos),
            Ts_base_tool=self.T_base_world @ tool,
            Ts_base_object={name: self.T_base_world @ Ts_world_body[:, body] for name, body in objects},
            touching=touching.copy(),
            penetration_m=penetration_m.copy(),
        )


def physics_steps(control_hz: float, timestep_s: float) -> tuple[int, float]:
    """(steps in a control step, step in s): the largest step up to `timestep_s` that divides a control step."""
    if not (math.isfinite(control_hz) and 0 < control_hz <= 1000):
        raise BadInput(f"{control_hz} control steps a second", "give more than 0 and at most 1000")
    count = max(1, math.ceil(1 / (control_hz * timestep_s) - 1e-9))
    return count, 1 / (control_hz * count)
