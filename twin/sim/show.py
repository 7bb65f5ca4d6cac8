"""`tandem twin sim`: a twin with contact in; one of its things dropped, pushed or lifted, as a film and a table out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image
from pydantic import PositiveInt
from rich.console import Console
from rich.table import Table

from hardware import artefact
from hardware.config import Config
from hardware.errors import BadInput
from twin import parity_script
from twin.camera_path import Shot
from twin.parity_script import Act, Scenario
from twin.render import video
from twin.sim import scene
from twin.sim.cameras import resized
from twin.sim.open import Engine, open_simulator
from twin.sim.protocol import CONTROL_HZ, checked_camera
from twin.sim.rollout import Rollout, Timing, play
from twin.sim.scene import SimScene

FILMS = (".gif", ".mp4")


class ShowSim(Config):
    """Simulates a twin: something happens to one of its things, N times at once, and a film shows the first."""

    bundle: tyro.conf.Positional[Path]
    """A bundle after `tandem twin contact`. Without a robot in it, a rod pushes."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """A film: NAME.gif or NAME.mp4."""
    scenario: Scenario = "push"
    """What happens."""
    thing: Annotated[str | None, tyro.conf.arg(name="object")] = None
    """To which object; else to the first that can be reached."""
    engine: Engine = "mujoco"
    envs: PositiveInt = 1
    """How many at once; the table says what that costs."""
    camera: str | None = None
    """Else the twin's first."""
    size_px: tuple[PositiveInt, PositiveInt] = (320, 240)
    """Width and height of the pictures."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write what was measured here."""


class SimShown(Config):
    """What happened, and what it cost."""

    scenario: Scenario
    thing: str
    seconds: float
    moved_mm: float
    """From where it stood (or was let go) to where it is in the end."""
    highest_mm: float
    """Above where it began."""
    deepest_mm: float
    """Overlap of the robot with anything, at most."""
    timing: Timing
    env_steps_per_s: float
    times_real: float


def show(config: ShowSim) -> int:
    """Raises `BadInput` for a twin, an object, a camera or a film that cannot be."""
    if config.output is not None and config.output.suffix.lower() not in FILMS:
        raise BadInput(f"{config.output} is no film", f"a name that ends in {' or '.join(FILMS)}")
    read = scene.read(config.bundle)
    camera = checked_camera(
        next(iter(read.cameras), "") if config.camera is None else config.camera, [*read.cameras]
    )
    act = chosen_act(read, config.thing, config.scenario)
    simulator = open_simulator(config.bundle, config.engine, config.envs)
    try:
        actions = np.repeat(act.actions[:, None], config.envs, axis=1)
        done = play(simulator, [act.start] * config.envs, actions, camera, *config.size_px)
        shown = measured(act, done, done.timing(simulator, *config.size_px))
    finally:
        simulator.close()
    if config.output is not None:
        shot = Shot(camera, resized(read.cameras[camera].camera, *config.size_px), np.eye(4))
        write_film(config.output, [pictures[0] for pictures in done.pictures], CONTROL_HZ, shot)
    if config.json_file is not None:
        artefact.write_model(config.json_file, shown)
    Console().print(as_table(shown))
    if config.output is not None:
        Console().print(f"film: {config.output}", highlight=False, soft_wrap=True)
    return 0


def chosen_act(read: SimScene, name: str | None, scenario: Scenario) -> Act:
    """Of the object named, or of the first with which it can be done. Raises `BadInput` that says why not."""
    reasons: list[str] = []
    for thing in read.object_names if name is None else (name,):
        try:
            found, missing = parity_script.acts(read, thing, CONTROL_HZ)
        except BadInput as error:
            if name is not None:
                raise
            reasons.append(error.problem)
            continue
        if scenario in found:
            return found[scenario]
        reasons.append(f"{thing}: {missing[scenario]}")
    raise BadInput(f"cannot {scenario} anything here: {'; '.join(reasons)}", "another --scenario or --object")


def measured(act: Act, done: Rollout, timing: Timing) -> SimShown:
    way_m = np.array([state.Ts_base_object[act.object_name][0, :3, 3] for state in done.states])
    return SimShown(
        scenario=act.scenario,
        thing=act.object_name,
        seconds=float(done.states[-1].time_s[0]),
        moved_mm=1e3 * float(np.linalg.norm(way_m[-1] - way_m[0])),
        highest_mm=1e3 * float((way_m[:, 2] - way_m[0, 2]).max()),
        deepest_mm=1e3 * max(float(state.penetration_m.max()) for state in done.states),
        timing=timing,
        env_steps_per_s=timing.env_steps_per_s,
        times_real=timing.times_real,
    )


def write_film(file: Path, pictures: Sequence[UInt8[ndarray, "H W 3"]], rate_hz: float, shot: Shot) -> None:
    """A GIF that loops, or H.264; all or nothing."""
    if file.suffix.lower() == ".gif":
        frames = [Image.fromarray(picture) for picture in pictures]
        with artefact.staged_file(file) as temporary:
            frames[0].save(
                temporary, save_all=True, append_images=frames[1:], duration=round(1e3 / rate_hz), loop=0
            )
        return
    if any(length % 2 for length in pictures[0].shape[:2]):
        raise BadInput("an .mp4 needs an even width and height", "--size-px 320 240")
    with video(file, shot, rate_hz) as add:
        for picture in pictures:
            add(picture)


def as_table(shown: SimShown) -> Table:
    timing = shown.timing
    table = Table(title=f"{shown.scenario} {shown.thing}: {timing.engine}", show_header=False, title_justify="left")
    table.add_row(
        "moved", f"{shown.moved_mm:.1f} mm in {shown.seconds:.2f} s, at most {shown.highest_mm:.1f} mm up"
    )
    table.add_row("deepest overlap with the robot", f"{shown.deepest_mm:.2f} mm")
    table.add_row("physics", f"{timing.physics_ms:.2f} ms a control step of {timing.environments}")
    table.add_row(
        "pictures", f"{timing.render_ms:.2f} ms for {timing.environments} × {timing.width_px} × {timing.height_px}"
    )
    table.add_row("together", f"{shown.env_steps_per_s:.0f} env steps/s, {shown.times_real:.1f} × real time")
    return table
