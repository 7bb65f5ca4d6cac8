"""What `tandem up` makes of its flags, and what it says of a run that is over."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hardware import announcement, run_report, up
from hardware.announcement import EpisodeResult
from hardware.errors import BadInput
from hardware.node_graph import Occasion, graph
from hardware.page.config import ServePage
from hardware.up import UpCell


def test_flags_change_the_cell_that_every_process_reads() -> None:
    cell = up.resolve(UpCell(cell="bench", task="wiping", policy="server"))
    assert cell.bench is not None
    assert (cell.bench.task, cell.policy.kind) == ("wiping", "server")
    assert "wipe" in cell.task.lower()
    assert up.resolve(UpCell(cell="so101", task="fold the towel")).task == "fold the towel"


def test_an_unknown_task_of_the_bench_is_refused() -> None:
    with pytest.raises(BadInput, match="no task 'juggling' on the bench; have: pick_place"):
        up.resolve(UpCell(cell="bench", task="juggling"))


def test_episodes_begin_outside_the_demonstrated_region_where_one_asks() -> None:
    cell = up.resolve(UpCell(cell="bench", task="wiping", starts="ood"))
    assert cell.bench is not None
    assert (cell.bench.task, cell.bench.starts) == ("wiping", "ood")
    [plant] = [node for node in graph(cell, Occasion(Path("cell.yaml"), Path("run"))) if node.name == "plant"]
    assert "--starts ood" in " ".join(plant.arguments)
    with pytest.raises(BadInput, match="only the bench places the object"):
        up.resolve(UpCell(cell="so101", starts="ood"))


def test_a_recording_keeps_the_clocks_speed() -> None:
    with pytest.raises(BadInput, match="teach a policy to move at that speed"):
        up.resolve(UpCell(cell="bench", speed=2.0, record=Path("e")))
    fast = up.resolve(UpCell(cell="bench", speed=2.0))
    assert fast.bench is not None
    assert fast.bench.speed == 2.0


def test_a_server_is_named_by_kind_and_path() -> None:
    asking = up.resolve(UpCell(policy="server"))
    assert up.served("replay=run.npz", asking) == ("--replay", "run.npz")
    assert up.served(None, up.resolve(UpCell())) == ()
    with pytest.raises(BadInput, match="kind=path"):
        up.served("run.npz", asking)


def test_a_server_that_the_cell_would_not_ask_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for kind in ("scripted", "none"):
        config = UpCell(policy=kind, gui=True, serve="policy=sft/policy", run=tmp_path / "run")
        with pytest.raises(BadInput, match=f"the cell's policy is '{kind}'") as bad:
            up.up(config)
        assert bad.value.fix == "add --policy server"
    assert not (tmp_path / "run").exists()


def test_a_run_folder_with_results_is_not_written_again(tmp_path: Path) -> None:
    announcement.add_result(tmp_path, EpisodeResult(episode=0, success=True, duration_s=1.0, began_ns=1))
    with pytest.raises(BadInput, match="results of another run"):
        up.up(UpCell(run=tmp_path))


def test_success_comes_with_wilsons_interval(tmp_path: Path) -> None:
    for episode in range(20):
        announcement.add_result(
            tmp_path, EpisodeResult(episode=episode, success=episode > 0, duration_s=6.0, began_ns=1)
        )
    (tmp_path / "logs").mkdir()
    died = {"at_ns": 1, "name": "policy", "what": "died", "code": -9}
    (tmp_path / "logs" / "processes.jsonl").write_text(json.dumps(died) + "\n")
    found = run_report.report(tmp_path, None)
    # Wilson for 19 of 20 at z = 1.96: (0.95 + 0.0960 ± 0.1164) / 1.1921 → 0.764 … 0.991
    assert found.success_interval == pytest.approx((0.764, 0.991), abs=5e-4)
    assert found.deaths == {"policy": 1}
    assert "19/20 = 95% (95 %: 76% … 99%)" in found.table()


def test_episodes_that_nobody_judged_have_no_success_rate(tmp_path: Path) -> None:
    announcement.add_result(tmp_path, EpisodeResult(episode=0, success=None, duration_s=6.0, began_ns=1))
    found = run_report.report(tmp_path, None)
    assert (found.judged, found.success_interval) == (0, None)
    assert "success" not in found.table()


@pytest.mark.slow
def test_the_bench_runs_records_and_stops_in_order_at_ctrl_c(tmp_path: Path) -> None:
    """True processes from the command line; the second episode is interrupted and kept."""
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    from hardware.dataset.store import EpisodeStore

    run, store = tmp_path / "run", tmp_path / "episodes"
    words = [sys.executable, "-m", "tandem", "up", "bench", "--record", str(store), "--run", str(run)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen: list[str] = []
        for line in process.stderr:
            seen.append(line)
            if "episode 0" in line:
                process.send_signal(signal.SIGINT)
                break
        out, rest = process.communicate(timeout=120)
    assert process.returncode == 0, "".join(seen) + rest
    [first, *_] = EpisodeStore.open(store).episodes()
    result = announcement.results(run)[0]
    assert first.manifest.success == result.success
    assert len(first) > 0.8 * result.duration_s * 20
    assert {first.frame(number).source for number in (0, len(first) - 1)} == {"scripted"}
    events = [json.loads(line) for line in (run / "logs" / "processes.jsonl").read_text().splitlines()]
    stopped = [event["name"] for event in events if event["what"] == "stopped"]
    assert (stopped[0], stopped[-1]) == ("conductor", "plant")
    assert stopped.index("executor") < stopped.index("arm")
    assert "control loop" in out


def test_only_one_may_take_over_and_somebody_must_where_no_policy_is() -> None:
    bench, nobody = up.resolve(UpCell()), up.resolve(UpCell(policy="none"))
    assert up.intervener(UpCell(), bench) == "none"
    assert up.intervener(UpCell(gui=True), nobody) == "page"
    assert up.intervener(UpCell(gui=True, intervention="scripted"), bench) == "scripted"
    with pytest.raises(BadInput, match="needs the page"):
        up.intervener(UpCell(intervention="page"), bench)
    with pytest.raises(BadInput, match="with --policy none a person drives"):
        up.intervener(UpCell(), nobody)
    with pytest.raises(BadInput, match="begins episodes at the page"):
        up.intervener(UpCell(pace="person"), bench)


def test_the_page_comes_when_asked_for_and_a_policy_does_not_when_there_is_none(tmp_path: Path) -> None:
    occasion = Occasion(tmp_path / "cell.json", tmp_path, intervention="page", page=ServePage(port=0))
    names = [spec.name for spec in graph(up.resolve(UpCell(policy="none")), occasion)]
    assert "gui" in names
    assert not {"policy", "intervention"} & set(names)
    assert "gui" not in [spec.name for spec in graph(up.resolve(UpCell()), Occasion(tmp_path / "c.json", tmp_path))]
