"""Known errors of a twin come out as they were put in, in the reference's frame or after a similarity."""

import json
from pathlib import Path

import numpy as np
import pytest
import small_twin
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.bench.truth import PhotoTruth, Truth, as_matrix
from hardware.board import CharucoBoard
from hardware.config import read
from hardware.errors import BadInput
from hardware.spatial import Pose, rotation_from_rotvec
from twin.evaluate import EvaluateTwin, Evaluation, Reference, compare, compare_cameras, evaluate, in_words
from twin.manifest import read_twin
from twin.posed_images import PosedImages
from twin.similarity import Similarity

ROOT = Path(__file__).parents[2]
PLUSH = ROOT.parent / "shared" / "data" / "scan_plush"
POSED = small_twin.cameras(12)


def truth(posed: PosedImages = POSED) -> Truth:
    """The bench's truth, had the bench filmed the small twin."""
    photos = tuple(
        PhotoTruth(
            name=view.image,
            T_board_cam=as_matrix(Pose("board", "cam", view.pose.matrix)),
            exposure_gain=1.0,
            blur_px=0.0,
        )
        for view in posed.views
    )
    there = as_matrix(Pose.identity("base", "board"))
    camera = posed.cameras["phone"]
    return Truth(seed=0, camera=camera, photos=photos, board=CharucoBoard(), T_base_board=there, objects=())


def moved(posed: PosedImages, change: Similarity, only: int | None = None) -> PosedImages:
    views = []
    for index, view in enumerate(posed.views):
        pose = change.apply_pose(view.pose) if only in (None, index) else view.pose
        views.append(view.but(T_world_cam=tuple(map(tuple, pose.matrix.tolist()))))
    return posed.but(views=tuple(views))


def gaussian_cameras(posed: PosedImages) -> list[dict]:
    """As 3DGS writes them: no suffix, float32, a rotation that maps camera to world."""
    return [
        {
            "id": index,
            "img_name": Path(view.image).stem,
            "width": 160,
            "height": 120,
            "position": view.pose.translation_m.astype(np.float32).tolist(),
            "rotation": view.pose.rotation.astype(np.float32).tolist(),
            "fx": 150.0,
            "fy": 151.0,
        }
        for index, view in enumerate(posed.views)
    ]


def test_a_shift_is_measured_in_the_board_frame_without_a_fit() -> None:
    shifted = moved(POSED, Similarity(1.0, np.eye(3), np.array([0.003, 0.004, 0])))
    found = compare_cameras(shifted, Reference.of_truth(truth()))
    assert found.compared_in == "board"
    assert found.position_median_mm == pytest.approx(5, abs=1e-6)  # 3-4-5
    assert found.position_worst_mm == pytest.approx(5, abs=1e-6)
    assert found.rotation_median_deg == pytest.approx(0, abs=1e-6)
    assert found.scale_error_percent == pytest.approx(0, abs=1e-9)


def test_a_turned_camera_counts_in_degrees() -> None:
    """All cameras turned on the spot by 0.2° about their own axis."""
    turn = rotation_from_rotvec(np.array([0, 0, np.radians(0.2)]))
    views = []
    for view in POSED.views:
        T = np.array(view.T_world_cam)
        T[:3, :3] = T[:3, :3] @ turn
        views.append(view.but(T_world_cam=tuple(map(tuple, T.tolist()))))
    found = compare_cameras(POSED.but(views=tuple(views)), Reference.of_truth(truth()))
    assert found.rotation_median_deg == pytest.approx(0.2, abs=1e-6)
    assert found.position_median_mm == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("scale", "percent"), [(1.01, 1.0), (0.98, 2.0)])
def test_a_wrong_scale_shows(scale: float, percent: float) -> None:
    found = compare_cameras(moved(POSED, Similarity(scale, np.eye(3), np.zeros(3))), Reference.of_truth(truth()))
    assert found.scale_error_percent == pytest.approx(percent, abs=1e-6)
    centre = float(np.median([np.linalg.norm(view.pose.translation_m) for view in POSED.views]))
    assert found.position_median_mm == pytest.approx(10 * percent * centre, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(0.05, 20),
    turn=st.tuples(*[st.floats(-3, 3)] * 3),
    shift=st.tuples(*[st.floats(-50, 50)] * 3),
)
def test_an_arbitrary_world_is_no_error(scale: float, turn: tuple, shift: tuple) -> None:
    elsewhere = moved(POSED, Similarity(scale, rotation_from_rotvec(np.array(turn)), np.array(shift)))
    reference = Reference("arbitrary", {Path(view.image).stem: view.pose for view in elsewhere.views})
    found = compare_cameras(POSED, reference)
    assert found.compared_in == "similarity"
    assert found.position_worst_percent < 1e-6
    assert found.rotation_worst_deg < 1e-4
    assert found.scale_error_percent is None


def test_one_misplaced_camera_spoils_only_its_own_error() -> None:
    stray = moved(POSED, Similarity(1.0, np.eye(3), np.array([0.5, 0, 0])), only=4)
    reference = Reference("arbitrary", {Path(view.image).stem: view.pose for view in POSED.views})
    found = compare_cameras(stray, reference)
    assert found.position_median_percent < 1e-6
    assert found.position_worst_percent == pytest.approx(100 * 0.5 / found.extent, rel=1e-6)


def test_a_twin_without_scale_is_compared_with_the_truth_after_a_similarity() -> None:
    loose = moved(POSED, Similarity(3.0, np.eye(3), np.ones(3))).but(world="sfm", metric=False)
    found = compare_cameras(loose, Reference.of_truth(truth()))
    assert found.compared_in == "similarity"
    assert found.scale_error_percent is None
    assert found.position_worst_mm == pytest.approx(0, abs=1e-6)


def test_the_cameras_that_3dgs_writes_are_read(tmp_path: Path) -> None:
    file = tmp_path / "cameras.json"
    file.write_text(json.dumps(gaussian_cameras(POSED)))
    found = compare_cameras(POSED, Reference.read(file))
    assert (found.matched, found.reference) == (12, 12)
    assert found.position_worst_percent < 1e-4  # float32
    assert found.rotation_worst_deg < 1e-3


@pytest.mark.skipif(not PLUSH.exists(), reason="the real scan is not here")
def test_a_published_reference_is_read() -> None:
    reference = Reference.read(PLUSH / "reference_cameras.json")
    assert len(reference.Ts_world_cam) == 97
    assert "20240212_003919" in reference.Ts_world_cam


@pytest.mark.parametrize(
    ("contents", "words"),
    [("hello", "cannot read"), ("[1, 2]", "does not list cameras"), ('{"a": 1}', "not a Truth"), ("[]", "only 0")],
)
def test_a_file_that_is_no_reference_is_refused(tmp_path: Path, contents: str, words: str) -> None:
    file = tmp_path / "reference.json"
    file.write_text(contents)
    with pytest.raises(BadInput, match=words):
        compare_cameras(POSED, Reference.read(file))


def test_the_reference_of_another_scan_is_refused() -> None:
    other = Reference("arbitrary", {f"other_{i}": Pose.identity("world", "cam") for i in range(5)})
    with pytest.raises(BadInput, match="only 0 photos are in both: the twin has photo_000, the reference other_0"):
        compare_cameras(POSED, other)


def test_a_bundle_is_scored_anew_and_agrees_with_its_training(small_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "reference.json"
    file.write_text(json.dumps(gaussian_cameras(small_twin.cameras(16))))
    evaluation = compare(EvaluateTwin(bundle=small_bundle, reference=file))
    assert evaluation.held_out is not None
    assert evaluation.cameras is not None
    trained = read_twin(small_bundle).quality
    assert evaluation.held_out.psnr_db == pytest.approx(trained.psnr_db, abs=0.02)
    assert evaluation.held_out.ssim == pytest.approx(trained.ssim, abs=1e-3)
    assert evaluation.held_out.photos == 2  # every eighth of 16 is held out
    assert evaluation.cameras.matched == 16
    assert evaluation.cameras.position_worst_percent < 1e-3
    assert [point["step"] for point in evaluation.curve] == [100, 200, 300]


def test_the_measurements_are_written_and_read_again(small_bundle: Path, tmp_path: Path) -> None:
    assert evaluate(EvaluateTwin(bundle=small_bundle, json_file=tmp_path / "found.json")) == 0
    evaluation = read(Evaluation, tmp_path / "found.json")
    assert evaluation.cameras is None
    assert "camera position" not in in_words(evaluation)
    assert "dB" in in_words(evaluation)["held-out PSNR"]
