# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""A phone's camera: what it sees of a scene at a shot, through its lens and sensor, as a JPEG with EXIF.

The scene is drawn by an ideal pinhole, wider and finer than the photo, in several instants of the exposure where
the hand moves; light is averaged in linear light, bent by the lens's distortion, exposed, given noise, encoded.
"""

from __future__ import annotations

import datetime
import io
import math

import cv2
import mujoco
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from numpy.random import Generator
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational
from scipy.interpolate import RectBivariateSpline

from hardware.bench.hand import Shot
from hardware.bench.renderer import Renderer
from hardware.camera_model import CameraModel

MAKE, MODEL = "Tandem", "Bench Phone"
FOCAL_35MM = 26
"""A phone's main camera; EXIF's equivalent compares diagonals (CIPA DCG-001)."""
DIAGONAL_35MM, DIAGONAL_SENSOR_MM = math.hypot(36, 24), 7.06
FOCUS_BREATHING = 1.004
"""A lens focused near is a little longer than its EXIF says, which is for infinity."""
APERTURE = 1.8
FIRST_PHOTO = datetime.datetime(2026, 3, 14, 10, 12, 0)

OVERSAMPLING = 1.25
"""Rendered pixels to a photo's pixel, each way."""
LENS_BLUR_PX = 0.5
"""Deviation of the lens's and the demosaicing's spread together."""
BLUR_STEP_PX = 0.8
"""The picture may move this far from one drawn instant of an exposure to the next."""
MOST_INSTANTS = 5
GAMMA = 2.2
FULL_WELL_ELECTRONS, READ_NOISE = 16000.0, 0.0006
"""Sensor noise after a phone's own averaging: shot noise of this well, and a floor (share of white, linear)."""
JPEG_QUALITY = 94

LINEAR = (np.arange(256) / 255.0).astype(np.float32) ** np.float32(GAMMA)


def phone_camera(width_px: int, height_px: int) -> CameraModel:
    """The camera of an upright photo of this size; its lens is the same for all."""
    focal_px = FOCAL_35MM / DIAGONAL_35MM * math.hypot(width_px, height_px) * FOCUS_BREATHING
    return CameraModel(
        width_px=width_px,
        height_px=height_px,
        fx_px=focal_px,
        fy_px=focal_px * 1.0008,
        cx_px=width_px * 0.5037,
        cy_px=height_px * 0.4956,
        k1=0.085,
        k2=-0.075,
        p1=0.0007,
        p2=-0.0005,
    )


class Phone:
    """Takes photos of one model. A context manager; use it in the thread that made it."""

    def __init__(self, model: mujoco.MjModel, camera: CameraModel) -> None:
        self.camera = camera
        self._focal_px = OVERSAMPLING * camera.fx_px
        reach = np.abs(camera.rays(_border(camera))[:, :2]).max(0)
        self._size = tuple(2 * math.ceil(r * self._focal_px + 2) for r in reach)
        self._map_x, self._map_y = self._lens()
        self._renderer = Renderer(model, *self._size)

    def __enter__(self) -> Phone:
        return self

    def __exit__(self, *error: object) -> None:
        self._renderer.__exit__(None, None, None)

    def _lens(self) -> tuple[ndarray, ndarray]:
        """Where each quarter pixel (2 × 2 a pixel) of the photo lies in the drawn picture, OpenCV's pixels.

        The inverse distortion is smooth: cubic between solved points 8 pixels apart, exact to 1e-4 pixels.
        """
        columns, rows = (np.arange(2 * n) / 2 + 0.25 for n in (self.camera.width_px, self.camera.height_px))
        coarse_x, coarse_y = (np.linspace(at[0], at[-1], len(at) // 16 + 4) for at in (columns, rows))
        rays = self.camera.rays(np.stack(np.meshgrid(coarse_x, coarse_y), -1))
        drawn = rays[..., :2] * self._focal_px + np.array(self._size) / 2 - 0.5
        x, y = (RectBivariateSpline(coarse_y, coarse_x, drawn[..., axis])(rows, columns) for axis in (0, 1))
        return x.astype(np.float32), y.astype(np.float32)

    def photo(self, data: mujoco.MjData, shot: Shot, rng: Generator) -> UInt8[ndarray, "H W 3"]:
        """The upright picture, developed but not yet compressed."""
        instants = min(MOST_INSTANTS, max(1, math.ceil(blur_px(self.camera, shot) / BLUR_STEP_PX)))
        light = np.zeros((self._size[1], self._size[0], 3), np.float32)
        for instant in range(instants):
            pose = shot.at((instant + 0.5) / instants)
            cv2.accumulate(cv2.LUT(self._renderer.rgb(data, self._focal_px, pose), LINEAR), light)
        quarters = cv2.remap(light, self._map_x, self._map_y, cv2.INTER_LINEAR)
        quarters = cv2.GaussianBlur(quarters, (0, 0), 2 * LENS_BLUR_PX)
        size = (self.camera.width_px, self.camera.height_px)
        exposed = cv2.resize(quarters, size, interpolation=cv2.INTER_AREA) * np.float32(shot.gain / instants)
        return develop(exposed, rng)


def _border(camera: CameraModel) -> Float[ndarray, "N 2"]:
    along = np.linspace(0, 1, 65)
    zero, one = np.zeros_like(along), np.ones_like(along)
    edges = ((along, zero), (along, one), (zero, along), (one, along))
    return np.concatenate([np.stack(edge, -1) for edge in edges]) * [camera.width_px, camera.height_px]


def blur_px(camera: CameraModel, shot: Shot, depth_m: float = 0.75) -> float:
    """Mean way of nine points of the picture during the exposure, all taken at one depth."""
    grid = np.stack(np.meshgrid([0.15, 0.5, 0.85], [0.15, 0.5, 0.85]), -1).reshape(-1, 2)
    points_m = camera.rays(grid * [camera.width_px, camera.height_px]) * depth_m
    ends = [camera.project((shot.at(share).inverse() @ shot.T_base_cam).apply(points_m))[0] for share in (0.0, 1.0)]
    return float(np.linalg.norm(ends[1] - ends[0], axis=-1).mean())


def develop(light: Float[ndarray, "H W 3"], rng: Generator) -> UInt8[ndarray, "H W 3"]:
    """Linear light (1 is white) → sensor noise → the picture's values."""
    deviation = np.sqrt(np.maximum(light, 0) / FULL_WELL_ELECTRONS + READ_NOISE**2)
    noisy = light + deviation * rng.standard_normal(light.shape, dtype=np.float32)
    return (np.clip(noisy, 0, 1) ** (1 / GAMMA) * 255 + 0.5).astype(np.uint8)


def jpeg(upright: UInt8[ndarray, "H W 3"], shot: Shot) -> bytes:
    """The file. A sensor is wider than high, so an upright portrait is stored sideways and marked so."""
    height_px, width_px = upright.shape[:2]
    sideways = height_px > width_px
    stored = np.ascontiguousarray(np.rot90(upright)) if sideways else upright
    exif = _exif(shot, orientation=6 if sideways else 1, size_px=(stored.shape[1], stored.shape[0]))
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0, exif=exif)
    return stream.getvalue()


def _exif(shot: Shot, orientation: int, size_px: tuple[int, int]) -> Image.Exif:
    taken = FIRST_PHOTO + datetime.timedelta(seconds=shot.stamp_s)
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = MAKE, MODEL
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.DateTime] = taken.strftime("%Y:%m:%d %H:%M:%S")
    focal_mm = FOCAL_35MM * DIAGONAL_SENSOR_MM / DIAGONAL_35MM
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {
            ExifTags.Base.ExposureTime: IFDRational(1, round(1 / shot.exposure_s)),
            ExifTags.Base.FNumber: IFDRational(round(APERTURE * 10), 10),
            ExifTags.Base.ISOSpeedRatings: round(200 * shot.gain),
            ExifTags.Base.DateTimeOriginal: taken.strftime("%Y:%m:%d %H:%M:%S"),
            ExifTags.Base.SubsecTimeOriginal: f"{taken.microsecond // 1000:03d}",
            ExifTags.Base.FocalLength: IFDRational(round(focal_mm * 1000), 1000),
            ExifTags.Base.FocalLengthIn35mmFilm: FOCAL_35MM,
            ExifTags.Base.ExifImageWidth: size_px[0],
            ExifTags.Base.ExifImageHeight: size_px[1],
        }
    )
    return exif
