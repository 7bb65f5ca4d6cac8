"""The demo's push: the tip reaches where it should, and a picture that moves is written."""

import numpy as np
import PIL.Image

from hardware.bench import so101
from hardware.kinematics import so101_kinematics
from twin import report_page
from twin.push_demo import flag, reached, write_gif
from twin.region import Box


def test_the_tip_comes_to_a_point_low_over_the_table():
    point = np.array([0.17, -0.19, 0.03])
    q_rad = reached(np.add(so101.REST_RAD[:5], (0, 0.6, -0.6, 0.5, 0)), point)
    assert np.linalg.norm(so101_kinematics().T_base_tip(q_rad).translation_m - point) < 0.004


def test_a_box_becomes_the_flag_that_a_person_would_type():
    box = Box((0.1, -0.2, 0.03), (0.05, 0.06, 0.07))
    assert Box.parse(flag(box)) == box


def test_frames_become_a_moving_picture_in_the_page(tmp_path):
    frames = [np.full((20, 30, 3), level, np.uint8) for level in (20, 120, 220)]
    write_gif(tmp_path / "push.gif", frames)
    with PIL.Image.open(tmp_path / "push.gif") as picture:
        assert picture.n_frames == 3
        assert picture.size == (30, 20)
    assert report_page.moving_picture(tmp_path / "push.gif", "a push").startswith(
        '<img src="data:image/gif;base64,'
    )
    assert report_page.moving_picture(tmp_path / "none.gif", "a push") == ""
