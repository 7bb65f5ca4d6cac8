"""`tandem twin compare`: a twin and episodes of its cell in; how far the twin is off when it does the same, out.

Every episode's sent actions are replayed in the twin: joints, tool and things in mm, and pictures where both have the
camera. Outcomes of several policies in cell and twin (`--policies`) add Pearson's r and MMRV.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float
from numpy import ndarray
from pydantic import NonNegativeInt, PositiveFloat
from rich.console import Console

from hardware import artefact, gate
from hardware.config import Config, read
from hardware.dataset.store import EpisodeStore
from hardware.dataset.stored_episode import StoredEpisode
from hardware.errors import BadInput
from hardware.gate import Gate
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.progress import progress
from twin import compare_report, fidelity, image_quality, object_tracks, replay, servos, tracks
from twin.compare_result import CameraQuality, Comparison, EpisodeComparison, ThingComparison
from twin.fidelity import Fidelity, PolicyOutcomes
from twin.replay import Commands, Replay
from twin.sim.open import Engine, open_simulator
from twin.sim.protocol import Simulator

log = logging.getLogger(__name__)

TOOL_LIMIT_MM, THING_LIMIT_MM = 5.0, 15.0
"""Medians over all episodes; of the things while they are handled."""
LEAST_R, MOST_MMRV = 0.9, 0.05
SIDE_PX = 320
"""Longer side of the pictures compared."""


class CompareTwin(Config):
    """Replays a cell's episodes in its twin: joints, tool, things and pictures apart; r and MMRV over policies."""

    bundle: tyro.conf.Positional[Path]
    """A bundle after `tandem twin contact` (and, for a robot's servos, `tandem twin identify`)."""
    episodes: tyro.conf.Positional[Path]
    """An episode store. Tracks of its things are read from STORE/objects/NNNNNN.json where they are."""
    policies: Path | None = None
    """JSON with {"policies": [{"name": …, "real": [true, …], "twin": [false, …]}, …]}: outcomes, trial by trial."""
    engine: Engine = "mujoco"
    rate_hz: PositiveFloat = 100.0
    """Of the replay's control."""
    most: NonNegativeInt = 0
    """Only the first so many episodes; 0: all."""
    pictures: NonNegativeInt = 5
    """Compared for each camera and episode, spread evenly."""
    output: Path | None = None
    """Folder for the report; BUNDLE/compare without."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the measurements here."""


class PolicyFile(Config):
    policies: tuple[PolicyOutcomes, ...]


def compare(config: CompareTwin) -> int:
    """Writes compare.json, compare.png and compare.html, then says which limit is passed (exit code 3)."""
    comparison, replays = measure(config)
    Console().print(compare_report.table(comparison))
    folder = config.output or config.bundle / "compare"
    compare_report.write(folder, comparison, replays)
    log.info("report → %s", folder / "compare.html")
    if config.json_file is not None:
        artefact.write_model(config.json_file, comparison)
    gate.check(comparison.gates)
    return 0


def measure(config: CompareTwin) -> tuple[Comparison, dict[int, Replay]]:
    """Raises `BadInput` for a store without finished episodes, or of another arm."""
    store = EpisodeStore.open(config.episodes)
    recorded = store.finished()[: config.most or None]
    if not recorded:
        raise BadInput(f"{config.episodes} has no finished episode", "record some, or name another store")
    ranked = rank(config.policies)
    simulator = open_simulator(config.bundle, config.engine, n_envs=1, threads=1, control_hz=config.rate_hz)
    delay_s = servos.of(config.bundle).delay_s
    rows: list[EpisodeComparison] = []
    replays: dict[int, Replay] = {}
    try:
        with progress("replaying", len(recorded)) as done:
            for episode in recorded:
                commands = Commands.of(episode, simulator.joint_names)
                things = object_tracks.find(config.episodes, episode.number)
                played = replay.run(simulator, commands, things, delay_s)
                replays[episode.number] = played
                cameras = pictures(simulator, episode, played, config.pictures)
                rows.append(episode_row(episode, played, simulator, cameras))
                done(f"episode {episode.number}")
        joints = simulator.joint_names
    finally:
        simulator.close()
    summary = summarise(tuple(rows), ranked)
    return Comparison(
        engine=config.engine,
        store=config.episodes.name,
        joints=joints,
        servos_identified=servos.find(config.bundle) is not None,
        episodes=tuple(rows),
        fidelity=ranked,
        gates=tuple(summary),
    ), replays


def rank(file: Path | None) -> Fidelity | None:
    return None if file is None else fidelity.measure(read(PolicyFile, file).policies)


# ── one episode ─────────────────────────────────────────────────────────────────────────────────────────────────


def episode_row(
    episode: StoredEpisode, played: Replay, simulator: Simulator, cameras: tuple[CameraQuality, ...]
) -> EpisodeComparison:
    off_rad = np.abs(played.track.q_rad - played.q_rad)
    tool_mm = tool_apart_mm(simulator, played)
    return EpisodeComparison(
        number=episode.number,
        seconds=float(played.track.time_s[-1]),
        success=episode.manifest.success,
        joints_median_deg=float(np.degrees(np.median(off_rad))),
        joints_worst_deg=float(np.degrees(off_rad.max())),
        tool_median_mm=float(np.median(tool_mm)),
        tool_worst_mm=float(tool_mm.max()),
        things=tuple(thing_row(name, played) for name in played.Ts_base_object),
        cameras=cameras,
    )


def tool_apart_mm(simulator: Simulator, played: Replay) -> Float[ndarray, " T"]:
    """The tool where the measured joints put it, by the arm's kinematics, against the twin's."""
    from hardware.bench.arm_models import ARMS, TIP
    from hardware.kinematics import Kinematics, kinematic_model

    arm = next((arm for arm in ARMS.values() if arm.joints == simulator.joint_names), None)
    if arm is None:  # the pusher: its joints are its tip's coordinates
        return 1000 * np.linalg.norm(played.track.q_rad - played.q_rad, axis=1)
    kinematics = Kinematics(kinematic_model(arm), TIP)
    at_m = np.stack([kinematics.T_base_tip(q_rad).translation_m for q_rad in played.q_rad])
    return 1000 * np.linalg.norm(at_m - played.track.Ts_base_tool[:, :3, 3], axis=1)


def thing_row(name: str, played: Replay) -> ThingComparison:
    real, twin = played.Ts_base_object[name], played.track.Ts_base_object[name]
    apart_mm, apart_deg = tracks.apart_mm(real, twin), tracks.apart_deg(real, twin)
    handled = played.handled(name)
    return ThingComparison(
        name=name,
        handled_s=float(handled.sum() * np.diff(played.track.time_s).mean()),
        handled_median_mm=float(np.median(apart_mm[handled])) if handled.any() else None,
        handled_worst_mm=float(apart_mm[handled].max()) if handled.any() else None,
        end_mm=float(apart_mm[-1]),
        end_deg=float(apart_deg[-1]),
        handled_mm=tuple(np.round(apart_mm[handled][:: max(1, handled.sum() // 100)], 3).tolist()),
    )


def pictures(simulator: Simulator, episode: StoredEpisode, played: Replay, most: int) -> tuple[CameraQuality, ...]:
    """PSNR and SSIM of the cameras that both have, with the twin put where the cell was *measured* to be."""
    found = []
    shared = [name for name in episode.manifest.cameras if name in simulator.camera_names]
    for name in shared if most else ():
        stamps_s = (episode.picture_stamps(name) - played.start_ns) / NANOSECONDS_PER_SECOND
        usable = np.flatnonzero((stamps_s >= 0) & (stamps_s <= played.track.time_s[-1]))
        if not len(usable):
            continue
        rows = usable[np.unique(np.linspace(0, len(usable) - 1, most).round().astype(int))]
        scores = [picture_score(simulator, episode, played, name, int(row), float(stamps_s[row])) for row in rows]
        psnr_db, ssim = np.mean(scores, axis=0)
        found.append(CameraQuality(name=name, pictures=len(rows), psnr_db=float(psnr_db), ssim=float(ssim)))
    return tuple(found)


def picture_score(
    simulator: Simulator, episode: StoredEpisode, played: Replay, camera: str, row: int, at_s: float
) -> tuple[float, float]:
    import cv2

    from hardware.spatial import Pose
    from twin.sim.protocol import Start

    at = int(np.abs(played.track.time_s - at_s).argmin())
    things = {name: Pose("base", name, poses[at]) for name, poses in played.Ts_base_object.items()}
    opening = float(played.track.gripper_open[at])
    simulator.reset([Start(q_rad=played.q_rad[at], gripper_open=opening, objects=things)])
    real = episode.cameras[camera].picture(row)
    shrink = min(1.0, SIDE_PX / max(real.shape[:2]))
    width_px, height_px = round(real.shape[1] * shrink), round(real.shape[0] * shrink)
    small = cv2.resize(real, (width_px, height_px), interpolation=cv2.INTER_AREA)
    twin = simulator.render(camera, width_px, height_px)[0]
    return compare_pictures(np.asarray(small, np.uint8), twin)


def compare_pictures(real: ndarray, twin: ndarray) -> tuple[float, float]:
    """(PSNR in dB, SSIM) of two rgb pictures of one size."""
    render = twin.astype(np.float32) / 255
    return float(image_quality.psnr_db(render, real)), float(image_quality.ssim(render, real))


# ── all of them ─────────────────────────────────────────────────────────────────────────────────────────────────


def summarise(rows: tuple[EpisodeComparison, ...], ranked: Fidelity | None) -> list[Gate]:
    """Gates on the medians over episodes, and on r and MMRV where policies were given."""
    advice = "tandem twin identify BUNDLE EPISODES finds how the servos differ"
    gates = [
        _at_most("tool, median over episodes", float(np.median([r.tool_median_mm for r in rows])), "mm", advice)
    ]
    apart_mm = [mm for row in rows for thing in row.things for mm in thing.handled_mm]
    if apart_mm:
        advice = "mass, friction and place of things decide here: tandem twin contact"
        gates.append(_at_most("things while handled, median", float(np.median(apart_mm)), "mm", advice))
    if ranked is not None:
        r = -1.0 if ranked.r.value is None else ranked.r.value
        more = "roll out more trials, or policies that differ more"
        gates.append(Gate(name="Pearson r", value=r, relation=">=", limit=LEAST_R, advice=more))
        worst = ranked.mmrv.value or 0.0
        gates.append(Gate(name="MMRV", value=worst, relation="<=", limit=MOST_MMRV, advice=more))
    return gates


def _at_most(name: str, value: float, unit: str, advice: str) -> Gate:
    limit = TOOL_LIMIT_MM if name.startswith("tool") else THING_LIMIT_MM
    return Gate(name=name, value=value, relation="<=", limit=limit, unit=unit, advice=advice)
