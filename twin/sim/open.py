"""`open_simulator`: a bundle and the name of an engine in, a `Simulator` out. Engines are imported when asked for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal, get_args

from hardware.errors import BadInput
from twin.sim.protocol import CONTROL_HZ, Simulator

Engine = Literal["mujoco", "mujoco_warp", "isaac_lab", "isaac_sim"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


def open_simulator(
    bundle: Path,
    engine: str = "mujoco",
    n_envs: int = 1,
    threads: int | None = None,
    control_hz: float = CONTROL_HZ,
) -> Simulator:
    """N environments of a bundle after `tandem twin contact`, all at their default start.

    `threads`: of the physics on a CPU; all cores without. Raises `BadInput` for a bundle that cannot be simulated
    and for an engine that is not installed.
    """
    from twin.sim import scene

    if engine not in ENGINES:
        raise BadInput(f"no engine '{engine}'; have: {', '.join(ENGINES)}")
    read = scene.read(Path(bundle))
    if engine == "mujoco":
        from twin.sim.mujoco import MujocoSim

        return MujocoSim(read, n_envs, threads, control_hz)
    if engine == "mujoco_warp":
        require("mujoco_warp", engine, "pip install mujoco-warp")
        from twin.sim.mujoco_warp import MujocoWarpSim

        return MujocoWarpSim(read, n_envs, control_hz)
    if importlib.util.find_spec(f"twin.sim.{engine}") is None:
        raise BadInput(f"the engine '{engine}' is not part of this installation", "use mujoco or mujoco_warp")
    return importlib.import_module(f"twin.sim.{engine}").open_scene(read, n_envs, control_hz)


def require(module: str, engine: str, fix: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise BadInput(f"the engine '{engine}' needs the package {module}, which is not installed", fix)
