"""`tandem vla eval --env twin`: a policy is tried in a twin as a cell would run it."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.compare import write_twin
from hardware.errors import BadInput
from hardware.messages import ActionChunk, Observation
from rl_online.mining.trials import TwinTrials, open_trials
from tests.rl_online.slider import SliderWorld, interface
from vla.environments import environment
from vla.evaluate import EvaluatePolicy, evaluate, place_of
from vla.policy import Interface

PUSHES = interface().but(state_names=("slide", "gripper"))


def pushes_to(goal_m: float, asked: list[Observation]) -> environment.Ask:
    """Its columns in another order than the world's."""

    def ask(seen: Observation) -> ActionChunk:
        asked.append(seen)
        values = np.column_stack([np.ones(4), np.full(4, goal_m)])
        return ActionChunk(seen.stamp_ns, 10.0, "joint_pos_rad", ("gripper", "slide"), values)

    return ask


def test_half_of_each_chunk_is_done_until_success_or_time_is_out() -> None:
    trials = TwinTrials(SliderWorld(), "push", PUSHES, seed=3)
    assert trials.tasks == ("push/id", "push/ood")
    asked: list[Observation] = []
    assert trials.trial("push/ood", 0, pushes_to(0.5, asked))
    assert [seen.stamp_ns for seen in asked] == [0, 200_000_000, 400_000_000]  # 0.1 m a step: there after five
    assert asked[0].instruction == "push the block"
    assert asked[1].q_rad == pytest.approx([0.2])
    asked.clear()
    assert not trials.trial("push/id", 0, pushes_to(0.3, asked))
    assert len(asked) == 10  # 2 s at 10 Hz, two steps of each chunk


def test_a_trial_starts_where_it_started_before() -> None:
    blocks = []
    for seed in (3, 3, 4):
        world = SliderWorld()
        TwinTrials(world, "push", PUSHES, seed).trial("push/id", 7, pushes_to(0.0, []))
        blocks.append(world.block[0].copy())
    np.testing.assert_array_equal(blocks[0], blocks[1])
    assert (blocks[0] != blocks[2]).any()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"action_names": ("slide",)}, "takes joint_pos_rad of gripper, slide"),
        ({"space": "tcp_delta_m_rad"}, "commands tcp_delta_m_rad"),
        ({"state_names": ("slide", "block.x_m")}, "reads 'block.x_m', which no cell tells"),
        ({"cameras": ("cam_front",)}, "no camera 'cam_front'"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(changes: dict, what: str) -> None:
    with pytest.raises(BadInput, match=what):
        TwinTrials(SliderWorld(), "push", PUSHES.but(**changes), 0)


def test_vla_eval_opens_a_twin_by_its_bundle(tmp_path: Path) -> None:
    write_twin(tmp_path / "twin")
    joints = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    arm = Interface(cameras=(), state_names=joints, action_names=joints, rate_hz=20.0, horizon_steps=4)
    trials = open_trials(arm, 0, tmp_path / "twin", "pick_place")
    home = np.append(trials.world.moment().q_rad[0], 1.0)

    def rests(seen: Observation) -> ActionChunk:
        return ActionChunk(seen.stamp_ns, 20.0, "joint_pos_rad", joints, np.tile(home, (4, 1)))

    assert trials.tasks == ("pick_place/id", "pick_place/ood")
    assert not trials.trial("pick_place/id", 0, rests)
    trials.close()
    with pytest.raises(BadInput, match="no arm has the joints x"):
        open_trials(arm.but(action_names=("x", "gripper")), 0, tmp_path / "twin", "pick_place")


@pytest.mark.parametrize(
    "changes",
    [
        {"env": "twin"},
        {"env": "bench", "bundle": Path("t")},
        {"env": "bench", "task": "pick_place"},
        {"env": "twin", "bundle": Path("t"), "peer_command": "true"},
    ],
)
def test_a_bundle_and_a_task_are_a_twins_alone(changes: dict, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="with --bundle"):
        evaluate(EvaluatePolicy(policy=tmp_path, **changes), tmp_path / "eval.json")


def test_a_result_is_of_what_the_tasks_file_said(tmp_path: Path) -> None:
    file = tmp_path / "my.json"
    config = EvaluatePolicy(policy=tmp_path, env="twin", bundle=Path("t"), task=file)
    said = []
    for words in ("one", "two"):
        file.write_text(words)
        said.append(place_of(config))
    assert said[0].startswith(f"twin t: {file}, as of ")
    assert said[0] != said[1]
    assert place_of(config.but(task=None)) == "twin t: pick_place"
