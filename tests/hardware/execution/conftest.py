"""A small cell without time: an executor, a clock that the test moves, and what was commanded."""

from __future__ import annotations

import numpy as np
import pytest

from hardware.execution.executor import Executor
from hardware.messages import ActionChunk
from hardware.ports import JointReading

STEP_NS = 10_000_000
START_NS = 50_000_000_000
JOINTS = ("shoulder", "elbow")


class Rig:
    """Two joints and a gripper (or not)."""

    def __init__(self, config=None, q=(0.0, 0.0), gripper: float | None = 1.0, source="policy"):
        self.executor = Executor(JOINTS, config, has_gripper=gripper is not None, source=source)
        self.now_ns = START_NS
        self.commands = []
        self.executor.start(JointReading(START_NS, JOINTS, np.array(q, dtype=float)), gripper, START_NS)

    def run(self, steps, step_ns=STEP_NS):
        for _ in range(steps):
            self.now_ns += step_ns
            self.commands.append(self.executor.tick(self.now_ns))
        return self.commands[-1]

    def chunk(self, values, ago_ns=0, rate_hz=20.0, **changes):
        """A chunk that answers an observation made `ago_ns` before now; a function is sampled when rows are due."""
        start_ns = self.now_ns - ago_ns
        if callable(values):
            due_s = [(start_ns - START_NS) / 1e9 + (row + 1) / rate_hz for row in range(40)]
            values = np.array([values(t) for t in due_s], dtype=float)
        fields = {
            "start_ns": start_ns,
            "rate_hz": rate_hz,
            "space": "joint_pos_rad",
            "names": self.executor.names,
            "values": np.asarray(values, dtype=float),
        }
        return ActionChunk(**(fields | changes))

    def offer(self, values, ago_ns=0, rate_hz=20.0, **changes):
        chunk = self.chunk(values, ago_ns, rate_hz, **changes)
        return self.executor.offer(chunk, self.now_ns - ago_ns)

    def human(self, q, gripper=None, ago_ns=0, speed_rad_s=None):
        speeds = None if speed_rad_s is None else np.array(speed_rad_s, dtype=float)
        return self.executor.human_command(np.array(q, dtype=float), gripper, self.now_ns - ago_ns, speeds)

    @property
    def counts(self):
        return self.executor.status.counts

    @property
    def seams(self):
        return [command.seam for command in self.commands if command.seam is not None]

    def positions(self):
        return np.array([command.q_rad for command in self.commands])


@pytest.fixture
def rig():
    """The class: a test makes as many as it needs."""
    return Rig
