"""An episode in which the robot undoes the task: what is announced, and when it ends."""

import threading
from typing import Literal

import pytest

from hardware.announcement import Stage
from hardware.cell import CellConfig
from hardware.cell import load as load_cell
from hardware.errors import BadInput
from rl_online.real.backward import BackwardEpisode
from rl_online.real.config import GuideReal, WayBack
from rl_online.real.session import way_back


class Cell:
    """Notes what is asked of it."""

    def __init__(self, longest_s: float) -> None:
        self.said: list[tuple[Stage, bool | None] | str] = []
        self.closing = threading.Event()
        self.episode = BackwardEpisode(self.reach, self.announce, self.closing, longest_s)

    def reach(self, state: Literal["inactive", "active"]) -> None:
        self.said.append(state)

    def announce(self, stage: Stage, success: bool | None) -> None:
        self.said.append((stage, success))


def test_it_lasts_until_the_task_is_undone_and_leaves_the_arm_idle() -> None:
    cell, looks = Cell(longest_s=30.0), iter([False, False, True])
    cell.episode.run(lambda: next(looks))
    assert cell.said == ["active", ("running", None), ("judged", True), "inactive"]


def test_out_of_time_it_has_failed() -> None:
    cell = Cell(longest_s=0.25)
    cell.episode.run(lambda: False)
    assert cell.said == ["active", ("running", None), ("judged", False), "inactive"]


def test_cut_short_by_the_end_of_the_run_it_has_no_label() -> None:
    cell = Cell(longest_s=30.0)

    def stop() -> bool:
        cell.closing.set()
        return False

    cell.episode.run(stop)
    assert cell.said == ["active", ("running", None), ("judged", None), "inactive"]


def settings(**changes: object) -> GuideReal:
    values = {"policy": "p", "plan": "q", "reward": "r", "demos": ["d"], "output": "o"}
    return GuideReal.model_validate(values | changes)


def test_the_way_back_has_words_of_its_own() -> None:
    bench = load_cell("bench")
    assert way_back(settings(), bench) is None
    ours = way_back(settings(backward_scripted=True), bench)
    assert ours == WayBack(by="scripted", task="take the block out of the blue tray and put it on the table")
    theirs = way_back(settings(backward_policy="b", backward_task="undo it"), bench)
    assert theirs == WayBack(by="policy", task="undo it")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backward_scripted": True, "backward_policy": "b"}, "two are named"),
        ({"backward_policy": "b", "backward_task": "put the block into the blue tray"}, "words of the task itself"),
    ],
)
def test_a_way_back_that_cannot_be_told_apart_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        way_back(settings(**changes), load_cell("bench"))


def test_a_real_cell_has_no_script_and_no_words_of_its_own() -> None:
    cell: CellConfig = load_cell("so101")
    with pytest.raises(BadInput, match="only the bench has"):
        way_back(settings(backward_scripted=True), cell)
    with pytest.raises(BadInput, match="needs its words"):
        way_back(settings(backward_policy="b"), cell)
