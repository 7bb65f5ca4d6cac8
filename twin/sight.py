"""A collider, the splat and the scan's cameras in; how far the cameras see into the collider, and behind it, out.

Gaussians on the surface (`collision.fit`) cannot tell a cup from a filled one: none of them is in the air that was
filled. Cameras can: from each, the splat's depth and the collider's are compared along the same ray, and turned into
a distance along the collider's normal there. Points that no camera sees are counted, since nothing is known of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from twin.collision import SEEDED, Collider
from twin.mesh import open3d
from twin.object_asset import ObjectAsset
from twin.object_surface import SOLID, chosen_views, close_up
from twin.posed_images import PosedImages
from twin.splat import Splat
from twin.surface_depth import surface

OPAQUE, STOPPED = 0.15, 0.35
"""Fainter Gaussians are a veil; a look ends where this share of its light is stopped. Solid things of the bench
(seed 0) are then seen into by at most 6 mm, a mug that is taken for a solid cylinder by 28 mm."""
SHARE = 0.95
FLATTEST_COSINE = 0.35
"""Rays that graze more say little: a pixel is then three pixels of surface."""
FEWEST_VIEWS = 3
SURFACE_M, NEAR_M = 1e-4, 1e-3
FOOT_M = 3e-3
SAMPLES = 4000


@dataclass(frozen=True, eq=False)
class Sight:
    """Points of a collider's outer surface, its foot left out. `off_m`: how far beyond it the cameras see, along the
    normal, the median over the cameras; negative where the splat's surface is before it. NaN where too few look."""

    points: Float[ndarray, "N 3"]
    off_m: Float[ndarray, " N"]

    @property
    def seen(self) -> Bool[ndarray, " N"]:
        return np.isfinite(self.off_m)

    @property
    def unseen_share(self) -> float:
        return float(1 - self.seen.mean())

    @property
    def seen_into_mm(self) -> float:
        """How far the cameras see into the collider: 95 % of what is seen of it they see into by less."""
        if not self.seen.any():
            return 0.0
        return float(1e3 * max(0.0, np.quantile(self.off_m[self.seen], SHARE)))


def look(shape: Collider, splat: Splat, asset: ObjectAsset, posed: PosedImages) -> Sight:
    """Of all in the object's frame. Where the splat shows nothing, nothing is known. Raises `BadInput` where no camera
    shows the object."""
    points, normals = outer(shape)
    o3d = open3d()
    rays = o3d.t.geometry.RaycastingScene()
    for mesh in shape.meshes:
        rays.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(mesh))
    opaque = splat.select(splat.opacities > OPAQUE)
    spread, steep = chosen_views(posed, asset)
    views = [*spread, *(view for view in steep if view not in spread)]
    offs = np.full((len(views), len(points)), np.nan)
    for number, view in enumerate(views):
        T_cam_obj = np.linalg.inv(np.array(view.T_world_cam)) @ asset.pose.matrix
        camera = close_up(posed.cameras[view.camera].pinhole(), T_cam_obj, asset)
        seen = surface(opaque, camera, T_cam_obj, STOPPED)
        at = np.linalg.inv(T_cam_obj)[:3, 3]
        way = points - at
        far = np.linalg.norm(way, axis=1)
        cosine = -(way * normals).sum(1) / far
        first = rays.cast_rays(np.hstack([np.broadcast_to(at, way.shape), way / far[:, None]]).astype(np.float32))
        shown = (cosine > FLATTEST_COSINE) & (np.abs(first["t_hit"].numpy() - far) < NEAR_M)
        in_cam = points @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
        pixels = np.floor(camera.project(in_cam)[0]).astype(int)
        inside = ((pixels >= 0) & (pixels < [camera.width_px, camera.height_px])).all(1) & shown
        u, v = pixels[inside].T
        solid = (seen.alpha[v, u] >= SOLID) & (seen.depth_m[v, u] > 0)
        beyond = (seen.depth_m[v, u] / in_cam[inside, 2] - 1) * far[inside] * cosine[inside]
        offs[number, inside] = np.where(solid, beyond, np.nan)
    known = np.isfinite(offs).sum(0) >= FEWEST_VIEWS
    middle = np.full(len(points), np.nan)
    middle[known] = np.nanmedian(offs[:, known], axis=0)
    return Sight(points, middle)


def outer(shape: Collider) -> tuple[Float[ndarray, "N 3"], Float[ndarray, "N 3"]]:
    """Points and normals of the union's surface, all but its foot."""
    open3d().utility.random.seed(SEEDED)
    areas = np.array([mesh.get_surface_area() for mesh in shape.meshes])
    clouds = [
        mesh.sample_points_uniformly(max(1, round(SAMPLES * share)), use_triangle_normal=True)
        for mesh, share in zip(shape.meshes, areas / areas.sum(), strict=True)
    ]
    points = np.concatenate([np.asarray(cloud.points) for cloud in clouds])
    normals = np.concatenate([np.asarray(cloud.normals) for cloud in clouds])
    kept = (np.abs(shape.outside_m(points)) < SURFACE_M) & (points[:, 2] > points[:, 2].min() + FOOT_M)
    return points[kept], normals[kept]
