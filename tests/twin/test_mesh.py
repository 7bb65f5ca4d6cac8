"""A mesh of a known sphere on a known plane lies within a voxel of both; without a surface the gate fails."""

from pathlib import Path

import numpy as np
import open3d as o3d
import pytest

from hardware import artefact
from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from hardware.spatial import quat_wxyz_from_rotation
from twin import splat_ply
from twin.mesh import MeshConfig, extract, spread
from twin.posed_images import PosedImages, SparsePoints, View
from twin.splat import Splat

RADIUS_M, CENTRE_M = 0.1, np.array([0.0, 0.0, 0.1])
VOXEL_M = 0.005
CAMERA = CameraModel(width_px=240, height_px=180, fx_px=220, fy_px=220, cx_px=120, cy_px=90)
SH_BASE = 0.28209479177387814


def discs(xyz: np.ndarray, normals: np.ndarray, radius_m: float, rgb: tuple[float, float, float]) -> Splat:
    """Flat opaque Gaussians across the normals."""
    helper = np.where(np.abs(normals[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    x = np.cross(helper, normals)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    rotations = np.stack([x, np.cross(normals, x), normals], -1)
    return Splat(
        means_m=xyz,
        quats_wxyz=quat_wxyz_from_rotation(rotations),
        scales_m=np.tile([radius_m, radius_m, 1e-4], (len(xyz), 1)),
        opacities=np.full(len(xyz), 0.99),
        sh=np.tile((np.array(rgb) - 0.5) / SH_BASE, (len(xyz), 1, 1)),
    )


def ball_on_table() -> Splat:
    """A red sphere of 0.1 m on a blue 0.6 m square at z = 0.

    Of discs that lie over one another the one with the nearer mean hides the others, so the depth is too near by
    about a disc's radius: the discs are small against a voxel.
    """
    k = np.arange(9000) + 0.5
    z, angle = 1 - 2 * k / 9000, np.pi * (1 + 5**0.5) * k
    normals = np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], -1)
    ball = discs(CENTRE_M + RADIUS_M * normals, normals, 0.002, (0.9, 0.1, 0.1))
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-0.3, 0.3, 140), np.linspace(-0.3, 0.3, 140)))
    up = np.tile([0.0, 0, 1], (len(x), 1))
    table = discs(np.stack([x, y, 0 * x], -1), up, 0.0025, (0.1, 0.1, 0.9))
    return Splat.concatenate([ball, table])


def looking_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    z = (target - eye) / np.linalg.norm(target - eye)
    x = np.cross(z, [0, 0, 1.0])
    x /= np.linalg.norm(x)
    T = np.eye(4)
    T[:3] = np.stack([x, np.cross(z, x), z, eye], -1)
    return T


def ring_of_views() -> tuple[View, ...]:
    views = []
    for height_m, count in ((0.25, 10), (0.55, 8)):
        for angle in np.arange(count) * 2 * np.pi / count:
            eye = np.array([0.55 * np.cos(angle), 0.55 * np.sin(angle), height_m])
            T = looking_at(eye, np.array([0, 0, 0.06]))
            views.append(View(image=f"{len(views)}.jpg", camera="a", T_world_cam=tuple(map(tuple, T.tolist()))))
    return tuple(views)


def scene(folder: Path, splat: Splat, views: tuple[View, ...]) -> tuple[Path, Path]:
    posed = PosedImages(world="board", metric=True, cameras={"a": CAMERA}, views=views)
    artefact.write_model(folder / "posed" / "posed.json", posed)
    splat_ply.write(folder / "splat" / "scene.ply", splat)
    return folder / "posed", folder / "splat"


@pytest.fixture(scope="module")
def meshed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ball")
    posed, splat = scene(folder, ball_on_table(), ring_of_views())
    outcome = extract(MeshConfig(voxel_m=VOXEL_M), posed, splat, folder)
    return outcome, o3d.io.read_triangle_mesh(str(folder / "mesh.ply"))


def test_every_vertex_lies_within_a_voxel_of_the_true_surface(meshed):
    vertices = np.asarray(meshed[1].vertices)
    to_ball = np.abs(np.linalg.norm(vertices - CENTRE_M, axis=1) - RADIUS_M)
    distance_m = np.minimum(to_ball, np.abs(vertices[:, 2]))
    assert np.median(distance_m) < 0.4 * VOXEL_M
    assert np.percentile(distance_m, 95) < VOXEL_M


def test_the_surface_that_the_cameras_see_is_covered(meshed):
    vertices = np.asarray(meshed[1].vertices)
    seen = np.array([[0, 0, 0.2], [0.1, 0, 0.1], [0, -0.1, 0.1], [0.2, 0.2, 0], [-0.2, 0.1, 0]])
    nearest_m = np.linalg.norm(vertices[None] - seen[:, None], axis=-1).min(1)
    assert nearest_m.max() < 2 * VOXEL_M


def test_colours_are_the_splats(meshed):
    vertices, colours = np.asarray(meshed[1].vertices), np.asarray(meshed[1].vertex_colors)
    top = np.linalg.norm(vertices - [0, 0, 0.2], axis=1) < 0.02
    table = np.linalg.norm(vertices - [0.2, 0.2, 0], axis=1) < 0.03
    np.testing.assert_allclose(colours[top].mean(0), [0.9, 0.1, 0.1], atol=0.05)
    np.testing.assert_allclose(colours[table].mean(0), [0.1, 0.1, 0.9], atol=0.05)


def test_the_outcome_counts_and_measures(meshed):
    outcome, mesh = meshed
    assert outcome.numbers["triangles"] == len(mesh.triangles)
    # a 0.6 m square and a sphere of 4 π 0.01 m²: 0.36 + 0.126; the foot of the ball is hidden
    assert outcome.numbers["area_m2"] == pytest.approx(0.47, abs=0.05)
    assert all(gate.passed for gate in outcome.gates)


def test_a_floating_speck_is_dropped_and_the_far_background_cropped(tmp_path):
    splat = ball_on_table()
    up = np.tile([0.0, 0, 1], (60, 1))
    rng = np.random.default_rng(0)
    speck = discs(rng.normal([0.2, -0.2, 0.2], 0.004, (60, 3)), up, 0.004, (0, 1, 0))
    posed, folder = scene(tmp_path, Splat.concatenate([splat, speck]), ring_of_views())
    points = np.array([[-0.1, -0.1, 0], [0.1, 0.1, 0.2]])
    SparsePoints(points, np.zeros((2, 3), np.uint8), np.zeros(2), np.full(2, 3, np.uint8)).save(
        posed / "points.npz"
    )
    extract(MeshConfig(voxel_m=VOXEL_M), posed, folder, tmp_path)
    vertices = np.asarray(o3d.io.read_triangle_mesh(str(tmp_path / "mesh.ply")).vertices)
    assert np.abs(vertices[:, :2]).max() < 0.13
    assert vertices[:, 2].max() < 0.23


def test_a_splat_without_a_surface_fails_the_gate(tmp_path):
    faint = ball_on_table()
    faint.opacities[:] = 0.02
    posed, splat = scene(tmp_path, faint, ring_of_views())
    outcome = extract(MeshConfig(), posed, splat, tmp_path)
    assert not outcome.gates[0].passed
    assert outcome.gates[0].advice
    assert outcome.numbers["triangles"] == 0
    assert not (tmp_path / "mesh.ply").exists()


def test_no_views_and_no_splat_are_refused(tmp_path):
    posed, splat = scene(tmp_path, ball_on_table(), ())
    with pytest.raises(BadInput, match="no training views"):
        extract(MeshConfig(), posed, splat, tmp_path)
    (splat / "scene.ply").unlink()
    with pytest.raises(BadInput, match=r"scene\.ply"):
        extract(MeshConfig(), posed, splat, tmp_path)


def test_views_are_spread_over_the_whole_capture():
    views = ring_of_views()
    assert [view.image for view in spread(views, 3)] in (["0.jpg", "8.jpg", "17.jpg"], ["0.jpg", "9.jpg", "17.jpg"])
    assert spread(views, 99) == list(views)


def test_the_mesh_of_a_translucent_table_lies_on_the_table(tmp_path):
    x, y = (a.ravel() for a in np.meshgrid(*2 * [np.linspace(-0.3, 0.3, 40)]))
    up = np.tile([0.0, 0, 1], (len(x), 1))
    crust, haze = (discs(np.stack([x, y, z + 0 * x], -1), up, 0.012, (0.5, 0.3, 0.1)) for z in (0.0, -0.08))
    crust.opacities[:], haze.opacities[:] = 0.12, 0.6
    posed, folder = scene(tmp_path, Splat.concatenate([crust, haze]), ring_of_views())
    extract(MeshConfig(voxel_m=VOXEL_M), posed, folder, tmp_path)
    vertices = np.asarray(o3d.io.read_triangle_mesh(str(tmp_path / "mesh.ply")).vertices)
    middle = np.abs(vertices[:, :2]).max(1) < 0.2
    assert middle.sum() > 1000
    # within 3 mm: with the mean depth it would lie 30 to 60 mm below
    assert np.percentile(np.abs(vertices[middle, 2]), 95) < 0.003
