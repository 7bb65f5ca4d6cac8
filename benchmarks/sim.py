"""How many environment steps a second each simulator of a twin gives, with pixels; physics and pictures apart.

`python benchmarks/sim.py [--bundle BUNDLE] [--quick] [--json FILE]`: one control step (1/20 s) and one picture of each
environment, N = 1 … 64; on a CUDA device up to 4096. Every environment pushes one of the twin's things with a place of
its own. Without `--bundle` the twin is made by hand: 40 000 Gaussians of table, two things, an SO-101 of link splats.
With `--json` rows that are in the file already (same bundle, steps and machine) are not measured again, so a run can
be cut off. Engines that are not installed are named with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "twin"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from hardware import artefact
from hardware.errors import BadInput, TandemError
from hardware.spatial import Pose
from twin import parity_script
from twin.export import mjcf
from twin.parity_script import Act
from twin.sim import scene
from twin.sim.cameras import resized
from twin.sim.open import ENGINES, open_simulator
from twin.sim.protocol import CONTROL_HZ, Simulator, Start
from twin.sim.scene import SimScene

SIZE_PX = 128
COUNTS = (1, 2, 4, 8, 16, 32, 64)
GPU_COUNTS = (256, 1024, 4096)
LONGEST_S = 12.0
"""Of one row's measuring; engines that need longer do fewer steps."""
SPREAD_M = 0.01

Row = dict[str, str | int | float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="a twin after `tandem twin contact`")
    parser.add_argument("--quick", action="store_true", help="N = 1 and 4, few steps, no MuJoCo Warp on a CPU")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--counts", nargs="+", type=int, help="only these N: for an engine that is slow here")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--json", type=Path, help="write the measurements here")
    arguments = parser.parse_args()
    print(machine.line(), flush=True)
    steps = 5 if arguments.quick else arguments.steps
    with tempfile.TemporaryDirectory() as scratch:
        bundle = made(Path(scratch) / "twin") if arguments.bundle is None else arguments.bundle
        key = f"{'made by hand' if arguments.bundle is None else bundle.resolve().name}, {steps} steps"
        report = earlier(arguments.json, key, arguments.engines)
        counts = (1, 4) if arguments.quick else COUNTS + (GPU_COUNTS if has_cuda() else ())
        counts = counts if arguments.counts is None else tuple(arguments.counts)
        for engine in arguments.engines:
            if arguments.quick and engine == "mujoco_warp" and not has_cuda():
                report["absent"][engine] = "left out by --quick: its kernels compile for a minute on a CPU"
                continue
            if arguments.counts is not None:
                left_out = ", ".join(str(n) for n in COUNTS if n not in counts)
                report["absent"][f"{engine}, N = {left_out}"] = "left out by --counts: slow here"
            for row in measured(bundle, engine, counts, steps, report):
                report["rows"].append(row)
                save(arguments.json, report)
        report["pixels"] = pixels(bundle)
        save(arguments.json, report)
    Console().print(as_table(report["rows"]))
    for engine, reason in report["absent"].items():
        print(f"{engine}: {reason}")
    print("; ".join(f"{name}: {value:.4g}" for name, value in report["pixels"].items()))


def earlier(file: Path | None, key: str, engines: list[str]) -> dict:
    fresh = {"machine": machine.describe(), "of": key, "rows": [], "absent": {}, "pixels": {}}
    if file is None or not file.is_file():
        return fresh
    before = json.loads(file.read_text(encoding="utf-8"))
    same = before.get("of") == key and before["machine"]["processor"] == fresh["machine"]["processor"]
    others = {name: why for name, why in before["absent"].items() if name.partition(",")[0] not in engines}
    return before | {"absent": others} if same else fresh


def save(file: Path | None, report: dict) -> None:
    if file is not None:
        artefact.write_text(file, json.dumps(report, indent=2) + "\n")


def made(bundle: Path) -> Path:
    import small_contact
    import small_objects

    from twin import object_asset, splat_ply

    small_contact.write(bundle, robot=True)
    splat_ply.write(bundle / object_asset.BACKGROUND, small_objects.table(step=0.003))
    mjcf.write(bundle)
    return bundle


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def measured(bundle: Path, engine: str, counts: tuple[int, ...], steps: int, report: dict):
    """Rows of one engine, one for each N and camera; those that the report has are left out."""
    read = scene.read(bundle)
    act = pushing(read)
    for count in counts:
        wanted = [
            camera
            for camera in read.cameras
            if not any((r["engine"], r["n"], r["camera"]) == (engine, count, camera) for r in report["rows"])
        ]
        if not wanted:
            continue
        try:
            simulator = open_simulator(bundle, engine, count)
        except TandemError as error:
            report["absent"][engine] = error.problem
            return
        for camera in wanted:
            row = one(simulator, read, act, camera, steps)
            total = row["env_steps_s"]
            print(f"  {engine} N={count} {camera}: {total:.0f} env steps/s with pixels", flush=True)
            yield row
        simulator.close()


def pushing(read: SimScene) -> Act:
    for name in read.object_names:
        try:
            found, _ = parity_script.acts(read, name, CONTROL_HZ)
        except BadInput:
            continue
        return found.get("push") or found["slide"]
    raise BadInput("the robot reaches none of the twin's things", "another --bundle")


def one(simulator: Simulator, read: SimScene, act: Act, camera: str, steps: int) -> Row:
    rng = np.random.default_rng(0)
    simulator.reset([shifted(act, rng) for _ in range(simulator.n_envs)])
    middle = max(0, len(act.actions) - round(1.5 * CONTROL_HZ) - steps)
    simulator.step(np.tile(act.actions[middle], (simulator.n_envs, 1)))
    simulator.render(camera, SIZE_PX, SIZE_PX)  # compiles, and draws what never moves
    physics, render, cpu = [], [], []
    began = time.perf_counter()
    for number in range(steps):
        action = np.tile(act.actions[min(middle + number, len(act.actions) - 1)], (simulator.n_envs, 1))
        times = [(time.perf_counter(), time.process_time())]
        simulator.step(action)
        times.append((time.perf_counter(), time.process_time()))
        simulator.render(camera, SIZE_PX, SIZE_PX)
        times.append((time.perf_counter(), time.process_time()))
        walls, cpus = np.diff(np.array(times), axis=0).T
        physics.append(walls[0])
        render.append(walls[1])
        cpu.append(cpus / simulator.n_envs)
        if time.perf_counter() - began > LONGEST_S and number >= 2:
            break
    physics_ms, render_ms = 1e3 * float(np.median(physics)), 1e3 * float(np.median(render))
    return {
        "engine": simulator.engine,
        "n": simulator.n_envs,
        "camera": camera,
        "mount": read.cameras[camera].mount,
        "steps": len(physics),
        "load_1min": round(os.getloadavg()[0], 1),
        "physics_ms": physics_ms,
        "render_ms": render_ms,
        "physics_cpu_ms_per_env": 1e3 * float(np.median(cpu, axis=0)[0]),
        "render_cpu_ms_per_env": 1e3 * float(np.median(cpu, axis=0)[1]),
        "physics_steps_s": 1e3 * simulator.n_envs / physics_ms,
        "pictures_s": 1e3 * simulator.n_envs / render_ms,
        "env_steps_s": 1e3 * simulator.n_envs / (physics_ms + render_ms),
    }


def shifted(act: Act, rng: np.random.Generator) -> Start:
    """The same start with the thing up to a centimetre beside its place."""
    pose = act.start.objects[act.object_name]
    aside = np.append(rng.uniform(-SPREAD_M, SPREAD_M, 2), 0.0)
    placed = Pose.from_parts("base", act.object_name, pose.rotation, pose.translation_m + aside)
    return Start(act.start.q_rad, act.start.gripper_open, {act.object_name: placed})


def pixels(bundle: Path) -> dict[str, float]:
    """What a standing camera's layers, and fewer Gaussians in them, save in time and cost in likeness."""
    from twin.sim.mujoco import MujocoSim
    from twin.sim.pixels import SplatPixels

    read = scene.read(bundle)
    sim = MujocoSim(read, 4)
    camera = next((name for name, placed in read.cameras.items() if placed.mount == "base"), None)
    if camera is None:
        return {}
    Ts = sim.Ts_world_body
    figures: dict[str, float] = {}
    pictures = {}
    for name, drawer in (
        ("one pass", SplatPixels(read, sim.model, layered=False)),
        ("layers of all Gaussians", SplatPixels(read, sim.model, detail_px=0.0)),
        ("layers", SplatPixels(read, sim.model)),
    ):
        drawer.render(camera, SIZE_PX, SIZE_PX, Ts)
        began = time.process_time()
        pictures[name] = drawer.render(camera, SIZE_PX, SIZE_PX, Ts).astype(float)
        figures[f"{name}, CPU ms a picture"] = 1e3 * (time.process_time() - began) / len(Ts)
        mean_square = max(float(((pictures[name] - pictures["one pass"]) ** 2).mean()), 1e-9)
        if drawer.layered:
            lens = resized(read.cameras[camera].camera, SIZE_PX, SIZE_PX)
            figures[f"{name}, Gaussians"] = len(drawer.layers(camera, lens).moving)
            figures[f"{name}, dB against one pass"] = 10 * np.log10(255**2 / mean_square)
        else:
            figures[f"{name}, Gaussians"] = len(drawer.everything)
    return figures


def as_table(rows: list[Row]) -> Table:
    table = Table(
        "engine", "N", "camera", "physics, ms", "pictures, ms", "env steps/s", "physics alone", "pictures/s"
    )
    for row in rows:
        numbers = [f"{row['physics_ms']:.1f}", f"{row['render_ms']:.1f}"]
        numbers += [f"{row[name]:.0f}" for name in ("env_steps_s", "physics_steps_s", "pictures_s")]
        table.add_row(str(row["engine"]), str(row["n"]), f"{row['camera']} ({row['mount']})", *numbers)
    return table


if __name__ == "__main__":
    main()
