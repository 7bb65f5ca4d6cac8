# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# It runs in Isaac Lab's environment, where alone its imports are.
"""Isaac Lab's side of the pipe: a scene and actions in over stdin, states out over stdout.

Started as a file by the Python of Isaac Lab's environment, so it imports nothing of Tandem. A message is a line of
JSON, whose "arrays" lists (name, shape), and then those arrays' bytes, float64, little endian. Quaternions on the
wire are wxyz; Isaac Lab 3 has xyzw, which stays in here. Run with Isaac Lab 3.0, Newton 1.6, no Kit, on a CPU.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Message = dict[str, Any]
Stream = Any
"""A binary stream: pipe, file or buffer."""
ENVS = "{ENV_REGEX_NS}/Twin"
SPACING_M = 4.0
"""Between environments: a table is two metres wide."""


def write_message(stream: Stream, head: Message, arrays: Mapping[str, np.ndarray] | None = None) -> None:
    packed = {name: np.ascontiguousarray(array, "<f8") for name, array in (arrays or {}).items()}
    line = {**head, "arrays": [[name, list(array.shape)] for name, array in packed.items()]}
    stream.write(json.dumps(line).encode() + b"\n")
    for array in packed.values():
        stream.write(array.tobytes())
    stream.flush()


def read_message(stream: Stream) -> tuple[Message, dict[str, np.ndarray]] | None:
    """None at the end of the stream. Raises `ValueError` for what is no message."""
    line = stream.readline()
    if not line:
        return None
    head = json.loads(line)
    if not isinstance(head, dict) or "arrays" not in head:
        raise ValueError(f"no message: {line[:80]!r}")
    arrays = {}
    for name, shape in head.pop("arrays"):
        wanted = 8 * int(np.prod(shape, dtype=np.int64))
        data = stream.read(wanted)
        if len(data) < wanted:
            raise ValueError(f"the stream ended within '{name}'")
        arrays[name] = np.frombuffer(data, "<f8").reshape(shape).copy()
    return head, arrays


class Twin:
    """The scene in Isaac Lab: a USD cloned N times, its articulation and its rigid bodies."""

    def __init__(self, settings: Message) -> None:
        import torch
        from isaaclab.actuators import ImplicitActuatorCfg
        from isaaclab.assets import ArticulationCfg, AssetBaseCfg, RigidObjectCfg
        from isaaclab.scene import InteractiveScene, InteractiveSceneCfg
        from isaaclab.sim import SimulationCfg, SimulationContext, UsdFileCfg
        from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg, NewtonManager
        from isaaclab_newton.physics.newton_manager_cfg import NewtonShapeCfg

        self._torch, self.settings = torch, settings
        solver = MJWarpSolverCfg(
            class_type=newton_as_mujoco(),
            njmax=1024,
            nconmax=192,
            cone="elliptic",
            impratio=10.0,
            integrator="implicitfast",
            use_mujoco_contacts=True,
            enable_multiccd=True,  # as MuJoCo does: a box stands on four points, not on one
            tolerance=1e-8,
        )
        self.sim = SimulationContext(
            SimulationCfg(
                dt=settings["step_s"],
                device=settings["device"],
                physics=NewtonCfg(solver_cfg=solver, num_substeps=1, default_shape_cfg=NewtonShapeCfg(gap=0.0)),
            )
        )
        scene = InteractiveSceneCfg(num_envs=settings["n_envs"], env_spacing=SPACING_M, replicate_physics=True)
        scene.twin = AssetBaseCfg(prim_path=ENVS, spawn=UsdFileCfg(usd_path=settings["usd"]))
        for name in settings["objects"]:
            setattr(scene, name, RigidObjectCfg(prim_path=f"{ENVS}/{name}", spawn=None))
        servos = settings["servos"]
        arms = ImplicitActuatorCfg(
            joint_names_expr=list(servos),
            stiffness={name: one["stiffness"] for name, one in servos.items()},
            damping={name: one["damping"] - one["passive"] for name, one in servos.items()},
            viscous_friction={name: one["passive"] for name, one in servos.items()},
            armature={name: one["armature"] for name, one in servos.items()},
            friction={name: one["friction"] for name, one in servos.items()},
            effort_limit_sim={name: one["effort"] for name, one in servos.items()},
        )
        scene.robot = ArticulationCfg(prim_path=f"{ENVS}/robot", spawn=None, actuators={"servos": arms})
        self.scene = InteractiveScene(scene)
        self.sim.reset()
        limit_servos(NewtonManager._solver, servos)
        self.robot = self.scene["robot"]
        self._joints = self._found(self.robot.find_joints, list(servos))
        self._tool = self._found(self.robot.find_bodies, [settings["tool_body"]])[0]
        self._time_s = np.zeros(settings["n_envs"])

    @staticmethod
    def _found(find: Any, names: list[str]) -> list[int]:
        return list(find(names, preserve_order=True)[0])

    def reset(self, envs: list[int], q: np.ndarray, objects: np.ndarray, speeds: np.ndarray) -> None:
        """`q` M × J in the order of the servos; `objects` M × K × 7 in the environment's own frame, wxyz; `speeds`
        M × K × 3, m/s, of objects that do not turn."""
        torch, device = self._torch, self.sim.device
        ids = torch.tensor(envs, dtype=torch.int32, device=device)
        self.scene.reset(ids)
        angles = torch.tensor(q, dtype=torch.float32, device=device)
        self.robot.write_joint_position_to_sim_index(position=angles, joint_ids=self._joints, env_ids=ids)
        still = torch.zeros_like(angles)
        self.robot.write_joint_velocity_to_sim_index(velocity=still, joint_ids=self._joints, env_ids=ids)
        self.robot.actuators.target_command.set_position_index(value=angles, joint_ids=self._joints, env_ids=ids)
        origins = self.scene.env_origins[ids.long()].cpu().numpy()
        for number, name in enumerate(self.settings["objects"]):
            poses = objects[:, number].copy()
            poses[:, :3] += origins
            xyzw = np.concatenate([poses[:, :3], poses[:, 4:], poses[:, 3:4]], axis=1)
            thing = self.scene[name]
            thing.write_root_pose_to_sim_index(
                root_pose=torch.tensor(xyzw, dtype=torch.float32, device=device), env_ids=ids
            )
            twist = np.concatenate([speeds[:, number], np.zeros((len(envs), 3))], axis=1)
            thing.write_root_velocity_to_sim_index(
                root_velocity=torch.tensor(twist, dtype=torch.float32, device=device), env_ids=ids
            )
        self._time_s[envs] = 0.0
        self.sim.forward()
        self.scene.update(0.0)

    def step(self, goals: np.ndarray) -> None:
        targets = self._torch.tensor(goals, dtype=self._torch.float32, device=self.sim.device)
        self.robot.actuators.target_command.set_position_index(value=targets, joint_ids=self._joints)
        for _ in range(self.settings["substeps"]):
            self.scene.write_data_to_sim()
            self.sim.step(render=False)
            self.scene.update(self.settings["step_s"])
        self._time_s += self.settings["substeps"] * self.settings["step_s"]

    def state(self) -> dict[str, np.ndarray]:
        """Poses in the environment's own frame, quaternions wxyz."""
        origins = self.scene.env_origins.cpu().numpy()
        q, dq = as_numpy(self.robot.data.joint_pos), as_numpy(self.robot.data.joint_vel)
        tool = as_numpy(self.robot.data.body_link_pose_w)[:, self._tool]
        poses = [as_numpy(self.scene[name].data.root_link_pose_w) for name in self.settings["objects"]]
        poses = [local_wxyz(pose, origins) for pose in [tool, *poses]]
        return {
            "time_s": self._time_s,
            "q": q[:, self._joints],
            "dq": dq[:, self._joints],
            "tool": poses[0],
            "objects": np.stack(poses[1:], axis=1),
        }


def newton_as_mujoco() -> type:
    """Newton's MuJoCo solver as MuJoCo itself would be set up, in two things that Isaac Lab's settings do not reach.

    Boxes collide as boxes, by MuJoCo's own routine: by Newton's default, the general one for convex shapes, a box more
    than 0.1° off flat stands on two points, not four (a drop then ended 3.8 mm off). A servo is one actuator, not a
    spring and a damper apart, so that it can have MuJoCo's limit of force: see `limit_servos`.
    """
    import mujoco
    from isaaclab_newton.physics.mjwarp_manager import NewtonMJWarpManager
    from newton import JointTargetMode

    class NewtonAsMujoco(NewtonMJWarpManager):  # Isaac Lab knows its backends by how this name begins
        @classmethod
        def _create_solver(cls, model: Any, solver_cfg: Any) -> Any:
            modes = model.joint_target_mode.numpy()
            modes[modes == int(JointTargetMode.POSITION_VELOCITY)] = int(JointTargetMode.POSITION)
            model.joint_target_mode.assign(modes)
            solver = super()._create_solver(model, solver_cfg)
            for options in (solver.mj_model.opt, solver.mjw_model.opt):
                options.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_NATIVECCD)
            return solver

    return NewtonAsMujoco


def limit_servos(solver: Any, servos: Mapping[str, Mapping[str, float]]) -> None:
    """Limits the servo's force (N m), as MuJoCo does, not the joint's, as Newton does.

    The numbers are the same and the motion is not: only for a servo at its limit MuJoCo leaves the servo's damping out
    of the implicit step. With Newton's limit the arm's joints gave way by 4 mrad in a fast shove.
    """
    paths = [solver.mj_model.joint(int(joint)).name for joint in solver.mj_model.actuator_trnid[:, 0]]
    most = np.array(
        [one["effort"] for path in paths for name, one in servos.items() if path.endswith(f"robot_{name}")]
    )
    ranges = solver.mjw_model.actuator_forcerange
    wide = np.broadcast_to(np.stack([-most, most], axis=-1), ranges.numpy().shape)
    ranges.assign(np.ascontiguousarray(wide, np.float32))
    solver.mjw_model.actuator_forcelimited.assign(np.ones(len(most), bool))


def as_numpy(values: Any) -> np.ndarray:
    """Of a torch tensor, a Warp array, or Isaac Lab's proxy of one."""
    values = getattr(values, "torch", values)
    return values.cpu().numpy() if hasattr(values, "cpu") else values.numpy()


def local_wxyz(pose: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """x, y, z, then xyzw in the world → x, y, z, then wxyz from the environment's origin."""
    return np.concatenate([pose[:, :3] - origins, pose[:, 6:7], pose[:, 3:6]], axis=1)


def serve(incoming: Stream, outgoing: Stream, make: Callable[[Message], Any] = Twin) -> None:
    """Opens what the first message says, then answers every message with the state, until the stream ends.

    To 'render' the answer is the picture instead; `Twin` here has none, `isaac_sim_worker`'s has.
    """
    twin: Any = None
    while (message := read_message(incoming)) is not None:
        head, arrays = message
        try:
            if head["op"] == "open":
                twin = make(head)
            elif twin is None:
                raise ValueError("the first message must be 'open'")
            elif head["op"] == "reset":
                twin.reset(head["envs"], arrays["q"], arrays["objects"], arrays["speeds"])
            elif head["op"] == "step":
                twin.step(arrays["goals"])
            drawn = head["op"] == "render"
            found = twin.render(head["camera"], *head["size_px"]) if drawn else twin.state()
            write_message(outgoing, {"ok": True}, found)
        except Exception as error:  # whatever Isaac Lab raises is told to the other side, which ends us
            write_message(outgoing, {"ok": False, "error": f"{type(error).__name__}: {error}"})


def main() -> None:
    """With an argument: that file's `Twin`. Whatever Isaac Lab prints goes to stderr: stdout is the wire.

    Nor does it read the wire: whoever asks on stdin, for a licence say, finds it at its end.
    """
    asked, wire = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    make = runpy.run_path(sys.argv[1])["Twin"] if sys.argv[1:] else Twin
    serve(asked, wire, make)


if __name__ == "__main__":
    main()
