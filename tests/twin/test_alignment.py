"""Alignment: the scale and frame that a scene was given come back, and a print that is not as described is noticed."""

import functools
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware import artefact, config
from hardware.board import CharucoBoard, MarkerBoard
from hardware.camera_model import CameraModel
from hardware.gate import Gate
from hardware.spatial import Pose, rotation_from_rotvec
from twin.alignment import Alignment, AlignmentConfig, Sighting, align, gates_of, parted, solve, triangulate
from twin.camera_path import looking
from twin.posed_images import PosedImages, SparsePoints, View
from twin.similarity import Similarity

CAMERA = CameraModel(width_px=640, height_px=480, fx_px=600.0, fy_px=605.0, cx_px=322.0, cy_px=238.0, k1=0.02)
TRUTH = Similarity(0.37, rotation_from_rotvec(np.array([0.4, -1.1, 2.0])), np.array([0.3, -0.2, 0.5]))
"""From SfM's world to the board's."""
BOARD = CharucoBoard()


def Ts_board_cam(count: int, seed: int = 0) -> list[Pose]:
    """Round the board, half a metre away, 30° to 70° above it."""
    rng, poses = np.random.default_rng(seed), []
    for number in range(count):
        around, up = 2 * math.pi * number / count, rng.uniform(0.5, 1.2)
        eye = 0.5 * np.array([math.cos(around) * math.cos(up), math.sin(around) * math.cos(up), math.sin(up)])
        matrix = looking(eye, rng.normal(0, 0.01, 3), np.array([0, 0, 1.0]))
        poses.append(Pose("world", "cam", matrix))
    return poses


def view(T_board_cam: Pose, number: int = 0) -> View:
    """In SfM's world."""
    rows = TRUTH.inverse().apply_pose(T_board_cam).matrix
    return View(
        image=f"{number:02d}.png", camera="phone", T_world_cam=tuple(tuple(map(float, row)) for row in rows)
    )


def sightings(
    count: int = 12, noise_px: float = 0.0, seed: int = 0, board=BOARD, stretch=(1.0, 1.0, 1.0)
) -> list[Sighting]:
    """What cameras see of a board; `stretch` is what the printer did to it."""
    rng, made = np.random.default_rng(seed), []
    for number, T_board_cam in enumerate(Ts_board_cam(count, seed)):
        points = T_board_cam.inverse().apply(board.object_points(board.corner_ids) * np.array(stretch))
        ideal = points[:, :2] / points[:, 2:] + rng.normal(0, noise_px / 600, (len(points), 2))
        seen = rng.random(len(points)) < 0.8
        made.append(Sighting(view(T_board_cam, number), board.corner_ids[seen], ideal[seen], 600.0))
    return made


def failed(gates: tuple[Gate, ...]) -> set[str]:
    return {gate.name for gate in gates if not gate.passed}


def assert_near(found: Similarity, metres: float) -> None:
    assert found.scale == pytest.approx(TRUTH.scale, rel=metres)
    np.testing.assert_allclose(found.rotation, TRUTH.rotation, atol=metres)
    np.testing.assert_allclose(found.translation, TRUTH.translation, atol=metres)


@pytest.mark.parametrize("board", [BOARD, MarkerBoard(columns=3, rows=2, marker_m=0.05, gap_m=0.01)])
def test_without_noise_the_truth_comes_back(board):
    settings = AlignmentConfig(board=board)
    found, alignment = solve(settings, sightings(board=board))
    assert_near(found, 1e-7)
    assert alignment.held_out_worst_mm < 1e-4
    assert alignment.flatness_mm < 1e-4
    assert not failed(gates_of(settings, alignment))


def test_noise_costs_what_the_result_says_it_does():
    errors = []
    for seed in range(12):
        found, alignment = solve(AlignmentConfig(), sightings(noise_px=0.3, seed=seed))
        errors.append(100 * math.log(found.scale / TRUTH.scale) / alignment.scale_uncertainty_percent)
        assert alignment.scale_uncertainty_percent < 0.1
        assert alignment.reprojection_rms_px == pytest.approx(0.3, rel=0.2)
        # Half a metre away a pixel of 600 is 0.8 mm: 0.3 px from three photos leave well under half a millimetre.
        assert alignment.held_out_median_mm < 0.5
        assert_near(found, 3e-3)
    # Twelve standard normal errors: their mean square is 1 ± 0.41.
    assert 0.2 < np.square(errors).mean() < 2.5


def test_a_wrong_corner_now_and_then_does_not_matter():
    seen = sightings(noise_px=0.2)
    for number in range(0, 12, 3):
        seen[number].ideal[5] += 0.1  # 60 px
    found, _ = solve(AlignmentConfig(), seen)
    assert_near(found, 2e-3)


@pytest.mark.parametrize(
    ("board", "printed", "stretch"),
    [
        (BOARD, BOARD, (1.06, 1.0, 1.0)),  # a printer that fits one side to the page
        (
            MarkerBoard(columns=3, rows=2, marker_m=0.05, gap_m=0.01),
            MarkerBoard(columns=3, rows=2, gap_m=0.025),
            None,
        ),
        (BOARD, BOARD.but(squares_x=6), (1.0, 1.0, 1.0)),  # ids that mean other corners
    ],
)
def test_a_print_that_is_not_as_described_fails_a_gate(board, printed, stretch):
    settings = AlignmentConfig(board=board)
    _, alignment = solve(settings, sightings(noise_px=0.2, board=printed, stretch=stretch or (1.0, 1.0, 1.0)))
    assert "shape of the print" in failed(gates_of(settings, alignment))


def test_a_board_that_moved_half_way_fails_a_gate():
    seen = sightings(noise_px=0.2)
    for number, T_board_cam in enumerate(Ts_board_cam(12)[6:], start=6):
        moved = T_board_cam.inverse().apply(BOARD.object_points(BOARD.corner_ids) + np.array([0.03, 0, 0]))
        seen[number] = Sighting(seen[number].view, BOARD.corner_ids, moved[:, :2] / moved[:, 2:], 600.0)
    _, alignment = solve(AlignmentConfig(), seen)
    assert "board reprojection" in failed(gates_of(AlignmentConfig(), alignment))


def test_the_size_of_a_print_is_believed():
    """The one thing that pictures of one board cannot tell: twice the print, twice the scale."""
    found, alignment = solve(AlignmentConfig(board=BOARD.but(square_m=0.072, marker_m=0.054)), sightings())
    assert found.scale == pytest.approx(2 * TRUTH.scale)
    assert not failed(gates_of(AlignmentConfig(), alignment))


def test_a_quarter_of_the_photos_takes_no_part():
    seen = sightings(13)
    used, apart = parted(seen)
    assert [item.view.image for item in apart] == ["03.png", "07.png", "11.png"]
    assert len(used) == 10
    spoilt = [Sighting(s.view, s.ids, s.ideal + 0.02, s.focal_px) if s in apart else s for s in seen]
    assert solve(AlignmentConfig(), spoilt)[0].scale == solve(AlignmentConfig(), seen)[0].scale
    few = sightings(5)
    assert parted(few) == (few, few)


def test_triangulated_corners_are_where_the_board_has_them():
    ids, xyz = triangulate(sightings(4))
    np.testing.assert_allclose(TRUTH.apply(xyz), BOARD.object_points(ids), atol=1e-9)
    assert triangulate(sightings(1))[0].shape == (0,)


@functools.cache
def rays_of_pixels() -> np.ndarray:
    x, y = np.meshgrid(np.arange(640) + 0.5, np.arange(480) + 0.5)
    return CAMERA.rays(np.stack([x, y], -1))


def photograph(T_board_cam: Pose, px_per_m: float = 4000.0) -> np.ndarray:
    """The printed board on a grey table, through the lens."""
    print_rgb = BOARD.draw(px_per_m, margin_m=0.02)
    height, width = print_rgb.shape[:2]
    rays = rays_of_pixels() @ T_board_cam.rotation.T
    depth = -T_board_cam.translation_m[2] / rays[..., 2]
    on_table = T_board_cam.translation_m + rays * depth[..., None]
    column = (on_table[..., 0] * px_per_m + width / 2 - 0.5).astype(np.float32)
    row = (height / 2 - on_table[..., 1] * px_per_m - 0.5).astype(np.float32)
    shrunk = cv2.GaussianBlur(print_rgb, (0, 0), 2.0)  # a camera's pixel is some 3 of the print's
    return cv2.remap(shrunk, column, row, cv2.INTER_LINEAR, borderValue=(90, 90, 90))


def stages(folder: Path, pictures: list[np.ndarray], poses: list[Pose], metric: bool = False) -> tuple[Path, Path]:
    frames, sfm = folder / "frames", folder / "sfm"
    frames.mkdir(parents=True)
    sfm.mkdir()
    views = tuple(view(pose, number) for number, pose in enumerate(poses))
    for item, picture in zip(views, pictures, strict=True):
        cv2.imwrite(str(frames / item.image), picture[..., ::-1])
    world = "base" if metric else "sfm"
    artefact.write_model(
        sfm / "posed.json", PosedImages(world=world, metric=metric, cameras={"phone": CAMERA}, views=views)
    )
    xyz = TRUTH.inverse().apply(BOARD.object_points(BOARD.corner_ids))
    SparsePoints(xyz, np.full((24, 3), 9, np.uint8), np.ones(24), np.full(24, 3, np.uint8)).save(sfm / "points.npz")
    return frames, sfm


def test_photos_of_a_board_become_metric_in_its_frame(tmp_path: Path):
    poses = Ts_board_cam(8, seed=3)
    frames, sfm = stages(tmp_path, [photograph(pose) for pose in poses], poses)
    outcome = align(AlignmentConfig(), frames, sfm, tmp_path)
    assert not failed(outcome.gates)
    posed = config.read(PosedImages, tmp_path / "posed.json")
    assert (posed.world, posed.metric) == ("board", True)
    for found, true in zip(posed.views, poses, strict=True):
        metres, radians = found.pose.distance_to(true)
        assert metres < 1e-3  # measured: 0.15 mm
        assert radians < 1e-3
    points = SparsePoints.load(tmp_path / "points.npz")
    np.testing.assert_allclose(points.xyz, BOARD.object_points(BOARD.corner_ids), atol=1e-3)
    alignment = config.read(Alignment, tmp_path / "alignment.json")
    assert alignment.kind == "board"
    assert alignment.views_with_board == 8
    assert alignment.scale_m_per_unit == pytest.approx(TRUTH.scale, rel=2e-3)
    assert outcome.numbers["scale_m_per_unit"] == alignment.scale_m_per_unit


def test_without_a_board_the_twin_is_not_metric(tmp_path: Path):
    poses = Ts_board_cam(3)
    frames, sfm = stages(tmp_path, [np.full((480, 640, 3), 90, np.uint8)] * 3, poses)
    outcome = align(AlignmentConfig(), frames, sfm, tmp_path)
    posed = config.read(PosedImages, tmp_path / "posed.json")
    assert (posed.world, posed.metric) == ("sfm", False)
    assert posed == config.read(PosedImages, sfm / "posed.json")
    assert config.read(Alignment, tmp_path / "alignment.json").kind == "none"
    assert "metric is false" in outcome.notes[0]
    assert outcome.gates == ()


def test_one_photo_of_the_board_is_not_enough(tmp_path: Path):
    poses = Ts_board_cam(3)
    blank = np.full((480, 640, 3), 90, np.uint8)
    frames, sfm = stages(tmp_path, [photograph(poses[0]), blank, blank], poses)
    align(AlignmentConfig(), frames, sfm, tmp_path)
    found = config.read(Alignment, tmp_path / "alignment.json")
    assert (found.kind, found.views_with_board) == ("none", 1)


def test_a_scan_that_is_metric_already_is_left_alone(tmp_path: Path):
    poses = Ts_board_cam(2)
    frames, sfm = stages(tmp_path, [photograph(pose) for pose in poses], poses, metric=True)
    align(AlignmentConfig(), frames, sfm, tmp_path)
    assert config.read(PosedImages, tmp_path / "posed.json") == config.read(PosedImages, sfm / "posed.json")
    assert config.read(Alignment, tmp_path / "alignment.json").kind == "given"
