"""The scripts do their tasks by contact alone, within speed, and also when things go otherwise than planned."""

from collections.abc import Callable

import numpy as np
import pytest

from hardware.bench.arm_models import ArmName
from hardware.bench.demonstrator import Demonstrator
from hardware.bench.intervener import Intervener
from hardware.bench.plant import Plant
from hardware.bench.plant_config import PlantConfig, TaskName
from hardware.bench.scripts import yaw_of
from hardware.bench.tasks.start import Distribution, TaskStart
from hardware.errors import BadInput
from hardware.kinematics import Unreachable
from hardware.messages import ActionChunk
from hardware.spatial import Pose

REPLAN_S, TICK_S = 0.5, 0.02
_made: dict[tuple[str, str], tuple[Plant, Demonstrator]] = {}


def cell(task: TaskName, arm: ArmName = "so101") -> tuple[Plant, Demonstrator]:
    """One of each kind for the module: a model takes seconds to compile."""
    if (task, arm) not in _made:
        _made[task, arm] = Plant(PlantConfig(task=task, arm_model=arm, cameras={})), Demonstrator(task, arm)
    return _made[task, arm]


def row(chunk: ActionChunk, now_ns: int, late_s: float = 0.0) -> np.ndarray:
    step = (now_ns - chunk.start_ns) * 1e-9 - late_s
    return chunk.values[min(max(int(step * chunk.rate_hz), 0), len(chunk) - 1)]


def run(
    plant: Plant,
    demonstrator: Demonstrator,
    start: TaskStart,
    late_s: float = 0.0,
    disturb: Callable[[Plant, float], None] = lambda plant, at_s: None,
) -> tuple[float | None, np.ndarray]:
    """(seconds until success or None, all rows that were sent). Chunks arrive `late_s` after their observation."""
    plant.reset(start)
    demonstrator.forget()
    began_ns, sent = plant.now_ns, []
    chunk = following = demonstrator.chunk(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
    while (at_s := (plant.now_ns - began_ns) * 1e-9) < plant.cell.task.time_limit_s:
        if (plant.now_ns - following.start_ns) * 1e-9 >= max(REPLAN_S, late_s):
            chunk = following
            following = demonstrator.chunk(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
        used = following if (plant.now_ns - following.start_ns) * 1e-9 >= late_s else chunk
        sent.append(row(used, plant.now_ns))
        plant.command(sent[-1][:-1], float(sent[-1][-1]))
        disturb(plant, at_s)
        plant.advance(TICK_S)
        if plant.success():
            return at_s, np.array(sent)
    return None, np.array(sent)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "arm", "distribution"),
    [
        ("pick_place", "so101", "id"),
        ("pick_place", "so101", "ood"),
        ("peg_insertion", "so101", "id"),
        ("wiping", "so101", "id"),
        ("pick_place", "panda", "id"),
    ],
)
def test_the_task_is_done_from_starts_of_its_regions(
    task: TaskName, arm: ArmName, distribution: Distribution
) -> None:
    """Two starts each here; benchmarks/bench_plant.py has the rates over many."""
    plant, demonstrator = cell(task, arm)
    for seed in (100, 101):
        done_s, _ = run(plant, demonstrator, plant.draw_start(distribution, seed))
        assert done_s is not None, f"not done from {plant.draw_start(distribution, seed)}"


def test_chunks_are_joint_positions_with_the_gripper_last() -> None:
    plant, demonstrator = cell("pick_place")
    plant.reset(plant.draw_start("id", 1))
    demonstrator.forget()
    chunk = demonstrator.chunk(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
    assert chunk.names == (*plant.names, "gripper")
    assert chunk.space == "joint_pos_rad"
    assert chunk.start_ns == plant.now_ns
    assert len(chunk) == demonstrator.horizon
    assert np.abs(chunk.values[0, :-1] - plant.reading().q_rad).max() < 0.02
    assert demonstrator.source == "scripted"


def test_what_is_sent_keeps_to_the_arms_speed_and_is_smooth_within_a_chunk() -> None:
    """1.6 rad/s and 6 rad/s² in the plan; over steps of 1/20 s."""
    plant, demonstrator = cell("pick_place")
    plant.reset(plant.draw_start("id", 2))
    demonstrator.forget()
    for _ in range(12):
        chunk = demonstrator.chunk(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
        velocity = np.diff(chunk.values[:, :-1], axis=0) * chunk.rate_hz
        assert np.abs(velocity).max() <= 1.6 * 1.02
        assert np.abs(np.diff(velocity, axis=0) * chunk.rate_hz).max() <= 6.0 * 1.1
        for values in chunk.values[:10]:
            plant.command(values[:-1], float(values[-1]))
            plant.advance(0.05)


def test_successive_chunks_meet_where_they_overlap() -> None:
    """While the plan holds, a new chunk repeats what the last one had for the same moments."""
    plant, demonstrator = cell("pick_place")
    plant.reset(plant.draw_start("id", 3))
    demonstrator.forget()
    last = demonstrator.chunk(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
    for values in last.values[:10]:
        plant.command(values[:-1], float(values[-1]))
        plant.advance(0.05)
    following = demonstrator.chunk(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
    np.testing.assert_allclose(following.values[: len(last) - 10], last.values[10:], atol=1e-6)


def test_chunks_that_arrive_late_still_do_the_task() -> None:
    plant, demonstrator = cell("pick_place")
    done_s, _ = run(plant, demonstrator, plant.draw_start("id", 4), late_s=0.4)
    assert done_s is not None


def test_an_object_that_is_pushed_away_is_fetched_where_it_is_then() -> None:
    plant, demonstrator = cell("pick_place")
    start = TaskStart(x_m=0.2, y_m=-0.12, yaw_rad=0.0)
    pushed: list[float] = []

    def push(plant: Plant, at_s: float) -> None:
        if at_s > 1.0 and not pushed:
            plant.place(TaskStart(x_m=0.23, y_m=-0.06, yaw_rad=0.5))
            pushed.append(at_s)

    done_s, _ = run(plant, demonstrator, start, disturb=push)
    assert pushed
    assert done_s is not None


def test_an_arm_that_stood_still_for_a_second_goes_on_where_it_was() -> None:
    """Commands are swallowed for a second on the way; the plan waits for the arm instead of jumping ahead."""
    plant, demonstrator = cell("pick_place")

    def swallow(plant: Plant, at_s: float) -> None:
        if 1.0 < at_s < 2.0:
            plant.hold()

    done_s, _ = run(plant, demonstrator, plant.draw_start("id", 5), disturb=swallow)
    assert done_s is not None


@pytest.mark.slow
def test_a_good_policy_is_left_alone_and_one_that_misses_is_helped() -> None:
    """The poor policy takes the block for 45 mm further left than it is, until it has it in its gripper."""
    plant, demonstrator = cell("pick_place")
    watcher = Intervener("pick_place", "so101")
    for off_m, helped in ((0.0, 0), (0.045, 1)):
        plant.reset(plant.draw_start("id", 6))
        demonstrator.forget()
        watcher.forget()
        began_ns, chunk = plant.now_ns, None
        while (plant.now_ns - began_ns) * 1e-9 < 30.0 and not plant.success():
            reading, gripper, truth = plant.reading(), plant.gripper(), plant.truth()
            correction = watcher.watch(plant.now_ns, reading, gripper, truth)
            if correction is not None:
                chunk = None
                plant.command(correction.q_rad, correction.gripper_open)
            else:
                if chunk is None:
                    demonstrator.forget()
                if chunk is None or (plant.now_ns - chunk.start_ns) * 1e-9 > REPLAN_S:
                    held = demonstrator.holds(reading.q_rad, gripper, truth)
                    seen = truth if held else mistaken(truth, off_m)
                    chunk = demonstrator.chunk(plant.now_ns, reading, gripper, seen)
                values = row(chunk, plant.now_ns)
                plant.command(values[:-1], float(values[-1]))
            plant.advance(2 * TICK_S)
        assert plant.success()
        assert watcher.times == helped


def mistaken(truth: dict[str, Pose], off_m: float) -> dict[str, Pose]:
    block = truth["block"]
    return truth | {
        "block": Pose.from_parts("base", "block", block.rotation, block.translation_m + np.array([0, off_m, 0]))
    }


def test_a_correction_starts_where_the_arm_is() -> None:
    """A policy that does nothing: after the patience the stand-in takes over, without a jump."""
    plant, _ = cell("pick_place")
    watcher = Intervener("pick_place", "so101")
    plant.reset(plant.draw_start("id", 7))
    correction, waited_s = None, 0.0
    while correction is None and waited_s < 2 * watcher.when.patience_s:
        correction = watcher.watch(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
        plant.advance(TICK_S)
        waited_s += TICK_S
    assert correction is not None
    assert waited_s == pytest.approx(watcher.when.patience_s, abs=0.1)
    assert np.abs(correction.q_rad - plant.reading().q_rad).max() < 0.01


def test_a_hand_that_cannot_go_on_lets_the_policy_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the object held above a place that the arm does not reach: no error, and no help in this episode."""
    plant, _ = cell("pick_place")
    watcher = Intervener("pick_place", "so101")
    plant.reset(plant.draw_start("id", 7))
    reading, gripper, truth = plant.reading(), plant.gripper(), plant.truth()
    seconds = np.arange(0, 4 * watcher.when.patience_s, 0.1)

    def no_way(*_: object) -> ActionChunk:
        raise Unreachable("the arm does not reach (0.091, 0.051, 0.055) m")

    with monkeypatch.context() as patched:
        patched.setattr(watcher._demonstrator, "chunk", no_way)
        said = [watcher.plan(int(1e9 * now_s), reading, gripper, truth) for now_s in seconds]
    assert said == [None] * len(seconds)
    assert watcher.times == 1
    assert not watcher.is_acting
    watcher.forget()
    assert any(watcher.plan(int(1e9 * now_s), reading, gripper, truth) is not None for now_s in seconds)


def test_told_to_aim_as_a_person_it_errs_corrects_and_still_does_the_task() -> None:
    """Seed 3's first try misses: the jaws close beside the block, the arm goes up and takes it at the second."""
    plant, exact = cell("pick_place")
    person = Demonstrator("pick_place", "so101", aim_error=1.0, seed=3)
    start = plant.draw_start("id", 4)
    straight_s, _ = run(plant, exact, start)
    done_s, sent = run(plant, person, start)
    assert straight_s is not None
    assert done_s is not None
    assert done_s > straight_s + 1
    closings = np.diff((sent[:, -1] < 0.2).astype(int)) == 1
    assert closings.sum() == 2


def test_the_first_aim_is_off_and_the_grip_is_not() -> None:
    plant, exact = cell("pick_place")
    plant.reset(plant.draw_start("id", 5))
    grip = exact.script.grips(plant.truth())[0]
    person = Demonstrator("pick_place", "so101", aim_error=1.0, seed=0)
    looks = [person._looks(grip) for _ in range(200)]
    first, second, last = (np.array([pose[n].distance_to(grip)[0] for pose in looks]) for n in range(3))
    assert (last == 0).all()
    assert 0.012 < np.median(first) < 0.025
    assert first.max() < 2 * np.sqrt(2) * 0.015 + 1e-9
    assert second.max() < 0.36 * 2 * np.sqrt(2) * 0.015
    assert exact._looks(grip) == (grip, grip, grip)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "arm"), [("pick_place", "so101"), ("peg_insertion", "so101"), ("pick_place", "panda")]
)
def test_what_was_done_is_undone_to_another_start_and_the_arm_ends_as_an_episode_begins(
    task: TaskName, arm: ArmName
) -> None:
    plant, forward = cell(task, arm)
    done_s, _ = run(plant, forward, plant.draw_start("id", 100))
    assert done_s is not None
    to = plant.draw_start("ood", 101)
    back = Demonstrator(task, arm, undo_to=to)
    began_ns = plant.now_ns
    while not back.is_over(plant.reading().q_rad, plant.gripper(), plant.truth()):
        assert (plant.now_ns - began_ns) * 1e-9 < plant.cell.task.time_limit_s
        chunk = back.chunk(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
        for values in chunk.values[:8]:
            plant.command(values[:-1], float(values[-1]))
            plant.advance(1 / back.rate_hz)
    assert not plant.success()
    T_base_obj = plant.truth()[back.script.object_name]
    assert np.hypot(T_base_obj.translation_m[0] - to.x_m, T_base_obj.translation_m[1] - to.y_m) < 0.008
    turned = (yaw_of(T_base_obj) - to.yaw_rad) % (np.pi / 2)  # both look the same after a quarter turn
    assert min(turned, np.pi / 2 - turned) < np.radians(12)
    assert T_base_obj.rotation[2, 2] > 0.99
    for _ in range(8):  # and so it stays
        assert plant.gripper() > 0.9
        chunk = back.chunk(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
        for values in chunk.values[:8]:
            plant.command(values[:-1], float(values[-1]))
            plant.advance(1 / back.rate_hz)


def test_a_task_without_a_way_back_says_so() -> None:
    with pytest.raises(BadInput, match="'wiping' has no way back; have: pick_place, peg_insertion"):
        Demonstrator("wiping", "so101", undo_to=TaskStart(x_m=0.2, y_m=0.0, yaw_rad=0.0))
