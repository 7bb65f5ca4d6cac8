"""A bench's twin in, the same twin with an arm and things that can be pushed out, and a moving picture of one push.

Nothing here reads where things are: the arm finds its place from a guess, things are what stands on the table. The
push runs in `twin.sim`, and our rasteriser draws it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import Float, UInt8
from numpy import ndarray
from scipy.optimize import least_squares

from hardware import artefact
from hardware.errors import BadInput, GateFailed
from hardware.kinematics import so101_kinematics
from hardware.progress import progress
from hardware.spatial import Pose
from twin import object_asset, region, robot_alignment, robot_splat, segment, table_plane
from twin.contact import GiveContact, give
from twin.object_asset import ObjectAsset
from twin.region import Box
from twin.render import scene
from twin.segment import SegmentTwin
from twin.sim.open import open_simulator
from twin.sim.protocol import Simulator, Start

log = logging.getLogger(__name__)

GIF = "push.gif"
MOST_THINGS = 3
"""The nearest to the arm become objects; each costs seconds."""
BESIDE_M, BEYOND_M, LIFT_M, HEIGHT_M = 0.075, 0.035, 0.08, 0.02
"""The tip comes down beside the thing and goes beyond where its middle was, this high over the table."""
REACH_M = (0.16, 0.34)
"""Of the arm from its base, low over the table."""
CONTROL_HZ, PICTURE_EVERY, SIZE_PX, PICTURE_MS = 20.0, 3, (400, 300), 120


@dataclass(frozen=True)
class Pushed:
    """What was pushed and how far it went."""

    name: str
    moved_mm: float
    gif: Path


def add_things(bundle: Path, guess: Pose, q_rad: dict[str, float]) -> tuple[ObjectAsset, ...]:
    """Robot, objects, contact. Raises `BadInput` where the arm is not found or nothing stands near it."""
    splat, posed = scene(bundle)
    ground = table_plane.ground(bundle, splat)
    found = robot_alignment.solve(splat, posed, ground, "so101", q_rad, guess, standing=True)
    robot_splat.take(bundle, splat, ground.crust, "so101", found.pose, q_rad)
    boxes = region.standing(splat, ground.crust, segment.robot_members(bundle))
    foot_m = found.pose.translation_m[:2]
    nearest = sorted(boxes, key=lambda box: float(np.linalg.norm(np.array(box.centre_m[:2]) - foot_m)))[
        :MOST_THINGS
    ]
    names = tuple(f"thing_{number}" for number in range(1, len(nearest) + 1))
    segment.segment(SegmentTwin(bundle=bundle, object=names, box=tuple(map(flag, nearest))))
    try:
        give(GiveContact(bundle=bundle))
    except GateFailed as error:
        log.warning("%s", error.problem)
    return tuple(object_asset.objects(bundle))


def flag(box: Box) -> str:
    """As a person would type it."""
    return ",".join(f"{number:.4f}" for number in (*box.centre_m, *box.size_m))


def push(bundle: Path) -> Pushed:
    """One push of the thing that is easiest to reach, in MuJoCo; writes the picture into the bundle."""
    with_arm = open_simulator(bundle, control_hz=CONTROL_HZ)
    try:
        name, way = planned(with_arm)
        state = with_arm.reset([Start(q_rad=way[0], gripper_open=0.0)])
        before = state.Ts_base_object[name][0]
        frames = []
        with progress("pushing", len(way)) as advance:
            for number, q_rad in enumerate(way):
                state = with_arm.step(np.append(q_rad, 0.0)[None])
                if number % PICTURE_EVERY == 0:
                    frames.append(with_arm.render(with_arm.camera_names[0], *SIZE_PX)[0])
                advance("")
        after = state.Ts_base_object[name][0]
    finally:
        with_arm.close()
    write_gif(bundle / GIF, frames)
    return Pushed(name, float(1e3 * np.linalg.norm(after[:3, 3] - before[:3, 3])), bundle / GIF)


def planned(simulator: Simulator) -> tuple[str, Float[ndarray, "T J"]]:
    """The thing, and the arm's joint angles from home, down beside it, through it and up."""
    home = simulator.reset([Start(gripper_open=0.0)])
    at = {name: T[0, :3, 3] for name, T in home.Ts_base_object.items()}
    reachable = {name: p for name, p in at.items() if REACH_M[0] < np.linalg.norm(p[:2]) < REACH_M[1]}
    if not reachable:
        raise BadInput("nothing stands within the arm's reach", "put a thing 16 to 34 cm in front of the arm")
    name = min(reachable, key=lambda key: abs(np.linalg.norm(reachable[key][:2]) - np.mean(REACH_M)))
    middle = reachable[name]
    outward = np.sign(middle[1]) * np.array([-middle[1], middle[0]]) / np.linalg.norm(middle[:2])
    low_m = middle[2]
    points = [
        np.append(middle[:2] + along * outward, low_m + up)
        for along, up in ((-BESIDE_M, LIFT_M), (-BESIDE_M, 0.0), (BEYOND_M, 0.0), (BEYOND_M, LIFT_M))
    ]
    q_rad = home.q_rad[0]
    stops = [q_rad]
    for point in points:
        stops.append(reached(stops[-1], point))
    seconds = (1.0, 0.7, 2.0, 0.8)
    legs = [
        np.linspace(here, there, round(CONTROL_HZ * time_s))
        for here, there, time_s in zip(stops[:-1], stops[1:], seconds, strict=True)
    ]
    return name, np.concatenate(legs)


def reached(start_rad: Float[ndarray, " J"], point: Float[ndarray, 3]) -> Float[ndarray, " J"]:
    """Angles that bring the tip to a point of the base frame, near the given ones; the hand points as it likes."""
    kinematics = so101_kinematics()
    weak = 0.01

    def off(q_rad: Float[ndarray, " J"]) -> Float[ndarray, " K"]:
        return np.append(10 * (kinematics.T_base_tip(q_rad).translation_m - point), weak * (q_rad - start_rad))

    return least_squares(off, start_rad, max_nfev=60).x


def write_gif(file: Path, frames: list[UInt8[ndarray, "H W 3"]]) -> None:
    """Endless, in 128 colours."""
    pictures = [PIL.Image.fromarray(frame).quantize(128) for frame in frames]
    with artefact.staged_file(file) as temporary:
        pictures[0].save(
            temporary, save_all=True, append_images=pictures[1:], duration=PICTURE_MS, loop=0, optimize=True
        )
