# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""The scanned bench in; what a person of this cell tells its twin, out: files for `--config`, and the cell's cameras.

A person draws boxes round the things, says roughly where the arm stands and how it lay, and has calibrated the cameras.
Here all that is read from the bench's truth and made inexact; the cameras are taken as the bench has them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import mujoco
import numpy as np

from hardware import artefact
from hardware.bench import reset_guide, workcell
from hardware.bench.live_camera import camera_model
from hardware.bench.plant_config import LiveCamera, PlantConfig
from hardware.bench.scan import TRUTH
from hardware.bench.tasks.pick_place import RIM_M, TRAY_HALF_M
from hardware.bench.truth import Truth, read_truth
from hardware.spatial import Pose, rotation_from_rotvec
from twin.object_asset import rows
from twin.sim.cameras import FILE, CellCameras, SimCamera

ALIGN, SEGMENT = "align.yaml", "segment.yaml"
ROOM_M = 0.012
"""Round a thing, on each side: how exactly a box is drawn."""
GUESS_OFF_M, GUESS_OFF_RAD = (0.018, -0.015, 0.01), math.radians(4)
"""How wrong the arm's place is told."""


def tell(scan: Path, twin: Path, notes: Path, config: PlantConfig) -> None:
    """The notes as files; the cameras into the twin."""
    write(notes, read_truth(scan / TRUTH))
    artefact.write_model(twin / FILE, CellCameras(cameras=cameras(config)))


def write(notes: Path, truth: Truth) -> None:
    """`ALIGN` and `SEGMENT` in that folder."""
    notes.mkdir(parents=True, exist_ok=True)
    artefact.write_text(
        notes / ALIGN, json.dumps({"q": angles(truth), "near": near(truth), "standing": True}) + "\n"
    )
    boxes = {"block": block_box(truth), "tray": tray_box(truth)}
    drawn = {"object": [*boxes], "box": [*boxes.values()], "fixed": ["tray"]}
    artefact.write_text(notes / SEGMENT, json.dumps(drawn) + "\n")


def angles(truth: Truth) -> str:
    """How the arm lay while it was filmed, as `twin align --q` takes it."""
    return ",".join(f"{name}={angle:.5f}" for name, angle in truth.q_rad.items())


def near(truth: Truth) -> str:
    """x,y,z,yaw_deg of the base in the twin's world, which is the board's: 25 mm and 4° wrong."""
    off = Pose.from_parts("base", "base", rotation_from_rotvec(np.array([0.0, 0.0, GUESS_OFF_RAD])), GUESS_OFF_M)
    guess = truth.base_board.inverse().matrix @ off.matrix
    yaw_deg = math.degrees(math.atan2(guess[1, 0], guess[0, 0]))
    return ",".join(f"{number:.4f}" for number in (*guess[:3, 3], yaw_deg))


def block_box(truth: Truth) -> str:
    block = next(thing for thing in truth.objects if thing.name == "block")
    return box(truth, block.pose, block.size_m)


def tray_box(truth: Truth) -> str:
    T_base_tray = np.array(truth.landmarks["tray"])
    T_base_middle = Pose("base", "tray", T_base_tray) @ Pose.from_parts(
        "tray", "tray", np.eye(3), (0, 0, RIM_M / 2)
    )
    return box(truth, T_base_middle, (2 * TRAY_HALF_M, 2 * TRAY_HALF_M, RIM_M))


def box(truth: Truth, T_base_thing: Pose, size_m: tuple[float, float, float]) -> str:
    """As `twin segment --box` takes it, with `ROOM_M` on each side."""
    T_board_thing = truth.base_board.inverse() @ T_base_thing
    yaw_deg = math.degrees(math.atan2(T_board_thing.rotation[1, 0], T_board_thing.rotation[0, 0]))
    sides_m = [side + 2 * ROOM_M for side in size_m]
    return ",".join(f"{number:.4f}" for number in (*T_board_thing.translation_m, *sides_m, yaw_deg))


def cameras(config: PlantConfig) -> dict[str, SimCamera]:
    """The standing one and the one on the hand."""
    cell = workcell.build(config)
    front = SimCamera(
        camera=camera_model("cam_front", config.cameras["cam_front"]),
        mount="base",
        T_mount_cam=rows(reset_guide.front_camera(cell)),
    )
    return {"cam_front": front, "cam_wrist": wrist(cell, config.cameras["cam_wrist"])}


def wrist(cell: workcell.Workcell, lens: LiveCamera) -> SimCamera:
    data = mujoco.MjData(cell.model)
    mujoco.mj_forward(cell.model, data)
    tip = cell.model.site(workcell.tip_name()).id
    eye = cell.model.camera(workcell.camera_name("cam_wrist", cell.arm)).id
    T_base_tool = Pose.from_parts("base", "tool", data.site_xmat[tip].reshape(3, 3), data.site_xpos[tip])
    rotation = data.cam_xmat[eye].reshape(3, 3) @ reset_guide.OPTICAL
    T_base_cam = Pose.from_parts("base", "cam", rotation, data.cam_xpos[eye])
    return SimCamera(
        camera=camera_model("cam_wrist", lens), mount="tool", T_mount_cam=rows(T_base_tool.inverse() @ T_base_cam)
    )
