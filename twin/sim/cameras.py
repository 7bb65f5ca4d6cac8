# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""Which cameras look at a twin: from a cell's calibration, else one where the scan stood and one on the wrist.

`cell_cameras.json` in the bundle says where the cell's cameras are; `place` writes it from calibration results.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import mujoco
import numpy as np
import tyro
from pydantic import Field
from rich.console import Console

from calibration import result as calibration_result
from calibration.result import HandEyeResult, IntrinsicsResult
from hardware import artefact
from hardware.bench.arm_models import TIP, ArmModel
from hardware.camera_model import CameraModel
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.spatial import Pose
from twin.camera_path import focus, poses
from twin.object_asset import Rows, rows
from twin.posed_images import PosedImages

FILE = "cell_cameras.json"
SCAN, WRIST = "scan", "cam_wrist"
WRIST_SIZE_PX = (640, 480)
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # MuJoCo's camera looks along −z with y up


class SimCamera(Config):
    """A camera of the cell as the twin has it. Its lens distortion is not drawn: compare with undistorted photos."""

    camera: CameraModel
    mount: Literal["base", "tool"]
    """It stands in the cell, or sits on the hand."""
    T_mount_cam: Rows

    @property
    def pose(self) -> Pose:
        return Pose(self.mount, "cam", np.array(self.T_mount_cam))


class CellCameras(Config):
    """The file `cell_cameras.json`."""

    cameras: dict[str, SimCamera]


class PlaceCameras(Config):
    """Tells a twin where the cell's cameras are, from calibration results; the simulator then looks through them."""

    bundle: tyro.conf.Positional[Path]
    """Folder of the twin."""
    camera: tyro.conf.UseAppendAction[tuple[str, ...]] = Field(min_length=1)
    """NAME=HAND_EYE.json or NAME=HAND_EYE.json,INTRINSICS.json, as `tandem calibrate` wrote them."""


def place(config: PlaceCameras) -> int:
    """Adds to the cameras that the twin has; one of the same name is replaced."""
    if not config.bundle.is_dir():
        raise BadInput(f"there is no {config.bundle}", "give the folder that `tandem twin build` made")
    file = config.bundle / FILE
    known = dict(read(CellCameras, file).cameras) if file.is_file() else {}
    for words in config.camera:
        name, equals, files = words.partition("=")
        if not equals or not name.isidentifier() or files.count(",") > 1:
            raise BadInput(f"'{words}' is no camera's place", "--camera NAME=HAND_EYE.json,INTRINSICS.json")
        known[name] = calibrated(*(Path(path) for path in files.split(",")))
    artefact.write_model(file, CellCameras(cameras=known))
    Console().print(f"{file}: {', '.join(known)}", highlight=False, soft_wrap=True)
    return 0


def calibrated(hand_eye: Path, intrinsics: Path | None = None) -> SimCamera:
    """From a hand-eye result; its lens from the intrinsics' file, or from the hand-eye result itself."""
    placed = calibration_result.read(hand_eye)
    if not isinstance(placed, HandEyeResult):
        raise BadInput(f"{hand_eye} holds {placed.kind}, not a camera's place", "tandem calibrate hand-eye")
    lens = placed.camera
    if intrinsics is not None:
        measured = calibration_result.read(intrinsics)
        if not isinstance(measured, IntrinsicsResult):
            raise BadInput(f"{intrinsics} holds {measured.kind}, not intrinsics", "tandem calibrate camera")
        lens = measured.camera
    if lens is None:
        raise BadInput(f"{hand_eye} does not say what lens the camera has", "--camera NAME=HAND_EYE,INTRINSICS")
    mount = "tool" if placed.mounting == "eye_in_hand" else "base"
    return SimCamera(camera=lens, mount=mount, T_mount_cam=rows(placed.answer.pose()))


def of(bundle: Path, arm: ArmModel | None, T_world_base: Pose) -> dict[str, SimCamera]:
    """All that the bundle names, or where it names none: the scan's own view and the arm's wrist camera."""
    if (bundle / FILE).is_file():
        return dict(read(CellCameras, bundle / FILE).cameras)
    found = {}
    if (bundle / "cameras.json").is_file():
        found[SCAN] = scan_view(read(PosedImages, bundle / "cameras.json"), T_world_base)
    if arm is not None:
        found[WRIST] = wrist(arm)
    return found


def scan_view(posed: PosedImages, T_world_base: Pose) -> SimCamera:
    """Where the photo was taken from that looks most squarely at what all looked at."""
    if not posed.views:
        raise BadInput("cameras.json names no photos", "tandem twin build")
    Ts_world_cam = poses(posed.views)
    target = focus(Ts_world_cam)
    at = np.zeros(3) if target is None else target
    towards = at - Ts_world_cam[:, :3, 3]
    squarely = (towards * Ts_world_cam[:, :3, 2]).sum(1) / np.linalg.norm(towards, axis=1)
    view = posed.views[int(np.argmax(squarely))]
    T_base_cam = T_world_base.inverse() @ view.pose
    return SimCamera(camera=posed.cameras[view.camera].pinhole(), mount="base", T_mount_cam=rows(T_base_cam))


def wrist(arm: ArmModel) -> SimCamera:
    """The camera of the arm's own model, nominal: a calibrated one is better."""
    model = arm.spec_with_tip().compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    number, tip = model.camera(arm.wrist_camera).id, model.site(TIP).id
    T_world_tool, T_world_cam = np.eye(4), np.eye(4)
    T_world_tool[:3, :3], T_world_tool[:3, 3] = data.site_xmat[tip].reshape(3, 3), data.site_xpos[tip]
    T_world_cam[:3, :3], T_world_cam[:3, 3] = data.cam_xmat[number].reshape(3, 3), data.cam_xpos[number]
    width, height = WRIST_SIZE_PX
    focal_px = height / 2 / math.tan(math.radians(float(model.cam_fovy[number])) / 2)
    lens = CameraModel(
        width_px=width, height_px=height, fx_px=focal_px, fy_px=focal_px, cx_px=width / 2, cy_px=height / 2
    )
    T_tool_cam = Pose("tool", "cam", np.linalg.inv(T_world_tool) @ T_world_cam @ _FLIP)
    return SimCamera(camera=lens, mount="tool", T_mount_cam=rows(T_tool_cam))


def resized(camera: CameraModel, width_px: int, height_px: int) -> CameraModel:
    """The camera of the same picture squeezed to this size, as policies get it; without distortion."""
    x, y = width_px / camera.width_px, height_px / camera.height_px
    return CameraModel(
        width_px=width_px,
        height_px=height_px,
        fx_px=camera.fx_px * x,
        fy_px=camera.fy_px * y,
        cx_px=camera.cx_px * x,
        cy_px=camera.cy_px * y,
    )
