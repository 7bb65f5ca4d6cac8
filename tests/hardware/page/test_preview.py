"""What of the newest chunks is still to be driven."""

import numpy as np

from hardware.messages import ActionChunk
from hardware.page.preview import ChunkPreview

S = 1_000_000_000
NAMES = ("a", "b")


def chunk(start_s: float, first: float) -> ActionChunk:
    """Ten rows a tenth of a second apart, the gripper between the joints."""
    rows = first + np.arange(10)
    return ActionChunk(
        round(start_s * S), 10.0, "joint_pos_rad", ("b", "gripper", "a"), np.c_[-rows, rows * 0, rows]
    )


def test_the_rows_still_due_of_the_newest_two_come_in_the_order_of_the_cells_joints() -> None:
    preview = ChunkPreview(NAMES)
    for number in range(3):
        preview.add(chunk(1.0 + 0.4 * number, 100.0 * number))
    before, newest = preview.due_rad(round(1.85 * S))  # 1.8 is over: rows due at 1.9 … 2.4 and 1.9 … 2.8
    assert before[:, 0].tolist() == [104, 105, 106, 107, 108, 109]
    assert newest[:, 0].tolist() == list(range(200, 210))
    assert newest[:, 1].tolist() == (-newest[:, 0]).tolist()


def test_what_is_over_is_gone_and_what_cannot_be_drawn_never_comes() -> None:
    preview = ChunkPreview(NAMES)
    preview.add(chunk(1.0, 0.0))
    preview.add(ActionChunk(S, 10.0, "tcp_delta_m_rad", NAMES, np.zeros((10, 2))))
    preview.add(ActionChunk(S, 10.0, "joint_pos_rad", ("a", "c"), np.zeros((10, 2))))
    assert len(preview.due_rad(round(1.5 * S))) == 1
    assert preview.due_rad(2 * S) == []
