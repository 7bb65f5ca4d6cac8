"""The report of a run: figures by hand from a made log, and one page that needs no network."""

import json
import re

import numpy as np
import pytest

from hardware.errors import BadInput
from hardware.execution import run_log
from hardware.execution.report import CADENCE, REPORT, SEAMS, ReportCell, cadence, report
from hardware.execution.run_log import RunLog, read_run

MS = 1_000_000
STEPS = 400


@pytest.fixture
def run(rig, tmp_path):
    """400 steps, 0.1 ms late; every 50th 2 ms; step 100 missed; started again an hour later for 200 more."""
    cell = rig()
    folder = tmp_path / "cell" / "executor"
    log = RunLog(folder, run_log.started(("shoulder", "elbow"), cell.executor.names, 100.0))
    for step in range(STEPS):
        if step % 60 == 5:
            cell.offer(np.tile([0.02 * (step % 7), 0.0, 1.0], (40, 1)), ago_ns=30 * MS)
        command = cell.run(1)
        if command.seam:
            log.sewn(command.seam)
        if step != 100:
            woke = cell.now_ns + (2 * MS if step % 50 == 49 else MS // 10)
            log.ticked(cell.now_ns, woke, woke + MS // 4)
    for step in range(200):
        stamp = cell.now_ns + 3600_000 * MS + step * 10 * MS
        log.ticked(stamp, stamp + MS // 10, stamp + MS // 4)
    log.close()
    return folder


def test_cadence_by_hand(run):
    figures = cadence(read_run(run))
    assert (figures.steps, figures.missed, figures.starts) == (599, 1, 2)
    assert figures.late_p50_ms == pytest.approx(0.1)
    assert figures.late_p99_ms == pytest.approx(2.0)  # 8 of 599 are 2 ms late: more than 1 %
    assert figures.late_max_ms == pytest.approx(2.0)
    assert figures.period_off_p99_ms == pytest.approx(1.9)  # before and after each late one
    assert figures.step_p99_ms == pytest.approx(0.25)


def test_the_report_is_one_page_with_its_pictures_and_figures(run, tmp_path, capsys):
    assert report(ReportCell(run=run, output=tmp_path / "out", json_file=tmp_path / "f.json")) == 0
    page = (tmp_path / "out" / REPORT).read_text()
    assert not re.search(r"(?:src|href)=[\"']?https?:", page)
    assert page.count("data:image/png;base64,") == 2
    for name in (CADENCE, SEAMS):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    figures = json.loads((tmp_path / "f.json").read_text())
    (chunks,) = (kind for kind in figures["seams"] if kind["kind"] == "chunk")
    assert chunks["seams"] == 7
    assert chunks["delay_median_steps"] == 3
    assert 0 < chunks["position_jump_max_rad"] < 1e-4 < chunks["gap_max_rad"]
    assert "period off p99" in capsys.readouterr().out


def test_a_folder_above_the_log_will_do(run, capsys):
    assert report(ReportCell(run=run.parent)) == 0
    assert (run / REPORT).exists()


def test_too_little_is_said_and_not_drawn(tmp_path):
    log = RunLog(tmp_path, run_log.started(("a",), ("a",), 100.0))
    log.ticked(1, 2, 3)
    log.close()
    with pytest.raises(BadInput, match="less than a second"):
        report(ReportCell(run=tmp_path))
