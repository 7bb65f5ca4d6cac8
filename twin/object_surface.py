"""An object's splat and the scan's cameras in, its closed surface out, in the object's frame.

A point is inside when nearly every camera sees the object in front of it or at it: silhouettes and depth pictures
carve a grid of voxels. What the carving is off by is measured on the opaque Gaussians and taken off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from hardware.progress import progress
from twin import hollow, relief
from twin.mesh import TriangleMesh, open3d
from twin.object_asset import ObjectAsset
from twin.posed_images import PosedImages, View
from twin.splat import Splat
from twin.surface_depth import surface

SOLID = 0.5
MOST_VIEWS = 20
PICTURE_PX = 128
"""Long side of the picture of the object alone."""
MOST_VOXELS = 110_000
FINEST_M = 1.0e-3
MARGIN_M = 8e-3
TRUNCATION_M = 5e-3
CARVING_SHARE = 0.12
"""So many of the views must see past a point before it is outside: one wrong picture carves nothing."""
SMALLEST_VOLUME_M3 = 2e-7
CRUST_OPACITY, CRUST_M, SKIN_SIGMAS = 0.3, 4e-3, 1.3


def reconstruct(splat: Splat, asset: ObjectAsset, posed: PosedImages) -> TriangleMesh:
    """Raises `BadInput` where no camera sees the object, or nothing with a volume comes out."""
    views, steep = chosen_views(posed, asset)
    low = -np.array(asset.size_m) / 2 - MARGIN_M
    low[2] = -asset.size_m[2] / 2  # the table
    size = np.array(asset.size_m) / 2 + MARGIN_M - low
    voxel_m = max(FINEST_M, float(size.prod() / MOST_VOXELS) ** (1 / 3))
    shape = np.ceil(size / voxel_m).astype(int) + 1
    centres = low + voxel_m * np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    points = centres.reshape(-1, 3)
    inside = _carved(splat, asset, posed, views, points, TRUNCATION_M).reshape(shape)
    opaque = splat.select(splat.opacities > hollow.OPAQUE)
    past = -_carved(opaque, asset, posed, steep, points, 2 * hollow.DEEP_M, hollow.SHARE, 0.0).reshape(shape)
    air, open_m = hollow.air(inside, past, voxel_m), _relief(opaque, asset, posed, steep, low, voxel_m, shape)
    if air is not None:
        inside = np.minimum(inside, np.clip(-air, -TRUNCATION_M, TRUNCATION_M))
    if open_m is not None:
        over_m = voxel_m * np.arange(shape[2])
        inside = np.clip(open_m[:, :, None] - over_m, -TRUNCATION_M, TRUNCATION_M)
        inside[open_m <= 0] = -TRUNCATION_M
    mesh = isosurface(inside, low, voxel_m)
    require_volume(mesh, asset.name)
    return mesh if open_m is not None else without_bias(mesh, splat)  # what hovers over its floor is no crust


def chosen_views(posed: PosedImages, asset: ObjectAsset) -> tuple[list[View], list[View]]:
    """Of those that show the whole object: some evenly spread over the scan, and the steepest.

    Raises `BadInput` where there are none.
    """
    views = [view for view in posed.training if _sees(posed, view, asset)]
    if not views:
        raise BadInput(f"no camera of the scan sees '{asset.name}'", "was it moved? segment it again")
    steep = sorted(views, key=lambda view: _steepness(view, asset))[-MOST_VIEWS:]
    return [views[i] for i in np.unique(np.linspace(0, len(views) - 1, MOST_VIEWS).round().astype(int))], steep


def isosurface(inside: Float[ndarray, "X Y Z"], low: Float[ndarray, 3], voxel_m: float) -> TriangleMesh:
    """The largest closed piece where `inside` (metres, positive within) is 0, normals outward; its foot is flat."""
    o3d = open3d()

    padded = np.pad(inside, 1, constant_values=-TRUNCATION_M)
    smooth = scipy.ndimage.gaussian_filter(np.concatenate([padded[:, :, 1:2], padded[:, :, 1:]], 2), 0.8)
    smooth[:, :, 0] = -voxel_m / 2 * np.sign(np.maximum(smooth[:, :, 1], 0))
    smooth[:, :, 0][smooth[:, :, 1] <= 0] = -TRUNCATION_M
    field = np.ascontiguousarray(smooth.transpose(2, 1, 0).astype(np.float32))
    if not (field > 0).any():
        return o3d.geometry.TriangleMesh()
    mesh = o3d.t.geometry.TriangleMesh.create_isosurfaces(o3d.core.Tensor(field), [0.0]).to_legacy()
    vertices = (np.asarray(mesh.vertices) - 1) * voxel_m + low
    vertices[:, 2] = np.maximum(vertices[:, 2], low[2])
    mesh.vertices = o3d.utility.Vector3dVector(vertices)
    mesh.merge_close_vertices(1e-7)
    mesh.remove_degenerate_triangles()
    return outward(_largest(mesh))


def outward(mesh: TriangleMesh) -> TriangleMesh:
    o3d = open3d()

    if len(mesh.triangles) and signed_volume_m3(mesh) < 0:
        mesh.triangles = o3d.utility.Vector3iVector(np.asarray(mesh.triangles)[:, ::-1])
    mesh.compute_vertex_normals()
    return mesh


def signed_volume_m3(mesh: TriangleMesh) -> float:
    """Of a closed mesh; positive where its triangles turn outward."""
    corners = np.asarray(mesh.vertices)[np.asarray(mesh.triangles)]
    return float(np.einsum("ni,ni->n", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6)


def require_volume(mesh: TriangleMesh, name: str) -> None:
    """Raises `BadInput` for a mesh that nothing could collide with."""
    volume_m3 = signed_volume_m3(mesh) if len(mesh.triangles) else 0.0
    if not volume_m3 > SMALLEST_VOLUME_M3:
        raise BadInput(
            f"'{name}' has no volume ({1e6 * max(volume_m3, 0):.3f} cm³ in {len(mesh.triangles)} triangles)",
            "a larger box round the whole thing, or more photos of it from all sides",
        )


def without_bias(mesh: TriangleMesh, splat: Splat) -> TriangleMesh:
    """Moves the surface along its normals to where the opaque Gaussians say it is. The foot stays on the table."""
    o3d = open3d()

    shift_m = bias_m(mesh, splat)
    vertices, normals = np.asarray(mesh.vertices), np.asarray(mesh.vertex_normals)
    foot_m = vertices[:, 2].min()
    sides = normals.copy()
    sides[vertices[:, 2] < foot_m + 1e-4, 2] = 0
    moved = vertices + shift_m * sides
    moved[:, 2] = np.maximum(moved[:, 2], foot_m)
    mesh.vertices = o3d.utility.Vector3dVector(moved)
    return outward(mesh)


def bias_m(mesh: TriangleMesh, splat: Splat) -> float:
    """How far outside the mesh the crust of opaque Gaussians lies, the median; negative where the mesh is inflated."""
    from twin.outline import _outer_peak

    means = splat.means_m.astype(np.float64)
    near = (splat.opacities > CRUST_OPACITY) & (means[:, 2] > np.asarray(mesh.vertices)[:, 2].min() + 5e-3)
    out_m = outside_m(mesh, means[near]) + SKIN_SIGMAS * np.minimum(splat.scales_m[near].min(1), 1.5e-3)
    held = np.abs(out_m) < CRUST_M
    return _outer_peak(out_m[held], splat.opacities[near][held].astype(np.float64)) if held.sum() > 10 else 0.0


def outside_m(mesh: TriangleMesh, points: Float[ndarray, "N 3"]) -> Float[ndarray, " N"]:
    """Signed distance to a closed mesh: positive outside."""
    o3d = open3d()

    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(mesh))
    return scene.compute_signed_distance(points.astype(np.float32)).numpy().astype(np.float64)


def _carved(
    splat: Splat,
    asset: ObjectAsset,
    posed: PosedImages,
    views: Sequence[View],
    points: Float[ndarray, "N 3"],
    truncation_m: float,
    share: float = CARVING_SHARE,
    through_m: float = np.inf,
) -> Float[ndarray, " N"]:
    """How deep inside every point is, in metres: a low quantile over the views of (its depth − the surface's).

    `share` is the quantile; `through_m` is the depth that stands for seeing through: inf carves there, 0 does not.
    """
    depths = np.empty((len(views), len(points)), np.float32)
    with progress(f"carving {asset.name}", len(views)) as advance:
        for number, view in enumerate(views):
            T_cam_obj = np.linalg.inv(np.array(view.T_world_cam)) @ asset.pose.matrix
            camera = close_up(posed.cameras[view.camera].pinhole(), T_cam_obj, asset)
            seen = surface(splat, camera, T_cam_obj)
            solid = (seen.alpha >= SOLID) & (seen.depth_m > 0)
            shown = np.where(solid, seen.depth_m, through_m)
            in_cam = points @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
            pixels, _ = camera.project(in_cam)
            at = np.clip(np.floor(pixels).astype(int), 0, [camera.width_px - 1, camera.height_px - 1])
            behind = in_cam[:, 2] - shown[at[:, 1], at[:, 0]]
            depths[number] = np.clip(behind, -truncation_m, truncation_m)
            advance("")
    rank = min(len(views) - 1, int(share * len(views)))
    return np.partition(depths, rank, axis=0)[rank].astype(np.float64)


def _relief(
    splat: Splat,
    asset: ObjectAsset,
    posed: PosedImages,
    views: Sequence[View],
    low: Float[ndarray, 3],
    voxel_m: float,
    shape: ndarray,
) -> Float[ndarray, "X Y"] | None:
    """Heights of a shallow open thing, such as a tray; None of anything else."""
    if asset.size_m[2] > relief.SHALLOW * min(asset.size_m[:2]):
        return None
    looks = []
    for view in views:
        T_cam_obj = np.linalg.inv(np.array(view.T_world_cam)) @ asset.pose.matrix
        camera = close_up(posed.cameras[view.camera].pinhole(), T_cam_obj, asset)
        looks.append(relief.Look(camera, T_cam_obj, surface(splat, camera, T_cam_obj)))
    return relief.heights(looks, low, voxel_m, (int(shape[0]), int(shape[1])))


def close_up(camera: CameraModel, T_cam_obj: Float[ndarray, "4 4"], asset: ObjectAsset) -> CameraModel:
    """The same camera, cropped to the object and scaled so that it fills a small picture."""
    corners = _corners(asset, MARGIN_M) @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
    pixels = corners[:, :2] / corners[:, 2:] * [camera.fx_px, camera.fy_px] + [camera.cx_px, camera.cy_px]
    low, span = pixels.min(0) - 2, np.ptp(pixels, axis=0) + 4
    zoom = min(PICTURE_PX / float(span.max()), 4.0)
    return CameraModel(
        width_px=max(2, math.ceil(span[0] * zoom)),
        height_px=max(2, math.ceil(span[1] * zoom)),
        fx_px=camera.fx_px * zoom,
        fy_px=camera.fy_px * zoom,
        cx_px=(camera.cx_px - low[0]) * zoom,
        cy_px=(camera.cy_px - low[1]) * zoom,
    )


def _sees(posed: PosedImages, view: View, asset: ObjectAsset) -> bool:
    """The whole object in the picture: a cut-off one would carve."""
    points = view.pose.inverse().apply(asset.pose.apply(_corners(asset, 0.0)))
    within: Bool[ndarray, " 8"] = posed.cameras[view.camera].project(points)[1]
    return bool(within.all())


def _steepness(view: View, asset: ObjectAsset) -> float:
    """Sine of the angle at which the camera looks down on it."""
    at = asset.pose.inverse().apply(view.pose.translation_m)
    return float(at[2] / np.linalg.norm(at))


def _corners(asset: ObjectAsset, margin_m: float) -> Float[ndarray, "8 3"]:
    signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), -1).reshape(-1, 3)
    return signs * (np.array(asset.size_m) / 2 + margin_m)


def _largest(mesh: TriangleMesh) -> TriangleMesh:
    if not len(mesh.triangles):
        return mesh
    piece, sizes, _ = mesh.cluster_connected_triangles()
    mesh.remove_triangles_by_mask(np.asarray(piece) != int(np.argmax(np.asarray(sizes))))
    mesh.remove_unreferenced_vertices()
    return mesh
