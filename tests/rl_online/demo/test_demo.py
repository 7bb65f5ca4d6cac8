"""The whole demo is commands that a person could type; a finished stage is not run again, a failed one is named."""

import contextlib
import functools
import importlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tyro

import tandem
from hardware.bench import phone, task_scene
from hardware.bench.truth import ObjectTruth, Truth, as_matrix
from hardware.errors import BadInput
from rl_online.demo import cell as demo_cell
from rl_online.demo import loop
from rl_online.demo.loop import StageDone, StageFailed, run, wait
from rl_online.demo.stages import Stage, WholeDemo, stages, told
from twin.region import Box

EVERY = [words for stage in stages(WholeDemo(output=Path("out"))) for words in stage.commands]


@pytest.mark.parametrize("words", EVERY, ids=lambda words: " ".join(words[:3]))
def test_every_stage_says_flags_that_its_command_knows(words: tuple[str, ...], tmp_path: Path) -> None:
    demo_cell.write(tmp_path, truth())
    here = [str(tmp_path / Path(word).name) if word.endswith(".yaml") else word for word in words]
    command, flags = tandem.find(here)
    kind = getattr(importlib.import_module(command.module), command.config)
    flags, defaults = tandem.with_file(flags, kind)
    tyro.cli(kind, args=flags, default=defaults)


def test_each_stage_hands_on_what_the_next_one_reads() -> None:
    said = " ".join(word for words in EVERY for word in words)
    for made in (
        "out/twin",
        "out/demos",
        "out/wide/store",
        "out/denser/store",
        "out/sft/policy",
        "out/rft/policy",
        "out/rl/policy",
        "out/judge",
    ):
        assert made in said


def test_a_finished_stage_is_not_run_again_and_a_failed_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def pretend(stage: Stage, logs: Path) -> StageDone:
        ran.append(stage.name)
        if stage.name == "align" and len(ran) < 4:
            raise StageFailed("stage 'align' ended with 4: no", "read its log")
        return StageDone(name=stage.name, commands=(), seconds=60.0, cpu_seconds=30.0, found="")

    monkeypatch.setattr(loop, "run", pretend)
    config = WholeDemo(output=tmp_path, until="align")
    with pytest.raises(BadInput, match="no stage 'labels'; have: scan, twin, align"):
        loop.demo(config.but(until="labels"))
    with pytest.raises(StageFailed, match="'align' ended"):
        loop.demo(config)
    assert loop.demo(config) == 0
    assert ran == ["scan", "twin", "align", "align"]


def test_a_command_that_fails_is_told_by_its_last_words(tmp_path: Path) -> None:
    wrong = Stage("wrong", "nothing", (("twin", "biuld"),))
    with pytest.raises(StageFailed, match=r"stage 'wrong' ended with 2: .*no verb 'biuld'"):
        run(wrong, tmp_path)


@pytest.mark.parametrize(("code", "may_fail", "ends"), [(3, True, False), (3, False, True), (4, True, True)])
def test_only_a_gate_that_may_fail_lets_the_loop_go_on(
    tmp_path: Path, code: int, may_fail: bool, ends: bool
) -> None:
    stage, log = Stage("gated", "nothing", (), gate_may_fail=may_fail), tmp_path / "log"
    log.write_text("the hole is too deep\n  → another scan\n")
    with subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"]) as process:
        expected = pytest.raises(StageFailed, match=f"with {code}: the hole is too deep")
        with expected if ends else contextlib.nullcontext():
            wait(stage, [(process, log)])


def test_a_stages_commands_end_with_a_demo_that_is_killed() -> None:
    parent = (
        "import subprocess, sys, time\n"
        "from rl_online.demo.loop import end_with_parent\n"
        "child = subprocess.Popen(['sleep', '60'], preexec_fn=end_with_parent)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
    until_s = time.monotonic() + 10
    while is_running(child) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    """Not even as a zombie that nobody has asked after."""
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_stage_says_its_figures(tmp_path: Path) -> None:
    [expanded] = [stage for stage in stages(WholeDemo(output=tmp_path)) if stage.name == "expand"]
    assert told(expanded) == ""
    (tmp_path / "wide.json").write_text('{"kept": 7, "tried": 9}')
    assert told(expanded) == "7 of 9 succeeded and were kept in the first of three parts"


def test_what_a_person_tells_the_twin_is_near_the_truth() -> None:
    known = truth()
    shown = Box.parse(demo_cell.block_box(known))
    in_board = known.base_board.inverse() @ known.objects[0].pose
    assert shown.centre_m == pytest.approx(tuple(in_board.translation_m), abs=1e-3)
    assert shown.holds(in_board.apply(np.array([[0.016, -0.016, 0.016]]))).all()
    base = np.array([float(number) for number in demo_cell.near(known).split(",")])
    true = known.base_board.inverse()
    assert 0.02 < np.linalg.norm(base[:3] - true.translation_m) < 0.03


@functools.cache
def truth() -> Truth:
    """Of the bench as it is before the task, as a scan of no photos would leave it."""
    cell = task_scene.build(0, "pick_place")
    [thing] = [prop for prop in cell.props if prop.name == "block"]
    block = ObjectTruth(
        name="block",
        T_base_obj=as_matrix(cell.T_base_objects["block"]),
        size_m=thing.size_m,
        mass_kg=0.1,
        friction=0.4,
    )
    return Truth(
        seed=0,
        camera=phone.phone_camera(320, 240),
        photos=(),
        board=cell.board,
        T_base_board=as_matrix(cell.T_base_board),
        objects=(block,),
        landmarks={name: as_matrix(pose) for name, pose in cell.landmarks.items()},
        q_rad={"elbow_flex": 0.5},
    )
