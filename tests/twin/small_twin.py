"""A whole twin bundle in a second: a coloured table with three balls, and photos that are renders of it."""

from pathlib import Path

import cv2
import numpy as np
import trimesh

from hardware import artefact
from hardware.camera_model import CameraModel
from twin import splat_ply
from twin.camera_path import looking
from twin.posed_images import PosedImages, SparsePoints, View
from twin.rasterise.choose import rasteriser
from twin.splat import Splat

CAMERA = CameraModel(width_px=160, height_px=120, fx_px=150.0, fy_px=151.0, cx_px=79.0, cy_px=61.5)
BALLS = [
    ((0.15, 0.05, 0.06), (0.9, 0.2, 0.1)),
    ((-0.12, 0.1, 0.05), (0.1, 0.7, 0.3)),
    ((0, -0.15, 0.08), (0.2, 0.3, 0.9)),
]
C0 = 0.28209479177387814


def splat(count: int = 3000, seed: int = 0) -> Splat:
    """Half of the Gaussians flat on a 0.8 m table in a checker of two greys, the others on the balls."""
    rng = np.random.default_rng(seed)
    table = np.column_stack([rng.uniform(-0.4, 0.4, (count // 2, 2)), rng.normal(0, 1e-3, count // 2)])
    checker = (np.floor(table[:, :1] / 0.1) + np.floor(table[:, 1:2] / 0.1)) % 2
    means, colours = [table], [np.repeat(0.35 + 0.4 * checker, 3, axis=1)]
    for centre, colour in BALLS:
        directions = rng.normal(size=(count // 6, 3))
        means.append(centre + 0.06 * directions / np.linalg.norm(directions, axis=1, keepdims=True))
        colours.append(np.tile(colour, (count // 6, 1)))
    xyz, rgb = np.concatenate(means), np.concatenate(colours)
    sh = np.zeros((len(xyz), 4, 3))
    sh[:, 0] = (rgb - 0.5) / C0
    quats, scales = rng.normal(size=(len(xyz), 4)), np.exp(rng.uniform(np.log(0.008), np.log(0.016), (len(xyz), 3)))
    quats[: count // 2], scales[: count // 2, 2] = (1, 0, 0, 0), 0.001
    return Splat(
        means_m=xyz,
        quats_wxyz=quats,
        scales_m=scales,
        opacities=rng.uniform(0.5, 0.98, len(xyz)),
        sh=sh,
    )


def cameras(count: int = 9, camera: CameraModel = CAMERA, world: str = "board") -> PosedImages:
    """On three quarters of a circle of 0.7 m, 0.4 to 0.5 m above the table, every fourth held out."""
    views = []
    for index in range(count):
        angle_rad = 1.5 * np.pi * index / count
        centre = np.array([0.7 * np.cos(angle_rad), 0.7 * np.sin(angle_rad), 0.45 + 0.05 * np.sin(3 * angle_rad)])
        T = looking(centre, np.array([0, 0, 0.03]), np.array([0, 0, 1.0]))
        rows = tuple(tuple(map(float, row)) for row in T)
        views.append(
            View(image=f"photo_{index:03d}.jpg", camera="phone", T_world_cam=rows, held_out=index % 4 == 3)
        )
    return PosedImages(world=world, metric=world != "sfm", cameras={"phone": camera}, views=tuple(views))


def write(folder: Path, camera: CameraModel = CAMERA, count: int = 9) -> Path:
    """Lays the bundle out as a build does. Photos are renders without the camera's distortion."""
    scene, posed = splat(), cameras(count, camera)
    splat_ply.write(folder / "scene.ply", scene)
    artefact.write_model(folder / "cameras.json", posed)
    write_stages(folder / "work", scene, posed)
    trimesh.creation.box((0.8, 0.8, 0.01)).export(folder / "mesh.ply")
    return folder


def write_stages(work: Path, scene: Splat, posed: PosedImages) -> None:
    """`capture/frames` and `alignment`, what the splat stage reads."""
    frames, alignment = work / "capture" / "frames", work / "alignment"
    frames.mkdir(parents=True)
    alignment.mkdir(parents=True)
    for view in posed.views:
        camera = posed.cameras[view.camera].pinhole()
        rgb = rasteriser().render(scene, camera, view.pose.inverse().matrix).rgb
        pixels = (np.clip(rgb, 0, 1) * 255).astype(np.uint8)
        cv2.imwrite(
            str(frames / view.image), np.ascontiguousarray(pixels[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 98]
        )
    artefact.write_model(alignment / "posed.json", posed)
    n = 200
    points = SparsePoints(
        xyz=scene.means_m[:n].astype(np.float64),
        rgb=np.full((n, 3), 128, np.uint8),
        reprojection_px=np.full(n, 0.5),
        track_length=np.full(n, 3, np.uint8),
    )
    points.save(alignment / "points.npz")
