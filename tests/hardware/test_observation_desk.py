"""A policy sees one moment of the cell, or nothing: never a stale picture, never one from before the episode."""

import numpy as np

from hardware import cell
from hardware.observation_desk import JOINTS, ObservationDesk
from hardware.ports import CameraImage, JointReading

CELL = cell.load("bench")
SECOND_NS = 1_000_000_000
NOW_NS = 100 * SECOND_NS


def desk(joints_ns: int = NOW_NS, front_ns: int = NOW_NS, wrist_ns: int = NOW_NS) -> ObservationDesk:
    made = ObservationDesk(CELL)
    made.joints(JointReading(joints_ns, CELL.limits.names, np.zeros(5)), 0.5)
    made.image("cam_front", CameraImage(front_ns, np.zeros((2, 2, 3), np.uint8)))
    made.image("cam_wrist", CameraImage(wrist_ns, np.ones((2, 2, 3), np.uint8)))
    return made


def test_fresh_inputs_are_one_observation_with_their_own_stamps() -> None:
    seen = desk(front_ns=NOW_NS - SECOND_NS // 4).observation(NOW_NS, since_ns=NOW_NS - SECOND_NS, instruction="go")
    assert seen is not None
    assert (seen.stamp_ns, seen.gripper_open, seen.instruction) == (NOW_NS, 0.5, "go")
    assert dict(seen.image_stamps_ns) == {"cam_front": NOW_NS - SECOND_NS // 4, "cam_wrist": NOW_NS}


def test_what_is_stale_or_missing_is_named_and_nothing_is_seen() -> None:
    assert ObservationDesk(CELL).stale(NOW_NS) == (JOINTS, "cam_front", "cam_wrist")
    late = desk(wrist_ns=NOW_NS - SECOND_NS)
    assert late.stale(NOW_NS) == ("cam_wrist",)
    assert late.observation(NOW_NS, 0, "") is None
    assert desk(joints_ns=NOW_NS - SECOND_NS // 5).stale(NOW_NS) == (JOINTS,)


def test_a_picture_from_before_the_episode_is_not_seen() -> None:
    before = desk(front_ns=NOW_NS - SECOND_NS // 4)
    assert before.observation(NOW_NS, since_ns=NOW_NS - SECOND_NS // 8, instruction="") is None
    assert before.observation(NOW_NS, since_ns=NOW_NS - SECOND_NS // 2, instruction="") is not None
