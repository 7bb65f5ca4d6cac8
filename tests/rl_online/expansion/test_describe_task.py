"""`tandem rl task`: where a task begins and ends is read off its demonstrations; `tandem rl` then runs by the file."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.compare import write_twin
from hardware import config as configs
from hardware.bench.tasks.start import TaskStart
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput
from hardware.spatial import Pose
from rl_online.demos import RecordDemos, record
from rl_online.expansion.describe_task import DescribeTask, covered, delivered, describe, edge, ending_at, strips
from rl_online.expansion.expand import ExpandDemos, ExpandFigures, expand
from rl_online.expansion.warp import ToolPath
from rl_online.starts.regions import Box
from rl_online.worlds.open_world import WorldChoice, open_world, plant_config
from rl_online.worlds.tasks import TwinTask, task_in_twin

BLOCK_M = (0.03, 0.03, 0.03)


def path(*tip_m: tuple[float, float, float], closed: slice) -> ToolPath:
    """A tool that looks down, and a block 10 mm under its tip where it closes."""
    down = np.diag([1.0, -1.0, -1.0])
    poses = tuple(Pose.from_parts("base", "tip", down, at) for at in tip_m)
    opening = np.ones(len(poses))
    opening[closed] = 0.1
    at = np.array(tip_m[closed.start]) - (0.0, 0.0, 0.01)
    return ToolPath(
        poses, opening, Pose.from_parts("base", "block", np.eye(3), at), closed.start, closed.start, closed.stop
    )


def test_what_is_held_goes_with_the_tip_until_it_is_let_go() -> None:
    up_over_down = [(0.2, 0.0, 0.03), (0.2, 0.0, 0.12), (0.2, 0.1, 0.09), (0.2, 0.1, 0.05), (0.2, 0.1, 0.15)]
    end = delivered(path(*up_over_down, closed=slice(0, 3)))
    np.testing.assert_allclose(end.T_base_object.translation_m, (0.2, 0.1, 0.04), atol=1e-12)
    assert end.rose_m == pytest.approx(0.02)
    assert end.came_over_m == pytest.approx(0.06)  # at the third pose, the first one near the goal
    np.testing.assert_allclose(end.T_tip_object.translation_m, (0.0, 0.0, 0.01), atol=1e-12)


def test_the_goal_is_the_middle_of_where_it_lay_and_takes_a_centimetre_more() -> None:
    goal, outcome = ending_at(np.array([[0.2, 0.1, 0.02], [0.21, 0.1, 0.03], [0.22, 0.1, 0.025]]), BLOCK_M, 0.005)
    assert (goal.x_m, goal.y_m) == (0.21, 0.1)
    assert outcome.half_m == pytest.approx(0.02)
    assert outcome.height_m == pytest.approx(0.03 - 0.005 + 0.3 * 0.03)
    with pytest.raises(BadInput, match="up to 100 mm"):
        ending_at(np.array([[0.2, 0.1, 0.02], [0.2, 0.1, 0.02], [0.3, 0.1, 0.02]]), BLOCK_M, 0.0)


def test_a_yaw_that_looks_the_same_is_the_same() -> None:
    """A cube at 40°, and at 40° + 90° − 20°: 20° apart, not 70°."""
    yaws = np.radians([40.0, 110.0])
    box = covered([TaskStart(x_m=0.2, y_m=0.0, yaw_rad=float(yaw)) for yaw in yaws], turns=4)
    assert box.yaw_rad[1] - box.yaw_rad[0] == pytest.approx(math.radians(20.0), abs=1e-3)


def test_strips_end_where_the_arm_does_and_keep_off_the_goal() -> None:
    of = Box(name="demonstrated", lower_m=(0.2, -0.1), upper_m=(0.3, 0.0), yaw_rad=(0.0, 1.0))
    goal = TaskStart(x_m=0.25, y_m=0.09, yaw_rad=0.0)
    made = {box.name: box for box in strips(of, 0.08, goal, 0.045, lambda start: start.x_m < 0.335)}
    assert set(made) == {"near", "far", "right", "left"}
    assert made["near"].lower_m == (0.12, -0.1)
    assert made["far"].upper_m == (0.33, 0.0)  # of 8 cm, 3 in reach
    assert made["left"].upper_m == (0.3, 0.04)  # 45 mm off the goal is 5 mm further on
    assert all(start.yaw_rad == 0.5 for start in edge(made["near"]))
    assert [box.name for box in strips(of, 0.0, goal, 0.045, lambda _: True)] == []
    assert [box.name for box in strips(of, 0.08, goal, 0.045, lambda _: False)] == []


def test_a_task_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="neither a file nor one of pick_place"):
        task_in_twin(Path("pickplace"), "so101")
    file = tmp_path / "task.json"
    file.write_text(json.dumps({"instruction": "push"}))
    with pytest.raises(BadInput, match=r"task\.json is not a TwinTask.*object_name"):
        task_in_twin(file, "so101")
    with pytest.raises(BadInput, match="is a task in a twin"):
        plant_config(WorldChoice(task=file))


@pytest.mark.parametrize("name", ["pick_place", "peg_insertion"])
def test_a_task_of_the_bench_can_be_written_down_and_read_again(name: str, tmp_path: Path) -> None:
    known = task_in_twin(WorldChoice(task=name).task, "so101")  # pyright: ignore[reportArgumentType]
    file = tmp_path / "task.json"
    file.write_text(known.model_dump_json())
    assert task_in_twin(file, "so101") == known


@pytest.mark.slow
def test_four_demonstrations_describe_a_task_that_others_are_made_by(tmp_path: Path) -> None:
    """The bench's own tray stands at (185, 130) mm; nobody tells that here."""
    bundle, demos, file = tmp_path / "twin", tmp_path / "demos", tmp_path / "task.json"
    write_twin(bundle)
    record(RecordDemos(output=demos, count=4, cameras=False))
    assert describe(DescribeTask(bundle=bundle, demos=demos, object="block", output=file, turns=4)) == 0
    assert file.with_suffix(".png").stat().st_size > 5000
    task = configs.read(TwinTask, file)
    assert math.hypot(task.goal.x_m - 0.185, task.goal.y_m - 0.13) < 0.008
    assert task.instruction == "put the block into the blue tray"
    known = task_in_twin("pick_place", "so101").id[0]
    assert known.lower_m[0] <= task.id[0].lower_m[0] < task.id[0].upper_m[0] <= known.upper_m[0]
    assert {region.name for region in task.ood} >= {"near", "left"}
    choice = WorldChoice(bundle=bundle, task=file)
    assert (
        expand(ExpandDemos(demos=demos, output=tmp_path / "more", world=choice, count=2, cameras=False, turns=4))
        == 0
    )
    figures = configs.read(ExpandFigures, tmp_path / "more" / "expand.json")
    assert figures.kept == 2
    assert all(episode.manifest.success for episode in EpisodeStore.open(tmp_path / "more" / "store").finished())
    with pytest.raises(BadInput, match="no object 'mug'"):
        describe(DescribeTask(bundle=bundle, demos=demos, object="mug", output=file))
    world = open_world(choice)
    world.reset([task.goal], [0])
    for _ in range(20):
        now = world.moment()
        world.step(np.concatenate([now.q_rad[0], now.gripper_open[:1]])[None], [0])
    assert world.moment().success[0]  # it stands at the goal, at rest, and nothing holds it
    world.close()
