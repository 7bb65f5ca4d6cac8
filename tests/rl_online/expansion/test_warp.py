"""A warped way meets its new ends, moves rigidly near the object, and asks no more speed than the arm has."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.bench.arm_models import ARMS, TIP
from hardware.dataset.manifest import SeenObject, write_episode
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput
from hardware.kinematics import Kinematics, kinematic_model
from hardware.spatial import Pose, rotation_from_rotvec
from rl_online.demos import RecordDemos, record
from rl_online.expansion.expand import ExpandDemos, expand, paths_of, start_of
from rl_online.expansion.generators import WarpGenerator, bending_m, clean
from rl_online.expansion.warp import RIGID_M, ToolPath, blended, grips_and_release, paced, tool_path, warp
from rl_online.worlds.world import Moment
from vla.demonstrations import open_demonstrations

OPENING = np.array([1.0] * 10 + [0.5, 0.0] + [0.0] * 8 + [0.5, 1.0] + [1.0] * 4)


def turn(yaw: float) -> np.ndarray:
    return rotation_from_rotvec(np.array([0.0, 0.0, yaw]))


def tip(x: float, y: float, z: float, yaw: float = 0.0) -> Pose:
    return Pose.from_parts("base", "tip", turn(yaw), (x, y, z))


def block(x: float, y: float, yaw: float = 0.0) -> Pose:
    return Pose.from_parts("base", "block", turn(yaw), (x, y, 0.0))


def path() -> ToolPath:
    """Ten steps along x to the block and 20 cm down on it, eight up and across to the goal, then away."""
    before = [tip(0.2 + 0.02 * i, 0.0, 0.2) for i in range(5)] + [
        tip(0.3, 0.0, 0.2 - 0.04 * i) for i in range(1, 6)
    ]
    carried = [tip(0.3, 0.0, 0.02 * i) for i in range(5)] + [tip(0.3, 0.04 * i, 0.1) for i in range(1, 6)]
    after = [tip(0.3, 0.2, 0.1)] * (len(OPENING) - 20)
    return ToolPath((*before, *carried, *after), OPENING, block(0.3, 0.0), *grips_and_release(OPENING))


def test_the_grip_is_where_the_gripper_begins_to_close_and_the_release_where_it_opens():
    # 1.0 for steps 0 … 9, falling at 10, closed from 11 to 19, rising at 20
    assert grips_and_release(OPENING) == (9, 9, 19)


def test_a_try_that_closed_on_nothing_is_the_first_grip_and_not_the_last():
    # falls at 2, open again from 5 on, falls at 7, rises from 11
    opening = np.array([1.0, 1.0, 1.0, 0.5, 0.0, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.5, 1.0])
    assert grips_and_release(opening) == (2, 7, 11)


def test_demonstrations_that_missed_first_are_left_out_while_there_are_others():
    once = path()
    missed, pushing = replace(once, first_grip=once.grip - 5), replace(once, pushed_m=0.01)
    assert clean([missed, once, pushing]) == [1]
    assert clean([missed, pushing]) == [0, 1]


def test_a_demonstration_without_a_grip_is_refused():
    with pytest.raises(BadInput, match="never closes"):
        grips_and_release(np.ones(20))


def test_the_same_place_gives_the_same_way():
    for one, two in zip(warp(path(), block(0.3, 0.0)), path().Ts_base_tip, strict=True):
        assert np.allclose(one.matrix, two.matrix)


@given(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(-0.7, 0.7))
def test_the_grip_is_the_same_seen_from_the_object_and_the_ends_stay(x: float, y: float, yaw: float):
    shown, to = path(), block(0.3 + x, y, yaw)
    made = warp(shown, to)
    before = shown.T_base_object.inverse() @ shown.Ts_base_tip[shown.grip]
    after = to.inverse() @ made[shown.grip]
    assert np.allclose(before.matrix, after.matrix, atol=1e-9)
    assert np.allclose(made[0].matrix, shown.Ts_base_tip[0].matrix, atol=1e-9)
    for step in (shown.release, len(shown) - 1):
        assert np.allclose(made[step].matrix, shown.Ts_base_tip[step].matrix, atol=1e-9)


def test_near_the_object_the_way_moves_rigidly_with_it():
    shown, to = path(), block(0.35, 0.1, 0.5)
    made = warp(shown, to)
    for step in range(len(shown)):
        way = abs(shown.Ts_base_tip[step].translation_m[2]) if 5 <= step <= shown.grip else math.inf
        if way < RIGID_M - 1e-9:
            before = shown.T_base_object.inverse() @ shown.Ts_base_tip[step]
            assert np.allclose(before.matrix, (to.inverse() @ made[step]).matrix, atol=1e-9)


def test_half_way_is_the_middle_of_the_line_and_half_the_turn():
    still = Pose.identity("base", "base")
    moved = Pose.from_parts("base", "base", turn(0.6), (0.2, 0.0, 0.0))
    made = blended(still, moved, tip(0.0, 0.0, 0.1), 0.5)
    assert made.translation_m.tolist() == pytest.approx([0.1, 0.0, 0.1])
    assert np.allclose(made.rotation, turn(0.3))


def test_a_way_that_is_too_fast_is_slowed_down_and_keeps_its_ends():
    # 1 rad in one step of 0.1 s at 2 rad/s takes 0.5 s; 0.1 rad fits in its step
    q_rad = np.array([[0.0], [1.0], [1.1]])
    made = paced(q_rad, np.array([1.0, 1.0, 0.0]), 10.0, 2.0)
    assert made[:, 0].tolist() == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.1])
    assert made[-1].tolist() == pytest.approx([1.1, 0.0])


@pytest.mark.slow
def test_an_episode_that_misses_first_grips_in_the_end(tmp_path: Path):
    """The bench's plant decides. Shown is the way back from the jaws closed on nothing, not the way to there."""
    record(RecordDemos(output=tmp_path / "demos", count=2, cameras=False, aim_error=0.0))
    config = ExpandDemos(
        demos=tmp_path / "demos", output=tmp_path / "wide", count=3, cameras=False, part="id", misses=1.0
    )
    assert expand(config) == 0
    shown = open_demonstrations(tmp_path / "wide" / "store", "wide")
    kinematics = Kinematics(kinematic_model(ARMS["so101"]), TIP)
    for number in range(len(shown)):
        demonstration = shown[number]
        assert demonstration.state[0, 5] < 0.1  # closed, on nothing: the block would hold the jaws apart
        made = tool_path(demonstration.actions, block(0.0, 0.0), kinematics)
        missed, grip = (made.Ts_base_tip[step].translation_m for step in (0, made.grip))
        highest = max(each.translation_m[2] for each in made.Ts_base_tip[: made.grip])
        assert 0.01 < np.linalg.norm((grip - missed)[:2]) < 0.06  # closing jaws may push the block their way
        assert highest > missed[2] + 0.04
        assert made.grip > 20


@pytest.mark.slow
def test_demonstrations_of_a_real_cell_are_bent_by_where_the_object_was_seen(tmp_path: Path):
    """As the recorder leaves them beside a guided page: no column tells the object's pose, each manifest does once."""
    asked = {"count": 2, "cameras": False, "aim_error": 0.0}
    record(RecordDemos(output=tmp_path / "told", **asked))
    record(RecordDemos(output=tmp_path / "seen", poses=False, **asked))
    told = paths_of(tmp_path / "told", "so101", "block")
    with pytest.raises(BadInput, match=r"no block\.x_m"):
        paths_of(tmp_path / "seen", "so101", "block")
    for episode, path in zip(EpisodeStore.open(tmp_path / "seen").finished(), told, strict=True):
        (x_m, y_m, z_m), yaw_rad = path.T_base_object.translation_m, start_of(path).yaw_rad
        seen = SeenObject(x_m=x_m, y_m=y_m, z_m=z_m, yaw_rad=yaw_rad)
        write_episode(episode.folder, episode.manifest.but(object_seen=seen))
    for path, same in zip(paths_of(tmp_path / "seen", "so101", "block"), told, strict=True):
        assert np.allclose(path.T_base_object.matrix, same.T_base_object.matrix, atol=1e-6)
        assert path.grip == same.grip
    wide = ExpandDemos(demos=tmp_path / "seen", output=tmp_path / "wide", count=2, cameras=False, part="id")
    assert expand(wide) == 0


def ways(*paths: ToolPath, turns: int = 1) -> WarpGenerator:
    arm = ARMS["so101"]
    return WarpGenerator(paths, "block", Kinematics(kinematic_model(arm), TIP), arm, 20.0, turns=turns)


def at(x_m: float, y_m: float, yaw_rad: float) -> Moment:
    pose = block(x_m, y_m, yaw_rad).matrix[None]
    return Moment(np.zeros((1, 5)), np.ones(1), pose, np.zeros(1, bool), np.zeros(1))


def test_a_demonstration_from_afar_with_the_same_wrist_is_bent_less_than_a_near_one_without():
    near, afar = (
        replace(path(), T_base_object=block(*place)) for place in ((0.2, 0.0, 1.6), (0.0, -0.2, -math.pi / 2))
    )
    # A quarter turn about the foot: the object of `afar`, too, lies along the bearing to it.
    assert ways(near, afar).demo_for(at(0.2, 0.0, 0.0)) == 1
    assert bending_m(afar, block(0.0, 0.2, math.pi / 2)) == pytest.approx(0.4, abs=1e-3)


def test_what_looks_the_same_after_a_quarter_turn_is_gripped_by_the_least_turn():
    made = replace(path(), T_base_object=block(0.2, 0.0, 0.0))
    assert ways(made)._aim(at(0.2, 0.0, 1.5), made).matrix == pytest.approx(block(0.2, 0.0, 1.5).matrix)
    least = ways(made, turns=4)._aim(at(0.2, 0.0, 1.5), made)
    assert least.matrix == pytest.approx(block(0.2, 0.0, 1.5 - math.pi / 2).matrix, abs=1e-9)
