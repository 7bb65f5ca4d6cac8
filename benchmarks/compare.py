"""Twin against plant on the bench: 20 episodes replayed, and policies of different strength in both.

    python benchmarks/compare.py OUT [--quick] [--json FILE]    # a figure, FILE's name with .png, beside it

The plant stands in for the cell: its servos, delay, masses and friction are its own. The twin's things are measured
by hand and weighed by the table of materials (no scan: what is compared here is the contact and the servos), and its
servos are identified from the recorded episodes alone. Policies are the scripted demonstrator, told where the block
is with an error of so many millimetres: they are scripted, and the same errors are drawn on both sides. Finished
parts lie in OUT and are not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from hardware import artefact
from hardware.bench.arm_models import SO101
from hardware.bench.demonstrator import Demonstrator
from hardware.bench.plant import Plant
from hardware.bench.plant_config import PlantConfig
from hardware.bench.scene import TABLE_Z_M
from hardware.bench.scripts import PickPlaceScript
from hardware.bench.tasks.pick_place import BLOCK_M, FLOOR_M, LAYOUTS, RIM_M, TRAY_HALF_M, WALL_M
from hardware.bench.tasks.task import TaskStart, on_table
from hardware.dataset.recording import Recording
from hardware.dataset.store import EpisodeStore
from hardware.ports import JointReading
from hardware.spatial import Pose
from twin import compare, compare_report, identify, materials, object_asset, object_tracks, servos
from twin.compare import CompareTwin, PolicyFile
from twin.compare_result import Comparison
from twin.export import mjcf
from twin.fidelity import PolicyOutcomes
from twin.identify import IdentifyServos
from twin.object_asset import Convex, Furniture, ObjectAsset, Plane, RobotAsset, Supports
from twin.object_tracks import ObjectTracks
from twin.sim import scene
from twin.sim.mujoco import MujocoSim
from twin.sim.protocol import Start
from vla import intervals

TASK, BLOCK, TRAY = "pick_place", "block", "tray"
COMMAND_HZ, CHUNK_ROWS, SPREAD = 80.0, 8, 4
"""Each row of a chunk (20 Hz) is sent in four parts; eight rows, then a new chunk."""
ERRORS_MM = (0.0, 6.0, 10.0, 14.0, 18.0, 30.0)
"""Deviation of where a policy believes the block to be, per axis: one policy each."""
TIME_LIMIT_S = 12.0


class Side(Protocol):
    """The plant, or the twin in its place."""

    now_ns: int

    def begin(self, start: TaskStart) -> None: ...
    def reading(self) -> JointReading: ...
    def gripper(self) -> float: ...
    def truth(self) -> dict[str, Pose]: ...
    def send(self, action: np.ndarray) -> None:
        """In force until the next, 1 / COMMAND_HZ later."""
        ...


class PlantSide:
    def __init__(self, seed: int) -> None:
        self.plant = Plant(PlantConfig(seed=seed))

    @property
    def now_ns(self) -> int:
        return self.plant.now_ns

    def begin(self, start: TaskStart) -> None:
        self.plant.reset(start)

    def reading(self) -> JointReading:
        return self.plant.reading()

    def gripper(self) -> float:
        return self.plant.gripper()

    def truth(self) -> dict[str, Pose]:
        return self.plant.truth()

    def send(self, action: np.ndarray) -> None:
        self.plant.command(action[:-1], float(action[-1]))
        self.plant.advance(1 / COMMAND_HZ)


class TwinSide:
    """Actions are delayed by the identified delay, in whole commands."""

    def __init__(self, bundle: Path) -> None:
        self.simulator = MujocoSim(scene.read(bundle), 1, 1, COMMAND_HZ)
        self._waiting: deque[np.ndarray] = deque()
        self._delay = round(servos.of(bundle).delay_s * COMMAND_HZ)
        self._T_base_tray = tray_pose()

    @property
    def now_ns(self) -> int:
        return round(float(self.simulator.state().time_s[0]) * 1e9)

    def begin(self, start: TaskStart) -> None:
        self.simulator.reset([Start(objects={BLOCK: block_pose(start)})])
        home = np.append(SO101.home_rad, 1.0)
        self._waiting = deque([home] * self._delay)

    def reading(self) -> JointReading:
        state = self.simulator.state()
        return JointReading(self.now_ns, self.simulator.joint_names, state.q_rad[0], state.dq_rad_s[0], None)

    def gripper(self) -> float:
        return float(self.simulator.state().gripper_open[0])

    def truth(self) -> dict[str, Pose]:
        at = self.simulator.state().Ts_base_object[BLOCK][0]
        return {BLOCK: Pose("base", BLOCK, at), TRAY: self._T_base_tray}

    def send(self, action: np.ndarray) -> None:
        self._waiting.append(action)
        self.simulator.step(self._waiting.popleft()[None])


def block_pose(start: TaskStart) -> Pose:
    return on_table(BLOCK, start, BLOCK_M / 2)


def tray_pose() -> Pose:
    return on_table(TRAY, LAYOUTS["so101"].goal, 0.0)


# ── the twin ────────────────────────────────────────────────────────────────────────────────────────────────────


def write_twin(bundle: Path) -> None:
    """Table, tray and a wooden block of the sizes that a ruler gives; the arm model's own servos."""
    walls = [wall(side) for side in range(4)]
    floor = tray_part("tray_floor", (TRAY_HALF_M, TRAY_HALF_M, FLOOR_M / 2), (0.0, 0.0, FLOOR_M / 2), 0.0)
    plane = Plane(normal=(0.0, 0.0, 1.0), offset_m=TABLE_Z_M, spread_mm=0.0)
    bundle.mkdir(parents=True, exist_ok=True)
    supports = Supports(table=plane, table_friction=materials.material("wood").friction, furniture=(floor, *walls))
    artefact.write_model(bundle / object_asset.SUPPORTS, supports)
    mass, friction = materials.mass(BLOCK_M**3, "wood"), materials.friction("wood")
    asset = ObjectAsset(
        name=BLOCK,
        T_world_obj=object_asset.rows(block_pose(TaskStart(x_m=0.2, y_m=0.0, yaw_rad=0.0))),
        size_m=(BLOCK_M, BLOCK_M, BLOCK_M),
        footprint="box",
        gaussians=0,
        collision=(Convex(kind="box", half_m=(BLOCK_M / 2,) * 3),),
        material="wood",
        mass_kg=mass.value,
        mass=mass,
        friction=friction.value,
        friction_known=friction,
        volume_m3=BLOCK_M**3,
        convex_count=1,
    )
    artefact.write_model(object_asset.folder(bundle, BLOCK) / object_asset.ASSET, asset)
    names = (*SO101.joints, SO101.gripper_joint)
    angles = dict(zip(names, (*SO101.home_rad, SO101.gripper_rad[1]), strict=True))
    base = object_asset.rows(Pose.identity("world", "base"))
    artefact.write_model(bundle / object_asset.ROBOT, RobotAsset(model="so101", T_world_base=base, q_rad=angles))
    mjcf.write(bundle)


def wall(side: int) -> Furniture:
    angle = side * np.pi / 2
    out = TRAY_HALF_M - WALL_M / 2
    at = (out * np.cos(angle), out * np.sin(angle), RIM_M / 2)
    return tray_part(f"tray_wall_{side}", (WALL_M / 2, TRAY_HALF_M, RIM_M / 2), at, angle)


def tray_part(
    name: str, half_m: tuple[float, float, float], at_m: tuple[float, float, float], yaw_rad: float
) -> Furniture:
    T_tray_box = Pose.exp(TRAY, name, np.array([0.0, 0.0, 0.0, 0.0, 0.0, yaw_rad])).matrix.copy()
    T_tray_box[:3, 3] = at_m
    T_world_box = tray_pose().matrix @ T_tray_box
    return Furniture(name=name, T_world_box=object_asset.rows(Pose("world", name, T_world_box)), half_m=half_m)


# ── episodes and policies ───────────────────────────────────────────────────────────────────────────────────────


def attempt(
    side: Side, demonstrator: Demonstrator, start: TaskStart, error_m: np.ndarray, note: Any = None
) -> bool:
    """Whether the block ends in the tray, let go, before the time is up. `note(action)` hears every command."""
    side.begin(start)
    demonstrator.forget()
    script, began_ns = PickPlaceScript(SO101), side.now_ns
    before: np.ndarray | None = None
    while (side.now_ns - began_ns) * 1e-9 < TIME_LIMIT_S:
        truth = side.truth()
        believed = truth | {BLOCK: mistaken(truth[BLOCK], error_m)}
        chunk = demonstrator.chunk(side.now_ns, side.reading(), side.gripper(), believed)
        for values in chunk.values[:CHUNK_ROWS]:
            before = values if before is None else before
            for part in (np.arange(SPREAD) + 1) / SPREAD:
                action = before + part * (values - before)
                if note is not None:
                    note(action)
                side.send(action)
            before = values
        if script.is_done(side.truth()) and not demonstrator.holds(
            side.reading().q_rad, side.gripper(), side.truth()
        ):
            return True
    return False


def mistaken(T_base_block: Pose, error_m: np.ndarray) -> Pose:
    """Wrong by a constant until the block is off the table: then it is seen well."""
    if T_base_block.translation_m[2] > TABLE_Z_M + BLOCK_M / 2 + 0.01:
        return T_base_block
    shift = np.array([*error_m, 0.0])
    return Pose.from_parts("base", BLOCK, T_base_block.rotation, T_base_block.translation_m + shift)


def record(out: Path, count: int) -> Path:
    """Scripted episodes of the plant into a store, with the block's true tracks beside them."""
    store = EpisodeStore.create(out / "episodes")
    side, demonstrator = PlantSide(0), Demonstrator(TASK, "so101")
    for number in range(len(store.finished()), count):
        start = side.plant.draw_start("id" if number % 2 else "ood", 100 + number)
        recording = Recording(store.folder, side.plant.cell.task.instruction, (), (*SO101.joints, "gripper"))
        stamps: list[int] = []
        rows: list[object_tracks.PoseRow] = []

        def note(
            action: np.ndarray,
            recording: Recording = recording,
            stamps: list[int] = stamps,
            rows: list[object_tracks.PoseRow] = rows,
        ) -> None:
            reading = side.reading()
            recording.joint(side.now_ns, np.append(reading.q_rad, side.gripper()))
            recording.sent(side.now_ns, action, "scripted")
            stamps.append(side.now_ns)
            rows.append(object_tracks.as_row(side.truth()[BLOCK]))

        done = attempt(side, demonstrator, start, np.zeros(2), note)
        finished = recording.finish(done)
        known = ObjectTracks(source="bench truth", stamp_ns=tuple(stamps), poses={BLOCK: tuple(rows)})
        object_tracks.write(store.folder, finished.number, known)
        Console().print(f"episode {number}: {'done' if done else 'not done'} in {len(stamps) / COMMAND_HZ:.1f} s")
    return store.folder


def rollouts(out: Path, bundle: Path, trials: int) -> Path:
    """Every policy on both sides from the same starts; a finished policy is not rolled out again."""
    file = out / "policies.json"
    known = json.loads(file.read_text())["policies"] if file.is_file() else []
    rows = [row for row in known if len(row["real"]) == trials]
    demonstrator, plant = Demonstrator(TASK, "so101"), PlantSide(0)
    sides: dict[str, Side] = {"real": plant, "twin": TwinSide(bundle)}
    for error_mm in ERRORS_MM:
        name = f"block mistaken by {error_mm:g} mm"
        if any(row["name"] == name for row in rows):
            continue
        outcomes: dict[str, list[bool]] = {"real": [], "twin": []}
        for trial in range(trials):
            start = plant.plant.draw_start("id", 1000 + trial)
            error_m = np.random.default_rng([trial, round(error_mm)]).normal(size=2) * error_mm / 1000
            for kind, side in sides.items():
                outcomes[kind].append(attempt(side, demonstrator, start, error_m))
        rows.append(PolicyOutcomes(name=name, **outcomes).model_dump(mode="json"))  # type: ignore[arg-type]
        artefact.write_text(file, json.dumps({"policies": rows}, indent=1) + "\n")
        real, twin = (float(np.mean(outcomes[kind])) for kind in ("real", "twin"))
        Console().print(f"{name}: {real:.2f} in the plant, {twin:.2f} in the twin")
    PolicyFile.model_validate_json(file.read_text())
    return file


def rates(comparison: Comparison) -> list[dict[str, Any]]:
    """Of each policy: trials, and successes with their Wilson interval on either side."""
    rows = []
    for policy in comparison.fidelity.policies if comparison.fidelity is not None else ():
        row: dict[str, Any] = {"name": policy.name, "trials": len(policy.real)}
        for side, outcomes in (("plant", policy.real), ("twin", policy.twin)):
            low, high = intervals.wilson(sum(outcomes), len(outcomes))
            row[side] = {"rate": float(np.mean(outcomes)), "low": float(low), "high": float(high)}
        rows.append(row)
    return rows


def draw(file: Path, comparison: Comparison) -> None:
    """How far tool and block are apart in each episode; success in the twin against success in the plant."""
    sheet = Figure(figsize=(9, 4), layout="constrained")
    left, right = sheet.subplots(1, 2)
    numbers = [row.number for row in comparison.episodes]
    left.plot(numbers, [row.tool_median_mm for row in comparison.episodes], "o", label="tool, median")
    left.plot(numbers, [row.tool_worst_mm for row in comparison.episodes], ".", label="tool, worst")
    things = [(row.number, thing) for row in comparison.episodes for thing in row.things]
    handled = [(number, thing.handled_median_mm) for number, thing in things if thing.handled_median_mm is not None]
    left.plot(*zip(*handled, strict=True), "s", label="block while handled, median")
    left.axhline(compare.THING_LIMIT_MM, color="C2", linestyle=":")
    left.axhline(compare.TOOL_LIMIT_MM, color="C0", linestyle=":")
    left.set(yscale="log", xlabel="episode", ylabel="apart, mm (dotted: limits)")
    left.legend(fontsize="x-small")
    right.plot([0, 1], [0, 1], linewidth=0.8, color="grey")
    for row in rates(comparison):
        x, y = row["twin"], row["plant"]
        spread = [[[side["rate"] - side["low"]], [side["high"] - side["rate"]]] for side in (x, y)]
        right.errorbar(x["rate"], y["rate"], xerr=spread[0], yerr=spread[1], fmt="o", capsize=2, label=row["name"])
    right.set(xlabel="success in the twin", ylabel="success in the plant (bars: Wilson, 95 %)")
    right.legend(fontsize="x-small")
    with artefact.staged_file(file) as temporary:
        sheet.savefig(temporary, dpi=100, format="png")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("out/compare"))
    parser.add_argument("--quick", action="store_true", help="3 episodes, 3 trials of each policy")
    parser.add_argument("--fresh", action="store_true", help="forget what lies in OUT")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if chosen.fresh and chosen.out.exists():
        shutil.rmtree(chosen.out)
    episodes, trials = (3, 3) if chosen.quick else (20, 30)
    began = time.monotonic()
    print(machine.line())
    bundle = chosen.out / "bundle"
    store = record(chosen.out, episodes)
    if not (bundle / object_asset.SCENE_XML).is_file():
        write_twin(bundle)
    before, _ = compare.measure(CompareTwin(bundle=bundle, episodes=store))
    if servos.find(bundle) is None:
        identify.identify(IdentifyServos(bundle=bundle, episodes=store))
    file = rollouts(chosen.out, bundle, trials)
    comparison, replays = compare.measure(CompareTwin(bundle=bundle, episodes=store, policies=file))
    Console().print(compare_report.table(comparison))
    compare_report.write(chosen.out / "report", comparison, replays)
    if chosen.json is not None:
        draw(chosen.json.with_suffix(".png"), comparison)
        found = {
            "machine": machine.describe(),
            "seconds": round(time.monotonic() - began, 1),
            "before_identification": [gate.model_dump() for gate in before.gates],
            "servos": servos.of(bundle).model_dump(),
            "policies": rates(comparison),
            "comparison": comparison.model_dump(mode="json"),
        }
        artefact.write_text(chosen.json, json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
