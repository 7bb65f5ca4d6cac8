"""Known cameras in, the cameras of a film out: an orbit, a walk, the held-out views, or a nerfstudio path."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import BaseModel, Field, PositiveFloat, PositiveInt
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

from hardware.camera_model import CameraModel
from hardware.config import read
from hardware.errors import BadInput
from twin.posed_images import PosedImages, View

Paths = Literal["orbit", "walk", "held-out"]

T_gl_from_optical = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenGL's camera (x right, y up, looking along −z) ↔ the optical frame; it is its own inverse."""
SAME_PLACE = 1e-6
"""Two cameras nearer than this (in path lengths and radians) are one knot of the walk."""
TURN_WEIGHT = 0.02
"""A radian takes this share of the time that the whole way takes, so that turns on the spot are not jumps."""


@dataclass(frozen=True, eq=False)
class Shot:
    """One picture to render."""

    name: str
    camera: CameraModel
    """Without distortion."""
    T_world_cam: Float[ndarray, "4 4"]

    @property
    def T_cam_world(self) -> Float[ndarray, "4 4"]:
        return np.linalg.inv(self.T_world_cam)


def poses(views: tuple[View, ...]) -> Float[ndarray, "C 4 4"]:
    """`T_world_cam` of every view."""
    return np.array([view.T_world_cam for view in views], dtype=np.float64).reshape(len(views), 4, 4)


def up_axis(posed: PosedImages) -> Float[ndarray, 3]:
    """z where the world has a floor; else the mean of the cameras' upward axes, as people hold phones upright."""
    if posed.world != "sfm":
        return np.array([0.0, 0.0, 1.0])
    mean = -poses(posed.views)[:, :3, 1].mean(0)
    length = float(np.linalg.norm(mean))
    return mean / length if length > 1e-6 else np.array([0.0, -1.0, 0.0])


def focus(Ts_world_cam: Float[ndarray, "C 4 4"]) -> Float[ndarray, 3] | None:
    """The point nearest to all optical axes (least squares); None where it is not in front of most cameras."""
    centres, forward = Ts_world_cam[:, :3, 3], Ts_world_cam[:, :3, 2]
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    normal = across.sum(0)
    if np.linalg.cond(normal) > 1e8:  # all axes parallel
        return None
    point = np.linalg.solve(normal, np.einsum("cij,cj->i", across, centres))
    in_front = ((point - centres) * forward).sum(1) > 0
    return point if in_front.mean() > 0.5 else None


def looking(centre: Float[ndarray, 3], target: Float[ndarray, 3], up: Float[ndarray, 3]) -> Float[ndarray, "4 4"]:
    """`T_world_cam` of a level camera at `centre` that looks at `target`."""
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-9:  # straight up or down: any heading is as good
        right = np.cross(forward, np.roll(up, 1))
    right = right / np.linalg.norm(right)
    T_world_cam = np.eye(4)
    T_world_cam[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
    T_world_cam[:3, 3] = centre
    return T_world_cam


def orbit(posed: PosedImages, frames: int) -> Float[ndarray, "T 4 4"]:
    """A level circle at the cameras' median distance and height, looking at what they looked at.

    Where the cameras looked outward (a room), it turns on the spot among them instead.
    """
    Ts_world_cam, up = poses(posed.views), up_axis(posed)
    centres = Ts_world_cam[:, :3, 3]
    target = focus(Ts_world_cam)
    first = _level(Ts_world_cam[0, :3, 2], up) if target is None else _level(centres[0] - target, up)
    side = np.cross(up, first)
    angles_rad = 2 * np.pi * np.arange(frames) / frames
    spokes = np.cos(angles_rad)[:, None] * first + np.sin(angles_rad)[:, None] * side
    if target is None:
        middle = np.median(centres, 0)
        return np.array([looking(middle, middle + spoke, up) for spoke in spokes])
    heights = (centres - target) @ up
    radius = float(np.median(np.linalg.norm(centres - target - heights[:, None] * up, axis=1)))
    circle = target + float(np.median(heights)) * up + radius * spokes
    return np.array([looking(centre, target, up) for centre in circle])


def _level(direction: Float[ndarray, 3], up: Float[ndarray, 3]) -> Float[ndarray, 3]:
    """The unit vector nearest to `direction` at right angles to `up`."""
    flat = direction - (direction @ up) * up
    if np.linalg.norm(flat) < 1e-9:
        flat = np.cross(up, np.roll(up, 1))
    return flat / np.linalg.norm(flat)


def walk(views: tuple[View, ...], frames: int) -> Float[ndarray, "T 4 4"]:
    """Through every camera in the order of the photos' names, at an even pace, without kinks."""
    knots = poses(tuple(sorted(views, key=lambda view: view.image)))
    centres = knots[:, :3, 3]
    turns = Rotation.from_matrix(knots[:, :3, :3])
    length = max(float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum()), 1e-12)
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1) / length
    steps = steps + TURN_WEIGHT * (turns[:-1].inv() * turns[1:]).magnitude()
    kept = np.concatenate([[True], steps > SAME_PLACE])
    along = np.concatenate([[0.0], np.cumsum(steps)])[kept]
    if len(along) < 2:
        return np.repeat(knots[:1], frames, axis=0)
    at = np.linspace(0, along[-1], frames)
    Ts_world_cam = np.tile(np.eye(4), (frames, 1, 1))
    Ts_world_cam[:, :3, 3] = CubicSpline(along, centres[kept])(at)
    Ts_world_cam[:, :3, :3] = RotationSpline(along, turns[kept])(at).as_matrix()
    return Ts_world_cam


class PathFrame(BaseModel):
    """One frame of a nerfstudio camera path; other keys are left alone."""

    camera_to_world: list[float] = Field(min_length=16, max_length=16)
    """Row by row, OpenGL camera."""
    fov: float = Field(gt=0, lt=180)
    """Vertical, degrees."""


class NerfstudioPath(BaseModel):
    """nerfstudio's `camera_path.json`, as its viewer saves it; other keys are left alone."""

    render_height: PositiveInt
    render_width: PositiveInt
    camera_type: str = "perspective"
    fps: PositiveFloat | None = None
    camera_path: list[PathFrame] = Field(min_length=1)


def from_nerfstudio(file: Path) -> list[Shot]:
    """Every frame of the file. Its world must be the twin's: train on `tandem twin export --to nerfstudio`
    with orientation, centring and scaling off. Raises `BadInput` for another kind of file or camera."""
    path = read(NerfstudioPath, file)
    if path.camera_type != "perspective":
        raise BadInput(f"{file} has a {path.camera_type} camera; only perspective ones are rendered")
    shots = []
    for index, frame in enumerate(path.camera_path):
        focal_px = path.render_height / 2 / math.tan(math.radians(frame.fov) / 2)
        camera = CameraModel(
            width_px=path.render_width,
            height_px=path.render_height,
            fx_px=focal_px,
            fy_px=focal_px,
            cx_px=path.render_width / 2,
            cy_px=path.render_height / 2,
        )
        T_world_cam = np.array(frame.camera_to_world).reshape(4, 4) @ T_gl_from_optical
        if not np.allclose(T_world_cam[:3, :3] @ T_world_cam[:3, :3].T, np.eye(3), atol=1e-3):
            raise BadInput(f"{file}: camera_to_world of frame {index} is not a rotation and a translation")
        shots.append(Shot(f"frame_{index:05d}", camera, T_world_cam))
    return shots


def framed(camera: CameraModel, size_px: tuple[int, int] | None, fov_deg: float | None) -> CameraModel:
    """`camera` without distortion at another size and horizontal field of view; what is None stays as it is.

    At the same shape of picture and field of view the principal point keeps its place, otherwise it is centred.
    """
    pinhole = camera.pinhole()
    width_px, height_px = size_px or (camera.width_px, camera.height_px)
    same_shape = abs(width_px * camera.height_px - height_px * camera.width_px) <= max(camera.width_px, width_px)
    zoom = width_px / camera.width_px
    if fov_deg is None and same_shape:
        zoom_y = height_px / camera.height_px
        return pinhole.but(
            width_px=width_px,
            height_px=height_px,
            fx_px=camera.fx_px * zoom,
            fy_px=camera.fy_px * zoom_y,
            cx_px=camera.cx_px * zoom,
            cy_px=camera.cy_px * zoom_y,
        )
    focal_px = camera.fx_px * zoom if fov_deg is None else width_px / 2 / math.tan(math.radians(fov_deg) / 2)
    return pinhole.but(
        width_px=width_px,
        height_px=height_px,
        fx_px=focal_px,
        fy_px=focal_px * camera.fy_px / camera.fx_px,
        cx_px=width_px / 2,
        cy_px=height_px / 2,
    )
