"""A process with Isaac Sim's modules in small: stages are OpenUSD's, joints go where they are told, no physics.

The signatures are those of Isaac Sim's public source; what does not fit the opened stage is an error, as there.
"""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from pxr import Usd, UsdGeom, UsdPhysics

ROOT = Path(__file__).parents[3]
STAGES: list[Usd.Stage] = []
READY: list[bool] = []


class Array(np.ndarray):
    """A Warp array, as far as it is asked for."""

    def numpy(self) -> np.ndarray:
        return np.array(self)


def warp(values: object) -> Array:
    return np.array(values).view(Array)


class SimulationApp:
    def __init__(self, launch_config: dict) -> None:
        assert launch_config["headless"]
        print("Isaac Sim talks on stdout")
        assert not sys.stdin.read(1), "what is asked on stdin must find its end"

    def update(self) -> None: ...

    def close(self) -> None: ...


def open_stage(usd_path: str) -> tuple[bool, Usd.Stage | None]:
    STAGES.append(Usd.Stage.Open(usd_path))
    return True, STAGES[-1]


class GridCloner:
    def __init__(self, spacing: float, num_per_row: int = -1, stage: Usd.Stage | None = None) -> None:
        self.spacing, self.stage = spacing, stage or STAGES[-1]

    def generate_paths(self, root_path: str, num_paths: int) -> list[str]:
        return [f"{root_path}_{number}" for number in range(num_paths)]

    def clone(
        self, source_prim_path: str, prim_paths: list[str], replicate_physics: bool = False, base_env_path: str = ""
    ) -> list:
        assert self.stage.GetPrimAtPath(base_env_path)
        origins = [[self.spacing * number - 1.0, 2.0, 0] for number in range(len(prim_paths))]
        for path, origin in zip(prim_paths, origins, strict=True):
            clone = UsdGeom.Xform.Define(self.stage, path)
            if path != source_prim_path:
                clone.GetPrim().GetInherits().AddInherit(source_prim_path)
            clone.ClearXformOpOrder()
            clone.AddTranslateOp(opSuffix="placed").Set(tuple(origin))
        return origins

    def filter_collisions(self, physicsscene_path: str, collision_root_path: str, prim_paths: list[str]) -> None:
        assert self.stage.GetPrimAtPath(physicsscene_path).IsA(UsdPhysics.Scene)


class SimulationManager:
    time_s = 0.0
    dt = 0.0

    @classmethod
    def setup_simulation(cls, dt: float | None = None, device: str | None = None) -> None:
        scenes = [prim for prim in STAGES[-1].Traverse() if prim.IsA(UsdPhysics.Scene)]
        assert len(scenes) == 1, f"one physics scene for all clones, not {scenes}"
        cls.dt = dt or 0.0

    @classmethod
    def enable_fabric(cls, enable: bool) -> None: ...

    @classmethod
    def initialize_physics(cls) -> None:
        READY.append(True)

    @classmethod
    def step(cls, *, steps: int = 1, callback: object = None, update_fabric: bool = False) -> None:
        cls.time_s += steps * cls.dt
        for articulation in ARTICULATIONS:
            articulation.q[:] = articulation.goals

    @classmethod
    def get_physics_simulation_view(cls) -> None: ...

    @classmethod
    def get_simulation_time(cls) -> float:
        return cls.time_s


class Articulation:
    def __init__(self, paths: list[str]) -> None:
        for path in paths:
            assert STAGES[-1].GetPrimAtPath(path).HasAPI(UsdPhysics.ArticulationRootAPI), path
        below = Usd.PrimRange(STAGES[-1].GetPrimAtPath(paths[0]))
        # not the servos' order
        self.dof_names = sorted(
            (prim.GetName() for prim in below if prim.IsA(UsdPhysics.RevoluteJoint)), reverse=True
        )
        self.q, self.dq, self.goals = (np.zeros((len(paths), len(self.dof_names)), np.float32) for _ in range(3))
        ARTICULATIONS.append(self)

    def get_dof_indices(self, names: list[str]) -> Array:
        return warp([self.dof_names.index(name) for name in names])

    def set_dof_gains(self, stiffnesses: np.ndarray, dampings: np.ndarray, *, dof_indices: Array) -> None:
        assert READY
        assert len(stiffnesses) == len(dampings) == len(dof_indices)

    def set_dof_armatures(self, armatures: np.ndarray, *, dof_indices: Array) -> None: ...

    def set_dof_friction_properties(
        self, static_frictions: np.ndarray, dynamic_frictions: np.ndarray, *, dof_indices: Array
    ) -> None: ...

    def set_dof_max_efforts(self, max_efforts: np.ndarray, *, dof_indices: Array) -> None: ...

    def set_dof_positions(self, positions: np.ndarray, *, indices: list[int], dof_indices: Array) -> None:
        self.q[np.ix_(indices, dof_indices)] = positions

    def set_dof_velocities(self, velocities: np.ndarray, *, indices: list[int], dof_indices: Array) -> None:
        self.dq[np.ix_(indices, dof_indices)] = velocities

    def set_dof_position_targets(
        self, positions: np.ndarray, *, indices: list[int] | None = None, dof_indices: Array
    ) -> None:
        rows = range(len(self.q)) if indices is None else indices
        self.goals[np.ix_(rows, dof_indices)] = positions

    def get_dof_positions(self, *, dof_indices: Array) -> Array:
        return warp(self.q[:, dof_indices])

    def get_dof_velocities(self, *, dof_indices: Array) -> Array:
        return warp(self.dq[:, dof_indices])


ARTICULATIONS: list[Articulation] = []


class RigidPrim:
    def __init__(self, paths: list[str]) -> None:
        prims = [STAGES[-1].GetPrimAtPath(path) for path in paths]
        assert all(prim.HasAPI(UsdPhysics.RigidBodyAPI) for prim in prims), paths
        cache = UsdGeom.XformCache()
        self.at = np.array([cache.GetLocalToWorldTransform(prim).ExtractTranslation() for prim in prims])
        self.quat_wxyz = np.tile([1.0, 0.0, 0.0, 0.0], (len(paths), 1))

    def set_world_poses(self, positions: np.ndarray, orientations: np.ndarray, *, indices: list[int]) -> None:
        self.at[indices], self.quat_wxyz[indices] = positions, orientations

    def set_velocities(self, linear: np.ndarray, angular: np.ndarray, *, indices: list[int]) -> None: ...

    def get_world_poses(self) -> tuple[Array, Array]:
        return warp(self.at), warp(self.quat_wxyz)


class TiledCameraSensor:
    """Environment n is painted n in red; green has the columns."""

    def __init__(self, paths: list[str], *, resolution: tuple[int, int], annotators: str) -> None:
        assert annotators == "rgb"
        assert all(STAGES[-1].GetPrimAtPath(path).IsA(UsdGeom.Camera) for path in paths), paths
        self.rgb = np.zeros((len(paths), *resolution, 3), np.uint8)
        self.rgb[..., 0] = np.arange(len(paths))[:, None, None]
        self.rgb[..., 1] = np.arange(resolution[1])

    def get_data(self, annotator: str) -> tuple[Array, dict]:
        return warp(self.rgb), {}


class Fabric:
    def force_update(self, dt: float, time_s: float) -> None: ...


MODULES = {
    "isaacsim": (SimulationApp,),
    "isaacsim.core.experimental.utils.stage": (open_stage,),
    "isaacsim.core.cloner": (GridCloner,),
    "isaacsim.core.simulation_manager": (SimulationManager,),
    "isaacsim.core.experimental.prims": (Articulation, RigidPrim),
    "isaacsim.sensors.experimental.rtx": (TiledCameraSensor,),
}


def install() -> None:
    fabric = ModuleType("omni.physxfabric")
    fabric.__dict__["get_physx_fabric_interface"] = Fabric
    sys.modules["omni"], sys.modules["omni.physxfabric"] = ModuleType("omni"), fabric
    for name, contents in MODULES.items():
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:count]), ModuleType(".".join(parts[:count])))
        for one in contents:
            setattr(sys.modules[name], one.__name__, one)


if __name__ == "__main__":
    install()
    sys.path.insert(0, str(ROOT))
    from twin.sim import isaac_lab_worker

    sys.argv[1:] = [str(ROOT / "twin" / "sim" / "isaac_sim_worker.py")]
    isaac_lab_worker.main()
