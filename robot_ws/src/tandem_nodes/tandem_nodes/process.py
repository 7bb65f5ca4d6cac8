"""A node's life as a process: start, spin in one thread, and an orderly end on SIGINT and SIGTERM."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from hardware import notify, priority
from hardware.errors import TandemError

WAIT_S = 1.0
"""For an event, at a time: `EventsExecutor` without a limit never sleeps (rclpy 7.1.5: its clock's end overflows)."""


class Process(Protocol):
    """What `run` needs of a node beside `rclpy.node.Node` itself."""

    def close(self) -> None:
        """Safe-stop: ends its threads and devices. ROS still works."""
        ...


def run[N: Process](make: Callable[[Callable[[int], None]], N], fifo: int | None = None) -> int:
    """Makes the node and spins it until a signal, or until the node calls what `make` got with an exit code.

    `fifo`: real-time priority of the spinning thread, for a process whose control thread shares the interpreter's
    lock with it: a thread that waits for its turn on a busy machine would keep the lock.
    """
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    ending, closed = threading.Event(), threading.Event()
    code = 0

    def end(with_code: int = 0) -> None:
        nonlocal code
        code = code or with_code
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end())
    executor = _executor()
    try:
        node = make(end)
    except TandemError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return error.exit_code
    executor.add_node(node)
    spinning = threading.Thread(target=_spin, args=(executor, closed, end, fifo), name="spin")
    spinning.start()
    notify.ready()
    ending.wait()
    node.close()
    closed.set()
    executor.wake()
    spinning.join()
    executor.shutdown()
    node.destroy_node()  # type: ignore[attr-defined]
    rclpy.try_shutdown()
    return code


def _executor() -> Executor:
    """The one that waits for events, where rclpy has it: the other builds its wait set anew for every message."""
    try:
        from rclpy.experimental import EventsExecutor  # since rclpy 7.1.4
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor()


def _spin(executor: Executor, closed: threading.Event, end: Callable[[int], None], fifo: int | None) -> None:
    if fifo is not None:
        priority.hurry(fifo)
    try:
        while not closed.is_set():
            executor.spin_once(timeout_sec=WAIT_S)
    except ExternalShutdownException:
        end(0)
    except BaseException:
        logging.getLogger("tandem_nodes").exception("the node's callbacks failed")
        end(1)
