import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pushable_twin
import pytest

from hardware.errors import BadInput, GateFailed
from hardware.spatial import Pose
from twin import parity, parity_report, tracks
from twin.parity import CheckParity
from twin.parity_script import SLIDE_M, Act, Scenario, acts, acts_within_reach, clear, slid
from twin.sim import scene
from twin.sim.mujoco import MujocoSim
from twin.tracks import Played, Track

RATE_HZ = 50.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pushable_twin.write(tmp_path_factory.mktemp("twin") / "bundle")


@pytest.fixture(scope="module")
def wanted(bundle: Path) -> dict[Scenario, Act]:
    found, missing = acts(scene.read(bundle), "block", RATE_HZ)
    assert missing == {}
    return found


@pytest.fixture(scope="module")
def played(bundle: Path, wanted: dict[Scenario, Act]) -> Played:
    return parity.play(CheckParity(bundle=bundle), "mujoco", list(wanted.values()))


def test_every_scenario_does_what_it_is_called(played: Played, wanted: dict[Scenario, Act]) -> None:
    track = dict(zip(wanted, played.tracks, strict=True))

    def went_m(scenario: Scenario) -> np.ndarray:
        poses = track[scenario].Ts_base_object["block"]
        return poses[-1, :3, 3] - poses[0, :3, 3]

    assert went_m("drop")[2] == pytest.approx(-0.04, abs=0.002)
    assert np.linalg.norm(went_m("push")[:2]) > 0.03
    assert np.linalg.norm(went_m("slide")[:2]) > 0.03
    assert went_m("lift")[2] > 0.04


def test_a_slide_is_as_long_as_friction_says_and_nothing_touches_it(
    played: Played, wanted: dict[Scenario, Act]
) -> None:
    """v² / 2µg is the same for every friction, as the speed is made from it. The arm stays at home."""
    track = dict(zip(wanted, played.tracks, strict=True))["slide"]
    poses = track.Ts_base_object["block"]
    assert np.linalg.norm(poses[-1, :2, 3] - poses[0, :2, 3]) == pytest.approx(SLIDE_M, rel=0.05)
    assert float(tracks.apart_mm(track.Ts_base_tool[:1], track.Ts_base_tool[-1:])[0]) < 1.0
    assert wanted["slide"].start.speeds_m_s["block"][2] == pytest.approx(0.0, abs=1e-9)


def test_a_start_a_hair_elsewhere_slides_as_far(bundle: Path, wanted: dict[Scenario, Act]) -> None:
    """So that a difference between engines is theirs: the start's 0.05 mm stay 0.05 mm. (A shove made 34 of them.)"""
    slide, ends = wanted["slide"], []
    simulator = MujocoSim(scene.read(bundle), 1, 1, RATE_HZ)
    for x_m in (0.0, 5e-5):
        moved = Pose.from_parts("base", "base", np.eye(3), (x_m, 0.0, 0.0)) @ slide.start.objects["block"]
        played = tracks.play(simulator, [replace(slide.start, objects={"block": moved})], slide.actions[None])
        ends.append(played.tracks[0].Ts_base_object["block"][-1, :3, 3])
    assert 1000 * np.linalg.norm(ends[1] - ends[0]) < 0.3


def test_a_thing_hemmed_in_does_not_slide(bundle: Path) -> None:
    world = scene.read(bundle)
    asset = world.objects[world.object_names.index("block")]
    at = world.Ts_base_scan["block"]
    sides = [sign * axis for axis in np.eye(3)[:2] for sign in (1.0, -1.0)]
    brick = world.Ts_base_scan["brick"].translation_m - at.translation_m
    towards = brick / np.linalg.norm(brick)
    beside = Pose.from_parts("base", "block", at.rotation, at.translation_m + brick - 0.12 * towards)
    free = slid(world, asset, beside, [towards, -towards], np.zeros(7), RATE_HZ)
    assert free.start.speeds_m_s["block"] @ towards < 0
    with pytest.raises(BadInput, match="stands within 100 mm"):
        slid(world, asset, beside, [towards], np.zeros(7), RATE_HZ)
    assert slid(world, asset, at, sides, np.zeros(7), RATE_HZ).scenario == "slide"


def test_the_same_engine_agrees_with_itself(played: Played, wanted: dict[Scenario, Act]) -> None:
    found = parity.compare("mujoco", wanted, played, played)
    for row in found.scenarios:
        assert row.object_worst_mm == row.tool_worst_mm == row.joints_worst_deg == 0.0
        assert row.event_ms == 0.0


def test_coarser_steps_differ_a_little(bundle: Path, played: Played, wanted: dict[Scenario, Act]) -> None:
    """The same engine with steps of 5 ms instead of 2 stands in for another one."""
    drop = wanted["drop"]
    simulator = MujocoSim(scene.read(bundle), 1, 1, RATE_HZ, timestep_s=0.005)
    other = tracks.play(simulator, [drop.start], drop.actions[None])
    row = parity.difference("drop", "block", played.tracks[0], other.tracks[0])
    assert 0.0 < row.object_worst_mm < 3.0
    assert row.event_ms is not None
    assert 0.0 < abs(row.event_ms) < 60.0


def test_the_report_is_written(bundle: Path, played: Played, wanted: dict[Scenario, Act], tmp_path: Path) -> None:
    moved = [shifted(track, 0.004) for track in played.tracks]
    far = Played(tuple(moved), played.step_s)
    found = (parity.compare("mujoco_warp", wanted, played, far),)
    travel = dict.fromkeys(wanted, 1.0)
    result = parity.ParityResult(
        object_name="block",
        rate_hz=RATE_HZ,
        reference=parity.Reference(engine="mujoco", step_ms=1.0, travel_mm=travel),
        engines=found,
        gates=tuple(parity.gates(found)),
    )
    parity_report.write(tmp_path, result, {"mujoco": played, "mujoco_warp": far})
    assert json.loads((tmp_path / "parity.json").read_text())["engines"][0]["scenarios"][0]["object_end_mm"] == (
        pytest.approx(4.0)
    )
    assert (tmp_path / "parity.png").read_bytes().startswith(b"\x89PNG")
    assert "drop in mujoco_warp" in (tmp_path / "parity.html").read_text()
    assert [gate.passed for gate in result.gates] == [False, True, True, True]  # 3 mm for a drop, more for the rest


def shifted(track: Track, by_m: float) -> Track:
    poses = track.Ts_base_object["block"].copy()
    poses[1:, 0, 3] += by_m
    return replace(track, Ts_base_object={"block": poses})


def test_a_scan_that_leans_is_put_upright() -> None:
    from twin.parity_script import upright

    leaning = Pose.exp("base", "block", np.array([0.1, 0.2, 0.0, 0.1, 0.0, 0.5]))
    level = upright(leaning)
    assert level.rotation[2, 2] == pytest.approx(1.0)
    assert np.arctan2(*level.rotation[1::-1, 0]) == pytest.approx(np.arctan2(*leaning.rotation[1::-1, 0]))


def test_a_twin_without_a_robot_cannot_lift(tmp_path: Path) -> None:
    world = scene.read(pushable_twin.write(tmp_path / "bundle", robot=False))
    found, missing = acts(world, "brick", RATE_HZ)
    assert set(found) == {"drop", "slide", "push"}
    assert missing == {"lift": "a twin without a robot has no gripper"}


def test_things_out_of_reach_and_unknown_ones_are_refused(bundle: Path) -> None:
    world = scene.read(bundle)
    with pytest.raises(BadInput, match="cannot push 'brick'"):
        acts(world, "brick", RATE_HZ)
    with pytest.raises(BadInput, match="have: block, brick, wedge"):
        acts(world, "mug", RATE_HZ)


def test_a_thing_out_of_reach_is_brought_nearer_until_it_can_be_lifted_and_that_is_said(bundle: Path) -> None:
    """The brick stands 430 mm from the arm; an SO-101 grips at most 330 mm away."""
    world = scene.read(bundle)
    found, missing = acts_within_reach(world, "brick", RATE_HZ)
    assert missing == {}
    at = {tuple(found[scenario].start.objects["brick"].translation_m[:2]) for scenario in found}
    assert len(at) == 1
    seen = world.Ts_base_scan["brick"].translation_m[:2]
    near = np.array(next(iter(at)))
    assert float(np.cross(np.append(near, 0), np.append(seen, 0))[2]) == pytest.approx(0.0, abs=1e-9)
    moved_mm = parity.brought_nearer_mm(world, found, "brick")
    assert moved_mm == pytest.approx(1000 * (np.linalg.norm(seen) - np.linalg.norm(near)))
    assert 90 < moved_mm < 250


def test_what_the_arm_reaches_stays_where_the_scan_saw_it(bundle: Path) -> None:
    world = scene.read(bundle)
    found, _ = acts_within_reach(world, "block", RATE_HZ)
    assert parity.brought_nearer_mm(world, found, "block") == pytest.approx(0.0, abs=1e-9)


def test_nothing_is_brought_into_another_thing_or_under_the_arm(bundle: Path) -> None:
    """The block stands 201 mm before the arm: 60 mm nearer would be under it; the brick's way ends at the block."""
    world = scene.read(bundle)
    assert not clear(world, "block", 0.06)
    brick_m = np.linalg.norm(world.Ts_base_scan["brick"].translation_m[:2])
    block_m = np.linalg.norm(world.Ts_base_scan["block"].translation_m[:2])
    assert not clear(world, "brick", float(brick_m - block_m))


def test_an_engine_named_twice_is_refused(bundle: Path) -> None:
    with pytest.raises(BadInput, match="named twice"):
        parity.measure(CheckParity(bundle=bundle, engines=("mujoco", "mujoco")))


def test_engines_that_part_fail_the_gate(played: Played, wanted: dict[Scenario, Act]) -> None:
    from hardware import gate

    far = Played(tuple(shifted(track, 0.02) for track in played.tracks), 0.0)
    with pytest.raises(GateFailed, match="lift in mujoco_warp"):
        gate.check(parity.gates((parity.compare("mujoco_warp", wanted, played, far),)))
