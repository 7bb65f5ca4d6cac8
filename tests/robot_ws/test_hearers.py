"""Who speaks waits until all who must hear it are there, and goes on without them when they do not come."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (uv sync --extra ros)")

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
from tandem_nodes import hearers, qos

from hardware import ros_environment

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")  # rclpy's parser
MakeNode = Callable[[str], Node]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeNode]:
    """Nodes on this machine's own domain, each of its own context, as processes are."""
    for name, value in ros_environment.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    made: list[tuple[Node, Context]] = []

    def node(name: str) -> Node:
        context = Context()
        context.init()
        made.append((Node(name, context=context, namespace="hearers"), context))
        return made[-1][0]

    yield node
    for one, context in made:
        one.destroy_node()
        context.try_shutdown()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_what_is_said_after_the_wait_is_heard_by_one_that_came_late(make: MakeNode) -> None:
    speaker, heard = make("conductor"), []
    said = speaker.create_publisher(String, "episode", qos.NEWEST)  # not latched: who is not there has missed it
    waited = threading.Event()

    def wait_and_say() -> None:
        hearers.wait_for(speaker, said, ["recorder", "policy"], threading.Event())
        waited.set()
        said.publish(String(data="running"))

    thread = threading.Thread(target=wait_and_say)
    thread.start()
    late = [make(name) for name in ("recorder", "policy")]
    late[0].create_subscription(String, "episode", lambda message: heard.append(("recorder", message.data)), 10)
    assert not waited.wait(0.5)  # one of the two
    late[1].create_subscription(String, "episode", lambda message: heard.append(("policy", message.data)), 10)
    assert waited.wait(10.0)
    thread.join()
    for one in late:
        executor = SingleThreadedExecutor(context=one.context)
        executor.add_node(one)
        executor.spin_once(timeout_sec=5.0)
        executor.shutdown()
    assert heard == [("recorder", "running"), ("policy", "running")]


def test_a_stranger_who_listens_too_stands_for_nobody(make: MakeNode) -> None:
    speaker, other = make("conductor"), make("a_bag_recorder")
    said = speaker.create_publisher(String, "episode", qos.NEWEST)
    assert hearers.unheard(speaker, said, []) == []
    other.create_subscription(String, "episode", lambda message: None, 10)
    until(lambda: said.get_subscription_count() == 1)
    until(lambda: hearers.unheard(speaker, said, ["a_bag_recorder"]) == [])
    assert hearers.unheard(speaker, said, ["recorder"]) == ["recorder"]


def test_who_does_not_come_is_waited_for_no_longer_than_it_may_take(
    make: MakeNode, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hearers, "LONGEST_S", 0.3)
    speaker = make("conductor")
    said = speaker.create_publisher(String, "episode", qos.NEWEST)
    began_s = time.monotonic()
    hearers.wait_for(speaker, said, ["recorder", "policy"], threading.Event())
    assert time.monotonic() - began_s >= 0.3
    out, err = capfd.readouterr()
    assert "nothing heard of recorder, policy: going on without" in out + err


def test_a_cell_that_closes_waits_for_nobody(make: MakeNode) -> None:
    speaker, closing = make("conductor"), threading.Event()
    said = speaker.create_publisher(String, "episode", qos.NEWEST)
    closing.set()
    began_s = time.monotonic()
    hearers.wait_for(speaker, said, ["recorder"], closing)
    assert time.monotonic() - began_s < hearers.LONGEST_S / 2
