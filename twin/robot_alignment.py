"""`tandem twin align`: a bundle and the arm's joint angles in the scan, in; where the arm's base stands in it, out.

The board gives a start (`tandem calibrate base`), or a person's guess does; the arm itself gives the answer, first by
geometry (`robot_icp`), then by its picture (`robot_photo`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import tyro
from jaxtyping import Float, UInt8
from numpy import ndarray
from pydantic import Field, NonNegativeFloat, TypeAdapter, ValidationError
from rich.console import Console

from calibration import result
from hardware import artefact, gate
from hardware.bench.arm_models import ARMS
from hardware.config import Config
from hardware.errors import BadInput
from hardware.gate import Gate
from hardware.spatial import Pose, rotation_from_rotvec
from twin import object_asset, robot_icp, robot_photo, robot_splat, segment, table_plane
from twin.object_asset import Plane, Rows
from twin.posed_images import PosedImages, View
from twin.rasterise.choose import rasteriser
from twin.render import scene
from twin.robot_icp import Fit, Points
from twin.robot_splat import Link
from twin.splat import Splat
from twin.table_plane import Ground

REPORT, OVERLAY = "robot_alignment.json", "robot_alignment.png"
DEVIATION_LIMIT_MM, DEVIATION_LIMIT_DEG, RESIDUAL_LIMIT_MM = 3.0, 1.0, 2.5
OVERLAY_VIEWS, OVERLAY_PX = 4, 420
GREEN_RGB = (60, 255, 90)


class AlignRobot(Config):
    """Finds where the arm stands in a twin, from its joint angles while it was filmed; robot.json is written."""

    bundle: tyro.conf.Positional[Path]
    """Folder that `tandem twin build` made of a scan with the arm in it."""
    q: str
    """The arm's joint angles in the scan: a JSON file of radians by joint, or shoulder_pan=0.1,elbow_flex=1.2,…"""
    robot: Literal["so101", "panda"] = "so101"
    """Which arm."""
    base: Path | None = None
    """A result of `tandem calibrate base`: the board's place gives the start."""
    near: str | None = None
    """x,y,z,yaw_deg of the base in the twin's world, to some 30 mm and 5°: a start without a board's place."""
    standing: bool = False
    """The base stands on the table of the scan, without a riser: its height and lean are the table's, only its place on
    it and its yaw are looked for. The arm's own crust leaves a millimetre and half a degree of them open."""
    photometric: bool = True
    """Also refine by the arm's picture: some 15 s more."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the result here."""


class RobotAlignment(Config):
    """`robot_alignment.json`: the answer and how sure it is."""

    model: Literal["so101", "panda"]
    standing: bool
    """Height and lean were the table's."""
    T_world_base: Rows
    from_start_mm: NonNegativeFloat
    from_start_deg: NonNegativeFloat
    residual_mm: NonNegativeFloat
    """Median distance of the seen arm from the model."""
    explained: float = Field(ge=0, le=1)
    """Share of the model that the scan shows."""
    deviation_mm: NonNegativeFloat
    """One standard deviation: views drawn again, and the crust's own distance from the model. Of a standing base only
    what is looked for: an error of the table's plane is not in it."""
    deviation_deg: NonNegativeFloat
    photometric_mm: NonNegativeFloat | None
    """How far the picture moved geometry's answer; None where it was not asked."""
    photometric_deg: NonNegativeFloat | None
    photometric_gain: float | None
    """By which share the picture's difference fell."""
    gates: tuple[Gate, ...]

    @property
    def pose(self) -> Pose:
        return Pose("world", "base", np.array(self.T_world_base))


def align(config: AlignRobot) -> int:
    """Writes robot.json, robot/, the background without the arm, a report and a picture; then checks the gates."""
    object_asset.require_metric(config.bundle)
    q_rad = joint_angles(config.q)
    require_all_joints(config.robot, q_rad)
    start = start_of(config)
    splat, posed = scene(config.bundle)
    ground = table_plane.ground(config.bundle, splat)
    found = solve(splat, posed, ground, config.robot, q_rad, start, config.photometric, config.standing)
    placed = robot_splat.placed_links(config.robot, found.pose, q_rad)
    artefact.write_bytes(config.bundle / OVERLAY, png(overlay(splat, posed, placed)))
    artefact.write_model(config.bundle / REPORT, found)
    if config.json_file is not None:
        artefact.write_model(config.json_file, found)
    show(found, config.bundle)
    segment.warn_of_another_table(config.bundle, ground.plane)
    gate.check(found.gates)
    robot_splat.take(config.bundle, splat, ground.crust, config.robot, found.pose, q_rad)
    segment.rebuild_background(config.bundle, splat, ground.crust)
    return 0


def joint_angles(text: str) -> dict[str, float]:
    """Raises `BadInput` for what is neither a JSON file of numbers nor NAME=RAD,…"""
    fix = "--q FILE.json with radians by joint, or --q shoulder_pan=0.1,elbow_flex=1.2,…"
    if "=" in text:
        try:
            pairs = [word.split("=") for word in text.split(",")]
            angles = {name.strip(): float(value) for name, value in pairs}
        except ValueError as error:
            raise BadInput(f"'{text}' are no joint angles", fix) from error
    else:
        try:
            angles = TypeAdapter(dict[str, float]).validate_json(Path(text).read_bytes())
        except (OSError, ValidationError) as error:
            raise BadInput(f"'{text}' holds no joint angles", fix) from error
    if not angles or not all(map(math.isfinite, angles.values())):
        raise BadInput(f"'{text}': joint angles must be finite numbers", fix)
    return angles


def require_all_joints(model: Literal["so101", "panda"], q_rad: dict[str, float]) -> None:
    """A joint that is left out would stand at 0 and put the arm elsewhere."""
    missing = [name for name in ARMS[model].joints if name not in q_rad]
    if missing:
        raise BadInput(f"no angle for {', '.join(missing)}", f"--q needs all of: {', '.join(ARMS[model].joints)}")


def start_of(config: AlignRobot) -> Pose:
    """T_world_base to begin from; the bundle's world is the board's frame."""
    if (config.base is None) == (config.near is None):
        raise BadInput("give --base or --near: where to begin", "--base RESULT.json of `tandem calibrate base`")
    if config.base is not None:
        known = result.read(config.base)
        if not isinstance(known, result.BaseResult):
            raise BadInput(
                f"{config.base} is a result of kind '{known.kind}'", "give one of `tandem calibrate base`"
            )
        return Pose("world", "base", known.answer.pose().inverse().matrix)
    try:
        x, y, z, yaw_deg = map(float, str(config.near).split(","))
    except ValueError as error:
        raise BadInput(f"--near {config.near}: not x,y,z,yaw_deg", "--near -0.38,0.05,0,-98") from error
    if not np.isfinite([x, y, z, yaw_deg]).all():
        raise BadInput(f"--near {config.near}: numbers must be finite")
    turn = rotation_from_rotvec(np.array([0.0, 0.0, math.radians(yaw_deg)]))
    return Pose.from_parts("world", "base", turn, (x, y, z))


def solve(
    splat: Splat,
    posed: PosedImages,
    ground: Ground,
    model: Literal["so101", "panda"],
    q_rad: dict[str, float],
    start: Pose,
    photometric: bool = True,
    standing: bool = False,
) -> RobotAlignment:
    """Raises `BadInput` where the scan shows no arm near the start."""
    links = robot_splat.placed_links(model, Pose.identity("world", "base"), q_rad)
    surface, freedom = model_points(links), robot_icp.FREE
    if standing:
        start, freedom = stood_on(ground.plane, start, links[0]), robot_icp.STANDING
    seen = robot_icp.seen_surface(splat, posed, ground.crust, start.apply(surface.xyz))
    fit = robot_icp.align(seen, surface, start.matrix, freedom)
    unsure_m, unsure_rad = deviations(seen, surface, fit, freedom)
    answer = Pose("world", "base", fit.T_world_base)
    by_picture: tuple[float | None, float | None, float | None] = (None, None, None)
    if photometric:
        links = robot_splat.placed_links(model, answer, q_rad)
        in_world = np.kron(np.eye(2), answer.rotation) @ freedom
        refined = robot_photo.refine(
            rasteriser(), splat, posed, ground.crust, links, (unsure_m, unsure_rad), in_world
        )
        better = Pose("world", "base", refined.motion @ answer.matrix)
        moved_m, moved_rad = answer.distance_to(better)
        by_picture = 1e3 * moved_m, math.degrees(moved_rad), 1 - refined.after / max(refined.before, 1e-9)
        answer = better
    moved_m, moved_rad = start.distance_to(answer)
    return RobotAlignment(
        model=model,
        standing=standing,
        T_world_base=object_asset.rows(answer),
        from_start_mm=1e3 * moved_m,
        from_start_deg=math.degrees(moved_rad),
        residual_mm=1e3 * fit.residual_m,
        explained=fit.explained,
        deviation_mm=1e3 * unsure_m,
        deviation_deg=math.degrees(unsure_rad),
        photometric_mm=by_picture[0],
        photometric_deg=by_picture[1],
        photometric_gain=by_picture[2],
        gates=gates(fit, unsure_m, unsure_rad),
    )


def stood_on(table: Plane, base: Pose, foot: Link) -> Pose:
    """The base turned by the least that has its z axis along the table's normal, the lowest point of its link on it."""
    z, normal = base.rotation[:, 2], np.array(table.normal)
    axis = np.cross(z, normal)
    sine, cosine = float(np.linalg.norm(axis)), float(z @ normal)
    turn = rotation_from_rotvec(axis / max(sine, 1e-12) * math.atan2(sine, cosine))
    upright = Pose.from_parts("world", "base", turn @ base.rotation, base.translation_m)
    lowest_m = float(table.heights_m(upright.apply(foot.points)).min())
    return Pose.from_parts("world", "base", upright.rotation, base.translation_m - lowest_m * normal)


def model_points(links: list[Link]) -> Points:
    """All links' surfaces in the frame that they are placed in."""
    xyz = np.concatenate([link.T_world_link.apply(link.points) for link in links])
    normals = np.concatenate([link.normals @ link.T_world_link.rotation.T for link in links])
    return Points(xyz, normals, np.zeros(len(xyz), np.int64))


def deviations(seen: Points, model: Points, fit: Fit, freedom: Float[ndarray, "6 K"]) -> tuple[float, float]:
    """(metres, radians). Drawing views again does not show what all have in common: the crust's own distance does."""
    drawn_m, drawn_rad = robot_icp.spread(seen, model, fit, freedom)
    lever_m = float(np.sqrt(((model.xyz - model.xyz.mean(0)) ** 2).sum(1).mean()))
    return math.hypot(drawn_m, fit.residual_m), math.hypot(drawn_rad, fit.residual_m / 2 / lever_m)


def gates(fit: Fit, unsure_m: float, unsure_rad: float) -> tuple[Gate, ...]:
    advice = "are the joint angles those of the scan? More photos round the arm, or a nearer start."
    rows = (
        ("arm's distance from its model", 1e3 * fit.residual_m, RESIDUAL_LIMIT_MM, "mm"),
        ("base position, deviation", 1e3 * unsure_m, DEVIATION_LIMIT_MM, "mm"),
        ("base rotation, deviation", math.degrees(unsure_rad), DEVIATION_LIMIT_DEG, "°"),
    )
    return tuple(
        Gate(name=name, value=value, relation="<=", limit=limit, unit=unit, advice=advice)
        for name, value, limit, unit in rows
    )


def overlay(splat: Splat, posed: PosedImages, links: list[Link]) -> UInt8[ndarray, "H W 3"]:
    """The scan as a few of its cameras see the arm, with the edge of the placed model in green."""
    placed = model_points(links)
    arm = robot_splat.discs(placed.xyz, placed.normals, np.full(placed.xyz.shape, 0.5))
    pictures = [
        _outlined(splat, arm, posed, view, placed.xyz)
        for view in robot_icp.sighted(posed, placed.xyz, OVERLAY_VIEWS)
    ]
    return np.concatenate(pictures, 1)


def _outlined(
    splat: Splat, arm: Splat, posed: PosedImages, view: View, points: Float[ndarray, "N 3"]
) -> UInt8[ndarray, "H W 3"]:
    T_cam_world = np.linalg.inv(np.array(view.T_world_cam))
    camera = robot_icp.close_up(posed.cameras[view.camera], T_cam_world, points, OVERLAY_PX)
    rgb = rasteriser().render(splat, camera, T_cam_world).rgb
    picture = np.ascontiguousarray(np.round(255 * np.clip(rgb, 0, 1)).astype(np.uint8))
    inside = (rasteriser().render(arm, camera, T_cam_world).alpha > 0.5).astype(np.uint8)
    edges, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, edges, -1, GREEN_RGB, 1)
    framed = np.zeros((OVERLAY_PX + 4, OVERLAY_PX + 4, 3), np.uint8)
    height, width = (min(side, OVERLAY_PX + 4) for side in picture.shape[:2])
    framed[:height, :width] = picture[:height, :width]
    return framed


def png(picture: UInt8[ndarray, "H W 3"]) -> bytes:
    return cv2.imencode(".png", picture[..., ::-1])[1].tobytes()


def show(found: RobotAlignment, bundle: Path) -> None:
    console = Console()
    x, y, z = found.pose.translation_m
    console.print(f"base at {x:.4f}, {y:.4f}, {z:.4f} m of the twin's world", highlight=False)
    console.print(
        f"± {found.deviation_mm:.1f} mm, ± {found.deviation_deg:.2f}°; {found.from_start_mm:.1f} mm and "
        f"{found.from_start_deg:.2f}° from the start; the seen arm lies {found.residual_mm:.1f} mm off its model",
        highlight=False,
    )
    console.print(f"picture: {bundle / OVERLAY}", highlight=False, soft_wrap=True)
