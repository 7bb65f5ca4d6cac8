"""Scans that bring their poses: nerfstudio's transforms.json and COLMAP models → `PosedImages`.

nerfstudio: https://docs.nerf.studio/quickstart/data_conventions.html (OpenGL cameras: x right, y up, z backward).
COLMAP: https://colmap.github.io/format.html (optical cameras, pixel corner at (0, 0), as ours).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plyfile
from numpy import ndarray

from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from twin.photo import Photo
from twin.photo import read as read_photo
from twin.posed_images import PosedImages, SparsePoints, View

HELD_OUT_EVERY = 8
"""As in Mip-NeRF 360: views 0, 8, 16 … are never trained on."""
GL_TO_OPTICAL = np.diag([1.0, -1.0, -1.0, 1.0])
COLMAP_PARAMETERS = {
    "SIMPLE_PINHOLE": ("f", "cx_px", "cy_px"),
    "PINHOLE": ("fx_px", "fy_px", "cx_px", "cy_px"),
    "SIMPLE_RADIAL": ("f", "cx_px", "cy_px", "k1"),
    "RADIAL": ("f", "cx_px", "cy_px", "k1", "k2"),
    "OPENCV": ("fx_px", "fy_px", "cx_px", "cy_px", "k1", "k2", "p1", "p2"),
}


@dataclass(frozen=True, eq=False)
class PosedScan:
    """Images are relative to `root`; held-out views are chosen already."""

    root: Path
    posed: PosedImages
    points: SparsePoints | None


def read_nerfstudio(scan: Path) -> PosedScan:
    """Raises `BadInput` that names the wrong key, or the images that are missing."""
    file = scan / "transforms.json" if scan.is_dir() else scan
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(f"cannot read {file}: {error}") from error
    frames = values.get("frames") if isinstance(values, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise BadInput(f"{file} has no list 'frames'", "export it again: ns-process-data writes one per image")
    require_files(file, [str(frame.get("file_path", "")) for frame in frames])
    cameras: dict[str, CameraModel] = {}
    views = []
    for number, frame in enumerate(sorted(frames, key=lambda frame: str(frame["file_path"]))):
        where = f"{file}: frame {frame['file_path']}"
        camera = nerfstudio_camera({**values, **frame}, file.parent / frame["file_path"], where)
        key = next((key for key, known in cameras.items() if known == camera), f"camera{len(cameras)}")
        cameras[key] = camera
        T_world_gl = matrix(frame.get("transform_matrix"), where)
        views.append(view_of(str(frame["file_path"]), key, T_world_gl @ GL_TO_OPTICAL, number))
    posed = PosedImages(world="sfm", metric=False, cameras=cameras, views=tuple(views))
    cloud = values.get("ply_file_path")
    points = read_cloud(file.parent / cloud) if cloud and (file.parent / cloud).exists() else None
    return PosedScan(file.parent, posed, points)


def require_files(file: Path, names: list[str]) -> None:
    missing = [name for name in names if not name or not (file.parent / name).is_file()]
    if missing:
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        fix = f"paths in it are relative to {file.parent}"
        raise BadInput(f"{file} names {len(missing)} of {len(names)} images that are missing: {shown}", fix)


def nerfstudio_camera(values: dict[str, Any], image: Path, where: str) -> CameraModel:
    """From the file's own intrinsics, or the older `camera_angle_x`."""
    kind = values.get("camera_model", "OPENCV")
    if kind not in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE"):
        raise BadInput(f"{where}: camera_model '{kind}' is not perspective", "have: OPENCV, PINHOLE, PERSPECTIVE")
    try:
        width, height = int(values["w"]), int(values["h"])
    except KeyError:
        width, height = read_photo(image, upright=False).rgb.shape[1::-1]
    except (TypeError, ValueError) as error:
        raise BadInput(f"{where}: wrong intrinsics: {error}") from error
    if "fl_x" not in values and "camera_angle_x" not in values:
        raise BadInput(f"{where} has no focal length", "give fl_x (px), or camera_angle_x (rad)")
    try:
        fx = (
            float(values["fl_x"]) if "fl_x" in values else width / 2 / math.tan(float(values["camera_angle_x"]) / 2)
        )
        return CameraModel(
            width_px=width,
            height_px=height,
            fx_px=fx,
            fy_px=float(values.get("fl_y", fx)),
            cx_px=float(values.get("cx", width / 2)),
            cy_px=float(values.get("cy", height / 2)),
            **{name: float(values.get(name, 0.0)) for name in ("k1", "k2", "p1", "p2", "k3")},
        )
    except (TypeError, ValueError) as error:
        raise BadInput(f"{where}: wrong intrinsics: {error}") from error


def matrix(rows: Any, where: str) -> ndarray:
    """A checked rigid 4×4. Raises `BadInput`."""
    try:
        T = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{where}: transform_matrix is not a matrix: {error}") from error
    if T.shape != (4, 4) or not np.isfinite(T).all():
        raise BadInput(f"{where}: transform_matrix must be 4×4 and finite, got {rows}")
    if not np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-3) or np.linalg.det(T[:3, :3]) < 0:
        raise BadInput(f"{where}: transform_matrix holds no rotation (scaled, skewed or mirrored)")
    u, _, vt = np.linalg.svd(T[:3, :3])
    T[:3, :3] = u @ vt
    return T


def view_of(image: str, camera: str, T_world_cam: ndarray, number: int) -> View:
    rows = tuple(tuple(float(value) for value in row) for row in T_world_cam)
    return View(image=image, camera=camera, T_world_cam=rows, held_out=number % HELD_OUT_EVERY == 0)  # type: ignore[arg-type]


def read_cloud(file: Path) -> SparsePoints:
    """A coloured point PLY, as nerfstudio keeps beside its transforms."""
    try:
        vertices = plyfile.PlyData.read(str(file))["vertex"].data
        xyz = np.stack([vertices[axis] for axis in "xyz"], -1).astype(np.float64)
    except (plyfile.PlyParseError, KeyError, ValueError, OSError) as error:
        raise BadInput(f"{file} is not a point cloud: {error}") from error
    names = vertices.dtype.names or ()
    grey = np.full((len(xyz), 3), 128, np.uint8)
    rgb = np.stack([vertices[c] for c in ("red", "green", "blue")], -1).astype(np.uint8) if "red" in names else grey
    nothing = np.zeros(len(xyz))
    return SparsePoints(xyz, rgb, nothing, nothing.astype(np.uint8))


def colmap_model(scan: Path) -> Path | None:
    """The folder of the model: the scan itself, or where COLMAP's tools put it under the scan."""
    for folder in (scan, scan / "sparse" / "0", scan / "sparse", scan / "colmap" / "sparse" / "0"):
        for suffix in (".bin", ".txt"):
            if all((folder / f"{name}{suffix}").is_file() for name in ("cameras", "images", "points3D")):
                return folder
    return None


def read_colmap(scan: Path) -> PosedScan:
    """Raises `BadInput` for a broken model, a fisheye camera, or missing images."""
    import pycolmap

    model = colmap_model(scan)
    if model is None:
        raise BadInput(f"{scan} holds no COLMAP model (cameras, images, points3D as .bin or .txt)")
    try:
        reconstruction = pycolmap.Reconstruction(str(model))
    except (RuntimeError, ValueError, IndexError) as error:
        raise BadInput(f"{model} is not a whole COLMAP model: {error}") from error
    names = [image.name for image in reconstruction.images.values() if image.has_pose]
    root = images_folder(scan, model, names)
    return PosedScan(root, posed_from_colmap(reconstruction), points_from_colmap(reconstruction))


def images_folder(scan: Path, model: Path, names: list[str]) -> Path:
    candidates = [scan / "images", scan, model / "images", model.parent / "images", model.parent.parent / "images"]
    counts = {folder: sum((folder / name).is_file() for name in names) for folder in candidates}
    best = max(counts, key=lambda folder: counts[folder])
    if not names or counts[best] < len(names):
        missing = next((name for name in names if not (best / name).is_file()), "any image")
        fix = f"put the photos into {scan / 'images'}"
        raise BadInput(f"{model} poses {len(names)} photos; {best} has {counts[best]} of them, not {missing}", fix)
    return best


def posed_from_colmap(reconstruction: Any, every: int = HELD_OUT_EVERY) -> PosedImages:
    """A pycolmap `Reconstruction` as `PosedImages` in the world "sfm"; views in the order of their names."""
    cameras = {f"camera{key}": colmap_camera(camera) for key, camera in reconstruction.cameras.items()}
    images = sorted((image for image in reconstruction.images.values() if image.has_pose), key=lambda i: i.name)
    views = []
    for number, image in enumerate(images):
        T_cam_world = np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]])
        view = view_of(image.name, f"camera{image.camera_id}", np.linalg.inv(T_cam_world), number)
        errors = [
            reconstruction.points3D[point.point3D_id].error for point in image.points2D if point.has_point3D()
        ]
        views.append(view.but(reprojection_px=float(np.mean(errors)) if errors else None))
    used = {view.camera for view in views}
    cameras = {key: camera for key, camera in cameras.items() if key in used}
    return PosedImages(world="sfm", metric=False, cameras=cameras, views=tuple(views))


def colmap_camera(camera: Any) -> CameraModel:
    kind = camera.model.name
    if kind not in COLMAP_PARAMETERS:
        raise BadInput(
            f"camera model {kind} is not supported", f"have: {', '.join(COLMAP_PARAMETERS)}: undistort first"
        )
    named = dict(zip(COLMAP_PARAMETERS[kind], map(float, camera.params), strict=True))
    focal = named.pop("f", None)
    if focal is not None:
        named |= {"fx_px": focal, "fy_px": focal}
    return CameraModel(width_px=camera.width, height_px=camera.height, **named)


def points_from_colmap(reconstruction: Any) -> SparsePoints:
    points = list(reconstruction.points3D.values())
    return SparsePoints(
        xyz=np.array([point.xyz for point in points], dtype=np.float64).reshape(-1, 3),
        rgb=np.array([point.color for point in points], dtype=np.uint8).reshape(-1, 3),
        reprojection_px=np.array([point.error for point in points], dtype=np.float64),
        track_length=np.array([min(255, point.track.length()) for point in points], dtype=np.uint8),
    )


def matching(raw: Photo, read: Callable[[Path], Photo], source: Path, camera: CameraModel) -> Photo:
    """The photo whose pixels the camera describes: as stored, else as its EXIF turns it."""
    wanted = camera.width_px / camera.height_px
    for taken in (raw, read(source)):
        if abs(taken.rgb.shape[1] / taken.rgb.shape[0] / wanted - 1) < 0.01:
            return taken
    size = f"{raw.rgb.shape[1]}×{raw.rgb.shape[0]}"
    raise BadInput(f"{source} is {size}, but its camera is {camera.width_px}×{camera.height_px}")


def resized(camera: CameraModel, width_px: int, height_px: int) -> CameraModel:
    """The camera of the same picture at another size."""
    sx, sy = width_px / camera.width_px, height_px / camera.height_px
    return camera.but(
        width_px=width_px,
        height_px=height_px,
        fx_px=camera.fx_px * sx,
        fy_px=camera.fy_px * sy,
        cx_px=camera.cx_px * sx,
        cy_px=camera.cy_px * sy,
    )
