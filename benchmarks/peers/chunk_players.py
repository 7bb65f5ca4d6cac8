"""Ways to turn late chunks into one command per control step: ours, plain switching, and LeRobot's queue."""

from __future__ import annotations

import logging
from math import ceil

import numpy as np
import torch
from lerobot.policies.rtc.action_interpolator import ActionInterpolator
from lerobot.policies.rtc.action_queue import ActionQueue
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from numpy import ndarray

from hardware.execution import path
from hardware.execution.executor import Executor
from hardware.messages import NANOSECONDS_PER_SECOND, ActionChunk
from hardware.ports import JointReading

CONTROL_HZ = 100.0
logging.getLogger("lerobot").setLevel(logging.ERROR)


class Ours:
    name = "Tandem"

    def __init__(self, names: tuple[str, ...], begin: ndarray, now_ns: int) -> None:
        self._executor = Executor(names, has_gripper=False)
        self._executor.start(JointReading(now_ns, names, begin), None, now_ns)

    def arrived(self, chunk: ActionChunk, observed_ns: int, now_ns: int) -> None:
        self._executor.offer(chunk, observed_ns)

    def step(self, now_ns: int) -> ndarray:
        return self._executor.tick(now_ns).q_rad


class Switch:
    """The newest chunk at once, at the row that is due by the clock; the same spline between rows as ours."""

    name = "switch"

    def __init__(self, names: tuple[str, ...], begin: ndarray, now_ns: int) -> None:
        self._path, self._ends_ns = path.line(begin, np.zeros_like(begin), now_ns), now_ns

    def arrived(self, chunk: ActionChunk, observed_ns: int, now_ns: int) -> None:
        self._path, self._ends_ns = path.through(chunk.values, chunk.due_ns(0), chunk.rate_hz), chunk.end_ns

    def step(self, now_ns: int) -> ndarray:
        return self._path.at(min(now_ns, self._ends_ns)).q


class SwitchFromFirstRow(Switch):
    """The newest chunk at once, from its first row: what a loop does that does not know of the delay."""

    name = "switch, delay ignored"

    def arrived(self, chunk: ActionChunk, observed_ns: int, now_ns: int) -> None:
        first_ns = now_ns + round(NANOSECONDS_PER_SECOND / CONTROL_HZ)
        self._path = path.through(chunk.values, first_ns, chunk.rate_hz)
        self._ends_ns = first_ns + chunk.end_ns - chunk.due_ns(0)


class LeRobot:
    """`ActionQueue` and `ActionInterpolator` of lerobot 0.6.1, called as its rollout does it.

    Its other half, guidance of the denoising by what is left in the queue, is inside the policy; recorded chunks have
    been sampled already, so it can be given to no player here.
    """

    name = "LeRobot RTC queue"

    def __init__(self, names: tuple[str, ...], begin: ndarray, now_ns: int) -> None:
        self._queue = ActionQueue(RTCConfig(enabled=True))
        self._interpolator: ActionInterpolator | None = None
        self._last = begin

    def arrived(self, chunk: ActionChunk, observed_ns: int, now_ns: int) -> None:
        if self._interpolator is None:
            self._interpolator = ActionInterpolator(multiplier=round(CONTROL_HZ / chunk.rate_hz))
        actions = torch.from_numpy(chunk.values)
        delay = ceil((now_ns - observed_ns) / NANOSECONDS_PER_SECOND * chunk.rate_hz)
        self._queue.merge(actions, actions, delay)

    def step(self, now_ns: int) -> ndarray:
        if self._interpolator is not None:
            if self._interpolator.needs_new_action() and (action := self._queue.get()) is not None:
                self._interpolator.add(action)
            action = self._interpolator.get()
            if action is not None:
                self._last = action.numpy()
        return self._last


PLAYERS = (Ours, LeRobot, Switch, SwitchFromFirstRow)
