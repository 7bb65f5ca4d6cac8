"""`tandem rl guide`: a reset plan, or a drawn region, and the cell's twin in; the page's guide out, with the object
drawn at every start.

The page lays each drawing over the live picture of a camera that stands still, and finds the real object by the
drawing's colours (`hardware.page.finder`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from jaxtyping import UInt8
from numpy import ndarray
from pydantic import NonNegativeInt, PositiveInt

from hardware import artefact
from hardware.bench.tasks.start import TaskStart
from hardware.camera_model import CameraModel
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.page.ghost import Guide
from hardware.page.silhouette import standing
from hardware.progress import progress
from hardware.spatial import Pose
from rl_online.starts.regions import drawn
from rl_online.starts.resets import ResetPlan
from twin import object_asset, splat_ply
from twin.object_asset import ASSET, ObjectAsset
from twin.rasterise.choose import rasteriser
from twin.sim import cameras
from twin.splat import Splat
from twin.splat_motion import moved

GUIDE, PLAN = "guide.json", "resets.json"
SOLID = 0.9
"""Pixels that are covered more than this show the object's colour alone."""
SAMPLES = 256


class GuideResets(Config):
    """Draw where the object belongs next, for `tandem up CELL --gui --guide OUTPUT/guide.json`: starts of a reset plan,
    or (before there is a policy to plan for) of a region of the table. The object is looked for meanwhile, and what is
    recorded says where it stood: `tandem rl expand` bends demonstrations by that.
    """

    plan: tyro.conf.Positional[Path | None] = None
    """Folder of `tandem rl mine`, or its resets.json. None: starts from `polygon`."""
    polygon: tuple[tuple[float, float], ...] = ()
    """Corners of a region of the table in the base frame, metres: --polygon 0.15 -0.1 0.25 -0.1 0.25 0.1 0.15 0.1"""
    yaw_deg: tuple[float, float] = (-90.0, 90.0)
    """The object's turns there."""
    bundle: Path
    """The cell's twin, with objects, arm and cameras (`tandem twin segment`, `align`, `cameras`)."""
    object: str
    """Name of the object in the twin."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """A new folder: guide.json and a picture per start."""
    camera: str = "cam_front"
    """One of the twin's cameras that stands in the cell."""
    count: PositiveInt = 30
    target_only: bool = True
    """Starts from S_target alone, while there are any; else by the plan's own probabilities."""
    seed: NonNegativeInt = 0


def guide(config: GuideResets) -> int:
    """The verb. Raises `BadInput` for a twin that lacks what is needed."""
    starts = starts_of(config)
    asset, splat = the_object(config.bundle, config.object)
    robot = object_asset.robot(config.bundle)
    T_base_world = (Pose.identity("world", "base") if robot is None else robot.pose).inverse()
    T_base_cam, camera = standing_camera(config, T_base_world.inverse())
    centre_z_m = float((T_base_world @ asset.pose).translation_m[2])
    with artefact.staged_folder(config.output) as folder:
        colours: list[UInt8[ndarray, "N 3"]] = []
        with progress("drawing starts", len(starts)) as advance:
            for number, start in enumerate(starts):
                rgba = ghost(splat, camera, T_base_cam, standing(start, centre_z_m))
                cv2.imwrite(str(folder / name(number)), cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
                colours.append(rgba[rgba[..., 3] > 255 * SOLID][:, :3])
                advance("")
        made = Guide(
            object_name=config.object,
            size_m=asset.size_m,
            centre_z_m=centre_z_m,
            camera=config.camera,
            intrinsics=camera,
            T_base_cam=object_asset.rows(T_base_cam),
            starts=tuple(starts),
            colours=samples(np.concatenate(colours), config.seed),
            pictures=tuple(name(number) for number in range(len(starts))),
        )
        artefact.write_model(folder / GUIDE, made)
    print(f"{len(starts)} starts; tandem up CELL --gui --guide {config.output / GUIDE}")
    return 0


def starts_of(config: GuideResets) -> list[TaskStart]:
    """Raises `BadInput` unless it is told of a plan or of a region, and not of both."""
    rng = np.random.default_rng(config.seed)
    if (config.plan is None) == (not config.polygon):
        known = "neither a plan nor a region" if config.plan is None else "a plan and a region, too"
        raise BadInput(f"the guide got {known}", "a folder of `tandem rl mine`, or --polygon x y x y x y")
    if config.plan is None:
        low, high = sorted(math.radians(turn) for turn in config.yaw_deg)
        region = drawn(config.polygon, (low, high))
        return [region.draw(rng) for _ in range(config.count)]
    plan = read(ResetPlan, config.plan / PLAN if config.plan.is_dir() else config.plan)
    draw = plan.draw_target if config.target_only else plan.draw
    return [draw(rng)[1] for _ in range(config.count)]


def the_object(bundle: Path, name: str) -> tuple[ObjectAsset, Splat]:
    if name not in object_asset.names(bundle):
        have = ", ".join(object_asset.names(bundle)) or "none"
        raise BadInput(f"no object '{name}' in {bundle}; have: {have}", f"tandem twin segment {bundle} --help")
    folder = object_asset.folder(bundle, name)
    asset = read(ObjectAsset, folder / ASSET)
    return asset, splat_ply.read(folder / asset.splat)


def standing_camera(config: GuideResets, T_world_base: Pose) -> tuple[Pose, CameraModel]:
    """(T_base_cam, its lens)."""
    known = cameras.of(config.bundle, None, T_world_base)
    chosen = known.get(config.camera)
    if chosen is None or chosen.mount != "base":
        have = ", ".join(name for name, one in known.items() if one.mount == "base") or "none"
        raise BadInput(
            f"no standing camera '{config.camera}' in {config.bundle}; have: {have}",
            f"tandem twin cameras {config.bundle} --camera {config.camera}=HAND_EYE.json",
        )
    return chosen.pose, chosen.camera


def ghost(splat: Splat, camera: CameraModel, T_base_cam: Pose, T_base_obj: Pose) -> UInt8[ndarray, "H W 4"]:
    """The object alone, where nothing covers it, as the camera's own lens would show it."""
    T_cam_obj = T_base_cam.inverse() @ T_base_obj
    seen = moved(splat, T_cam_obj.rotation, T_cam_obj.translation_m)
    drawn = rasteriser().render(seen, camera.pinhole(), np.eye(4))
    alpha = np.clip(drawn.alpha, 0, 1)[..., None]
    rgb = np.clip(drawn.rgb / np.maximum(alpha, 1e-6), 0, 1)
    rgba = np.round(np.concatenate([rgb, alpha], -1) * 255).astype(np.uint8)
    return rgba if camera.is_pinhole else bent(rgba, camera)


def bent(rgba: UInt8[ndarray, "H W 4"], camera: CameraModel) -> UInt8[ndarray, "H W 4"]:
    """A pinhole's picture through the lens: each pixel takes what lies on its ray."""
    u, v = np.meshgrid(np.arange(camera.width_px) + 0.5, np.arange(camera.height_px) + 0.5)
    rays = np.nan_to_num(camera.rays(np.stack([u, v], -1)), nan=1e6)
    x = rays[..., 0] * camera.fx_px + camera.cx_px - 0.5
    y = rays[..., 1] * camera.fy_px + camera.cy_px - 0.5
    return cv2.remap(rgba, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)


def samples(rgb: UInt8[ndarray, "N 3"], seed: int) -> tuple[tuple[int, int, int], ...]:
    """Raises `BadInput` where no picture shows the object."""
    if not len(rgb):
        raise BadInput("the camera sees the object at none of the starts", "another --camera")
    chosen = rgb[np.random.default_rng(seed).choice(len(rgb), min(SAMPLES, len(rgb)), replace=False)]
    return tuple((red, green, blue) for red, green, blue in chosen.tolist())


def name(number: int) -> str:
    return f"start_{number:04d}.png"
