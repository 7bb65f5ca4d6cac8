"""A guided run's resets are verified before an episode begins, its judge is audited, and its budget ends it."""

import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from hardware import announcement, artefact
from hardware.announcement import EpisodeResult
from hardware.bench.tasks.start import TaskStart
from hardware.camera_model import CameraModel
from hardware.page.ghost import Guide
from hardware.ports import CameraImage
from rl_online.lines import add_line, read_models
from rl_online.real_config import (
    AUDIT,
    GUIDANCE,
    PAUSE,
    PLAN,
    STARTS,
    Colours,
    Guidance,
    Judged,
    PreparedStart,
    ResetCheck,
)
from rl_online.real_referee import GuidedReferee, off, words
from rl_online.real_views import Over, Views
from rl_online.regions import Cell
from rl_online.resets import CellScore, ResetPlan
from rl_online.reward import RewardManifest, RewardModel, RewardView

PX = 32
CELL = Cell(part="ood", region="r", lower_m=(0.2, 0.0), upper_m=(0.24, 0.04), yaw_rad=(0.0, 0.0))


class Hand:
    """Puts the object 20 mm off, and moves it by what it is told."""

    who: Literal["scripted", "human"] = "scripted"
    patient = False

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


class Seeing(GuidedReferee):
    """Sees where the hand has it."""

    hand: Hand

    def _look(self) -> TaskStart | None:
        return self.hand.at


def judge(folder: Path, bias: float) -> Path:
    nothing = {"frames": 0, "frame_precision": 0, "frame_recall": 0, "episodes": 0, "true_successes": 0}
    nothing |= {"false_successes": 0, "missed": 0, "false_share": 0, "false_interval": (0, 1)}
    view = RewardView(cameras=("cam",), image_px=PX)
    values = {"task": "t", "view": view, "threshold": 0.5, "consecutive": 2, "wanted_precision": 0.9}
    values |= {"held_out": nothing, "learned_episodes": 1, "mined_frames": 0, "data": "", "seed": 0}
    RewardModel(RewardManifest.model_validate(values), np.zeros(view.dims, np.float32), bias).save(folder)
    return folder


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
    views = Views()
    made = Seeing(run, hand, views, lambda: False)
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
