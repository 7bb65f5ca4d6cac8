"""`tandem rl task`: the file that it writes is what `tandem rl` then runs by."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.compare import write_twin
from hardware import artefact
from hardware import config as configs
from hardware.bench.tasks.start import TaskStart
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput
from hardware.spatial import Pose
from rl_online.actor import require_paid_alike
from rl_online.demos import RecordDemos, draw, record
from rl_online.episode_log import EpisodeLog, store_episode
from rl_online.expansion.demonstrated import ending
from rl_online.expansion.describe_task import DescribeTask, TaskFound, arrived, describe
from rl_online.expansion.expand import ExpandDemos, ExpandFigures, expand
from rl_online.learning.process_reward import ProcessReward, ProgressJudge
from rl_online.starts.regions import Box
from rl_online.worlds.open_world import WorldChoice, open_world, plant_config
from rl_online.worlds.tasks import OWN, TwinTask, arm_of, goal_of, keep, task_in_twin
from rl_online.worlds.world import pose_columns, pose_values

SO101 = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


def own_task(folder: Path, **changes: object) -> Path:
    """As the bench's, by another file."""
    file = folder / "my.json"
    artefact.write_model(file, task_in_twin("pick_place", "so101").but(**changes))
    return file


def test_a_task_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="neither a file nor one of pick_place"):
        task_in_twin(Path("pickplace"), "so101")
    file = tmp_path / "task.json"
    file.write_text(json.dumps({"instruction": "push"}))
    with pytest.raises(BadInput, match=r"task\.json is not a TwinTask.*object_name"):
        task_in_twin(file, "so101")
    with pytest.raises(BadInput, match="is a task in a twin"):
        plant_config(WorldChoice(task=file))
    with pytest.raises(BadInput, match="no arm has the joints x"):
        arm_of(("x", "gripper"))
    assert arm_of(SO101) == "so101"


@pytest.mark.parametrize("name", ["pick_place", "peg_insertion"])
def test_a_task_of_the_bench_can_be_written_down_and_read_again(name: str, tmp_path: Path) -> None:
    known = task_in_twin(WorldChoice(task=name).task, "so101")  # pyright: ignore[reportArgumentType]
    file = tmp_path / "task.json"
    file.write_text(known.model_dump_json())
    assert task_in_twin(file, "so101") == known


def test_a_run_keeps_its_task_and_refuses_another(tmp_path: Path) -> None:
    file, run = own_task(tmp_path), tmp_path / "run"
    run.mkdir()
    keep(file, run)
    keep(file, run)
    own_task(tmp_path, time_limit_s=3.0)
    with pytest.raises(BadInput, match="has been changed since"):
        keep(file, run)
    file.unlink()
    assert goal_of(file, "so101", run) == task_in_twin("pick_place", "so101").goal
    assert goal_of("wiping", "so101", run) is not None  # poses tell no outcome of it, but where it happens
    keep("pick_place", tmp_path)
    assert not (tmp_path / OWN).exists()


def test_an_actor_of_another_task_than_the_learner_pays_for_is_refused(tmp_path: Path) -> None:
    own = own_task(tmp_path, time_limit_s=3.0)
    require_paid_alike(ProcessReward(weight=5.0), WorldChoice())
    require_paid_alike(ProcessReward(weight=5.0, task=own), WorldChoice(task=own))
    require_paid_alike(ProcessReward(), WorldChoice(task=own))  # nothing is paid
    with pytest.raises(BadInput, match="pays for progress in 'pick_place'"):
        require_paid_alike(ProcessReward(weight=5.0), WorldChoice(task=own))
    assert ProcessReward(task=Path("my.json")).anywhere().task == Path("my.json").absolute()


def test_progress_of_ones_own_task_is_nearness_to_its_goal(tmp_path: Path) -> None:
    goal = TaskStart(x_m=0.2, y_m=0.1, yaw_rad=0.0)
    judge = ProgressJudge(ProcessReward(task=own_task(tmp_path, goal=goal)))
    places = [Pose.from_parts("base", "block", np.eye(3), (x, 0.1, 0.02)).matrix for x in (0.2, 0.35, 0.9)]
    found = judge.progress(pose_columns("block"), pose_values(np.stack(places)))
    np.testing.assert_allclose(found, [0.99, 0.5, 0.0], atol=1e-9)  # 0 from 30 cm on


def test_starts_at_one_point_are_drawn_and_a_part_that_is_none_is_named() -> None:
    box = Box(name="jig", lower_m=(0.2, 0.1), upper_m=(0.2, 0.1), yaw_rad=(0.0, 0.0))
    start = draw([("id", box)], "id", np.random.default_rng(0))
    assert (start.x_m, start.y_m) == (0.2, 0.1)
    with pytest.raises(BadInput, match="no 'ood' regions; have: id"):
        draw([("id", box)], "ood", np.random.default_rng(0))


def test_what_cannot_be_described_is_said_before_anything_is_written(tmp_path: Path) -> None:
    bundle, file = tmp_path / "twin", tmp_path / "task.json"
    write_twin(bundle)
    for flags, what in (({"widen_m": 0.01}, "least is 0.02"), ({"output": tmp_path / "task.yaml"}, "no .json")):
        with pytest.raises(ValueError, match=what):
            DescribeTask.model_validate(
                {"bundle": bundle, "demos": tmp_path, "object": "block", "output": file} | flags
            )
    with pytest.raises(BadInput, match="no object 'mug'"):
        describe(DescribeTask(bundle=bundle, demos=tmp_path, object="mug", output=file))
    for closes, what in ((False, "demonstration 0 .*never closes"), (True, "ends with open jaws")):
        store = tmp_path / f"demos_{closes}"
        rows = [np.zeros(11) for _ in range(12)]
        asked = [np.append(np.zeros(5), 0.1 if closes and step > 4 else 1.0) for step in range(12)]
        columns = (*SO101, *pose_columns("block"))
        store_episode(EpisodeLog(columns, SO101, 20.0, rows, asked), store, "push", "scripted", True, (), "bench")
        with pytest.raises(BadInput, match=what):
            describe(DescribeTask(bundle=bundle, demos=store, object="block", output=file))
    assert not file.exists()
    file.write_text("mine")
    with pytest.raises(BadInput, match="may have been changed by hand"):
        describe(DescribeTask(bundle=bundle, demos=tmp_path, object="block", output=file))


def test_only_what_lies_where_the_jaws_let_go_has_arrived() -> None:
    goal, outcome = ending(np.tile(np.eye(4), (2, 1, 1)), (0.03, 0.03, 0.03), 0.0)
    draft = TaskFound(goal, outcome, "")
    lay = np.tile(np.eye(4), (8, 1, 1))
    lay[:, 0, 3] = [0.0, 0.002, -0.004, 0.01, 0.045, 0.3, 0.3, 0.3]  # one beside it, three elsewhere
    np.testing.assert_array_equal(arrived(lay, draft)[:, 0, 3], lay[:4, 0, 3])
    assert len(arrived(lay[5:], draft)) == 0


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
    assert "4 demonstrations, 4 reach the goal" in task.note
    known = task_in_twin("pick_place", "so101").id[0]
    assert known.lower_m[0] - 0.006 <= task.id[0].lower_m[0] < task.id[0].upper_m[0] <= known.upper_m[0] + 0.006
    assert {region.name for region in task.ood} >= {"near", "left"}
    over_the_goal = ((0.15, 0.1), (0.22, 0.1), (0.22, 0.16), (0.15, 0.16))
    with pytest.raises(BadInput, match="is delivered already"):
        describe(
            DescribeTask(
                bundle=bundle, demos=demos, object="block", output=tmp_path / "b.json", polygon=over_the_goal
            )
        )
    choice = WorldChoice(bundle=bundle, task=file)
    more = ExpandDemos(demos=demos, output=tmp_path / "more", world=choice, count=2, cameras=False, turns=4)
    assert expand(more) == 0
    figures = configs.read(ExpandFigures, tmp_path / "more" / "expand.json")
    assert figures.kept == 2
    assert all(episode.manifest.success for episode in EpisodeStore.open(tmp_path / "more" / "store").finished())
    artefact.write_model(file, task.but(time_limit_s=5.0))
    with pytest.raises(BadInput, match="has been changed since"):
        expand(more.but(count=3))
    world = open_world(choice)
    world.reset([task.goal], [0])
    for _ in range(20):
        now = world.moment()
        world.step(np.concatenate([now.q_rad[0], now.gripper_open[:1]])[None], [0])
    assert world.moment().success[0]  # it stands at the goal, at rest, and nothing holds it
    world.close()
