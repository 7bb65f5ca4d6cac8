import json
from pathlib import Path

import moving_arm
import numpy as np
import pushable_twin
import pytest

from hardware.bench.arm_models import SO101
from hardware.dataset.recording import Recording
from hardware.errors import BadInput, GateFailed
from hardware.spatial import Pose
from twin import compare, object_tracks, replay, tracks
from twin.compare import CompareTwin
from twin.object_tracks import ObjectTracks
from twin.parity_script import Act, acts
from twin.replay import Commands
from twin.sim import scene
from twin.sim.mujoco import MujocoSim

HZ = 100.0
BASE_NS = 5_000_000_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pushable_twin.write(tmp_path_factory.mktemp("twin") / "bundle")


@pytest.fixture(scope="module")
def lift(bundle: Path) -> Act:
    return acts(scene.read(bundle), "block", 50.0)[0]["lift"]


def record(store: Path, bundle: Path, act: Act, push_m: float = 0.0) -> Path:
    """The twin itself as the cell: what it does is recorded; `push_m` shifts the tracks of its block."""
    simulator = MujocoSim(scene.read(bundle), 1, 1, HZ)
    doubled = np.repeat(act.actions, 2, axis=0)
    track = tracks.play(simulator, [act.start], doubled[None]).tracks[0]
    recording = Recording(store, "lift", (), (*SO101.joints, "gripper"))
    for at_s, q, opening in zip(track.time_s, track.q_rad, track.gripper_open, strict=True):
        recording.joint(BASE_NS + round(at_s * 1e9), np.append(q, opening))
    for step, action in enumerate(act.actions):
        recording.sent(BASE_NS + round(step / 50.0 * 1e9), action, "scripted")
    number = recording.finish(True).number
    poses = track.Ts_base_object["block"].copy()
    poses[1:, 0, 3] += push_m
    rows = tuple(object_tracks.as_row(Pose("base", "block", pose)) for pose in poses)
    stamps = tuple(BASE_NS + round(at_s * 1e9) for at_s in track.time_s)
    object_tracks.write(store, number, ObjectTracks(source="twin", stamp_ns=stamps, poses={"block": rows}))
    return store


def outcomes(file: Path, twin: dict[str, int]) -> Path:
    """Five policies that succeed 0, 5, 10, 15 and 20 times of 20 in the cell."""
    rows = [
        {"name": name, "real": [n < 5 * index for n in range(20)], "twin": [n < won for n in range(20)]}
        for index, (name, won) in enumerate(twin.items())
    ]
    file.write_text(json.dumps({"policies": rows}))
    return file


def test_an_episode_of_the_twin_itself_is_replayed_where_it_was(bundle: Path, lift: Act, tmp_path: Path) -> None:
    """Same physics, same commands: what is left is the rounding of stamps to nanoseconds."""
    store = record(tmp_path / "store", bundle, lift)
    config = CompareTwin(bundle=bundle, episodes=store, json_file=tmp_path / "out.json")
    assert compare.compare(config) == 0
    row = json.loads((tmp_path / "out.json").read_text())["episodes"][0]
    assert row["tool_worst_mm"] < 1.0
    assert row["things"][0]["handled_worst_mm"] < 2.0
    assert row["things"][0]["handled_s"] > 1.0
    for name in ("compare.json", "compare.png", "compare.html"):
        assert (bundle / "compare" / name).is_file()


def test_a_thing_that_went_elsewhere_on_the_cell_fails_the_gate(bundle: Path, lift: Act, tmp_path: Path) -> None:
    store = record(tmp_path / "store", bundle, lift, push_m=0.03)
    comparison, _ = compare.measure(CompareTwin(bundle=bundle, episodes=store))
    assert comparison.episodes[0].things[0].end_mm == pytest.approx(30.0, abs=2.0)
    tool, thing = comparison.gates
    assert tool.passed
    assert not thing.passed
    with pytest.raises(GateFailed, match="things while handled"):
        compare.compare(CompareTwin(bundle=bundle, episodes=store, output=tmp_path / "report"))


def test_policies_add_r_and_mmrv(bundle: Path, lift: Act, tmp_path: Path) -> None:
    store = record(tmp_path / "store", bundle, lift)
    twin = dict(zip("abcde", (1, 5, 9, 15, 20), strict=True))
    file = outcomes(tmp_path / "policies.json", twin)
    config = CompareTwin(bundle=bundle, episodes=store, policies=file, output=tmp_path / "report")
    assert compare.compare(config) == 0
    page = (tmp_path / "report" / "compare.html").read_text()
    assert "over 5 policies" in page
    assert (tmp_path / "report" / "policies.png").is_file()


def test_a_command_acts_after_its_delay() -> None:
    """Commands at 0 and 0.05 s. With a delay of 20 ms the second is in force from 0.07 s on."""
    commands = moving_arm.swings(0.15, 1)
    at = commands.at(np.array([0.0, 0.05, 0.0699, 0.0701]), 0.02)
    np.testing.assert_array_equal(at, commands.actions[[0, 0, 0, 1]])


def test_only_the_time_between_rests_counts() -> None:
    """1 cm to the side over rows 3 … 5 of 10; row 3 is the first that has left, row 4 the last on its way."""
    poses = np.tile(np.eye(4), (10, 1, 1))
    poses[3:, 0, 3] = [0.004, 0.008, 0.01, 0.01, 0.01, 0.01, 0.01]
    np.testing.assert_array_equal(np.flatnonzero(replay.between_rests(poses)), [3, 4])


def test_tracks_are_read_between_stamps(tmp_path: Path) -> None:
    rows = ((0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0), (0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    object_tracks.write(tmp_path, 3, ObjectTracks(source="x", stamp_ns=(0, 100), poses={"cup": rows}))
    known = object_tracks.find(tmp_path, 3)
    assert known is not None
    T = known.at("cup", np.array([25.0, 75.0]))
    np.testing.assert_allclose(T[:, 0, 3], [0.025, 0.075])
    np.testing.assert_allclose(T[:, 0, 0], [1.0, -1.0])
    assert object_tracks.find(tmp_path, 4) is None


def test_tracks_out_of_order_or_uneven_are_refused() -> None:
    row = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="must increase"):
        ObjectTracks(source="x", stamp_ns=(1, 1), poses={"cup": (row, row)})
    with pytest.raises(ValueError, match="1 poses at 2 stamps"):
        ObjectTracks(source="x", stamp_ns=(1, 2), poses={"cup": (row,)})


def test_pictures_alike_score_higher_than_pictures_apart() -> None:
    rng = np.random.default_rng(0)
    real = rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)
    near = np.clip(real.astype(int) + 5, 0, 255).astype(np.uint8)
    psnr_db, ssim = compare.compare_pictures(real, near)
    assert psnr_db == pytest.approx(20 * np.log10(255 / 5), abs=0.5)
    assert ssim > 0.95
    assert compare.compare_pictures(real, 255 - real)[0] < 10.0


def test_episodes_of_another_arm_and_empty_stores_are_refused(bundle: Path, tmp_path: Path) -> None:
    recording = Recording(tmp_path / "other", "wave", (), ("a", "b"))
    for at in range(3):
        recording.joint(BASE_NS + at * 10_000_000, np.zeros(2))
        recording.sent(BASE_NS + at * 10_000_000, np.zeros(2), "human")
    with pytest.raises(BadInput, match="no finished episode"):
        compare.measure(CompareTwin(bundle=bundle, episodes=tmp_path / "other"))
    recording.finish()
    with pytest.raises(BadInput, match="bundle of the same arm"):
        compare.measure(CompareTwin(bundle=bundle, episodes=tmp_path / "other"))
    with pytest.raises(BadInput, match="no episode store"):
        compare.measure(CompareTwin(bundle=bundle, episodes=tmp_path / "nowhere"))


def test_columns_in_another_order_are_put_right(bundle: Path, tmp_path: Path) -> None:
    names = ("gripper", *reversed(SO101.joints))
    recording = Recording(tmp_path / "store", "wave", (), names)
    for at in range(3):
        recording.joint(BASE_NS + at * 10_000_000, np.arange(6.0))
        recording.sent(BASE_NS + at * 10_000_000, np.arange(6.0) / 10, "human")
    commands = Commands.of(recording.finish(), SO101.joints)
    np.testing.assert_allclose(commands.q_rad[0], [5, 4, 3, 2, 1])
    np.testing.assert_allclose(commands.actions[0], [0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    assert commands.gripper_open[0] == 0.0


def test_a_replay_takes_one_environment(bundle: Path) -> None:
    simulator = MujocoSim(scene.read(bundle), 2, 1, HZ)
    with pytest.raises(BadInput, match="one environment"):
        replay.run(simulator, moving_arm.swings(0.1, 0), None)
