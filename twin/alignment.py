"""SfM's cameras and photos of a printed board in; the same cameras in metres, in the board's frame, out.

The board's corners are found in every photo. First their triangulated places are fitted to the print (Umeyama);
then a bundle over all detections refines scale, rotation and translation by what the photos show. A quarter of the
photos with the board takes no part, and says afterwards how far off in millimetres the result is.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from pydantic import Field
from scipy.optimize import least_squares

from calibration.boards import Detection, detect
from hardware import artefact
from hardware.board import CharucoBoard, MarkerBoard
from hardware.camera_model import CameraModel
from hardware.config import Config, read
from hardware.gate import Gate
from hardware.progress import progress
from hardware.spatial import rotation_from_rotvec, rotvec_from_rotation
from twin import photo
from twin.posed_images import PosedImages, SparsePoints, View
from twin.similarity import Similarity, fit_robustly
from twin.stage import Outcome
from twin.threads import thread_count

HELD_OUT_EVERY = 4
FEWEST_VIEWS = 2
FEWEST_CORNERS = 4
"""Seen by two photos or more."""
LOSS_WIDTH_PX = 1.0
"""Detections farther off than this lose weight (soft L1)."""


class AlignmentConfig(Config):
    """The print that lies in the scene, and how exactly it must fit."""

    board: CharucoBoard | MarkerBoard = CharucoBoard()
    """Measure the print with a ruler: pictures cannot tell its size."""
    fewest_views: Annotated[int, Field(ge=FEWEST_VIEWS)] = 4
    """Photos that must show the board, once any does."""
    held_out_limit_mm: Annotated[float, Field(gt=0)] = 3.0
    """Median distance of corners triangulated from photos that took no part, from where the print has them."""
    held_out_limit_percent: Annotated[float, Field(gt=0)] = 0.5
    """The same against the board's diagonal. A print stretched by 6 % along one side comes to 0.7; the simulated cell,
    which is as described, to 0.01."""
    reprojection_limit_px: Annotated[float, Field(gt=0)] = 2.0
    scale_uncertainty_limit_percent: Annotated[float, Field(gt=0)] = 0.5
    """One standard deviation."""


class Alignment(Config):
    """How the world came to be metric: x_board = scale · R · x_sfm + t."""

    kind: Literal["board", "none", "given"]
    views_with_board: int = 0
    detections: int = 0
    scale_m_per_unit: float = 1.0
    scale_uncertainty_percent: float | None = None
    reprojection_rms_px: float | None = None
    held_out_median_mm: float | None = None
    held_out_worst_mm: float | None = None
    flatness_mm: float | None = None
    """RMS distance of the triangulated corners from the plane of the print."""


@dataclass(frozen=True, eq=False)
class Sighting:
    """The board in one photo: undistorted coordinates (x/z, y/z) per corner."""

    view: View
    ids: Int[ndarray, " N"]
    ideal: Float[ndarray, "N 2"]
    focal_px: float

    @property
    def T_cam_world(self) -> Float[ndarray, "4 4"]:
        return self.view.pose.inverse().matrix


def align(config: AlignmentConfig, frames: Path, sfm: Path, out: Path) -> Outcome:
    """Writes `posed.json`, `points.npz` and `alignment.json`. Without a board in view the poses stay, not metric."""
    posed, points = read(PosedImages, sfm / "posed.json"), SparsePoints.load(sfm / "points.npz")
    if posed.metric:
        return write(out, posed, points, Alignment(kind="given"), (), ("the scan's own metric frame is kept",))
    sightings = find_board(config, frames, posed)
    if len(sightings) < FEWEST_VIEWS or len(triangulate(sightings)[0]) < FEWEST_CORNERS:
        note = (
            f"no board seen well enough ({len(sightings)} photos show one), so the twin has no scale: metric is "
            "false. Print the board, lay it flat in the scene, and film it from several sides"
        )
        return write(out, posed, points, Alignment(kind="none", views_with_board=len(sightings)), (), (note,))
    similarity, alignment = solve(config, sightings)
    moved = posed.but(
        world="board",
        metric=True,
        views=tuple(moved_view(view, similarity) for view in posed.views),
    )
    cloud = SparsePoints(similarity.apply(points.xyz), points.rgb, points.reprojection_px, points.track_length)
    return write(out, moved, cloud, alignment, gates_of(config, alignment), ())


def write(
    out: Path,
    posed: PosedImages,
    points: SparsePoints,
    alignment: Alignment,
    gates: tuple[Gate, ...],
    notes: tuple[str, ...],
) -> Outcome:
    artefact.write_model(out / "posed.json", posed)
    points.save(out / "points.npz")
    artefact.write_model(out / "alignment.json", alignment)
    numbers = {name: float(v) for name, v in alignment.model_dump().items() if isinstance(v, int | float)}
    return Outcome(gates=gates, numbers=numbers, notes=notes)


def moved_view(view: View, similarity: Similarity) -> View:
    rows = similarity.apply_pose(view.pose).matrix.tolist()
    return view.but(T_world_cam=rows)


def find_board(config: AlignmentConfig, frames: Path, posed: PosedImages) -> list[Sighting]:
    def look(view: View) -> Sighting | None:
        found = detect(config.board, photo.read(frames / view.image).rgb)
        return None if found is None else sighting(view, posed.cameras[view.camera], found)

    with progress("looking for the board", len(posed.views)) as advance, ThreadPoolExecutor(thread_count()) as pool:
        looked = []
        for item in pool.map(look, posed.views):
            looked.append(item)
            advance("")
    return [item for item in looked if item is not None]


def sighting(view: View, camera: CameraModel, found: Detection) -> Sighting | None:
    """None where the lens model has no inverse for enough of the corners."""
    ideal = camera.rays(found.corners_px)[:, :2]
    usable = np.isfinite(ideal).all(-1)
    if usable.sum() < 4:
        return None
    return Sighting(view, found.ids[usable], ideal[usable], (camera.fx_px + camera.fy_px) / 2)


def solve(config: AlignmentConfig, sightings: Sequence[Sighting]) -> tuple[Similarity, Alignment]:
    """From three quarters of the sightings; measured on the others (on all, where there are few)."""
    board = config.board
    used, apart = parted(sightings)
    ids, xyz = triangulate(used)
    first = fit_robustly(xyz, board.object_points(ids))
    similarity, rms_px, deviation = bundle(config, used, first)
    held_ids, held_xyz = triangulate(apart)
    errors_mm = np.linalg.norm(similarity.apply(held_xyz) - board.object_points(held_ids), axis=1) * 1000
    return similarity, Alignment(
        kind="board",
        views_with_board=len(sightings),
        detections=sum(len(s.ids) for s in sightings),
        scale_m_per_unit=similarity.scale,
        scale_uncertainty_percent=100 * deviation,
        reprojection_rms_px=rms_px,
        held_out_median_mm=float(np.median(errors_mm)),
        held_out_worst_mm=float(errors_mm.max()),
        flatness_mm=float(np.sqrt((similarity.apply(xyz)[:, 2] ** 2).mean()) * 1000),
    )


def parted(sightings: Sequence[Sighting]) -> tuple[list[Sighting], list[Sighting]]:
    """(three quarters to solve from, a quarter to measure with), or all for both where that leaves too few."""
    apart = list(sightings[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
    used = [seen for seen in sightings if all(seen is not other for other in apart)]
    if min(len(triangulate(part)[0]) for part in (used, apart)) < FEWEST_CORNERS:
        return list(sightings), list(sightings)
    return used, apart


def triangulate(sightings: Sequence[Sighting]) -> tuple[Int[ndarray, " N"], Float[ndarray, "N 3"]]:
    """Every corner seen twice or more: the point nearest to where the photos see it (linear, SfM's world)."""
    rows: dict[int, list[ndarray]] = defaultdict(list)
    for seen in sightings:
        T = seen.T_cam_world
        for number, (x, y) in zip(seen.ids.tolist(), seen.ideal, strict=True):
            rows[number] += [x * T[2] - T[0], y * T[2] - T[1]]
    ids = sorted(number for number, equations in rows.items() if len(equations) >= 4)
    homogeneous = np.array([np.linalg.svd(np.array(rows[number]))[2][-1] for number in ids]).reshape(-1, 4)
    return np.array(ids, np.int64), homogeneous[:, :3] / homogeneous[:, 3:]


def bundle(
    config: AlignmentConfig, sightings: Sequence[Sighting], first: Similarity
) -> tuple[Similarity, float, float]:
    """The similarity that best explains all detections, its RMS (px) and the standard deviation of ln(scale)."""
    corners = [config.board.object_points(seen.ids) for seen in sightings]
    poses = [seen.T_cam_world for seen in sightings]

    def similarity_of(x: ndarray) -> Similarity:
        return Similarity(float(np.exp(x[0])), rotation_from_rotvec(x[1:4]), x[4:7])

    def residuals(x: ndarray) -> ndarray:
        back = similarity_of(x).inverse()
        errors = []
        for seen, board_points, T in zip(sightings, corners, poses, strict=True):
            camera_points = back.apply(board_points) @ T[:3, :3].T + T[:3, 3]
            errors.append((camera_points[:, :2] / camera_points[:, 2:] - seen.ideal) * seen.focal_px)
        return np.concatenate(errors).ravel()

    start = np.concatenate([[np.log(first.scale)], rotvec_from_rotation(first.rotation), first.translation])
    solved = least_squares(residuals, start, loss="soft_l1", f_scale=LOSS_WIDTH_PX, x_scale="jac")
    rms_px = float(np.sqrt((solved.fun**2).mean()))
    covariance = np.linalg.inv(solved.jac.T @ solved.jac) * rms_px**2
    return similarity_of(solved.x), rms_px, float(np.sqrt(covariance[0, 0]))


def gates_of(config: AlignmentConfig, alignment: Alignment) -> tuple[Gate, ...]:
    wrong_print = "check the print's size in --alignment.board, that it lies flat, and that nothing moved."
    return (
        Gate(
            name="photos with the board",
            value=alignment.views_with_board,
            relation=">=",
            limit=config.fewest_views,
            advice="film the board from several sides.",
        ),
        Gate(
            name="held-out board corners",
            value=alignment.held_out_median_mm or 0.0,
            relation="<=",
            limit=config.held_out_limit_mm,
            unit="mm",
            advice=wrong_print,
        ),
        Gate(
            name="shape of the print",
            value=(alignment.held_out_median_mm or 0.0) / 10 / math.hypot(*config.board.size_m),
            relation="<=",
            limit=config.held_out_limit_percent,
            unit="%",
            advice=wrong_print,
        ),
        Gate(
            name="board reprojection",
            value=alignment.reprojection_rms_px or 0.0,
            relation="<=",
            limit=config.reprojection_limit_px,
            unit="px",
            advice=wrong_print,
        ),
        Gate(
            name="scale uncertainty",
            value=alignment.scale_uncertainty_percent or 0.0,
            relation="<=",
            limit=config.scale_uncertainty_limit_percent,
            unit="%",
            advice="film the board from more sides, and closer.",
        ),
    )
