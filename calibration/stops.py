"""`tandem calibrate stops`: a recording of an arm that stood still here and there in; what the other verbs read, out.

Drive the arm at the page while it records (`tandem gui CELL --policy none --record stops_seen`), and let it stand for a
second wherever a camera sees the board, or the tip touches one of its corners.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float, Int
from numpy import ndarray
from pydantic import Field
from rich.console import Console
from rich.table import Table

from calibration import result
from calibration.calibrate_base import Touch, Touches
from calibration.calibrate_hand_eye import Sight, Sights
from hardware import artefact
from hardware.bench.arm_models import ARMS, TIP, ArmName
from hardware.config import Config
from hardware.dataset.picture import write_png
from hardware.dataset.store import EpisodeStore
from hardware.dataset.stored_episode import StoredEpisode
from hardware.errors import BadInput
from hardware.kinematics import Kinematics, kinematic_model
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.spatial import Pose

log = logging.getLogger(__name__)

VIEWS, TOUCHES = "views.json", "touches.json"
SWING_S = 0.25
"""After the joints have come to rest: an arm swings a little, and a picture is older than its stamp."""


class CollectStops(Config):
    """Find where a recorded arm stood still: for each camera a folder of pictures with views.json (`tandem calibrate
    camera` and `hand-eye` read them), and touches.json (for `base`). The tool's pose is the tip's, from the joints.
    """

    episodes: tyro.conf.Positional[Path]
    """A store, as `tandem up --record` writes it; all its episodes, failures too."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("stops")
    """A new folder."""
    arm: ArmName = "so101"
    on_tool: tuple[str, ...] = ()
    """Cameras that the tool carries (`eye_in_hand`). The others stand, and the board is on the tool (`eye_to_hand`)."""
    corners: tuple[int, ...] = ()
    """Of the board, in the order in which the tip touched them; each stop is then a touch."""
    still_s: Annotated[float, Field(gt=SWING_S)] = 0.8
    """The shortest stop."""
    still_rad: Annotated[float, Field(gt=0)] = 0.005
    """What a joint may move meanwhile."""
    apart_rad: Annotated[float, Field(gt=0)] = 0.03
    """A stop that is nearer to the one before, in every joint, is the same one."""


@dataclass(frozen=True, eq=False)
class Stop:
    """The arm at rest, in one episode."""

    episode: StoredEpisode
    since_ns: int
    until_ns: int
    q_rad: Float[ndarray, " J"]
    """Median of the joints."""
    T_base_tip: Pose

    def picture_row(self, camera: str) -> int | None:
        """The latest one that the camera took while nothing swung."""
        stamps = self.episode.streams.picture_ns[camera]
        early = self.since_ns + round(SWING_S * NANOSECONDS_PER_SECOND)
        rows = np.flatnonzero((stamps >= early) & (stamps <= self.until_ns))
        return int(rows[-1]) if len(rows) else None


def collect(config: CollectStops) -> int:
    """Raises `BadInput` where nothing stood still, or the corners are not as many as the stops."""
    arm = ARMS[config.arm]
    store = EpisodeStore.open(config.episodes)
    kinematics = Kinematics(kinematic_model(arm), TIP)
    stops = [stop for episode in store.episodes() for stop in stops_of(episode, arm.joints, kinematics, config)]
    if not stops:
        raise BadInput(
            f"the arm stands still for {config.still_s:g} s nowhere in {config.episodes}",
            "let go of the keys for a second at each stop, or a smaller --still-s",
        )
    if config.corners and len(config.corners) != len(stops):
        raise BadInput(
            f"{len(config.corners)} corners, and the arm stood still {len(stops)} times",
            "a recording of the touches alone, each corner once, and --corners in their order",
        )
    cameras = sorted({name for stop in stops for name in stop.episode.manifest.cameras})
    if unknown := sorted(set(config.on_tool) - set(cameras)):
        raise BadInput(f"no camera '{unknown[0]}' in {config.episodes}; have: {', '.join(cameras) or 'none'}")
    with artefact.staged_folder(config.output) as folder:
        taken = {camera: write_views(folder, camera, stops, config) for camera in cameras}
        if config.corners:
            artefact.write_model(folder / TOUCHES, touches_of(config.corners, stops))
    show(config, stops, taken)
    return 0


def stops_of(
    episode: StoredEpisode, joints: Sequence[str], kinematics: Kinematics, config: CollectStops
) -> Iterator[Stop]:
    """Raises `BadInput` where a joint is not recorded."""
    names = episode.manifest.joint_names
    if missing := [name for name in joints if name not in names]:
        raise BadInput(f"episode {episode.number} has no joint {missing[0]}; have: {', '.join(names)}", "--arm")
    q_rad = episode.q_rad[:, [names.index(name) for name in joints]]
    stamps = episode.streams.joint_ns
    last: Stop | None = None
    for first, end in still(stamps, q_rad, config.still_s, config.still_rad):
        at = np.median(q_rad[first:end], axis=0)
        if last is not None and np.abs(at - last.q_rad).max() < config.apart_rad:
            continue
        last = Stop(episode, int(stamps[first]), int(stamps[end - 1]), at, kinematics.T_base_tip(at))
        yield last


def still(
    stamps_ns: Int[ndarray, " M"], q_rad: Float[ndarray, "M J"], least_s: float, within_rad: float
) -> Iterator[tuple[int, int]]:
    """Rows (first, end) of stretches in which no joint leaves ± `within_rad` of where it is at their start."""
    shortest = np.searchsorted(stamps_ns, stamps_ns + round(least_s * NANOSECONDS_PER_SECOND))
    first = 0
    while first < len(stamps_ns) and shortest[first] < len(stamps_ns):
        away_rad = np.abs(q_rad[first : shortest[first] + 1] - q_rad[first])
        if away_rad.max() > within_rad:
            first += 1
            continue
        moved = np.flatnonzero(np.abs(q_rad[first:] - q_rad[first]).max(axis=1) > within_rad)
        end = first + int(moved[0]) if len(moved) else len(stamps_ns)
        yield first, end
        first = end


def write_views(folder: Path, camera: str, stops: Sequence[Stop], config: CollectStops) -> int:
    """How many stops the camera took a picture of."""
    views = []
    for number, stop in enumerate(stops):
        row = stop.picture_row(camera) if camera in stop.episode.manifest.cameras else None
        if row is None:
            continue
        name = f"{number:03d}.png"
        rgb = stop.episode.cameras[camera].picture(row)
        write_png(folder / camera / name, rgb)
        views.append(Sight(image=Path(name), T_base_tool=result.StoredPose.of(stop.T_base_tip).rows))
    mounting = "eye_in_hand" if camera in config.on_tool else "eye_to_hand"
    artefact.write_model(folder / camera / VIEWS, Sights(mounting=mounting, views=tuple(views)))
    return len(views)


def touches_of(corners: Sequence[int], stops: Sequence[Stop]) -> Touches:
    tips = [stop.T_base_tip.translation_m.tolist() for stop in stops]
    return Touches(
        touches=tuple(
            Touch(corner=corner, tip_base_m=tuple(tip)) for corner, tip in zip(corners, tips, strict=True)
        )
    )


def show(config: CollectStops, stops: Sequence[Stop], taken: dict[str, int]) -> None:
    table = Table(title=f"{len(stops)} stops of {config.episodes}")
    for column in ("stop", "episode", "for", "tip, mm"):
        table.add_column(column, justify="right")
    for number, stop in enumerate(stops):
        tip_mm = 1e3 * stop.T_base_tip.translation_m
        lasted_s = (stop.until_ns - stop.since_ns) / NANOSECONDS_PER_SECOND
        place = ", ".join(f"{value:.1f}" for value in tip_mm)
        table.add_row(str(number), str(stop.episode.number), f"{lasted_s:.1f} s", place)
    console = Console()
    console.print(table)
    for camera, pictures in taken.items():
        folder = config.output / camera
        lens = f"tandem calibrate camera {folder} -o {camera}_lens.json"
        console.print(f"{camera}: {pictures} pictures; {lens}, then", soft_wrap=True)
        views = f"tandem calibrate hand-eye {folder / VIEWS} --intrinsics {camera}_lens.json -o {camera}.json"
        console.print(f"  {views}", soft_wrap=True)
    if config.corners:
        console.print(f"tandem calibrate base {config.output / TOUCHES} -o base.json", soft_wrap=True)
