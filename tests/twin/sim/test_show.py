import json

import pytest
from PIL import Image

from hardware.errors import BadInput
from twin.sim.show import ShowSim, show


def test_a_push_becomes_a_film_and_figures(armless, tmp_path):
    film, figures = tmp_path / "push.gif", tmp_path / "push.json"
    show(ShowSim(bundle=armless, output=film, size_px=(64, 48), envs=2, json_file=figures))
    shown = json.loads(figures.read_text())
    assert shown["thing"] == "brick"
    assert shown["moved_mm"] == pytest.approx(50 + 12 - 0.0, abs=15)  # the way, and the rod's radius
    with Image.open(film) as gif:
        assert gif.size == (64, 48)
        assert gif.n_frames > 20  # type: ignore[attr-defined]
    assert shown["timing"]["environments"] == 2


def test_a_drop_falls_and_is_filmed_as_mp4(armless, tmp_path):
    film, figures = tmp_path / "drop.mp4", tmp_path / "drop.json"
    show(ShowSim(bundle=armless, output=film, scenario="drop", thing="wedge", size_px=(48, 32), json_file=figures))
    assert film.stat().st_size > 500
    assert json.loads(figures.read_text())["moved_mm"] == pytest.approx(40, abs=8)


def test_what_cannot_be_is_refused(armless, tmp_path):
    with pytest.raises(BadInput, match="no film"):
        show(ShowSim(bundle=armless, output=tmp_path / "push.avi"))
    with pytest.raises(BadInput, match="no object 'cup'"):
        show(ShowSim(bundle=armless, thing="cup"))
    with pytest.raises(BadInput, match="no camera 'top'"):
        show(ShowSim(bundle=armless, camera="top"))
    with pytest.raises(BadInput, match=r"cannot lift .*no gripper"):
        show(ShowSim(bundle=armless, scenario="lift"))
