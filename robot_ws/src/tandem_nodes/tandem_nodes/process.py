"""A node's life as a process: start, spin in one thread, and an orderly end on SIGINT and SIGTERM."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from hardware import notify, priority
from hardware.errors import TandemError


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
    ending = threading.Event()
    code = 0

    def end(with_code: int = 0) -> None:
        nonlocal code
        code = code or with_code
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end())
    executor = SingleThreadedExecutor()
    try:
        node = make(end)
    except TandemError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return error.exit_code
    executor.add_node(node)
    spinning = threading.Thread(target=_spin, args=(executor, end, fifo), name="spin")
    spinning.start()
    notify.ready()
    ending.wait()
    node.close()
    executor.shutdown()
    spinning.join()
    node.destroy_node()  # type: ignore[attr-defined]
    rclpy.try_shutdown()
    return code


def _spin(executor: SingleThreadedExecutor, end: Callable[[int], None], fifo: int | None) -> None:
    if fifo is not None:
        priority.hurry(fifo)
    try:
        executor.spin()
    except ExternalShutdownException:
        end(0)
    except BaseException:
        logging.getLogger("tandem_nodes").exception("the node's callbacks failed")
        end(1)
