# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
# USD's compiled modules have incomplete stubs.
"""A twin in the Isaac Sim 6.2 application: a bundle in, `Simulator` over a process of its own out.

Isaac Sim has a Python of its own: TANDEM_ISAAC_SIM names the folder of its environment (made with the isaacsim wheels)
or of the application (with `python.sh`). The wire and most of the adapter are `isaac_lab`'s; `isaac_sim_worker` is the
other side: the stage opened, cloned by GridCloner, driven through Articulation's view tensors, drawn by
TiledCameraSensor, which draws the scan's splats itself. TANDEM_ISAAC_DEVICE is `cpu` or `cuda:0`.

Not run here: Isaac Sim needs an RTX GPU, and its licence is for whoever installs it to read; nothing here accepts it.
What was checked is the wire, the stage against OpenUSD, and the worker against the types of Isaac Sim's public source
(benchmarks/envs/isaac_sim/README.md has the command).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from pxr import Gf, Usd, UsdGeom, UsdLux, UsdPhysics

from hardware.errors import BadInput
from twin.camera_path import T_gl_from_optical
from twin.export import mjcf, usd
from twin.export.usd import APERTURE_MM
from twin.export.usd_shapes import place
from twin.sim import isaac_lab_worker, isaac_sim_worker
from twin.sim.cameras import SimCamera
from twin.sim.isaac_lab import IsaacLabFailed, IsaacLabSim
from twin.sim.protocol import checked_camera, checked_envs
from twin.sim.scene import SimScene

ENVIRONMENT = "TANDEM_ISAAC_SIM"
ENV_0 = f"{isaac_sim_worker.ENVS}/env_0"
LIGHT = 500.0
"""Of the dome, in Isaac Sim's own examples; splats have their light in their colours."""


class IsaacSimSim(IsaacLabSim):
    """See `Simulator`. Contact is judged as `isaac_lab` judges it; pictures are Isaac Sim's."""

    engine = "isaac_sim"
    maker = "Isaac Sim"

    def render(
        self, camera: str, width_px: int, height_px: int, envs: Sequence[int] | None = None
    ) -> UInt8[ndarray, "M H W 3"]:
        """By the tiled sensor, with square pixels, the optical axis in the middle and the camera's horizontal field
        of view: a picture of another aspect than the camera's is cut or grows at its top and bottom.
        """
        chosen = checked_envs(envs, self.n_envs)
        name = checked_camera(camera, self.camera_names)
        head = {"op": "render", "camera": name, "size_px": [width_px, height_px]}
        rgb = self._ask(head, {})["rgb"]
        if rgb.shape != (self.n_envs, height_px, width_px, 3):
            raise IsaacLabFailed(f"Isaac Sim drew {rgb.shape}, not {(self.n_envs, height_px, width_px, 3)}")
        return rgb[chosen].astype(np.uint8)

    def _command(self) -> list[str]:
        return worker_command()

    def _write_stage(self, folder: Path) -> Path:
        usd.write(self.scene.bundle, folder / "scene.usda")
        stage = one_environment(folder / "scene.usda", self.scene)
        stage.GetRootLayer().Export(str(folder / "environment.usda"))
        return folder / "environment.usda"

    def _opening(self, stage: Path) -> isaac_lab_worker.Message:
        cameras = {name: camera_path(name, one, self.scene) for name, one in self.scene.cameras.items()}
        return super()._opening(stage) | {"cameras": cameras}


def open_scene(scene: SimScene, n_envs: int, control_hz: float) -> IsaacSimSim:
    """As `open_simulator` opens engines that live in environments of their own."""
    return IsaacSimSim(scene, n_envs, control_hz)


def worker_command() -> list[str]:
    """Raises `BadInput` where no Isaac Sim is named, and where none is at that place."""
    named = os.environ.get(ENVIRONMENT)
    how = f"install Isaac Sim 6.2, read its licence, and set {ENVIRONMENT} to its environment or application folder"
    if not named:
        raise BadInput("the engine 'isaac_sim' needs Isaac Sim, which is not installed with Tandem", how)
    folder = Path(named)
    files = [str(Path(isaac_lab_worker.__file__)), str(Path(isaac_sim_worker.__file__))]
    if (folder / "python.sh").is_file():
        return [str(folder / "python.sh"), "-P", *files]
    if not any(folder.glob("lib/python3*/site-packages/isaacsim")):
        raise BadInput(f"{folder} ({ENVIRONMENT}) has neither python.sh nor the package isaacsim", how)
    return [str(folder / "bin" / "python"), "-P", *files]


# ── the stage ───────────────────────────────────────────────────────────────────────────────────────────────────


def one_environment(scene_usda: Path, scene: SimScene) -> Usd.Stage:
    """A stage whose first environment refers to the bundle's scene, with the cell's cameras; physics stands beside
    it, so that clones do not bring their own.
    """
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    UsdPhysics.SetStageKilogramsPerUnit(stage, 1.0)
    world = UsdGeom.Xform.Define(stage, usd.WORLD)
    stage.SetDefaultPrim(world.GetPrim())
    physics = UsdPhysics.Scene.Define(stage, isaac_sim_worker.PHYSICS)
    physics.CreateGravityDirectionAttr(Gf.Vec3f(0, 0, -1))
    physics.CreateGravityMagnitudeAttr(9.81)
    UsdLux.DomeLight.Define(stage, f"{usd.WORLD}/light").CreateIntensityAttr(LIGHT)
    UsdGeom.Scope.Define(stage, isaac_sim_worker.ENVS)
    environment = UsdGeom.Xform.Define(stage, ENV_0)
    environment.GetPrim().GetReferences().AddReference(str(scene_usda))
    stage.OverridePrim(f"{ENV_0}/physics").SetActive(False)
    for name, camera in scene.cameras.items():
        add_camera(stage, f"{ENV_0}/{camera_path(name, camera, scene)}", camera, scene)
    return stage


def camera_path(name: str, camera: SimCamera, scene: SimScene) -> str:
    """Below the environment: a camera of the hand is a child of the link that carries it."""
    if camera.mount == "tool":
        return f"robot/{mjcf.ARM_PREFIX}{scene.hand.tool_body}/sim_{name}"
    return f"sim_{name}"


def add_camera(stage: Usd.Stage, path: str, camera: SimCamera, scene: SimScene) -> None:
    """Its lens has the field of view, not the principal point: the tiled sensor wants square, centred pixels."""
    lens = camera.camera
    prim = UsdGeom.Camera.Define(stage, path)
    unit_mm = APERTURE_MM / lens.width_px
    prim.CreateHorizontalApertureAttr(APERTURE_MM)
    prim.CreateVerticalApertureAttr(lens.height_px * unit_mm * lens.fx_px / lens.fy_px)
    prim.CreateFocalLengthAttr(lens.fx_px * unit_mm)
    prim.CreateClippingRangeAttr(Gf.Vec2f(0.01, 100.0))
    place(prim, T_parent_camera(camera, scene))


def T_parent_camera(camera: SimCamera, scene: SimScene) -> Float[ndarray, "4 4"]:
    """In the environment's frame or in the tool's link; USD's camera looks along −z with y up."""
    T_parent_mount = scene.hand.T_body_tool if camera.mount == "tool" else scene.T_world_base.matrix
    return T_parent_mount @ camera.pose.matrix @ T_gl_from_optical
