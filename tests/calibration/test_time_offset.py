"""Clock offsets: put in on purpose, found again; on a simulated wrist and on a recorded arm."""

import numpy as np
import pytest
from real_sets import eth_streams, needs_data

from calibration import time_offset
from calibration.time_offset import PoseStream
from hardware.errors import BadInput
from hardware.spatial import Pose

T_TOOL_CAM = Pose.exp("tool", "cam", np.array([-0.02, 0.03, 0.05, 0.1, -0.2, 1.5]))
T_BASE_BOARD = Pose.exp("base", "board", np.array([0.4, -0.1, 0.02, 0.02, -0.03, 0.4]))


def waving(stamps_s):
    """T_base_tool of a wrist that turns about two axes."""
    t = stamps_s
    twists = np.stack(
        [
            0.4 + 0.02 * np.sin(t),
            0.1 * np.sin(0.7 * t),
            0.3 + 0 * t,
            0.6 * np.sin(1.3 * t),
            0.5 * np.sin(1.9 * t + 1),
            0 * t,
        ],
        -1,
    )
    return np.array([Pose.exp("base", "tool", twist).matrix for twist in twists])


def streams(offset_s, seed=0):
    """The robot at 100 Hz, the camera at 30 Hz on a clock that is `offset_s` early, with noise."""
    rng = np.random.default_rng(seed)
    robot_s = np.arange(0, 20, 0.01)
    camera_s = np.arange(0.5, 19, 1 / 30) + rng.uniform(-0.002, 0.002, len(np.arange(0.5, 19, 1 / 30)))
    Ts = np.array(
        [
            (Pose("base", "tool", T) @ T_TOOL_CAM).inverse().matrix
            @ T_BASE_BOARD.matrix
            @ Pose.exp("board", "board", rng.normal(0, 1, 6) * np.repeat([5e-4, 2e-3], 3)).matrix
            for T in waving(camera_s)
        ]
    )
    return PoseStream(robot_s, waving(robot_s)), PoseStream(camera_s - offset_s, Ts)


@pytest.mark.parametrize("offset_s", [0.04, -0.73])
def test_an_offset_put_in_is_found_within_three_milliseconds(offset_s):
    found = time_offset.solve(*streams(offset_s), "eye_in_hand")
    assert found.offset_s == pytest.approx(offset_s, abs=0.003)
    assert found.answer.X.distance_to(T_TOOL_CAM)[0] < 2e-3


def test_streams_that_do_not_move_or_do_not_match_are_refused():
    robot, camera = streams(0.0)
    still = PoseStream(camera.stamps_s, np.tile(np.eye(4), (len(camera.stamps_s), 1, 1)))
    resting = PoseStream(robot.stamps_s, np.tile(np.eye(4), (len(robot.stamps_s), 1, 1)))
    with pytest.raises(BadInput, match="hardly turned"):
        time_offset.solve(resting, still, "eye_in_hand")
    with pytest.raises(BadInput, match="must increase; sample 5"):
        PoseStream(np.array([0, 1, 2, 3, 4, 4, *range(5, 30)], float), np.tile(np.eye(4), (31, 1, 1)))


@needs_data
@pytest.mark.slow
def test_forty_milliseconds_put_into_a_recorded_stream_come_back():
    found = {late_s: time_offset.solve(*eth_streams(late_s), "eye_in_hand") for late_s in (0.0, 0.04)}
    assert found[0.04].offset_s - found[0.0].offset_s == pytest.approx(0.04, abs=0.003)
    assert found[0.0].answer.spread_mm < 4.0
