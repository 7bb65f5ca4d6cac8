"""The table's surface where a removed thing stood: Gaussians on the plane, coloured from what is round the hole.

The scan never saw the table there. The rest of the table is drawn straight from above, the hole is painted over from
its rim (Telea 2004, OpenCV's), and flat Gaussians on a grid take those colours; they lie on the plane and hide what
the training left below.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from hardware.spatial import quat_wxyz_from_rotation
from twin.object_asset import Plane
from twin.rasterise.protocol import Rasteriser
from twin.splat import Splat
from twin.view import SH_0

SPACING_M = 2.5e-3
FLAT_M = 2e-4
OPACITY = 0.95
RIM_M = 0.03
"""How much of the table round the hole decides its colours."""
FROM_M = 1.2
"""Height of the camera that draws the table from above."""
PIXEL_M = 1.25e-3
LARGEST_HOLE_M = 1.2
SHADE_PX = 5


def fill(draw: Rasteriser, background: Splat, table: Plane, hole: Float[ndarray, "N 2"]) -> Splat:
    """New Gaussians for a hole given by points on the table (x, y of its frame) that must be covered.

    Raises `BadInput` for a hole without extent, or too large to guess.
    """
    low, high = hole.min(0) - RIM_M, hole.max(0) + RIM_M
    if (high - low - 2 * RIM_M).min() <= 0 or (high - low).max() > LARGEST_HOLE_M:
        raise BadInput(f"a hole of {1e3 * (high - low - 2 * RIM_M).round(3)} mm cannot be filled from its rim")
    size = np.ceil((high - low) / PIXEL_M).astype(int)
    polygon = np.round((cv2.convexHull(hole.astype(np.float32))[:, 0] - low) / PIXEL_M).astype(np.int32)
    inside = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillConvexPoly(inside, polygon, 1)
    picture = painted(from_above(draw, background, table, low, size), inside > 0)
    return patch(table, picture, inside > 0, low)


def from_above(
    draw: Rasteriser, splat: Splat, table: Plane, low: Float[ndarray, 2], size: ndarray
) -> Float[ndarray, "H W 3"]:
    """The table as a camera far above sees it; row 0 is at `low`, y grows down the rows."""
    T_world_table = table.T_world_table
    middle = low + size * PIXEL_M / 2
    focal_px = FROM_M / PIXEL_M
    camera = CameraModel(
        width_px=int(size[0]),
        height_px=int(size[1]),
        fx_px=focal_px,
        fy_px=focal_px,
        cx_px=size[0] / 2,
        cy_px=size[1] / 2,
    )
    T_table_cam = np.eye(4)
    T_table_cam[:3, :3] = np.diag([1.0, -1.0, -1.0])  # looks down; x to the right, y up the picture
    T_table_cam[:3, 3] = [middle[0], middle[1], FROM_M]
    close = splat.select(table.heights_m(splat.means_m.astype(np.float64)) < 0.01)
    seen = draw.render(close, camera, np.linalg.inv(T_world_table.matrix @ T_table_cam))
    rgb = seen.rgb / np.maximum(seen.alpha, 1e-3)[..., None]
    return np.ascontiguousarray(np.clip(rgb[::-1], 0, 1))


def painted(picture: Float[ndarray, "H W 3"], hole: Bool[ndarray, "H W"]) -> Float[ndarray, "H W 3"]:
    """The hole's colours from its rim: smooth inwards, with the rim's own grain on top."""
    counts = (picture * 255).round().astype(np.uint8)
    wider = cv2.dilate(hole.astype(np.uint8), np.ones((SHADE_PX, SHADE_PX), np.uint8))
    smooth = cv2.inpaint(counts, wider, 3, cv2.INPAINT_TELEA).astype(np.float32) / 255
    grain = (picture - cv2.GaussianBlur(picture, (0, 0), 4))[wider == 0]
    if len(grain):
        rng = np.random.default_rng(0)
        noise = grain[rng.integers(0, len(grain), hole.sum())]
        smooth[hole] += 0.35 * np.clip(noise, -0.1, 0.1)
    return np.where(hole[..., None], np.clip(smooth, 0, 1), picture)


def patch(
    table: Plane, picture: Float[ndarray, "H W 3"], hole: Bool[ndarray, "H W"], low: Float[ndarray, 2]
) -> Splat:
    """Flat Gaussians on a grid over the hole, just above the plane's crust."""
    step = max(1, round(SPACING_M / PIXEL_M))
    rows, columns = np.nonzero(hole)
    kept = (rows % step == 0) & (columns % step == 0)
    rows, columns = rows[kept], columns[kept]
    if not len(rows):
        raise BadInput("the hole is smaller than the Gaussians that would fill it")
    T_world_table = table.T_world_table
    xy = low + (np.column_stack([columns, rows]) + 0.5) * PIXEL_M
    means = T_world_table.apply(np.column_stack([xy, np.full(len(xy), FLAT_M)]))
    colours = cv2.blur(picture.astype(np.float32), (step, step))[rows, columns]
    wide_m = 0.75 * step * PIXEL_M
    return Splat(
        means_m=means,
        quats_wxyz=np.tile(quat_wxyz_from_rotation(T_world_table.rotation), (len(xy), 1)),
        scales_m=np.tile([wide_m, wide_m, FLAT_M], (len(xy), 1)),
        opacities=np.full(len(xy), OPACITY),
        sh=((colours - 0.5) / SH_0)[:, None],
    )


def disc(centre: Float[ndarray, 2], radius_m: float) -> Float[ndarray, "N 2"]:
    """A round hole's edge."""
    angle = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    return centre + radius_m * np.column_stack([np.cos(angle), np.sin(angle)])
