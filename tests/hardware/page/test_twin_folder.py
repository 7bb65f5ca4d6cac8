"""What the page shows of a twin's folder, and that what is drawn comes out as settings that the commands read."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from hardware.page.shown_folders import Folders, ShownFolders
from hardware.page.twin_folder import DRAWN, REGION, SEGMENT, TwinFolder
from tandem import as_defaults
from twin.region import Box
from twin.segment import SegmentTwin

SQUARE = ((0.1, 0.0), (0.2, 0.0), (0.2, 0.1), (0.1, 0.1))
LENS = {"width_px": 64, "height_px": 48, "fx_px": 50.0, "fy_px": 50.0, "cx_px": 32.0, "cy_px": 24.0}


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    """Two photos, the second held out and drawn by the twin; the arm turned by 90° and 0.3 m off."""
    (tmp_path / "work" / "capture" / "frames").mkdir(parents=True)
    (tmp_path / "page").mkdir()
    for name in ("a", "b"):
        (tmp_path / "work" / "capture" / "frames" / f"{name}.jpg").write_bytes(b"jpeg " + name.encode())
    (tmp_path / "page" / "b.png").write_bytes(b"png b")
    pose = np.eye(4).tolist()
    views = [
        {"image": f"{name}.jpg", "camera": "c", "T_world_cam": pose, "held_out": name == "b"} for name in ("a", "b")
    ]
    gate = {"name": "blurred share", "value": 0.0, "relation": "<=", "limit": 0.35, "unit": "", "advice": ""}
    stages = [{"name": "capture", "gates": [gate]}]
    files = {
        "twin.json": {"frames": {"metric": True}, "quality": {"psnr_db": 31.8}, "stages": stages},
        "cameras.json": {"cameras": {"c": LENS}, "views": views},
        "robot.json": {"T_world_base": [[0, -1, 0, 0.3], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]},
    }
    for name, value in files.items():
        (tmp_path / name).write_text(json.dumps(value))
    return tmp_path


def test_quality_and_views_are_shown_the_comparable_first(twin: Path) -> None:
    shown = TwinFolder(twin).shown()
    assert shown["quality"] == {"psnr_db": 31.8}
    assert [(view["image"], view["has_drawing"]) for view in shown["views"]] == [("b", True), ("a", False)]  # type: ignore[union-attr]
    assert [gate["name"] for gate in shown["gates"]] == ["blurred share"]  # type: ignore[union-attr]
    assert shown["objects"] == []


def test_pictures_are_served_and_nothing_beside_them(twin: Path) -> None:
    folders = ShownFolders(Folders(twin=twin))
    assert folders.answer("/twin/photo/a.jpg") == ("image/jpeg", b"jpeg a")
    assert folders.answer("/twin/drawing/b.png") == ("image/png", b"png b")
    for path in ("/twin/drawing/a.png", "/twin/photo/../../../twin.json", "/twin/robot.json", "/twin/report.html"):
        assert folders.answer(path) is None


def test_a_drawn_box_is_what_twin_segment_reads(twin: Path) -> None:
    TwinFolder(twin).keep("carton", (), (0.15, 0.05, 0.03, 0.1, 0.06, 0.06, 12.0))
    config = as_defaults(twin / SEGMENT, SegmentTwin)
    assert config.object == ("carton",)
    (box,) = (Box.parse(text) for text in config.box)
    assert box.centre_m == (0.15, 0.05, 0.03)
    assert box.yaw_rad == pytest.approx(np.radians(12))


def test_a_drawn_workspace_is_a_region_in_the_arms_frame(twin: Path) -> None:
    """p_base = R(-90°)(p_world - (0.3, 0)): (0.1, 0) is seen at (0, 0.2)."""
    folder = TwinFolder(twin)
    folder.keep("region", SQUARE, ())
    polygon = yaml.safe_load((twin / REGION).read_text())["polygon"]
    assert polygon == [[0.0, 0.2], [0.0, 0.1], [0.1, 0.1], [0.1, 0.2]]
    folder.keep("region", (), ())
    assert not (twin / REGION).exists()
    assert json.loads((twin / DRAWN).read_text()) == {"polygons": {}, "boxes": {}}


def test_without_the_arms_place_there_is_no_region(twin: Path) -> None:
    (twin / "robot.json").unlink()
    TwinFolder(twin).keep("region", SQUARE, ())
    assert not (twin / REGION).exists()
    assert TwinFolder(twin).shown()["knows_base"] is False
