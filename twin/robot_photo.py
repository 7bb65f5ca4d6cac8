"""The arm's place by its picture: the arm's model, drawn over the scene without it, against the scene with it.

TwinRL's equations 7 and 8 (arXiv 2602.09023): the mean difference of the two pictures under the robot's mask, over one
rigid transform, through the differentiable rasteriser. Differences count as log(1 + d²), so that what the model lacks
(cables, screws) does not pull; and geometry's answer stays in as a prior of its own uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.optimize import minimize
from scipy.spatial import KDTree

from hardware.camera_model import CameraModel
from hardware.spatial import Pose
from twin import robot_splat
from twin.object_asset import Plane
from twin.posed_images import PosedImages
from twin.rasterise.protocol import Rasteriser
from twin.robot_icp import close_up, sighted
from twin.robot_splat import Link
from twin.splat import Splat
from twin.splat_motion import moved
from twin.view import base_colours

VIEWS, PICTURE_PX = 6, 160
MASK_PX = 9
"""The mask is the arm's picture and this much round it: the edge is what tells."""
SCALE = 0.1
"""Colour difference from which a pixel counts less."""
UNSURE_M = 0.012
"""Gaussians this near to the arm are taken for its own, as long as its place is not sure."""
TABLE_M = 2e-3
PRIOR = 0.05
"""Weight of the prior beside the mean loss in thousandths, for a step of one deviation of the geometry."""
MOST_CALLS = 12


@dataclass(frozen=True, eq=False)
class Target:
    """One camera's picture of the scene with the arm, and where it counts."""

    camera: CameraModel
    T_cam_world: Float[ndarray, "4 4"]
    rgb: Float[ndarray, "H W 3"]
    mask: Bool[ndarray, "H W"]


@dataclass(frozen=True, eq=False)
class Refined:
    """`motion` of the arm in the world; `before` and `after`: the mean loss under the mask, in thousandths."""

    motion: Float[ndarray, "4 4"]
    before: float
    after: float


class PhotoLoss:
    """Of a small motion of the arm about its middle, and the loss's gradient."""

    def __init__(self, draw: Rasteriser, background: Splat, arm: Splat, targets: list[Target]) -> None:
        self.draw, self.background, self.arm, self.targets = draw, background, arm, targets
        self.middle = arm.means_m.astype(np.float64).mean(0)

    def motion(self, twist: Float[ndarray, 6]) -> Float[ndarray, "4 4"]:
        """[v, ω] about the arm's middle, as a matrix of the world."""
        there, back = np.eye(4), np.eye(4)
        there[:3, 3], back[:3, 3] = self.middle, -self.middle
        return there @ Pose.exp("world", "world", twist).matrix @ back

    def __call__(self, twist: Float[ndarray, 6]) -> tuple[float, Float[ndarray, 6]]:
        """Mean of scale² log(1 + (d / scale)²), in thousandths; the gradient holds for small twists."""
        motion = self.motion(twist)
        arm = moved(self.arm, motion[:3, :3], motion[:3, 3])
        both, first = Splat.concatenate([self.background, arm]), len(self.background)
        away, turns = arm.means_m.astype(np.float64) - self.middle, quat_slopes(arm.quats_wxyz.astype(np.float64))
        loss, slope, count = 0.0, np.zeros(6), 0
        for target in self.targets:
            drawn = self.draw.forward(both, target.camera, target.T_cam_world)
            off = (drawn.rendering.rgb - target.rgb) * target.mask[..., None]
            loss += SCALE**2 * float(np.log1p((off / SCALE) ** 2).sum())
            back = drawn.backward((2 * off / (1 + (off / SCALE) ** 2)).astype(np.float32))
            pull = back.means_m[first:].astype(np.float64)
            slope[:3] += pull.sum(0)
            slope[3:] += np.cross(away, pull).sum(0)
            slope[3:] += np.einsum("nkq,nq->k", turns, back.quats_wxyz[first:].astype(np.float64))
            count += 3 * int(target.mask.sum())
        return 1e3 * loss / count, 1e3 * slope / count


def quat_slopes(quats_wxyz: Float[ndarray, "N 4"]) -> Float[ndarray, "N 3 4"]:
    """d (exp(ω) q) / d ω_k at 0: half of (0, e_k) · q."""
    w, x, y, z = quats_wxyz.T
    by_x, by_y, by_z = np.stack([-x, w, -z, y], 1), np.stack([-y, z, w, -x], 1), np.stack([-z, -y, x, w], 1)
    return np.stack([by_x, by_y, by_z], 1) / 2


def refine(
    draw: Rasteriser,
    splat: Splat,
    posed: PosedImages,
    table: Plane,
    links: list[Link],
    unsure: tuple[float, float],
    freedom: Float[ndarray, "6 K"],
) -> Refined:
    """`links` stand where geometry puts them, to within `unsure` (metres, radians). Some 15 s on one core.

    The columns of `freedom` span the twists [v, ω] in the world, about the arm's middle, that are looked at.
    """
    placed = np.concatenate([link.T_world_link.apply(link.points) for link in links])
    means = splat.means_m.astype(np.float64)
    distance, _ = KDTree(placed).query(means, distance_upper_bound=0.05)
    own = (distance < UNSURE_M + np.minimum(splat.scales_m.max(1), 0.01)) & (table.heights_m(means) > TABLE_M)
    arm = painted(links, splat.select(own & (splat.opacities > robot_splat.OPAQUE)))
    targets = []
    for view in sighted(posed, placed, VIEWS):
        T_cam_world = np.linalg.inv(np.array(view.T_world_cam))
        camera = close_up(posed.cameras[view.camera], T_cam_world, placed, PICTURE_PX)
        alone = draw.render(arm, camera, T_cam_world).alpha > 0.5
        mask = cv2.dilate(alone.astype(np.uint8), np.ones((MASK_PX, MASK_PX), np.uint8)) > 0
        targets.append(Target(camera, T_cam_world, draw.render(splat, camera, T_cam_world).rgb, mask))
    loss = PhotoLoss(draw, splat.select(~own), arm, targets)
    scale = np.repeat(unsure, 3)[:, None] * freedom
    values: list[float] = []

    def posterior(step: Float[ndarray, " K"]) -> tuple[float, Float[ndarray, " K"]]:
        value, slope = loss(scale @ step)
        values.append(value)
        return value + PRIOR * float(step @ step), slope @ scale + 2 * PRIOR * step

    found = minimize(
        posterior, np.zeros(freedom.shape[1]), jac=True, method="L-BFGS-B", options={"maxfun": MOST_CALLS}
    )
    return Refined(loss.motion(scale @ found.x), values[0], float(found.fun - PRIOR * found.x @ found.x))


def painted(links: list[Link], arm: Splat) -> Splat:
    """The arm in the world. Each material has one colour that varies smoothly with the normal, fitted to the scan.

    Colours taken sample by sample would hold the arm where it was when they were taken.
    """
    points = np.concatenate([link.T_world_link.apply(link.points) for link in links])
    normals = np.concatenate([link.normals @ link.T_world_link.rotation.T for link in links])
    material = np.concatenate([link.material for link in links])
    colours = np.tile(np.array(robot_splat.UNSEEN_RGB), (len(points), 1))
    if len(arm):
        distance, nearest = KDTree(arm.means_m.astype(np.float64)).query(points)
        shown = base_colours(arm).astype(np.float64)[nearest]
        terms = np.column_stack([np.ones(len(points)), normals])
        for kind in np.unique(material):
            own = material == kind
            seen = own & (distance < robot_splat.SEEN_M)
            if seen.sum() > 20:
                colours[own] = np.clip(terms[own] @ _robust(terms[seen], shown[seen]), 0, 1)
    return robot_splat.discs(points, normals, colours)


def _robust(terms: Float[ndarray, "N 4"], colours: Float[ndarray, "N 3"]) -> Float[ndarray, "4 3"]:
    """Least squares, what lies far off reweighted (Cauchy's)."""
    root = np.ones(len(terms))
    answer = np.zeros((4, 3))
    for _ in range(4):
        answer = np.linalg.lstsq(terms * root[:, None], colours * root[:, None], rcond=None)[0]
        root = 1 / np.sqrt(1 + (np.linalg.norm(colours - terms @ answer, axis=1) / 0.08) ** 2)
    return answer
