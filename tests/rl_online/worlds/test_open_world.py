"""A world's settings that cannot be are refused before it is opened."""

import pytest

from rl_online.worlds.open_world import WorldChoice, plant_config


@pytest.mark.parametrize("wrong", [{"camera_px": 1}, {"seed": -1}, {"rate_hz": 0.0}])
def test_what_no_world_can_have_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="greater than"):
        WorldChoice.model_validate(wrong)


def test_the_smallest_picture_still_has_a_row() -> None:
    """Width 2, so height 2 · 3 // 4 = 1."""
    camera = plant_config(WorldChoice(camera_px=2)).cameras["cam_front"]
    assert (camera.width_px, camera.height_px) == (2, 1)
