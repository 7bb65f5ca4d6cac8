"""Mass and friction say where they come from; measurements that show nothing are refused."""

import numpy as np
import pytest

from hardware.errors import BadInput
from twin import materials


def test_a_material_weighs_its_density_times_the_volume():
    known = materials.mass(1e-3, "wood")  # one litre of wood at 600 kg/m³: 0.6 kg
    assert known.value == pytest.approx(0.6)
    assert known.source == "table"
    assert "wood" in known.note
    assert materials.friction("rubber").value == 0.8


def test_what_a_person_gives_wins():
    assert materials.mass(1e-3, "steel", 0.25).model_dump(exclude={"note"}) == {"value": 0.25, "source": "given"}
    assert materials.friction("steel", 0.9).source == "given"


def test_every_material_has_a_source_and_sensible_numbers():
    for name, known in materials.MATERIALS.items():
        assert known.source, name
        assert 100 < known.density_kg_m3 < 10_000
        assert 0.1 < known.friction < 1.2


def test_an_unknown_material_lists_those_known():
    with pytest.raises(BadInput, match="no material 'cheese'; have: wood"):
        materials.mass(1e-3, "cheese")


def test_a_lift_weighs():
    rng = np.random.default_rng(0)
    empty, loaded = rng.normal(2.0, 0.05, 200), rng.normal(2.0 + 0.21 * 9.80665, 0.05, 200)
    known = materials.mass_from_lift(empty, loaded)
    assert known.source == "estimated"
    # the mean of 200 readings of 0.05 N each way: 0.05 · √(2/200) = 0.005 N, 0.5 g; four of those
    assert known.value == pytest.approx(0.21, abs=0.002)
    with pytest.raises(BadInput, match="no weight above the noise"):
        materials.mass_from_lift(empty, empty[::-1])
    with pytest.raises(BadInput, match="three readings"):
        materials.mass_from_lift(empty[:2], loaded)


def test_a_push_gives_the_friction_of_its_sliding_part():
    speed = np.concatenate([np.zeros(20), np.full(30, 0.02)])
    push = np.concatenate([np.linspace(0, 1.2, 20), np.full(30, 0.4 * 0.3 * 9.80665)])
    assert materials.friction_from_push(push, speed, mass_kg=0.3).value == pytest.approx(0.4)
    with pytest.raises(BadInput, match="slid in only 0 of 20"):
        materials.friction_from_push(push[:20], speed[:20], mass_kg=0.3)
