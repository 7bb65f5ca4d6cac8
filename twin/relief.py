"""A shallow open thing, such as a tray, and the cameras that look down on it, in; its heights over the table out.

Two things go wrong where such a thing is carved. Depth pictures are off by as much as a thin wall is thick, and a point
that a tenth of them see past is air: walls vanish. In a height map, the median of the steepest views, they stay. And
where a floor is plain, no picture says how far it is: its Gaussians hover, by 7 mm in the bench's 14 mm tray, and all
views agree on it. So what is plain and walled in is read from its edge, where the pictures do say something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.camera_model import CameraModel
from twin.surface_depth import Surface

SHALLOW = 0.35
"""Of a thing's lesser side: the most that its height may be, for a look from above to see all of it."""
SOLID = 0.5
PLAIN_PER_MM = 0.008
"""Of the picture's 0 … 1. In the bench's tray the floor's gradient is 0.002, its walls' 0.03 to 0.08."""
EDGE_M = 4e-3
"""As far into what is plain the heights are still held by the pictures beside it."""
WALL_M, DEEP_M = 0.01, 5e-3
"""So near to the outline are the walls of what is open; so much lower is its middle. Less is a lid."""
WALL_QUANTILE = 0.75
"""Of the views, where pictures change: pixels beside a thin wall look past it, so that its median is too low."""
FOOT_M = 2.5e-3
FEWEST_VIEWS = 3
ROUNDS = 600
"""Of smoothing, each by two cells: heights spread over 50 cells."""


@dataclass(frozen=True, eq=False)
class Look:
    """One camera's view of the object alone."""

    camera: CameraModel
    T_cam_obj: Float[ndarray, "4 4"]
    seen: Surface


def heights(
    looks: Sequence[Look], low_m: Float[ndarray, 3], voxel_m: float, shape: tuple[int, int]
) -> Float[ndarray, "X Y"] | None:
    """Over `low_m`, at the columns of a grid that begins there, 0 beside the thing; None where nothing is open."""
    found = [_heights_and_gradients(look, low_m, voxel_m, shape) for look in looks]
    high, steep = (np.stack(maps) for maps in zip(*found, strict=True))
    often = np.isfinite(high).sum(0) >= FEWEST_VIEWS
    middle, gradient = _over_views(high, often, 0.5), _over_views(steep, often, 0.5)
    plain = gradient < PLAIN_PER_MM
    middle = np.where(plain, middle, _over_views(high, often, WALL_QUANTILE))
    outline = _largest(np.asarray(scipy.ndimage.binary_fill_holes(often & (middle > FOOT_M)), bool))
    middle[~often] = 0.0
    inward_m = voxel_m * np.asarray(scipy.ndimage.distance_transform_edt(outline))
    wall, inside = outline & (inward_m < WALL_M), inward_m > WALL_M + EDGE_M
    if not inside.any():
        return None
    held = _from_the_edge(middle, outline & plain, round(EDGE_M / voxel_m))
    if np.quantile(middle[wall], 0.9) - np.median(held[inside]) < DEEP_M:
        return None
    return np.where(outline, np.maximum(held, 0.0), 0.0)


def _from_the_edge(
    height_m: Float[ndarray, "X Y"], plain: Bool[ndarray, "X Y"], edge: int
) -> Float[ndarray, "X Y"]:
    """What is plain, but for a margin of `edge` cells, as a membrane over the rest; nowhere higher than it was."""
    loose = scipy.ndimage.binary_erosion(scipy.ndimage.binary_opening(plain), iterations=max(1, edge))
    if not loose.any() or loose.all():
        return height_m
    ring = scipy.ndimage.binary_dilation(loose) & ~loose
    held = np.where(loose, np.median(height_m[ring]), height_m)
    for _ in range(ROUNDS):
        held[loose] = scipy.ndimage.gaussian_filter(held, 2.0, truncate=1.5)[loose]
    return np.minimum(held, height_m)


def _heights_and_gradients(
    look: Look, low_m: Float[ndarray, 3], voxel_m: float, shape: tuple[int, int]
) -> tuple[Float[ndarray, "X Y"], Float[ndarray, "X Y"]]:
    """Means over the pixels that fall into each column; NaN where none does. Gradients per mm."""
    seen, camera = look.seen, look.camera
    v, u = np.nonzero((seen.alpha >= SOLID) & (seen.depth_m > 0))
    depth_m = seen.depth_m[v, u].astype(np.float64)
    rays = np.stack([(u + 0.5 - camera.cx_px) / camera.fx_px, (v + 0.5 - camera.cy_px) / camera.fy_px], 1)
    in_cam = np.column_stack([rays, np.ones(len(rays))]) * depth_m[:, None]
    T_obj_cam = np.linalg.inv(look.T_cam_obj)
    points = in_cam @ T_obj_cam[:3, :3].T + T_obj_cam[:3, 3] - low_m
    colour = seen.rgb / np.maximum(seen.alpha, 1e-3)[..., None]
    change = np.sqrt(sum(scipy.ndimage.gaussian_gradient_magnitude(colour[..., c], 1.0) ** 2 for c in range(3)))
    per_mm = change[v, u] * camera.fx_px / depth_m / 1000
    cells = np.round(points[:, :2] / voxel_m).astype(int)
    within = ((cells >= 0) & (cells < shape)).all(1)
    flat = np.ravel_multi_index(tuple(cells[within].T), shape)
    counts = np.bincount(flat, minlength=shape[0] * shape[1]).astype(float)
    counts[counts == 0] = np.nan
    sums = (np.bincount(flat, weights[within], counts.size) for weights in (points[:, 2], per_mm))
    high, steep = ((total / counts).reshape(shape) for total in sums)
    return high, steep


def _over_views(maps: Float[ndarray, "V X Y"], known: Bool[ndarray, "X Y"], share: float) -> Float[ndarray, "X Y"]:
    """The quantile over the views that know a column; NaN where too few do."""
    found = np.full(known.shape, np.nan)
    found[known] = np.nanquantile(maps[:, known], share, axis=0)
    return found


def _largest(mask: Bool[ndarray, "X Y"]) -> Bool[ndarray, "X Y"]:
    labels, count = scipy.ndimage.label(mask)  # pyright: ignore[reportGeneralTypeIssues]
    return labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])) if count else mask
