"""The newest picture alone is sent, once per page, with its stamp; a slow page gets smaller ones."""

import cv2
import numpy as np

from hardware.page.pictures import HEADER, MOST_IN_FLIGHT, TIERS, Flow, Pictures
from hardware.ports import CameraImage

MS = 1_000_000


def pictures() -> tuple[Pictures, list[int]]:
    told: list[int] = []
    return Pictures(("cam_front", "cam_wrist"), 10**18, lambda: told.append(1)), told


def grey(value: int, width: int = 640) -> CameraImage:
    return CameraImage(value * MS, np.full((width * 3 // 4, width, 3), value, np.uint8))


def test_a_picture_carries_its_camera_number_and_stamp() -> None:
    ours, told = pictures()
    rgb = np.zeros((240, 320, 3), np.uint8)
    rgb[..., 0] = 200
    ours.put("cam_wrist", CameraImage(5 * MS, rgb))
    found = ours.message("cam_wrist", 0)
    assert found is not None
    number, data = found
    place, tier, _, sent_number, unix_ms = HEADER.unpack(data[: HEADER.size])
    assert (place, tier, number, sent_number) == (1, 0, 1, 1)
    assert unix_ms == (10**18 + 5 * MS) / 1e6
    shown = cv2.imdecode(np.frombuffer(data[HEADER.size :], np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert np.abs(shown[..., ::-1].astype(int) - rgb).max() < 12  # red is still red
    assert len(told) == 1


def test_only_the_newest_is_encoded_and_only_once() -> None:
    ours, _ = pictures()
    assert ours.message("cam_front", 0) is None
    for value in (10, 20, 30):
        ours.put("cam_front", grey(value))
    first, again = ours.message("cam_front", 0), ours.message("cam_front", 0)
    assert first is again
    assert first is not None
    assert first[0] == 3


def test_no_tier_makes_a_picture_too_small_to_work_from() -> None:
    ours, _ = pictures()
    ours.put("cam_front", grey(10, 640))
    found = ours.message("cam_front", len(TIERS) - 1)
    assert found is not None
    shown = cv2.imdecode(np.frombuffer(found[1][HEADER.size :], np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape[1] == 320


def test_a_page_that_acknowledges_nothing_gets_two_pictures() -> None:
    flow = Flow()
    sent = 0
    for number in range(1, 10):
        if flow.may_send(number):
            flow.left(number, 0)
            sent += 1
    assert sent == MOST_IN_FLIGHT
    flow.came(2, 10 * MS)
    assert flow.may_send(10)


def test_slow_pictures_get_smaller_and_quick_ones_larger_again() -> None:
    flow = Flow()
    flow.left(1, 0)
    flow.came(1, 200 * MS)
    assert flow.tier == 1
    for number in range(2, 22):
        flow.left(number, 0)
        flow.came(number, 20 * MS)
    assert flow.tier == 0
    flow.came(99, 10**9)  # never sent
    assert flow.tier == 0
