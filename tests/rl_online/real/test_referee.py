"""A guided run's resets are verified before an episode begins, its judge is audited, and its budget ends it.

Where the robot undoes the task, its own resets are verified too, and a person is asked where they fail.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from hardware import announcement, artefact
from hardware import config as configs
from hardware.announcement import EpisodeResult
from hardware.bench.tasks.start import TaskStart
from hardware.camera_model import CameraModel
from hardware.page.ghost import Guide
from hardware.ports import CameraImage
from rl_online.lines import add_line, read_models
from rl_online.real.config import (
    AUDIT,
    BACKWARD,
    GUIDANCE,
    PAUSE,
    PLAN,
    STARTS,
    WANTED,
    BroughtBack,
    Colours,
    Guidance,
    Judged,
    PreparedStart,
    ResetCheck,
    WayBack,
)
from rl_online.real.referee import GuidedReferee, cell_under, off, words
from rl_online.real.resets import resets_of
from rl_online.real.views import Over, Views
from rl_online.starts.regions import Cell
from rl_online.starts.resets import CellScore, ResetPlan
from tests.rl_online.judges import PX, judge

CELL = Cell(part="ood", region="r", lower_m=(0.2, 0.0), upper_m=(0.24, 0.04), yaw_rad=(0.0, 0.0))


class Hand:
    """Puts the object 20 mm off, and moves it by what it is told."""

    who: Literal["scripted", "human"] = "scripted"
    patient = False

    run: Path

    def __init__(self, learns: bool = True) -> None:
        self.at = TaskStart(x_m=0, y_m=0, yaw_rad=0)
        self.puts = self.moves = 0
        self.is_done = False
        self._learns = learns

    def put(self, wanted: TaskStart, rng: np.random.Generator) -> None:
        self.at = wanted.but(x_m=wanted.x_m + 0.02)
        self.puts += 1

    def correct(self, wanted: TaskStart, seen: TaskStart | None, rng: np.random.Generator) -> None:
        self.moves += 1
        if self._learns and seen is not None:
            self.at = self.at.but(x_m=self.at.x_m + wanted.x_m - seen.x_m)

    def truth(self) -> bool | None:
        return self.is_done

    def close(self) -> None:
        pass


HOME, AWAY = np.array([0.0, 0.0, 1.0]), np.array([0.5, 0.5, 0.4])


class Robot:
    """Undoes the task: leaves the object where it is wanted, or elsewhere, and comes home or does not."""

    def __init__(self, hand: Hand, views: Views) -> None:
        views.posture = HOME
        self.asked: list[tuple[int, str, str]] = []
        self.leaves_at: TaskStart | None = None
        self.comes_home = True
        self.was_over = False
        self._hand, self._views = hand, views

    def __call__(
        self, episode: int, by: Literal["policy", "scripted"], task: str, is_over: Callable[[], bool], /
    ) -> None:
        self.asked.append((episode, by, task))
        assert not is_over()  # nothing has happened yet
        wanted = configs.read(TaskStart, self._hand.run / WANTED)
        self._views.posture = AWAY
        self._hand.at = wanted if self.leaves_at is None else self.leaves_at
        assert not is_over()
        if self.comes_home:
            self._views.posture = HOME - 0.05
        self.was_over = is_over()


class Seeing(GuidedReferee):
    """Sees where the hand has it."""

    hand: Hand

    def _look(self) -> TaskStart | None:
        return self.hand.at


def referee(run: Path, hand: Hand, bias: float = -3.0, **changes: object) -> tuple[Seeing, Views]:
    camera = CameraModel(width_px=PX, height_px=PX, fx_px=30, fy_px=30, cx_px=16, cy_px=16)
    looks_down = np.diag([1.0, -1.0, -1.0, 1.0])
    guide = Guide(
        object_name="block", size_m=(0.03, 0.03, 0.03), centre_z_m=0.015, camera="cam", intrinsics=camera,
        T_base_cam=tuple(tuple(row) for row in looks_down.tolist()), starts=(TaskStart(x_m=0, y_m=0, yaw_rad=0),),
    )  # fmt: skip
    values: dict[str, object] = {
        "reward": judge(run / "judge", bias),
        "guide": guide,
        "guided": True,
        "minutes": 1.0,
    }
    values |= {"colours": Colours(rgb=((200, 30, 30),) * 8), "checks": ResetCheck(), "episodes": 0, "seed": 0}
    artefact.write_model(run / GUIDANCE, Guidance.model_validate(values | changes))
    artefact.write_model(run / PLAN, ResetPlan(scores=(CellScore(cell=CELL, rollouts=10, successes=1),)))
    views, hand.run = Views(), run
    made = Seeing(run, hand, views, lambda: False, Robot(hand, views))
    made.hand = hand
    return made, views


def test_the_object_is_moved_until_it_is_seen_where_the_plan_wants_it(tmp_path: Path) -> None:
    hand = Hand()
    made, _ = referee(tmp_path, hand)
    made.reset(0)
    [line] = read_models(tmp_path / STARTS, PreparedStart)
    assert (line.looks, hand.puts, hand.moves) == (2, 1, 1)
    assert line.off_mm < 1e-6
    assert CELL.contains(line.wanted)


def test_a_start_that_is_never_reached_is_given_up_for_another(tmp_path: Path) -> None:
    hand = Hand(learns=False)
    made, _ = referee(tmp_path, hand, checks=ResetCheck(most_looks=3))
    made._is_closing = lambda: hand.puts >= 3
    with pytest.raises(Over):
        made.reset(0)
    assert hand.puts == 3
    assert not read_models(tmp_path / STARTS, PreparedStart)


def test_the_truth_is_written_down_and_the_judge_alone_decides(tmp_path: Path) -> None:
    hand = Hand()
    made, views = referee(tmp_path, hand, bias=3.0)
    made.reset(4)
    picture = np.zeros((PX, PX, 3), np.uint8)
    said = []
    for number in range(2):
        views.put("cam", CameraImage(made._last_ns + 1 + number, picture))
        said.append(made.has_succeeded())
    assert said == [False, True]  # two in a row
    [line] = read_models(tmp_path / AUDIT, Judged)
    assert (line.episode, line.judged, line.true_now) == (4, True, False)


def test_a_missed_success_is_audited_with_the_next_reset(tmp_path: Path) -> None:
    hand = Hand()
    made, views = referee(tmp_path, hand, bias=-3.0)
    made.reset(0)
    hand.is_done = True
    views.put("cam", CameraImage(made._last_ns + 1, np.zeros((PX, PX, 3), np.uint8)))
    assert made.has_succeeded() is False
    made.reset(1)
    [line] = read_models(tmp_path / AUDIT, Judged)
    assert (line.judged, line.true_now, line.true_ever) == (False, True, True)


def test_the_budget_of_robot_time_and_of_episodes_ends_the_run(tmp_path: Path) -> None:
    made, _ = referee(tmp_path, Hand())
    announcement.add_result(tmp_path, EpisodeResult(episode=0, success=False, duration_s=61.0, began_ns=0))
    with pytest.raises(Over, match=r"1 episodes in 1\.0 robot minutes"):
        made.reset(1)
    fewer, _ = referee(tmp_path, Hand(), minutes=60.0, episodes=1)
    with pytest.raises(Over):
        fewer.reset(1)


def test_a_pause_lasts_as_long_as_its_file(tmp_path: Path) -> None:
    made, _ = referee(tmp_path, Hand())
    (tmp_path / PAUSE).touch()
    looked = 0

    def closing() -> bool:
        nonlocal looked
        looked += 1
        if looked == 1:
            (tmp_path / PAUSE).unlink()
        return False

    made._is_closing = closing
    made.reset(0)
    assert len(read_models(tmp_path / STARTS, PreparedStart)) == 1


def test_turns_count_up_to_the_symmetry_of_the_object() -> None:
    wanted, seen = (
        TaskStart(x_m=0.2, y_m=0.0, yaw_rad=0.1),
        TaskStart(x_m=0.203, y_m=0.004, yaw_rad=0.1 + math.pi / 2),
    )
    away_mm, turned_deg = off(wanted, seen, math.pi / 2)
    assert away_mm == pytest.approx(5.0)  # 3, 4, 5
    assert turned_deg == pytest.approx(0.0, abs=1e-9)
    assert "3 mm towards the arm and 4 mm to the right" in words("block", wanted, seen)
    assert "not to be seen" in words("block", wanted, None)


def test_a_line_that_a_kill_cut_off_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    one = Judged(episode=0, judged=True, highest=0.5, true_now=None, true_ever=None)
    add_line(file, one)
    with file.open("a") as stream:
        stream.write('{"episode": 1, "jud')
    add_line(file, one.but(episode=2))
    assert [line.episode for line in read_models(file, Judged)] == [0, 2]


WAY = WayBack(by="policy", task="take it out again")


def after_one(run: Path, **changes: object) -> tuple[Seeing, Robot]:
    """A run with a way back, whose first episode a person has prepared."""
    made, _ = referee(run, Hand(), way_back=WAY, **changes)
    robot = made._back
    assert isinstance(robot, Robot)
    made.reset(0)
    assert robot.asked == []  # nobody knew how the cell stood
    return made, robot


def prepared_by(run: Path) -> list[str]:
    return [line.placed_by for line in read_models(run / STARTS, PreparedStart)]


def test_the_robot_brings_the_object_back_to_the_start_that_the_plan_wants(tmp_path: Path) -> None:
    made, robot = after_one(tmp_path)
    made.reset(1)
    assert robot.asked == [(1, "policy", "take it out again")]
    assert robot.was_over
    assert prepared_by(tmp_path) == ["scripted", "robot"]
    assert made.hand.puts == 1
    line = read_models(tmp_path / STARTS, PreparedStart)[-1]
    assert CELL.contains(line.wanted)
    assert line.off_mm < 1e-6
    [said] = read_models(tmp_path / BACKWARD, BroughtBack)
    assert (said.episode, said.by, said.left) == (1, "policy", "as_wanted")


def test_another_place_in_the_plans_cells_is_taken_as_the_start(tmp_path: Path) -> None:
    made, robot = after_one(tmp_path, checks=ResetCheck(tolerance_mm=0.1))
    robot.leaves_at = TaskStart(x_m=0.22, y_m=0.02, yaw_rad=math.pi / 2)  # a quarter turn looks the same
    made.reset(1)
    assert robot.was_over
    line = read_models(tmp_path / STARTS, PreparedStart)[-1]
    assert (line.placed_by, line.cell, line.seen) == ("robot", 0, robot.leaves_at)
    assert line.off_mm > 0.1
    found = resets_of(tmp_path)
    assert (found.by_robot, found.by_robot_elsewhere, found.by_person, found.failed_attempts) == (1, 1, 1, 0)


@pytest.mark.parametrize(("x_m", "comes_home"), [(0.3, True), (0.22, False)])
def test_a_person_is_asked_where_the_way_back_fails(tmp_path: Path, x_m: float, comes_home: bool) -> None:
    """Outside the plan's cells; or where it may well lie, but the arm stands over it."""
    made, robot = after_one(tmp_path)
    robot.leaves_at, robot.comes_home = TaskStart(x_m=x_m, y_m=0.02, yaw_rad=0.0), comes_home
    made.reset(1)
    assert not robot.was_over
    assert prepared_by(tmp_path) == ["scripted", "scripted"]
    assert made.hand.puts == 2
    [said] = read_models(tmp_path / BACKWARD, BroughtBack)
    assert said.left == "outside"
    robot.leaves_at, robot.comes_home = None, True
    made._views.posture = HOME
    made.reset(2)
    assert prepared_by(tmp_path)[-1] == "robot"
    assert resets_of(tmp_path).failed_attempts == 1


def test_a_run_without_a_way_back_never_asks_the_robot(tmp_path: Path) -> None:
    made, _ = referee(tmp_path, Hand())
    for episode in range(2):
        made.reset(episode)
    assert isinstance(made._back, Robot)
    assert made._back.asked == []
    assert prepared_by(tmp_path) == ["scripted", "scripted"]


def test_a_persons_time_is_saved_as_long_as_their_own_resets_took(tmp_path: Path) -> None:
    """Theirs took 30, 50 and 40 s: 40 s in the middle. Three by the robot: 2 minutes."""
    at = TaskStart(x_m=0.2, y_m=0.0, yaw_rad=0.0)
    base = PreparedStart(
        episode=0, cell=0, wanted=at, seen=at, looks=1, off_mm=0.0, off_deg=0.0, placed_by="human", took_s=30.0
    )
    lines = [base, base.but(episode=1, took_s=50.0), base.but(episode=2, took_s=40.0)]
    lines += [base.but(episode=number, placed_by="robot", took_s=9.0) for number in (3, 4, 5)]
    for line in lines:
        add_line(tmp_path / STARTS, line)
    back = BroughtBack(episode=3, by="policy", began_ns=0, duration_s=9.0, wanted=at, seen=at, left="as_wanted")
    for line in (
        back,
        back.but(episode=4, left="elsewhere"),
        back.but(episode=5),
        back.but(episode=2, left="outside"),
    ):
        add_line(tmp_path / BACKWARD, line)
    found = resets_of(tmp_path)
    assert (found.by_robot, found.by_robot_elsewhere, found.by_person, found.failed_attempts) == (3, 1, 3, 1)
    assert (found.person_s, found.saved_minutes) == (40.0, 2.0)
    assert found.backward_minutes == pytest.approx(0.6)
    assert found.words == "3 by the robot (2.0 min of a person's time saved), 3 by a person or stand-in"


def test_a_sighting_belongs_to_a_cell_in_any_turn_that_looks_the_same() -> None:
    cells = [CELL.but(yaw_rad=(-0.2, 0.2)), CELL.but(yaw_rad=(0.5, 0.9))]
    quarter = math.pi / 2
    for turn in (-2, -1, 0, 1, 2):
        assert cell_under(TaskStart(x_m=0.22, y_m=0.02, yaw_rad=0.7 + turn * quarter), cells, quarter) == 1
    assert cell_under(TaskStart(x_m=0.22, y_m=0.02, yaw_rad=0.1 + quarter), cells, math.pi) is None
    assert cell_under(TaskStart(x_m=0.25, y_m=0.02, yaw_rad=0.1), cells, quarter) is None
