"""A cell's limits know its arm: the tool keeps above the table whatever is asked."""

import numpy as np
import pytest

from hardware import cell, safety
from hardware.bench.arm_models import SO101
from hardware.errors import BadInput
from hardware.kinematics import so101_kinematics
from hardware.limits import Request
from hardware.ports import JointReading

STEP_NS = 10_000_000


def test_the_jaws_stay_above_the_table_when_asked_to_go_through_it() -> None:
    chosen = cell.load("bench")
    limiter, kinematics = safety.limiter(chosen), so101_kinematics()
    home = np.array(SO101.home_rad)
    limiter.start(0, JointReading(0, SO101.joints, home))
    down = home + np.array([0.0, 1.5, 0.3, -1.0, 0.0])  # the upper arm forward: the jaws far below the table
    lowest_m = np.inf
    for step in range(1, 120):
        sent = limiter.filter(step * STEP_NS, Request(SO101.joints, down))
        lowest_m = min(lowest_m, kinematics.tool_points_m(sent.q_rad)[:, 2].min())
    assert kinematics.tool_points_m(down)[:, 2].min() < -0.05
    assert chosen.limits.table_height_m is not None
    assert chosen.limits.table_height_m - 1e-4 <= lowest_m < 0.03
    assert limiter.counts["table"] > 0


def test_a_workspace_for_an_arm_without_a_model_is_refused() -> None:
    chosen = cell.load("ros2_control")
    with pytest.raises(BadInput, match="where the tool is cannot be computed"):
        safety.limiter(chosen.but(limits=chosen.limits.but(table_height_m=0.0)))


def test_limits_that_need_no_model_import_none() -> None:
    assert safety.limiter(cell.load("ros2_control")).config.names[0] == "shoulder_pan_joint"
