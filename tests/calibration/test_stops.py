"""Where a recorded arm stood still, what its cameras saw there, and which corners its tip touched."""

from pathlib import Path

import numpy as np
import pytest

from calibration import views
from calibration.calibrate_base import Touches
from calibration.calibrate_hand_eye import Sights
from calibration.stops import CollectStops, collect
from hardware.bench.arm_models import SO101
from hardware.config import read
from hardware.dataset.recording import Recording
from hardware.errors import BadInput
from hardware.kinematics import so101_kinematics

RATE_HZ, STAND_S, GO_S = 50, 1.4, 1.0
PLACES = [np.array([0.1 * n, -0.3, 0.4 + 0.05 * n, 0.2, 0.1 * n]) for n in range(4)]
NAMES = (*SO101.joints, "gripper")


def recorded(folder: Path, places: list[np.ndarray], stand_s: float = STAND_S) -> Path:
    """Stands at each place and goes on to the next; the front camera's grey is 40 times the number of that."""
    recording = Recording(folder / "seen", "look", ("cam_front",), NAMES)
    rng = np.random.default_rng(0)
    stamp_ns = 0
    for number, (here, there) in enumerate(zip(places, [*places[1:], places[-1]], strict=True)):
        stand, go = round(stand_s * RATE_HZ), round(GO_S * RATE_HZ)
        for step in range(stand + go):
            stamp_ns += 1_000_000_000 // RATE_HZ
            share = max(0, step - stand) / go
            q_rad = here + share * (there - here) + rng.normal(0, 0.0003, 5)
            assert recording.joint(stamp_ns, np.append(q_rad, 1.0))
            recording.sent(stamp_ns, np.append(q_rad, 1.0), "human")
            if step % 5 == 0:
                assert recording.image(
                    "cam_front", stamp_ns, np.full((24, 32, 3), 40 * (number + (share > 0)), np.uint8)
                )
    recording.finish(None)
    return folder / "seen"


def test_each_stop_has_its_picture_and_the_tips_pose(tmp_path: Path) -> None:
    store = recorded(tmp_path, PLACES)
    assert collect(CollectStops(episodes=store, output=tmp_path / "stops")) == 0
    sights = read(Sights, tmp_path / "stops" / "cam_front" / "views.json")
    assert sights.mounting == "eye_to_hand"
    kinematics = so101_kinematics()
    for number, (sight, place) in enumerate(zip(sights.views, PLACES, strict=True)):
        assert np.allclose(np.array(sight.T_base_tool), kinematics.T_base_tip(place).matrix, atol=2e-3)
        [file] = [f for f in views.pictures(tmp_path / "stops" / "cam_front") if f.name == str(sight.image)]
        assert abs(int(views.read_picture(file).mean()) - 40 * number) < 4


def test_touches_are_the_stops_in_the_order_of_the_corners(tmp_path: Path) -> None:
    store = recorded(tmp_path, PLACES)
    asked = CollectStops(episodes=store, output=tmp_path / "stops", corners=(0, 7, 3, 12), on_tool=("cam_front",))
    assert collect(asked) == 0
    touches = read(Touches, tmp_path / "stops" / "touches.json").touches
    assert [touch.corner for touch in touches] == [0, 7, 3, 12]
    expected = [so101_kinematics().T_base_tip(place).translation_m for place in PLACES]
    assert np.allclose([touch.tip_base_m for touch in touches], expected, atol=1e-3)
    assert read(Sights, tmp_path / "stops" / "cam_front" / "views.json").mounting == "eye_in_hand"


def test_the_same_place_twice_is_one_stop(tmp_path: Path) -> None:
    store = recorded(tmp_path, [PLACES[0], PLACES[0] + 0.008, PLACES[2]])
    collect(CollectStops(episodes=store, output=tmp_path / "stops"))
    assert len(read(Sights, tmp_path / "stops" / "cam_front" / "views.json").views) == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"still_s": 5.0}, "nowhere in"),
        ({"corners": (0, 1)}, "2 corners, and the arm stood still 4 times"),
        ({"on_tool": ("cam_wrist",)}, "no camera 'cam_wrist'"),
        ({"arm": "panda"}, "has no joint"),
    ],
)
def test_what_cannot_be_told_is_refused_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    store = recorded(tmp_path, PLACES)
    values = {"episodes": store, "output": tmp_path / "stops"} | changes
    with pytest.raises(BadInput, match=says):
        collect(CollectStops.model_validate(values))
    assert not (tmp_path / "stops").exists()
