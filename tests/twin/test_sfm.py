"""Structure from motion: real photos find their places, given poses pass through, and a poor capture is explained."""

import json
import shutil
from pathlib import Path

import numpy as np
import pictures
import pytest
import small_twin
from scipy.spatial.transform import Rotation

from hardware import artefact
from hardware.config import read
from hardware.errors import BadInput
from hardware.gate import Gate
from twin import capture, sfm
from twin.capture import Capture, CaptureConfig, CapturedFrame
from twin.posed_images import PosedImages, SparsePoints
from twin.sfm import (
    SfmConfig,
    by_camera,
    chunks_of,
    focal_ratio,
    gates_of,
    mutual_count,
    reconstruct,
    scattered_points,
)
from twin.similarity import fit_robustly

ROOT = Path(__file__).parents[2]
PLUSH = ROOT.parent / "shared" / "data" / "scan_plush"


def frame(name: str, camera: str = "phone", focal_px: float | None = None) -> CapturedFrame:
    return CapturedFrame(
        name=name,
        source=name,
        width_px=160,
        height_px=120,
        blur=0.3,
        brightness=90.0,
        camera=camera,
        focal_px=focal_px,
    )


@pytest.mark.slow
@pytest.mark.skipif(not PLUSH.is_dir(), reason="the real scan is not here")
def test_real_photos_find_their_places(tmp_path: Path):
    """Twenty-two neighbouring photos at 640 px against the reference of all 97 at full size, after a similarity."""
    (tmp_path / "scan").mkdir()
    for file in sorted((PLUSH / "images").iterdir())[:22]:
        shutil.copy(file, tmp_path / "scan")
    taken, out = tmp_path / "capture", tmp_path / "sfm"
    taken.mkdir()
    out.mkdir()
    capture.capture(CaptureConfig(max_size_px=640), tmp_path / "scan", taken)
    outcome = reconstruct(SfmConfig(features=1500, partners=8), taken, out)
    assert all(gate.passed for gate in outcome.gates), outcome.gates
    posed, points = read(PosedImages, out / "posed.json"), SparsePoints.load(out / "points.npz")
    assert outcome.numbers["registered"] == len(posed.views) >= 21
    assert len(points.xyz) > 500
    truth = reference()
    centres = np.array([view.pose.translation_m for view in posed.views])
    true_centres = np.array([truth[Path(view.image).stem][:3, 3] for view in posed.views])
    similarity = fit_robustly(centres, true_centres)
    extent = np.linalg.norm(np.ptp(true_centres, axis=0))
    errors = np.linalg.norm(similarity.apply(centres) - true_centres, axis=1) / extent
    between = [truth[Path(view.image).stem][:3, :3] @ view.pose.rotation.T for view in posed.views]
    turns_rad = (Rotation.from_matrix(between) * Rotation.from_matrix(between).mean().inv()).magnitude()
    assert np.median(errors) < 0.01  # 0.0053 measured
    assert np.degrees(np.median(turns_rad)) < 1.0  # 0.49 measured
    # Killed here and started again: the matches are kept, the answer is the same.
    again = reconstruct(SfmConfig(features=1500, partners=8), taken, out)
    assert again.numbers["registered"] == outcome.numbers["registered"]


def reference() -> dict[str, np.ndarray]:
    """T_world_cam by the photo's stem; 3DGS's cameras.json holds camera → world."""
    poses = {}
    for camera in json.loads((PLUSH / "reference_cameras.json").read_text()):
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = camera["rotation"], camera["position"]
        poses[camera["img_name"]] = T
    return poses


def test_photos_that_have_nothing_in_common_end_with_advice(tmp_path: Path):
    taken, out = tmp_path / "capture", tmp_path / "sfm"
    taken.mkdir()
    out.mkdir()
    capture.capture(CaptureConfig(fewest=3), pictures.photos(tmp_path / "scan", 4), taken)
    with pytest.raises(BadInput, match=r"no two of the 4 frames could be placed .*\n.*film again: more texture"):
        reconstruct(SfmConfig(features=500), taken, out)


def posed_capture(folder: Path, points: SparsePoints | None) -> tuple[Path, Path]:
    taken, out = folder / "capture", folder / "sfm"
    taken.mkdir()
    out.mkdir()
    posed = small_twin.cameras(6, world="sfm")
    frames = tuple(frame(view.image) for view in posed.views)
    artefact.write_model(taken / "capture.json", Capture(kind="nerfstudio", frames=frames))
    artefact.write_model(taken / "posed.json", posed)
    if points is not None:
        points.save(taken / "points.npz")
    return taken, out


def test_given_poses_and_points_pass_through(tmp_path: Path):
    given = SparsePoints(np.eye(3), np.zeros((3, 3), np.uint8), np.zeros(3), np.zeros(3, np.uint8))
    taken, out = posed_capture(tmp_path, given)
    outcome = reconstruct(SfmConfig(), taken, out)
    assert (out / "posed.json").read_text() == (taken / "posed.json").read_text()
    np.testing.assert_array_equal(SparsePoints.load(out / "points.npz").xyz, np.eye(3))
    assert "structure from motion was skipped" in outcome.notes[0]


def test_without_points_random_ones_lie_where_the_cameras_look(tmp_path: Path):
    taken, out = posed_capture(tmp_path, None)
    outcome = reconstruct(SfmConfig(), taken, out)
    assert "training starts from random ones" in outcome.notes[0]
    posed, points = small_twin.cameras(6, world="sfm"), SparsePoints.load(out / "points.npz")
    assert len(points.xyz) == 20_000 or len(points.xyz) > 1000
    seen = np.sum(
        [posed.cameras["phone"].project(v.pose.inverse().apply(points.xyz))[1] for v in posed.views], axis=0
    )
    assert seen.min() >= 3
    # The cameras look at (0, 0, 0.03) from 0.8 m or so: points lie all round it, out to 1.7 m along each axis.
    away = points.xyz - [0, 0, 0.03]
    assert np.abs(away).max() <= 1.7
    assert (np.linalg.norm(away, axis=1) < 0.25).sum() > 20
    np.testing.assert_array_equal(points.xyz, scattered_points(posed).xyz)


def test_features_in_common_are_counted_once_each_way():
    rng = np.random.default_rng(0)

    def unit(rows: np.ndarray) -> np.ndarray:
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    shared, own, other = (
        unit(rng.normal(size=(30, 128))),
        unit(rng.normal(size=(50, 128))),
        unit(rng.normal(size=(20, 128))),
    )
    a = np.concatenate([shared, own])
    b = np.concatenate([other, unit(shared + 0.01 * rng.normal(size=(30, 128)))])
    assert mutual_count(a, b) == mutual_count(b, a) == 30
    assert mutual_count(a, np.concatenate([shared, shared])) == 0  # each twice there: none is clear
    assert mutual_count(a[:1], b) == 0


def test_frames_are_grouped_by_camera_and_cut_into_calls():
    frames = [frame("a"), frame("b", "tablet"), frame("c")]
    assert [[item.name for item in group] for group in by_camera(frames)] == [["a", "c"], ["b"]]
    assert [list(chunk) for chunk in chunks_of(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_the_focal_length_is_compared_either_way():
    posed = small_twin.cameras(2)  # fx 150, fy 151
    name = posed.views[0].image
    assert focal_ratio([frame(name)], posed, name) == 1.0
    assert focal_ratio([frame(name, focal_px=75.25)], posed, name) == pytest.approx(2)
    assert focal_ratio([frame(name, focal_px=301.0)], posed, name) == pytest.approx(2)


def failed(frames: list[CapturedFrame], posed: PosedImages, error_px: float) -> list[Gate]:
    points = SparsePoints(np.zeros((5, 3)), np.zeros((5, 3), np.uint8), np.full(5, error_px), np.zeros(5, np.uint8))
    return [gate for gate in gates_of(SfmConfig(), frames, posed, points) if not gate.passed]


def test_a_poor_reconstruction_is_explained():
    posed = small_twin.cameras(9)
    frames = [frame(view.image) for view in posed.views]
    assert not failed(frames, posed, 0.6)
    lost = failed([*frames, *(frame(f"IMG_{number}.jpg") for number in range(6))], posed, 0.6)
    assert [gate.name for gate in lost] == ["registered share"]
    assert lost[0].value == pytest.approx(9 / 15)
    assert "6 of 15 frames have no pose (IMG_0.jpg, IMG_1.jpg" in lost[0].advice
    assert [gate.name for gate in failed(frames, posed, 1.6)] == ["mean reprojection error"]
    stretched = [frame(view.image, focal_px=100.0) for view in posed.views]
    assert [gate.name for gate in failed(stretched, posed, 0.6)] == ["focal length against EXIF"]
    none = SparsePoints(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0), np.zeros(0, np.uint8))
    assert not gates_of(SfmConfig(), frames, posed, none)[1].passed


def test_a_disk_without_room_is_said_beforehand(tmp_path: Path):
    sfm.require_room(tmp_path, 1)
    with pytest.raises(BadInput, match=r"needs up to \d+ MB in .*, and there are \d+"):
        sfm.require_room(tmp_path, 10**18)
