"""A tray's walls and floor are found from depth pictures, also where those are wrong about a plain floor."""

import numpy as np
import open3d as o3d
import pytest

from hardware.camera_model import CameraModel
from twin import relief
from twin.surface_depth import Surface

HALF_M, WALL_M, RIM_M, FLOOR_M = 0.05, 0.004, 0.014, 0.003
VOXEL_M = 1.25e-3
LOW_M = np.array([-0.06, -0.06, 0.0])
SHAPE = (97, 97)
DOME_M = 0.008


def box(low: tuple[float, ...], high: tuple[float, ...]) -> o3d.geometry.TriangleMesh:
    size = np.array(high) - low
    return o3d.geometry.TriangleMesh.create_box(*size).translate(low)


def tray(dome: bool) -> list[o3d.geometry.TriangleMesh]:
    """Floor first. The dome hovers over its middle, as untextured Gaussians do."""
    floor = box((-HALF_M, -HALF_M, 0.0), (HALF_M, HALF_M, FLOOR_M))
    if dome:
        ball = o3d.geometry.TriangleMesh.create_sphere(1.0, 40)
        ball.vertices = o3d.utility.Vector3dVector(np.asarray(ball.vertices) * [0.035, 0.035, DOME_M])
        floor += ball.translate((0.0, 0.0, FLOOR_M))
    out, inn = HALF_M, HALF_M - WALL_M
    walls = [
        box((-out, -out, 0.0), (-inn, out, RIM_M)),
        box((inn, -out, 0.0), (out, out, RIM_M)),
        box((-out, -out, 0.0), (out, -inn, RIM_M)),
        box((-out, inn, 0.0), (out, out, RIM_M)),
    ]
    return [floor, *walls]


def looks(parts: list[o3d.geometry.TriangleMesh]) -> list[relief.Look]:
    """Six cameras 0.4 m away, 60° down; every part is painted its own grey, and none has any texture."""
    scene = o3d.t.geometry.RaycastingScene()
    for part in parts:
        scene.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(part))
    camera = CameraModel(width_px=160, height_px=160, fx_px=420.0, fy_px=420.0, cx_px=80.0, cy_px=80.0)
    found = []
    for turn in np.radians(np.arange(6) * 60 + 10):
        at = 0.4 * np.array([np.cos(turn) * 0.5, np.sin(turn) * 0.5, np.sqrt(0.75)])
        z = -at / np.linalg.norm(at)
        x = np.cross(z, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(z, [0.0, 0.0, 1.0]))
        T_cam_obj = np.eye(4)
        T_cam_obj[:3, :3] = np.stack([x, np.cross(z, x), z])
        T_cam_obj[:3, 3] = -T_cam_obj[:3, :3] @ at
        v, u = np.meshgrid(np.arange(160) + 0.5, np.arange(160) + 0.5, indexing="ij")
        rays = np.stack([(u - 80) / 420, (v - 80) / 420, np.ones_like(u)], -1) @ T_cam_obj[:3, :3]
        hit = scene.cast_rays(np.concatenate([np.broadcast_to(at, rays.shape), rays], -1).astype(np.float32))
        depth_m = np.where(np.isfinite(hit["t_hit"].numpy()), hit["t_hit"].numpy(), 0.0).astype(np.float32)
        part = np.minimum(hit["geometry_ids"].numpy(), len(parts)).astype(np.float32)
        alpha = (depth_m > 0).astype(np.float32)
        rgb = np.repeat((0.3 + 0.1 * part)[..., None], 3, axis=2) * alpha[..., None]
        found.append(relief.Look(camera, T_cam_obj, Surface(depth_m, alpha, rgb.astype(np.float32))))
    return found


def across() -> np.ndarray:
    """Chebyshev distance of every column from the middle, metres."""
    x, y = (low + VOXEL_M * np.arange(count) for low, count in zip(LOW_M[:2], SHAPE, strict=True))
    return np.maximum(np.abs(x)[:, None], np.abs(y)[None])


@pytest.mark.parametrize("dome", [False, True])
def test_walls_stay_and_a_plain_floor_is_read_from_its_edge(dome: bool) -> None:
    """The floor of 3 mm is found within 1 mm, also under a dome of 8; the walls' 14 mm within 1.5."""
    found = relief.heights(looks(tray(dome)), LOW_M, VOXEL_M, SHAPE)
    assert found is not None
    floor, wall = across() < HALF_M - WALL_M - 5e-3, np.abs(across() - (HALF_M - WALL_M / 2)) < VOXEL_M / 2
    assert np.abs(found[floor] - FLOOR_M).max() < 1e-3
    assert np.median(found[wall]) == pytest.approx(RIM_M, abs=1.5e-3)
    assert not found[across() > HALF_M + 4e-3].any()


def test_the_dome_is_what_the_depth_pictures_show() -> None:
    """Without the rule for what is plain the floor would be 11 mm high: the test above is not vacuous."""
    high = np.stack([relief._heights_and_gradients(one, LOW_M, VOXEL_M, SHAPE)[0] for one in looks(tray(True))])
    assert np.nanmax(np.nanmedian(high[:, 44:53, 44:53], axis=0)) > FLOOR_M + DOME_M - 1e-3


def test_a_lid_and_a_bump_that_nothing_walls_in_are_left_alone() -> None:
    lid = box((-HALF_M, -HALF_M, 0.0), (HALF_M, HALF_M, RIM_M))
    assert relief.heights(looks([lid]), LOW_M, VOXEL_M, SHAPE) is None
    assert relief.heights(looks(tray(True)[:1]), LOW_M, VOXEL_M, SHAPE) is None
