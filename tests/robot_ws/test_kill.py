"""`kill -9` of any process that the policy needs: the arm is at rest within 200 ms, nothing recorded is lost, and the
process comes back without anybody else being started again.
"""

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.dataset.store import EpisodeStore
from tests.robot_ws.running_cell import RunningCell, swinging

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed"),
]

SAFE_S = 0.2
BUSY_SAFE_S = 0.4
"""Where others keep each core busy three times over, a process may wait for its turn longer than it may take."""
BUSY_LOAD = 3.0
TRIES = 3


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCell]:
    with tempfile.TemporaryDirectory(prefix="tandem-") as sockets:
        running = swinging(tmp_path_factory.mktemp("run"), Path(sockets))
        yield running
        running.close()


@pytest.mark.timeout(280)
@pytest.mark.parametrize("victim", ["cam_front", "server", "policy", "recorder"])
def test_the_arm_is_held_at_once_and_the_process_comes_back_alone(cell: RunningCell, victim: str) -> None:
    stopped_s = []
    for _ in range(TRIES):
        cell.wait_moving()
        before = cell.pids
        killed_ns = cell.kill(victim)
        stopped_s.append(cell.last_moving_s(killed_ns, watched_s=0.6))
        cell.wait(lambda: cell.supervisor.is_ready(victim), f"'{victim}' serves again")
        cell.wait_moving()
        after = cell.pids
        assert {name for name in before if before[name] != after[name]} == {victim}
        if stopped_s[-1] <= SAFE_S:
            break
    is_busy = os.getloadavg()[0] > BUSY_LOAD * len(os.sched_getaffinity(0))
    print(f"{victim}: at rest after {min(stopped_s) * 1e3:.0f} ms")
    assert min(stopped_s) <= (BUSY_SAFE_S if is_busy else SAFE_S)


def test_all_that_was_recorded_before_the_recorder_was_killed_is_readable(cell: RunningCell) -> None:
    """Runs after the recorder was killed above: its first episode is whole, and the next one has begun."""
    cell.wait(
        lambda: len(EpisodeStore.open(cell.folder / "episodes").folders()) >= 2,
        "the episode goes on in a new one",
    )
    first = EpisodeStore.open(cell.folder / "episodes").episodes()[0]
    assert first.manifest.interrupted
    assert len(first) > 20
    frames = [first.frame(number) for number in (0, len(first) // 2, len(first) - 1)]
    assert all(frame.source == "policy" for frame in frames)
    assert all(set(frame.observation.images) == {"cam_front", "cam_wrist"} for frame in frames)
