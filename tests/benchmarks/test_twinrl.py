"""The stage of LeRobot's learner: a finished piece is not done again, and its rounds become rows like the others'."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import hil_serl_peer, twinrl
from benchmarks.hil_serl_peer import Course, Practice
from benchmarks.twinrl_pieces import QUICK, Bench, Counts, Round


def course(practice: Practice) -> Course:
    """9 of 10 in both parts after the second round; the robot's steps as asked."""
    rounds = [
        Round(
            robot_steps=number * practice.round_steps, episodes=number, successes=0, chunks=0, critic_updates=0,
            id=Counts(successes=won, trials=10), ood=Counts(successes=won, trials=10),
        )
        for number, won in enumerate((0, 5, 9))
    ]  # fmt: skip
    return Course(
        rounds=tuple(rounds), demos_shown=1, demos_kept=1, robot_steps_per_cpu_s=1.0, update_cpu_ms=1.0,
        critic_loss=None, temperature=None, value_r=(0.0, 1.0),
    )  # fmt: skip


def test_lerobots_rounds_become_rows_and_are_practised_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Practice] = []
    monkeypatch.setattr(hil_serl_peer, "practise", lambda practice: asked.append(practice) or course(practice))
    monkeypatch.setattr(Bench, "real", lambda self: tmp_path / "demos")
    bench = Bench(tmp_path, QUICK.but(round_chunks=100))
    for _ in range(2):
        rows = twinrl.stages(bench, ["lerobot"], [])["lerobot"]
    assert [practice.takeover for practice in asked] == list(twinrl.PEERS.values())
    assert {practice.round_steps for practice in asked} == {500}
    assert set(rows) == {"lerobot/0", "lerobot_helped/0"}
    assert rows["lerobot/0"]["robot_steps_to_90"] == 1000
    assert rows["lerobot/0"]["robot_minutes_to_90"] == pytest.approx(1000 / 20 / 60, abs=0.05)


def test_arms_of_an_ablation_differ_in_what_it_asks_about_alone() -> None:
    plain, paid = twinrl.BUFFER["20_0"], twinrl.PROCESS["process"]
    assert plain.process == 0 < paid.process
    assert replace(paid, process=0.0) == plain
    assert replace(twinrl.RESETS["uniform"], guided=True) == plain
    assert replace(twinrl.BUFFER["20_0_shown"], shown=False) == plain
    assert {arm.inherited for arm in twinrl.BUFFER.values()} == {(0, 0), (20, 0), (20, 20), (20, 40)}
