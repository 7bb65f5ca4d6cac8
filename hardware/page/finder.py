"""A camera's picture → where on its plane the object stands: by the object's colours, and its box's silhouette.

It needs no learning and no twin: samples of the object's colours (from a rendering, or from a photo) against those of
the picture itself say of each pixel how much it looks like the object; the pose is the one whose silhouette gathers the
most. A node with better eyes may publish the pose instead (topic `object_pose`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

from hardware.bench.tasks.start import TaskStart
from hardware.camera_model import CameraModel
from hardware.config import Config
from hardware.page.silhouette import corners, hull
from hardware.spatial import Pose

BINS = (6, 32, 32)
"""Of Lab: lightness coarsely, as shading changes it; colour finely."""
SMOOTH_BINS = 1.2
RAREST = 1e-5
RATIO_LIMIT = 3.0
"""No pixel says more than e³ for or against."""
SHADES = (0.55, 0.7, 0.85, 1.0, 1.15)
"""A face in the shade is the samples' colour, darker."""
PEAKS, CANDIDATES = 5, 2
TURNS = 4
"""Starting yaws of the search within the silhouette's symmetry."""
STEPS_M = (0.008, 0.004, 0.002, 0.001, 0.0005)
MOST_ROUNDS = 6
EDGE_WORTH = 3.0
EDGE_POINTS = 12
LEAST_ALIKE = 0.72
"""Below, it is not there, or something stands before it."""
FEWEST_PX = 25
UPPER = [1, 3, 7, 5]
"""Of `corners`: round the upper face."""


class Sighting(Config):
    """Where the object was found. Yaw is known up to the box's symmetry: quarter turns of a square, half turns else."""

    start: TaskStart
    seen: float
    """How alike the colours there are to the object's, 0 … 1."""


@dataclass(frozen=True, eq=False)
class Look:
    """A picture as the search sees it."""

    camera: CameraModel
    bins: tuple[ndarray, ...]
    """Each pixel's place in the histogram, per channel."""
    ratio: Float32[ndarray, "H W"]
    """log p(colour | object) − log p(colour | this picture)."""
    edges: Float32[ndarray, "H W"]
    """0 … 1."""


class Finder:
    """One camera that stands still, one object. `colours` are samples of the object's RGB [N, 3]."""

    def __init__(
        self,
        camera: CameraModel,
        T_base_cam: Pose,
        size_m: Float[ndarray, " 3"],
        centre_z_m: float,
        colours: Sequence[tuple[int, int, int]],
    ) -> None:
        self._camera, self._T_base_cam, self._T_cam_base = camera, T_base_cam, T_base_cam.inverse()
        self._size_m, self._centre_z_m = size_m, centre_z_m
        self._corners_m = corners(size_m)
        samples = np.array(colours, np.uint8).reshape(-1, 1, 3)
        shades = [np.clip(samples * shade, 0, 255).astype(np.uint8) for shade in SHADES]
        self._object = _histogram(_bins(np.concatenate(shades)))
        self._roots = np.sqrt(np.stack([self._object, *(_histogram(_bins(shade)) for shade in shades)]))
        self.symmetry_rad = symmetry_rad(size_m)

    def find(self, rgb: UInt8[ndarray, "H W 3"]) -> Sighting | None:
        """None: it is not in the picture, or too little of it."""
        look = self._look(rgb)
        near = [self._climbed(look, np.array([*place, 0.0]), STEPS_M[:2], 0.0)[0] for place in self._peaks(look)]
        near.sort(key=lambda pose: -self._likeness(look, pose))
        found = [self._turned(look, pose) for pose in near[:CANDIDATES]]
        likeness = [self._likeness(look, pose) for pose in found]
        if max(likeness, default=0.0) < LEAST_ALIKE:
            return None
        best, seen = found[int(np.argmax(likeness))], max(likeness)
        yaw_rad = _within(float(best[2]), self.symmetry_rad)
        return Sighting(
            start=TaskStart(x_m=float(best[0]), y_m=float(best[1]), yaw_rad=yaw_rad), seen=round(min(seen, 1.0), 3)
        )

    def _look(self, rgb: UInt8[ndarray, "H W 3"]) -> Look:
        bins = _bins(rgb)
        of_picture = _histogram(bins)
        ratio = np.log((self._object + RAREST) / (of_picture + RAREST)).astype(np.float32)
        lab = cv2.GaussianBlur(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB), (0, 0), 0.8)
        along = [cv2.Sobel(lab, cv2.CV_32F, *way, ksize=3) for way in ((1, 0), (0, 1))]
        edges = np.hypot(*along).max(-1)
        edges = np.minimum(edges / max(float(np.quantile(edges, 0.95)), 1e-6), 1.0).astype(np.float32)
        camera = _scaled(self._camera, rgb.shape[1], rgb.shape[0])
        return Look(camera, bins, np.clip(ratio[bins], -RATIO_LIMIT, RATIO_LIMIT), edges)

    def _peaks(self, look: Look) -> list[tuple[float, float]]:
        """Places on the plane where much looks like the object."""
        camera = look.camera
        middle = self._on_plane(camera, camera.width_px / 2, camera.height_px / 2)
        if middle is None:
            return []
        depth_m = float(self._T_cam_base.apply(np.array([[*middle, self._centre_z_m]]))[0, 2])
        size_px = max(3, round(camera.fx_px * float(np.median(self._size_m)) / depth_m))
        gathered = cv2.boxFilter(np.maximum(look.ratio, -0.5), -1, (size_px, size_px))
        places = []
        for _ in range(PEAKS):
            _, value, _, (u, v) = cv2.minMaxLoc(gathered)
            if value <= 0:
                break
            place = self._on_plane(camera, u + 0.5, v + 0.5)
            if place is not None:
                places.append(place)
            cv2.circle(gathered, (u, v), size_px, -RATIO_LIMIT, -1)
        return places

    def _on_plane(self, camera: CameraModel, u_px: float, v_px: float) -> tuple[float, float] | None:
        """Where a pixel's ray meets the plane of the object's middle; None: nowhere."""
        way = self._T_base_cam.rotation @ camera.rays(np.array([[u_px, v_px]]))[0]
        eye = self._T_base_cam.translation_m
        if way[2] > -1e-6:
            return None
        at = eye + way * (self._centre_z_m - eye[2]) / way[2]
        return float(at[0]), float(at[1])

    def _turned(self, look: Look, pose: Float[ndarray, " 3"]) -> Float[ndarray, " 3"]:
        """The best (x, y, yaw) near a place, whatever its yaw."""
        turns = np.arange(TURNS) * self.symmetry_rad / TURNS
        tried = [self._climbed(look, np.array([*pose[:2], turn]), STEPS_M[1:], EDGE_WORTH) for turn in turns]
        return max(tried, key=lambda pair: pair[1])[0]

    def _climbed(
        self, look: Look, pose: Float[ndarray, " 3"], steps_m: Sequence[float], edge_worth: float
    ) -> tuple[Float[ndarray, " 3"], float]:
        """Up the score, one coordinate after another, with ever smaller steps."""
        score = self._score(look, pose, edge_worth)
        turn = 2 / float(np.hypot(*self._size_m[:2]))  # a corner moves as far as a step
        for step_m in steps_m:
            steps = np.array([step_m, step_m, step_m * turn])
            for _ in range(MOST_ROUNDS):
                before = score
                for axis in range(3):
                    for sign in (-1.0, 1.0):
                        trial = pose.copy()
                        trial[axis] += sign * steps[axis]
                        value = self._score(look, trial, edge_worth)
                        if value > score:
                            pose, score = trial, value
                if score <= before:
                    break
        return pose, score

    def _score(self, look: Look, pose: Float[ndarray, " 3"], edge_worth: float) -> float:
        """How much the silhouette gathers, plus how well its edges lie on the picture's."""
        lines = self._lines(look.camera, pose)
        if lines is None:
            return -np.inf
        inside = _within_hull(lines[0], look.ratio)
        if len(inside) < FEWEST_PX:
            return -np.inf
        score = float(inside.mean())
        if edge_worth:
            points = np.concatenate([_along(line) for line in lines])
            row, column = np.floor(points[:, 1]).astype(int), np.floor(points[:, 0]).astype(int)
            held = look.edges[np.clip(row, 0, look.edges.shape[0] - 1), np.clip(column, 0, look.edges.shape[1] - 1)]
            score += edge_worth * float(held.mean())
        return score

    def _likeness(self, look: Look, pose: Float[ndarray, " 3"]) -> float:
        """Of the colours in the silhouette to the object's: the Bhattacharyya coefficient, 0 … 1.

        The better of all shades together, as on a box with bright and dark faces, and each alone, in flat light.
        """
        lines = self._lines(look.camera, pose)
        if lines is None:
            return 0.0
        inside = tuple(_within_hull(lines[0], channel) for channel in look.bins)
        if len(inside[0]) < FEWEST_PX:
            return 0.0
        return float((np.sqrt(_histogram(inside)) * self._roots).sum((1, 2, 3)).max())

    def _lines(
        self, camera: CameraModel, pose: Float[ndarray, " 3"]
    ) -> tuple[Float[ndarray, "N 2"], Float[ndarray, "4 2"]] | None:
        """The silhouette and the upper face; None where it leaves the picture."""
        c, s = math.cos(pose[2]), math.sin(pose[2])
        turned = self._corners_m @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
        in_cam_m = self._T_cam_base.apply(turned + np.array([pose[0], pose[1], self._centre_z_m]))
        line = hull(camera, in_cam_m)
        if line is None or line.min() < 0 or (line.max(0) > (camera.width_px, camera.height_px)).any():
            return None
        upper, _ = camera.project(in_cam_m[UPPER])
        return line, upper


def _within_hull(line: Float[ndarray, "N 2"], values: ndarray) -> ndarray:
    """Those of the pixels whose centres lie in the polygon."""
    low = np.floor(line.min(0)).astype(int)
    part = values[low[1] : int(np.ceil(line[:, 1].max())) + 1, low[0] : int(np.ceil(line[:, 0].max())) + 1]
    mask = np.zeros(part.shape, np.uint8)
    cv2.fillConvexPoly(mask, np.round((line - low - 0.5) * 256).astype(np.int32), 1, shift=8)
    return part[mask > 0]


def _along(line: Float[ndarray, "N 2"]) -> Float[ndarray, "M 2"]:
    """Points on a closed line."""
    shares = np.arange(EDGE_POINTS) / EDGE_POINTS
    return (line[:, None] + shares[:, None] * (np.roll(line, -1, 0) - line)[:, None]).reshape(-1, 2)


def symmetry_rad(size_m: Float[ndarray, " 3"]) -> float:
    """The least turn about z that gives a box of this size the same silhouette."""
    return math.pi / 2 if abs(size_m[0] - size_m[1]) < 0.1 * max(size_m[:2]) else math.pi


def _within(angle_rad: float, period_rad: float) -> float:
    """The same angle in ±period/2."""
    return angle_rad - period_rad * round(angle_rad / period_rad)


def _scaled(camera: CameraModel, width_px: int, height_px: int) -> CameraModel:
    sx, sy = width_px / camera.width_px, height_px / camera.height_px
    size = {"width_px": width_px, "height_px": height_px}
    focal = {"fx_px": camera.fx_px * sx, "fy_px": camera.fy_px * sy}
    return camera.but(**size, **focal, cx_px=camera.cx_px * sx, cy_px=camera.cy_px * sy)


def _bins(rgb: UInt8[ndarray, "H W 3"]) -> tuple[ndarray, ...]:
    lab = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB).astype(np.int32)
    return tuple(lab[..., channel] * bins // 256 for channel, bins in enumerate(BINS))


def _histogram(bins: tuple[ndarray, ...]) -> Float[ndarray, "L A B"]:
    """Shares; smoothed over colour, so that few samples speak for their neighbours too."""
    counts = np.bincount(np.ravel_multi_index(tuple(one.ravel() for one in bins), BINS), minlength=math.prod(BINS))
    planes = counts.astype(np.float64).reshape(BINS)
    counts = np.stack([cv2.GaussianBlur(plane, (0, 0), SMOOTH_BINS) for plane in planes])
    return counts / counts.sum()
