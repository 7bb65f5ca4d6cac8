"""Posed photos → a folder that nerfstudio trains on: transforms.json, the photos, the sparse points.

The world is kept as it is. nerfstudio's cameras are OpenGL's (x right, y up, looking along −z), its pixel (0, 0)
is the corner of the first pixel as ours, and its distortion is OpenCV's. To keep the world metric, train with the
orientation, centring and scaling of its data parser off.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import plyfile

from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from twin.camera_path import T_gl_from_optical
from twin.posed_images import PosedImages, SparsePoints, View

TRANSFORMS, POINTS, IMAGES = "transforms.json", "sparse_pc.ply", "images"


def write(folder: Path, posed: PosedImages, frames: Path, points: SparsePoints | None) -> None:
    """Into an existing folder. Held-out views are its evaluation split. Raises `BadInput` for a missing photo."""
    (folder / IMAGES).mkdir()
    for view in posed.views:
        photo = frames / view.image
        if not photo.is_file():
            raise BadInput(f"there is no photo {photo}", "the frames folder and the poses must belong together")
        target = folder / IMAGES / view.image
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, target)
    if points is not None and len(points.xyz):
        write_points(folder / POINTS, points)
    named = POINTS if (folder / POINTS).exists() else None
    (folder / TRANSFORMS).write_text(json.dumps(transforms(posed, named), indent=1) + "\n", encoding="utf-8")


def transforms(posed: PosedImages, points: str | None) -> dict[str, object]:
    """The contents of transforms.json. One camera's intrinsics stand at the top, several with each frame."""
    keys = {view.camera for view in posed.views}
    shared = intrinsics(posed.cameras[next(iter(keys))]) if len(keys) == 1 else {}
    frames = [frame(view, posed.cameras[view.camera] if len(keys) > 1 else None) for view in posed.views]
    split = {"train_filenames": names(posed.training), "val_filenames": names(posed.held_out or posed.views[:1])}
    return {
        "camera_model": "OPENCV",
        **shared,
        **({"ply_file_path": points} if points else {}),
        **split,
        "test_filenames": split["val_filenames"],
        "frames": frames,
    }


def names(views: Sequence[View]) -> list[str]:
    return [f"{IMAGES}/{view.image}" for view in views]


def frame(view: View, camera: CameraModel | None) -> dict[str, object]:
    T_world_gl = np.array(view.T_world_cam) @ T_gl_from_optical
    own = {} if camera is None else intrinsics(camera)
    return {"file_path": f"{IMAGES}/{view.image}", "transform_matrix": T_world_gl.tolist(), **own}


def intrinsics(camera: CameraModel) -> dict[str, int | float]:
    return {
        "w": camera.width_px,
        "h": camera.height_px,
        "fl_x": camera.fx_px,
        "fl_y": camera.fy_px,
        "cx": camera.cx_px,
        "cy": camera.cy_px,
        **{name: getattr(camera, name) for name in ("k1", "k2", "k3", "p1", "p2")},
    }


def write_points(file: Path, points: SparsePoints) -> None:
    """x y z and red green blue, which open3d (nerfstudio's reader) takes as a coloured cloud."""
    rows = np.empty(
        len(points.xyz), [(name, "<f4") for name in "xyz"] + [(c, "u1") for c in ("red", "green", "blue")]
    )
    for index, name in enumerate(rows.dtype.names or ()):
        rows[name] = points.xyz[:, index] if index < 3 else points.rgb[:, index - 3]
    plyfile.PlyData([plyfile.PlyElement.describe(rows, "vertex")], byte_order="<").write(str(file))
