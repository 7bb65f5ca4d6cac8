"""A splat and its training cameras in, a coloured triangle mesh out: the `mesh` stage of a build.

Every camera sees a depth picture of the splat's surface; a truncated signed distance field (Curless & Levoy 1996,
open3d's sparse one) averages them, and its zero crossing is the mesh.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from pydantic import Field, PositiveFloat, PositiveInt

from hardware import artefact
from hardware.camera_model import CameraModel
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.gate import Gate
from hardware.progress import progress
from twin import splat_ply
from twin.posed_images import PosedImages, SparsePoints, View
from twin.splat import Splat
from twin.stage import Outcome
from twin.surface_depth import surface

TriangleMesh = Any
"""open3d's: its type stubs refuse what it takes."""

VOXELS_PER_DEPTH = 150
"""Voxel = median depth / this, where none is given: 4 mm on a table seen from 0.6 m."""
TRUNCATION_VOXELS = 5
FEWEST_SIGHTS = 2.0
"""A voxel that fewer depth pictures saw is no surface."""
FARTHEST_DEPTHS = 2.5
"""Depth beyond this many median depths is background, and is left out."""
EDGE_SHARE = 0.05
"""Relative jump of depth to a neighbouring pixel from which the pixel is taken for a smeared edge."""
POINTS_SHARE = 0.01
"""The seen region is the box of the SfM points without this share at either end, a tenth larger on all sides."""


class MeshConfig(Config):
    """How the splat is turned into triangles."""

    voxel_m: PositiveFloat | None = None
    """Edge of a voxel (scene units where the twin is not metric); by default from how far the cameras were."""
    min_alpha: float = Field(default=0.8, gt=0, le=1)
    """Pixels with less accumulated opacity have no depth."""
    long_side_px: PositiveInt = 640
    """Size of the depth pictures."""
    max_views: PositiveInt = 150
    """At most this many cameras, evenly spread over the capture."""
    min_component_share: float = Field(default=0.02, ge=0, le=1)
    """Connected pieces with fewer triangles than this share of the largest piece's are dropped."""


@dataclass(frozen=True, eq=False)
class DepthView:
    """What one camera sees of the splat. `depth_m` is 0 where there is no surface."""

    camera: CameraModel
    T_cam_world: Float[ndarray, "4 4"]
    rgb: UInt8[ndarray, "H W 3"]
    depth_m: Float[ndarray, "H W"]


def extract(config: MeshConfig, posed: Path, splat: Path, out: Path) -> Outcome:
    """Writes `out/mesh.ply`. The gate fails where the cameras see no surface."""
    images = read(PosedImages, posed / "posed.json")
    scene = splat_ply.read(splat / "scene.ply")
    points = SparsePoints.load(posed / "points.npz").xyz if (posed / "points.npz").exists() else None
    views = depth_views(config, scene, images)
    depth_m = typical_depth_m(views)
    voxel_m = config.voxel_m or depth_m / VOXELS_PER_DEPTH
    mesh = fuse(views, voxel_m, FARTHEST_DEPTHS * depth_m)
    if points is not None and len(points):
        mesh = cropped(mesh, points)
    mesh = without_small_pieces(mesh, config.min_component_share)
    triangles = len(mesh.triangles)
    if triangles:
        write(out / "mesh.ply", mesh)
    gate = Gate(
        name="mesh triangles",
        value=triangles,
        relation=">=",
        limit=100,
        advice="the splat shows no surface to most cameras: look at the splat's preview, train longer, "
        "or give a smaller mesh.voxel_m",
    )
    unit = "m" if images.metric else "scene_units"
    numbers = {
        "vertices": float(len(mesh.vertices)),
        "triangles": float(triangles),
        f"area_{unit}2": float(mesh.get_surface_area()) if triangles else 0.0,
        f"voxel_{unit}": float(voxel_m),
        "views": float(len(views)),
    }
    return Outcome(gates=(gate,), numbers=numbers)


def depth_views(config: MeshConfig, splat: Splat, images: PosedImages) -> list[DepthView]:
    """The splat as the training cameras see it, lens distortion left out."""
    chosen = spread(images.training, config.max_views)
    if not chosen:
        raise BadInput("no training views to see the splat from", "run the `sfm` stage again")
    with progress("depth pictures", len(chosen)) as advance:
        views = []
        for view in chosen:
            camera = images.cameras[view.camera].pinhole()
            camera = camera.scaled(min(1.0, config.long_side_px / max(camera.width_px, camera.height_px)))
            T_cam_world = np.linalg.inv(np.array(view.T_world_cam))
            views.append(depth_view(splat, camera, T_cam_world, config.min_alpha))
            advance("")
    return views


def spread(views: Sequence[View], count: int) -> list[View]:
    """At most `count` of them, evenly spaced, the first and the last among them."""
    if len(views) <= count:
        return list(views)
    return [views[i] for i in np.linspace(0, len(views) - 1, count).round().astype(int)]


def depth_view(
    splat: Splat, camera: CameraModel, T_cam_world: Float[ndarray, "4 4"], min_alpha: float
) -> DepthView:
    """Depth of the surface where the splat is opaque and the depth does not jump (an edge is smeared)."""
    seen = surface(splat, camera, T_cam_world)
    depth_m = seen.depth_m
    opaque = (seen.alpha >= min_alpha) & (depth_m > 0)
    jump_m = np.zeros_like(depth_m)
    across, down = np.abs(np.diff(depth_m, axis=1)), np.abs(np.diff(depth_m, axis=0))
    for step, here, there in (
        (across, np.s_[:, :-1], np.s_[:, 1:]),
        (down, np.s_[:-1], np.s_[1:]),
    ):
        jump_m[here] = np.maximum(jump_m[here], step)
        jump_m[there] = np.maximum(jump_m[there], step)
    kept = opaque & (jump_m < EDGE_SHARE * depth_m)
    rgb = np.round(np.clip(seen.rgb / np.maximum(seen.alpha, 1e-6)[..., None], 0, 1) * 255).astype(np.uint8)
    return DepthView(camera, T_cam_world, rgb, np.where(kept, depth_m, 0).astype(np.float32))


def typical_depth_m(views: Sequence[DepthView]) -> float:
    """The median over all pixels with a depth; 1 where there is none."""
    depths = np.concatenate([view.depth_m[::8, ::8][view.depth_m[::8, ::8] > 0] for view in views])
    return float(np.median(depths)) if len(depths) else 1.0


def fuse(views: Sequence[DepthView], voxel_m: float, farthest_m: float) -> TriangleMesh:
    """World-frame mesh of the averaged signed distance.

    open3d 0.20's older `ScalableTSDFVolume` integrates nothing (an empty mesh, no error): this is its successor.
    """
    o3d = open3d()

    tensor, float32 = o3d.core.Tensor, o3d.core.float32
    grid = o3d.t.geometry.VoxelBlockGrid(
        attr_names=("tsdf", "weight", "color"),
        attr_dtypes=(float32, float32, float32),
        attr_channels=((1,), (1,), (3,)),
        voxel_size=voxel_m,
        block_resolution=16,
        block_count=10_000,
    )
    seen = [view for view in views if (view.depth_m[view.depth_m > 0] < farthest_m).any()]
    if not seen:
        return o3d.geometry.TriangleMesh()
    with progress("fusing depth", len(seen)) as advance:
        for view in seen:
            lens, pose = tensor(view.camera.matrix_opencv), tensor(np.ascontiguousarray(view.T_cam_world))
            depth = o3d.t.geometry.Image(tensor(np.ascontiguousarray(view.depth_m)))
            colour = o3d.t.geometry.Image(tensor(view.rgb.astype(np.float32) / 255))
            limits = (1.0, farthest_m, float(TRUNCATION_VOXELS))
            blocks = grid.compute_unique_block_coordinates(depth, lens, pose, *limits)
            grid.integrate(blocks, depth, colour, lens, lens, pose, *limits)
            advance("")
    return grid.extract_triangle_mesh(weight_threshold=FEWEST_SIGHTS).to_legacy()


def open3d() -> Any:
    """Imported where it is used: it takes seconds, and most commands do without."""
    return importlib.import_module("open3d")


def cropped(mesh: TriangleMesh, points: Float[ndarray, "N 3"]) -> TriangleMesh:
    """Without what lies outside the region that the SfM points cover."""
    o3d = open3d()

    low, high = np.quantile(points, [POINTS_SHARE, 1 - POINTS_SHARE], axis=0)
    margin = 0.1 * (high - low)
    return mesh.crop(o3d.geometry.AxisAlignedBoundingBox(low - margin, high + margin))


def without_small_pieces(mesh: TriangleMesh, share: float) -> TriangleMesh:
    """Drops connected pieces with fewer triangles than `share` of the largest piece's."""
    if not len(mesh.triangles):
        return mesh
    piece_of_triangle, sizes, _ = mesh.cluster_connected_triangles()
    sizes = np.asarray(sizes)
    small = sizes[np.asarray(piece_of_triangle)] < share * sizes.max()
    mesh.remove_triangles_by_mask(small)
    mesh.remove_unreferenced_vertices()
    mesh.compute_vertex_normals()
    return mesh


def write(file: Path, mesh: TriangleMesh) -> None:
    """Binary PLY; appears whole or not at all."""
    o3d = open3d()

    with artefact.staged_file(file) as temporary:
        if not o3d.io.write_triangle_mesh(str(temporary), mesh):
            raise OSError(f"could not write {file}")
