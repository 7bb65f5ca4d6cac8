"""The twin's drawing of the object at a start lies where the page's outline is, and is found there by its colours."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware import artefact
from hardware.bench.tasks.start import TaskStart
from hardware.camera_model import CameraModel
from hardware.config import read
from hardware.errors import BadInput
from hardware.page.ghost import Guide
from hardware.page.shown_folders import Folders, ShownFolders
from hardware.spatial import Pose, rotation_from_rotvec
from rl_online.starts.guide import GUIDE, GuideResets, guide
from rl_online.starts.regions import Cell
from rl_online.starts.resets import CellScore, ResetPlan
from twin import splat_ply
from twin.object_asset import ObjectAsset, rows
from twin.sim.cameras import FILE, CellCameras, SimCamera
from twin.splat import Splat

SIZE_M = (0.06, 0.04, 0.03)
LENS = CameraModel(width_px=640, height_px=480, fx_px=560, fy_px=560, cx_px=320, cy_px=240, k1=-0.08)


def painted_box() -> Splat:
    """A crust of small Gaussians on the six faces of a green box, in its own frame."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (6000, 3))
    face = rng.integers(0, 3, len(points))
    points[np.arange(len(points)), face] = np.sign(points[np.arange(len(points)), face]) * 0.47
    sh = np.tile((np.array([0.1, 0.7, 0.3]) - 0.5) / 0.28209479, (len(points), 1))[:, None, :]
    return Splat(
        means_m=points * SIZE_M,
        quats_wxyz=np.tile([1.0, 0, 0, 0], (len(points), 1)),
        scales_m=np.full((len(points), 3), 0.0006),
        opacities=np.full(len(points), 0.95),
        sh=sh,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guide")
    down = rotation_from_rotvec(np.array([-np.pi * 0.8, 0.0, 0.0]))
    T_base_cam = Pose.from_parts("base", "cam", down, np.array([0.2, -0.35, 0.45]))
    standing = SimCamera(camera=LENS, mount="base", T_mount_cam=rows(T_base_cam))
    artefact.write_model(folder / "twin" / FILE, CellCameras(cameras={"cam_front": standing}))
    T_world_obj = Pose.from_parts("world", "box", np.eye(3), np.array([0.0, 0.0, SIZE_M[2] / 2]))
    asset = ObjectAsset(name="box", T_world_obj=rows(T_world_obj), size_m=SIZE_M, footprint="box", gaussians=6000)
    artefact.write_model(folder / "twin" / "objects" / "box" / "object.json", asset)
    splat_ply.write(folder / "twin" / "objects" / "box" / "splat.ply", painted_box())
    cell = Cell(part="ood", region="r", lower_m=(0.15, -0.05), upper_m=(0.25, 0.05), yaw_rad=(-0.7, 0.7))
    artefact.write_model(folder / "mined" / "resets.json", ResetPlan(scores=(CellScore(cell=cell, rollouts=4),)))
    asked = GuideResets(plan=folder / "mined", bundle=folder / "twin", object="box", output=folder / "out", count=4)
    assert guide(asked) == 0
    return folder


def test_before_there_is_a_plan_starts_lie_in_a_drawn_region(made: Path) -> None:
    corners = ((0.15, -0.05), (0.25, -0.05), (0.25, 0.05))
    asked = {"bundle": made / "twin", "object": "box", "output": made / "first", "count": 3}
    assert guide(GuideResets(polygon=corners, yaw_deg=(-20, 20), **asked)) == 0
    starts = read(Guide, made / "first" / GUIDE).starts
    assert all(start.x_m - 0.15 >= start.y_m + 0.05 and abs(start.yaw_rad) <= np.radians(20) for start in starts)
    for wrong in ({}, {"polygon": corners, "plan": made / "mined"}, {"polygon": corners[:2]}):
        with pytest.raises(BadInput, match=r"a region|a polygon of 2"):
            guide(GuideResets(**wrong, **asked))


def test_the_drawing_lies_within_the_outline_through_the_lens(made: Path) -> None:
    drawn = read(Guide, made / "out" / GUIDE)
    medians = []
    for number in range(4):
        rgba = cv2.imread(str(made / "out" / drawn.pictures[number]), cv2.IMREAD_UNCHANGED)
        assert rgba is not None
        contours, _ = cv2.findContours(
            (rgba[..., 3] > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        ghost = drawn.ghost(number)
        assert ghost is not None
        outline = (np.array(ghost.outline) * [640, 480]).astype(np.float32)
        contour = max(contours, key=len).reshape(-1, 2) + 0.5
        away = [abs(cv2.pointPolygonTest(outline, (float(x), float(y)), True)) for x, y in contour]
        medians.append(float(np.median(away)))
    print(f"median distance of drawing and outline: {', '.join(f'{m:.2f}' for m in medians)} px")
    assert max(medians) < 3


def test_the_drawn_object_is_found_by_the_colours_of_the_drawing(made: Path) -> None:
    drawn = read(Guide, made / "out" / GUIDE)
    finder = drawn.finder()
    assert finder is not None
    rgba = cv2.cvtColor(
        cv2.imread(str(made / "out" / drawn.pictures[0]), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA
    )
    wood = np.random.default_rng(1).normal([180, 140, 95], 9, (480, 640, 3)).clip(0, 255)
    alpha = rgba[..., 3:] / 255
    sighting = finder.find((wood * (1 - alpha) + rgba[..., :3] * alpha).astype(np.uint8))
    assert sighting is not None
    left = drawn.remaining(0, sighting.start)
    assert left.is_there
    assert left.away_m < 4e-3


def test_the_page_serves_the_drawings_of_the_guide(made: Path) -> None:
    shown = ShownFolders(Folders(guide=made / "out" / GUIDE))
    answer = shown.answer("/ghost/3.png")
    assert answer is not None
    assert answer[1].startswith(b"\x89PNG")
    assert shown.answer("/ghost/4.png") is None


@pytest.mark.parametrize(
    ("change", "words"), [({"object": "cup"}, "have: box"), ({"camera": "wrist"}, "have: cam_front")]
)
def test_what_the_twin_lacks_is_named(made: Path, change: dict, words: str) -> None:
    asked = {"plan": made / "mined", "bundle": made / "twin", "object": "box", "output": made / "new"} | change
    with pytest.raises(BadInput, match=words):
        guide(GuideResets(**asked))
    assert not (made / "new").exists()


def test_starts_come_from_the_target_cells(made: Path) -> None:
    starts = [TaskStart.model_validate(row) for row in json.loads((made / "out" / GUIDE).read_text())["starts"]]
    assert len(starts) == 4
    assert all(0.15 <= start.x_m <= 0.25 and abs(start.y_m) <= 0.05 for start in starts)
