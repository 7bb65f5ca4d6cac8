"""`tandem twin parity`: one twin in several engines in; how far they part in mm, degrees and ms out.

A thing is dropped, slid, pushed and lifted by the same actions in each engine. The first engine is the reference.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from pydantic import Field, NonNegativeFloat, PositiveFloat
from rich.console import Console

from hardware import artefact, gate
from hardware.config import Config
from hardware.errors import BadInput
from hardware.gate import Gate
from twin import parity_report, tracks
from twin.parity_result import EngineResult, ParityResult, Reference, ScenarioDifference
from twin.parity_script import Act, Scenario, acts_within_reach, padded
from twin.sim import scene
from twin.sim.open import Engine, open_simulator
from twin.sim.scene import SimScene
from twin.tracks import Played, Track

log = logging.getLogger(__name__)

MOVED_MM, LIFTED_MM = 1.0, 10.0
LIMITS_MM: dict[Scenario, float] = {"drop": 3.0, "push": 5.0, "slide": 10.0, "lift": 5.0}
"""Of the thing's place at the end. On the bench's scanned block MuJoCo Warp differed by 0.00 mm (drop), 0.00 (slide),
0.18 (push) and 0.00 (lift), Isaac Lab by 0.00, 0.14, 1.73 and 0.38 (benchmarks/results/parity.json): its Newton has
MuJoCo Warp 3.12, for which jaw and block must be parallel to 0.1°, not 5°, before they touch at more than one point."""


class CheckParity(Config):
    """Does the twin do the same in another engine? Drop, slide, push and lift, in mm, degrees and ms."""

    bundle: tyro.conf.Positional[Path]
    """A bundle after `tandem twin contact`."""
    engines: tuple[Engine, ...] = Field(default=("mujoco", "mujoco_warp"), min_length=2)
    """The first is the reference."""
    object_name: Annotated[str | None, tyro.conf.arg(name="object")] = None
    """Which thing; without, the narrowest."""
    rate_hz: PositiveFloat = 50.0
    """Of control, and of the comparison."""
    output: Path | None = None
    """Folder for the report; BUNDLE/parity without."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the measurements here."""


def check(config: CheckParity) -> int:
    """Writes parity.json, parity.png and parity.html, then says which limit is passed (exit code 3)."""
    result, played = measure(config)
    Console().print(parity_report.table(result))
    folder = config.output or config.bundle / "parity"
    parity_report.write(folder, result, played)
    log.info("report → %s", folder / "parity.html")
    if config.json_file is not None:
        artefact.write_model(config.json_file, result)
    gate.check(result.gates)
    return 0


def measure(config: CheckParity) -> tuple[ParityResult, dict[Engine, Played]]:
    """Raises `BadInput` for an engine that is not installed, or named twice."""
    if len(set(config.engines)) < len(config.engines):
        raise BadInput(f"an engine is named twice: {', '.join(config.engines)}", "--engines mujoco mujoco_warp")
    world = scene.read(config.bundle)
    narrowest = min(world.objects, key=lambda asset: min(asset.size_m[:2])).name
    name = config.object_name or narrowest
    found, missing = acts_within_reach(world, name, config.rate_hz)
    played: dict[Engine, Played] = {engine: play(config, engine, list(found.values())) for engine in config.engines}
    first, *others = config.engines
    compared = tuple(compare(engine, found, played[first], played[engine]) for engine in others)
    result = ParityResult(
        object_name=name,
        brought_nearer_mm=brought_nearer_mm(world, found, name),
        rate_hz=config.rate_hz,
        reference=Reference(
            engine=first,
            step_ms=1000 * played[first].step_s,
            travel_mm={
                scenario: travel_mm(played[first].tracks[number], name) for number, scenario in enumerate(found)
            },
        ),
        engines=compared,
        left_out=dict(missing),
        gates=tuple(gates(compared)),
    )
    return result, played


def brought_nearer_mm(world: SimScene, found: dict[Scenario, Act], name: str) -> float:
    at = next(iter(found.values())).start.objects[name].translation_m
    return float(1000 * np.linalg.norm((world.Ts_base_scan[name].translation_m - at)[:2]))


def play(config: CheckParity, engine: Engine, wanted: list[Act]) -> Played:
    """Every scenario is an environment of its own; each track is cut where its actions end."""
    log.info("%s: %s", engine, ", ".join(act.scenario for act in wanted))
    simulator = open_simulator(config.bundle, engine, n_envs=len(wanted), control_hz=config.rate_hz)
    try:
        played = tracks.play(simulator, [act.start for act in wanted], padded([act.actions for act in wanted]))
    finally:
        simulator.close()
    cut = tuple(track.cut(len(act.actions) + 1) for track, act in zip(played.tracks, wanted, strict=True))
    return Played(cut, played.step_s)


def compare(engine: Engine, found: dict[Scenario, Act], reference: Played, other: Played) -> EngineResult:
    rows = tuple(
        difference(scenario, act.object_name, reference.tracks[number], other.tracks[number])
        for number, (scenario, act) in enumerate(found.items())
    )
    return EngineResult(engine=engine, step_ms=1000 * other.step_s, scenarios=rows)


def difference(scenario: Scenario, name: str, a: Track, b: Track) -> ScenarioDifference:
    """Of two tracks of the same actions."""
    thing_mm = tracks.apart_mm(a.Ts_base_object[name], b.Ts_base_object[name])
    thing_deg = tracks.apart_deg(a.Ts_base_object[name], b.Ts_base_object[name])
    at_s = [event_s(scenario, track, name) for track in (a, b)]
    both = at_s[0] is not None and at_s[1] is not None
    return ScenarioDifference(
        scenario=scenario,
        object_end_mm=float(thing_mm[-1]),
        object_worst_mm=float(thing_mm.max()),
        object_end_deg=float(thing_deg[-1]),
        object_worst_deg=float(thing_deg.max()),
        tool_worst_mm=float(tracks.apart_mm(a.Ts_base_tool, b.Ts_base_tool).max()),
        joints_worst_deg=float(np.degrees(np.abs(a.q_rad - b.q_rad).max())),
        event=parity_report.EVENTS[scenario],
        event_ms=None if not both else 1000 * (float(at_s[1] or 0) - float(at_s[0] or 0)),
        travel_mm=travel_mm(b, name),
    )


def event_s(scenario: Scenario, track: Track, name: str) -> float | None:
    """When the thing comes to rest (drop, slide), is first moved (push), or has left the table (lift)."""
    poses = track.Ts_base_object[name]
    if scenario == "lift":
        return tracks.when_s(track.time_s, 1000 * (poses[:, 2, 3] - poses[0, 2, 3]), LIFTED_MM)
    if scenario == "push":
        start = np.broadcast_to(poses[0], poses.shape)
        return tracks.when_s(track.time_s, tracks.apart_mm(poses, start), MOVED_MM)
    end = np.broadcast_to(poses[-1], poses.shape)
    return tracks.last_s(track.time_s, tracks.apart_mm(poses, end), MOVED_MM)


def travel_mm(track: Track, name: str) -> NonNegativeFloat:
    """From start to end, on a line."""
    poses = track.Ts_base_object[name]
    return float(1000 * np.linalg.norm(poses[-1, :3, 3] - poses[0, :3, 3]))


def gates(engines: tuple[EngineResult, ...]) -> list[Gate]:
    return [
        Gate(
            name=f"{row.scenario} in {result.engine}",
            value=row.object_end_mm,
            relation="<=",
            limit=LIMITS_MM[row.scenario],
            unit="mm",
            advice="see parity.html; a policy trained in one engine may not hold in the other",
        )
        for result in engines
        for row in result.scenarios
    ]
