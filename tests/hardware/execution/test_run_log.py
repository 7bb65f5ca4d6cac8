"""The log of a run comes back as it was written, whole or cut at any byte, and goes on after a kill."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware.errors import BadInput
from hardware.execution import run_log
from hardware.execution.run_log import RunLog, read_run
from hardware.execution.seam import Seam
from hardware.messages import ActionChunk

INFO = run_log.started(("a", "b"), ("a", "b", "gripper"), 100.0)
SEAM = Seam("chunk", 5, 0.4, (0.1, 0.2), (1e-6, 0.0), (1e-4, 0.0), (9.0, 7.5), 12, 3)
CHUNK = ActionChunk(7, 20.0, "joint_pos_rad", INFO.names, np.arange(6.0).reshape(2, 3) / 7)


def written(folder, ticks=5, seams=2):
    log = RunLog(folder, INFO)
    for number in range(ticks):
        log.ticked(number * 10, number * 10 + 1, number * 10 + 2)
    for _ in range(seams):
        log.sewn(SEAM)
    log.offered(CHUNK, 6, 8)
    log.close()
    log.close()


def test_a_run_comes_back_as_it_was_written(tmp_path):
    written(tmp_path)
    run = read_run(tmp_path)
    assert run.info == INFO.but(scheduler=run.info.scheduler)
    assert re.fullmatch(r"other.*|fifo \d+", run.info.scheduler)
    np.testing.assert_array_equal(run.ticks_ns, [[10 * n, 10 * n + 1, 10 * n + 2] for n in range(5)])
    fields = {field.name for field in dataclasses.fields(Seam)}
    back = {name: tuple(value) if isinstance(value, list) else value for name, value in run.seams[1].items()}
    assert Seam(**{name: value for name, value in back.items() if name in fields}) == SEAM
    assert run.seams[0]["max_jerk_rad_s3"] == 9.0
    (chunk,) = run.chunks
    assert (chunk.observation_ns, chunk.arrived_ns, chunk.chunk.start_ns) == (6, 8, 7)
    np.testing.assert_allclose(chunk.chunk.values, CHUNK.values, atol=1e-7)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([run_log.TICKS, run_log.SEAMS, run_log.CHUNKS]), st.floats(0, 1))
def test_a_kill_at_any_byte_leaves_a_readable_log_that_goes_on(tmp_path_factory, name, part):
    folder = tmp_path_factory.mktemp("run")
    written(folder)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: round(part * len(whole))])
    cut = read_run(folder)
    written(folder)
    after = read_run(folder)
    assert len(after.ticks_ns) == len(cut.ticks_ns) + 5
    assert len(after.seams) == len(cut.seams) + 2
    assert len(after.chunks) == len(cut.chunks) + 1
    np.testing.assert_array_equal(after.ticks_ns[-5:], read_run(folder).ticks_ns[-5:])
    np.testing.assert_array_equal(after.ticks_ns[-5:, 0], [0, 10, 20, 30, 40])


def test_a_folder_without_a_log_says_where_one_is(tmp_path):
    with pytest.raises(BadInput, match="no log of a control loop"):
        read_run(tmp_path)
    written(tmp_path / "deeper")
    with pytest.raises(BadInput, match="deeper"):
        read_run(tmp_path)
