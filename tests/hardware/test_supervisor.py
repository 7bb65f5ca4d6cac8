"""Real processes are started in order, restarted alone, reported at once, and stopped from the last to the first."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hardware.node_graph import NodeSpec
from hardware.supervisor import CellFailed, Event, Supervisor

SERVE = "import time; from hardware import notify; notify.ready(); time.sleep(60)"
FAIL = "raise SystemExit('no such camera')"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SERVE}"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []
    with tempfile.TemporaryDirectory() as sockets:

        def make(*specs: NodeSpec, max_restarts: int = 2) -> Supervisor:
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            made.append(Supervisor(specs, tmp_path, Path(sockets), environment, max_restarts))
            return made[-1]

        yield make
        for supervisor in made:
            supervisor.stop()


def spec(name: str, code: str = SERVE, **others: object) -> NodeSpec:
    """A process that runs `code`: the module `code` of the tests would need a file each."""

    class Inline(NodeSpec):
        @property
        def command(self) -> list[str]:
            return ["-c", code]

    return Inline(name, "inline", **others)  # type: ignore[arg-type]


def wait_for(supervisor: Supervisor, what: str, name: str) -> Event:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for event in supervisor.poll(0.1):
            if (event.what, event.name) == (what, name):
                return event
    raise AssertionError(f"'{name}' was not {what}")


def test_tiers_start_in_order_and_the_first_is_ready_before_the_next(make: Callable[..., Supervisor]) -> None:
    supervisor = make(spec("plant", tier=0), spec("arm", tier=1), spec("conductor", tier=2))
    supervisor.start()
    order = [(event.name, event.what) for event in supervisor.poll(0.0)]
    assert order == [(name, what) for name in ("plant", "arm", "conductor") for what in ("started", "ready")]


def test_a_killed_process_comes_back_alone_and_is_missing_until_it_serves(make: Callable[..., Supervisor]) -> None:
    supervisor = make(spec("camera", holds_policy=True), spec("arm"))
    supervisor.start()
    supervisor.poll(0.0)
    camera, arm = supervisor.pid("camera"), supervisor.pid("arm")
    assert supervisor.missing == ()
    assert camera is not None
    killed_ns = time.monotonic_ns()
    os.kill(camera, signal.SIGKILL)
    died = wait_for(supervisor, "died", "camera")
    assert died.code == -signal.SIGKILL
    assert (died.at_ns - killed_ns) * 1e-9 < 0.1
    assert supervisor.missing == ("camera",)
    wait_for(supervisor, "ready", "camera")
    assert supervisor.missing == ()
    assert supervisor.pid("camera") != camera
    assert supervisor.pid("arm") == arm


def test_a_process_that_never_comes_up_fails_the_cell_with_its_last_words(make: Callable[..., Supervisor]) -> None:
    supervisor = make(spec("camera", FAIL))
    with pytest.raises(CellFailed, match="'camera' ended with 1: no such camera"):
        supervisor.start()


def test_a_person_who_stops_while_it_starts_does_not_wait_for_the_rest(make: Callable[..., Supervisor]) -> None:
    supervisor = make(spec("plant", "import time; time.sleep(60)", tier=0), spec("arm", tier=1))
    supervisor.start(is_interrupted=[signal.SIGINT])
    assert [(event.name, event.what) for event in supervisor.poll(0.0)] == [("plant", "started")]


def test_a_process_that_must_not_be_restarted_ends_the_cell(make: Callable[..., Supervisor]) -> None:
    supervisor = make(spec("plant", is_restarted=False), spec("arm"))
    supervisor.start()
    plant = supervisor.pid("plant")
    assert plant is not None
    os.kill(plant, signal.SIGKILL)
    with pytest.raises(CellFailed, match="'plant' ended with -9"):
        wait_for(supervisor, "ready", "plant")


def test_stopping_goes_backwards_and_leaves_nobody(
    make: Callable[..., Supervisor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hardware.supervisor.STOP_S", 0.5)
    supervisor = make(spec("plant", tier=0), spec("arm", STUBBORN, tier=1), spec("policy", tier=2))
    supervisor.start()
    pids = [supervisor.pid(name) for name in ("plant", "arm", "policy")]
    supervisor.stop()
    events = [json.loads(line) for line in (tmp_path / "processes.jsonl").read_text().splitlines()]
    assert [event["name"] for event in events if event["what"] == "stopped"] == ["policy", "arm", "plant"]
    for pid in pids:
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
