"""Mass and friction reach an object by flags, each with where it comes from; unusable recordings are refused."""

import numpy as np
import pytest
import small_objects as small

from hardware.config import read
from hardware.errors import BadInput
from twin import collision, contact
from twin.contact import GiveContact, give, parsed
from twin.export import mjcf
from twin.object_asset import Convex, ObjectAsset
from twin.segment import SegmentTwin, segment

NAMES = ["cup", "tin"]


def written(file, header, rows):
    file.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return f"tin={file}"


def lift(folder, mass_kg=0.31, noise_n=0.05):
    rng = np.random.default_rng(1)
    rows = [("empty", 2.0 + noise_n * rng.normal()) for _ in range(100)]
    rows += [("loaded", 2.0 + mass_kg * 9.80665 + noise_n * rng.normal()) for _ in range(100)]
    return written(folder / "lift.csv", "state,force_n", rows)


def push(folder, mu=0.42, mass_kg=0.31, sliding=40):
    rows = [(0.1 * i, 0.0) for i in range(10)] + [(mu * mass_kg * 9.80665, 0.02)] * sliding
    return written(folder / "push.csv", "force_n,speed_m_s", rows)


def test_what_is_lifted_and_pushed_on_the_cell_is_estimated_and_says_from_what(tmp_path):
    known = parsed(GiveContact(bundle=tmp_path, lift=(lift(tmp_path),), push=(push(tmp_path),)), NAMES)
    mass, friction = known["tin"].mass, known["tin"].friction
    assert mass is not None
    assert friction is not None
    assert mass.value == pytest.approx(0.31, abs=0.003)  # 0.05 N · √(2/100) / g = 0.7 g; four of those
    assert friction.value == pytest.approx(0.42, rel=0.01)
    assert (mass.source, friction.source) == ("estimated", "estimated")
    assert "lift.csv" in mass.note
    assert "push.csv" in friction.note
    assert (known["cup"].mass, known["cup"].friction) == (None, None)


def test_a_given_mass_serves_a_push(tmp_path):
    known = parsed(GiveContact(bundle=tmp_path, mass=("tin=0.62",), push=(push(tmp_path),)), NAMES)["tin"]
    assert known.mass is not None
    assert known.mass.source == "given"
    assert known.friction is not None
    assert known.friction.value == pytest.approx(0.21)  # twice the mass under the same force: half the friction


def test_unusable_recordings_are_refused(tmp_path):
    def refuses(words, **flags):
        with pytest.raises(BadInput, match=words):
            parsed(GiveContact(bundle=tmp_path, **flags), NAMES)

    refuses("nobody weighed 'tin'", push=(push(tmp_path),))
    refuses("both --mass and --lift", mass=("tin=1",), lift=(lift(tmp_path),))
    refuses("both --friction and --push", friction=("tin=1",), push=(push(tmp_path),))
    refuses("no object 'pan'; have: cup, tin", lift=("pan=lift.csv",))
    refuses("cannot read the recording", lift=("tin=none.csv",))
    refuses("slid in only 2 of 12", mass=("tin=0.3",), push=(push(tmp_path, sliding=2),))
    refuses("no weight above the noise", lift=(lift(tmp_path, mass_kg=0.0005, noise_n=0.2),))
    refuses("lacks force_n; have: state", lift=(written(tmp_path / "a.csv", "state", [["empty"]]),))
    refuses("no state 'full'", lift=(written(tmp_path / "b.csv", "state,force_n", [("full", 1)]),))
    refuses("'nan' in force_n", lift=(written(tmp_path / "c.csv", "state,force_n", [("empty", "nan")]),))
    refuses("three readings", lift=(written(tmp_path / "d.csv", "state,force_n", [("empty", 1)]),))


def test_an_estimate_is_written_into_the_object_and_the_simulated_body_weighs_it(tmp_path):
    bundle = small.write(tmp_path / "twin", small.can())
    segment(SegmentTwin(bundle=bundle, object=("tin",), box=(small.CAN_FLAG,)))
    give(GiveContact(bundle=bundle, lift=(lift(tmp_path),)))
    asset = read(ObjectAsset, bundle / "objects" / "tin" / "object.json")
    assert asset.mass is not None
    assert asset.mass.source == "estimated"
    assert asset.friction_known is not None
    assert asset.friction_known.source == "table"
    assert mjcf.load(bundle).body("tin").mass[0] == pytest.approx(asset.mass.value, rel=1e-5)
    assert asset.mass_kg == pytest.approx(0.31, abs=0.003)


BLOCK = Convex(kind="box", half_m=(0.016, 0.016, 0.015), at_m=(0.001, 0.001, 0.0), yaw_rad=0.6)
LONG = Convex(kind="box", half_m=(0.05, 0.012, 0.015))
ROUND = ObjectAsset(
    name="thing", T_world_obj=tuple(map(tuple, np.eye(4).tolist())), size_m=(0.046, 0.046, 0.03), footprint="cylinder",
    gaussians=200,
)  # fmt: skip


def test_a_block_whose_outline_looked_round_is_a_box():
    """As in a scan of few photos: 205 Gaussians, and 47 pieces in place of one."""
    surface, splat = collision.as_mesh(BLOCK).subdivide_midpoint(4), small.box()
    found, turned, own = contact.settled(ROUND, surface, splat)
    assert found.footprint == "box"
    assert found.size_m == pytest.approx((0.032, 0.032, 0.03), abs=2e-3)
    assert collision.primitive(found, turned) is not None
    assert len(own) == len(splat)
    centre = np.asarray(turned.vertices).mean(axis=0)
    assert np.abs(centre).max() < 1e-3


def test_a_round_outline_stays_where_the_surface_is_no_box_either():
    """A handle would move it: two boxes that cross."""
    surface = (collision.as_mesh(LONG) + collision.as_mesh(LONG.but(yaw_rad=np.pi / 2))).subdivide_midpoint(4)
    before = np.asarray(surface.vertices).copy()
    found, same, _ = contact.settled(ROUND, surface, small.box())
    assert found is ROUND
    assert np.array_equal(np.asarray(same.vertices), before)
