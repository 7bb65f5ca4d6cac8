# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# It runs in Isaac Sim's Python, where alone its imports are; benchmarks/envs/isaac_sim checks it against their types.
"""Isaac Sim's side of the pipe: a stage of one environment in, cloned N times; actions in, states and pictures out.

`isaac_lab_worker` has the wire and starts this file's `Twin` in Isaac Sim's Python, so nothing of Tandem is imported.
Written for Isaac Sim 6.2 from the signatures of its public source (6.0.1 is what could be read); not run here, where
there is no RTX GPU. Quaternions are wxyz in Isaac Sim as on the wire. Whether NVIDIA's licence is accepted is the
user's own affair: nothing here answers for them, and a question that Isaac Sim asks on stdin finds no answer there.
"""

from __future__ import annotations

import atexit
from typing import Any

import numpy as np

Message = dict[str, Any]
ENVS, PHYSICS = "/World/envs", "/World/physics"
SPACING_M = 4.0
"""Between environments: a table is two metres wide."""
WARM_FRAMES = 6
"""Frames that the renderer needs before a new sensor has a picture."""


class Twin:
    """The application with the cloned stage open: view tensors of arms and things, a tiled sensor for each camera."""

    def __init__(self, settings: Message) -> None:
        from isaacsim import SimulationApp  # pyright: ignore[reportAttributeAccessIssue]  # put there at run time

        self.app = SimulationApp({"headless": True})
        atexit.register(self.app.close)
        self.settings = settings
        self._sensors: dict[tuple[str, int, int], Any] = {}
        self._time_s = np.zeros(settings["n_envs"])
        self._open(settings["usd"])
        self._paths, self._origins = self._clone(settings["n_envs"])
        self._view()
        self._drive(settings["servos"])

    def _open(self, usd: str) -> None:
        from isaacsim.core.experimental.utils.stage import open_stage

        opened, _ = open_stage(usd)
        if not opened:
            raise RuntimeError(f"Isaac Sim cannot open {usd}")

    def _clone(self, n_envs: int) -> tuple[list[str], np.ndarray]:
        """Paths of the environments and their origins, N × 3 in metres."""
        from isaacsim.core.cloner import GridCloner

        cloner = GridCloner(spacing=SPACING_M)
        paths = cloner.generate_paths(f"{ENVS}/env", n_envs)
        origins = cloner.clone(
            source_prim_path=paths[0], prim_paths=paths, replicate_physics=n_envs > 1, base_env_path=ENVS
        )
        if n_envs > 1:
            cloner.filter_collisions(PHYSICS, "/World/collisions", paths)
        return paths, np.asarray(origins, np.float64).reshape(n_envs, 3)

    def _view(self) -> None:
        from isaacsim.core.experimental.prims import Articulation, RigidPrim
        from isaacsim.core.simulation_manager import SimulationManager

        self._physics = SimulationManager
        SimulationManager.setup_simulation(dt=self.settings["step_s"], device=self.settings["device"])
        SimulationManager.enable_fabric(True)
        self.robots = Articulation([f"{path}/robot" for path in self._paths])
        self.things = [RigidPrim([f"{path}/{name}" for path in self._paths]) for name in self.settings["objects"]]
        SimulationManager.initialize_physics()

    def _drive(self, servos: dict[str, dict[str, float]]) -> None:
        """The view tensors count in radians, unlike USD's drives."""
        self._joints = self.robots.get_dof_indices(list(servos))

        def of(key: str) -> np.ndarray:
            return np.array([one[key] for one in servos.values()], np.float32)

        self.robots.set_dof_gains(of("stiffness"), of("damping"), dof_indices=self._joints)
        self.robots.set_dof_armatures(of("armature"), dof_indices=self._joints)
        self.robots.set_dof_friction_properties(of("friction"), of("friction"), dof_indices=self._joints)
        self.robots.set_dof_max_efforts(of("effort"), dof_indices=self._joints)

    def reset(self, envs: list[int], q: np.ndarray, objects: np.ndarray, speeds: np.ndarray) -> None:
        """`q` M × J in the order of the servos; `objects` M × K × 7 in the environment's own frame, wxyz; `speeds`
        M × K × 3, m/s, of objects that do not turn."""
        if not envs:
            return
        angles = q.astype(np.float32)
        none = np.zeros_like(angles)
        self.robots.set_dof_positions(angles, indices=envs, dof_indices=self._joints)
        self.robots.set_dof_velocities(none, indices=envs, dof_indices=self._joints)
        self.robots.set_dof_position_targets(angles, indices=envs, dof_indices=self._joints)
        still = np.zeros((len(envs), 3), np.float32)
        for number, thing in enumerate(self.things):
            at = (objects[:, number, :3] + self._origins[envs]).astype(np.float32)
            thing.set_world_poses(at, objects[:, number, 3:].astype(np.float32), indices=envs)
            thing.set_velocities(speeds[:, number].astype(np.float32), still, indices=envs)
        self._time_s[envs] = 0.0

    def step(self, goals: np.ndarray) -> None:
        self.robots.set_dof_position_targets(goals.astype(np.float32), dof_indices=self._joints)
        self._physics.step(steps=self.settings["substeps"], update_fabric=True)
        self._time_s += self.settings["substeps"] * self.settings["step_s"]

    def state(self) -> dict[str, np.ndarray]:
        """Poses in the environment's own frame, quaternions wxyz."""
        poses: list[np.ndarray] = [np.zeros((len(self._paths), 0, 7))]
        for thing in self.things:
            at, quat_wxyz = (np.asarray(values.numpy(), np.float64) for values in thing.get_world_poses())
            poses.append(np.concatenate([at - self._origins, quat_wxyz], axis=1)[:, None])
        return {
            "time_s": self._time_s,
            "q": self.robots.get_dof_positions(dof_indices=self._joints).numpy(),
            "dq": self.robots.get_dof_velocities(dof_indices=self._joints).numpy(),
            "objects": np.concatenate(poses, axis=1),
        }

    def render(self, camera: str, width_px: int, height_px: int) -> dict[str, np.ndarray]:
        """`rgb` of all environments, N × H × W × 3, as they stand now. No timeline plays, so nothing is stepped."""
        self._show()
        key = (camera, width_px, height_px)
        if key not in self._sensors:
            self._sensors[key] = self._sensor(camera, width_px, height_px)
        self.app.update()
        data, _ = self._sensors[key].get_data("rgb")
        if data is None:
            raise RuntimeError(f"the renderer has no picture of '{camera}' yet")
        return {"rgb": data.numpy()}

    def _show(self) -> None:
        """The renderer gets the links' poses, also of joints that a reset moved without a step."""
        from omni.physxfabric import get_physx_fabric_interface

        view = self._physics.get_physics_simulation_view()
        if view is not None:
            view.update_articulations_kinematic()
        fabric = get_physx_fabric_interface()
        fabric.force_update(self.settings["step_s"], self._physics.get_simulation_time())

    def _sensor(self, camera: str, width_px: int, height_px: int) -> Any:
        from isaacsim.sensors.experimental.rtx import TiledCameraSensor

        where = self.settings["cameras"][camera]
        sensor = TiledCameraSensor(
            [f"{path}/{where}" for path in self._paths], resolution=(height_px, width_px), annotators="rgb"
        )
        for _ in range(WARM_FRAMES):
            self.app.update()
        return sensor
