import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.dataset.column import ColumnWriter
from hardware.dataset.frame_grid import Alignment
from hardware.dataset.picture import Jpeg, Raw
from hardware.dataset.recording import Recording, RecordingConfig
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput

WRITER = Path(__file__).with_name("record_until_killed.py")
ROOT = Path(__file__).parents[3]
spec = importlib.util.spec_from_file_location("record_until_killed", WRITER)
assert spec is not None
assert spec.loader is not None
writer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writer)

S = 1_000_000_000
SMALL = np.zeros((8, 8, 3), np.uint8)


def start(store: Path, **config: object) -> Recording:
    return Recording(store, "wipe", ["front"], ["a", "b"], config=RecordingConfig.model_validate(config))


def fill(recording: Recording, seconds: float = 1.0, start_ns: int = S) -> None:
    for number in range(int(seconds * 100)):
        stamp_ns = start_ns + number * 10_000_000
        recording.joint(stamp_ns, np.array([number, -number], float))
        recording.sent(stamp_ns, np.array([number + 1.0, 0]), "scripted")
        if number % 3 == 0:
            recording.image("front", stamp_ns, np.full((16, 24, 3), number, np.uint8))


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    recording = start(tmp_path / "store", encoding=Raw())
    fill(recording)
    episode = recording.finish(success=True)
    assert episode.manifest.success is True
    assert np.array_equal(episode.q_rad, [[n, -n] for n in range(100)])
    assert np.array_equal(episode.sent[:, 0], np.arange(1, 101))
    assert np.isnan(episode.dq_rad_s).all()
    assert [int(episode.cameras["front"].picture(row)[0, 0, 0]) for row in range(34)] == list(range(0, 100, 3))
    assert np.array_equal(episode.streams.picture_ns["front"], S + np.arange(0, 100, 3) * 10_000_000)
    frame = episode.frame(3)
    assert frame.source == "scripted"
    assert frame.observation.instruction == "wipe"


def test_zarr_itself_reads_the_store_during_and_after(tmp_path: Path) -> None:
    recording = start(tmp_path / "store", encoding=Raw())
    fill(recording)
    assert recording.flush()
    q = zarr.open_group(tmp_path / "store", mode="r")["episodes/000000/joints/q_rad"]
    assert isinstance(q, zarr.Array)
    assert np.array_equal(q[:100], [[n, -n] for n in range(100)])
    recording.finish()
    group = zarr.open_group(tmp_path / "store", mode="r")
    q = group["episodes/000000/joints/q_rad"]
    assert isinstance(q, zarr.Array)
    assert q.shape == (100, 2)
    members = [name for name, _ in group.members(max_depth=None)]  # a stray file would be warned of: an error here
    assert "episodes/000000/cameras/front/bytes" in members


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    sources=st.lists(st.sampled_from(["policy", "human", "scripted", "twin"]), min_size=60, max_size=60),
)
def test_every_float_and_source_survives_the_round_trip(
    rows: list[float], sources: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    recording = Recording(tmp_path_factory.mktemp("law") / "s", "t", [], ["a"])
    for number, value in enumerate(rows):
        recording.joint(S + number, np.array([value]), np.array([value / 3]))
        recording.sent(S + number, np.array([value * 2]), sources[number])
    episode = recording.finish(None)
    assert episode.q_rad[:, 0].tolist() == rows
    assert episode.dq_rad_s[:, 0].tolist() == [value / 3 for value in rows]
    assert episode.sent[:, 0].tolist() == [value * 2 for value in rows]
    have = ("policy", "human", "scripted", "twin")
    assert [have[code] for code in episode.streams.sent_source] == sources[: len(rows)]


def test_a_camera_whose_arrays_were_being_made_at_the_kill_costs_nothing_else(tmp_path: Path) -> None:
    recording = start(tmp_path / "store")
    for number in range(100):
        recording.joint(S + number, np.array([number, -number], float))
    assert recording.flush()
    shutil.copytree(tmp_path / "store", tmp_path / "killed")
    ColumnWriter(tmp_path / "killed/episodes/000000/cameras/front", "stamp_ns", "int64", (), 64)
    start(tmp_path / "killed").discard()
    (episode,) = EpisodeStore(tmp_path / "killed").episodes()
    assert episode.manifest.interrupted
    assert np.array_equal(episode.q_rad[:, 0], range(100))


def test_a_jpeg_picture_comes_back_close(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(0, 200, 64), np.linspace(0, 200, 48))
    rgb = np.stack([x, y, (x + y) / 2], -1) + rng.normal(0, 2, (48, 64, 3))
    rgb = np.clip(rgb, 0, 255).astype(np.uint8)
    recording = start(tmp_path / "s", encoding=Jpeg(quality=95))
    recording.image("front", S, rgb)
    back = recording.finish().cameras["front"].picture(0)
    assert np.abs(back.astype(int) - rgb).mean() < 3
    assert back[0, -1, 0] > 150 > 60 > back[0, -1, 1]  # red on the right: rgb, not bgr


def run_until_killed(store: Path, after_s: float, faster: float) -> dict[str, int]:
    """What the writer had acknowledged when it was killed."""
    process = subprocess.Popen(
        [sys.executable, str(WRITER), str(store), str(faster)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
    reader.start()
    time.sleep(after_s)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    reader.join()
    process.stdout.close()
    whole = [line for line in lines if line.endswith("}\n")]
    return json.loads(whole[-1])


def test_all_that_was_acknowledged_is_readable_after_kill_9_at_any_moment(tmp_path: Path) -> None:
    store, rng = tmp_path / "store", np.random.default_rng(7)
    for kill in range(6):
        acknowledged = run_until_killed(store, rng.uniform(0.0, 0.5), faster=rng.choice([1, 20]))
        episode = EpisodeStore.open(store).episode(kill)  # the next writer seals it and begins a new one
        read_back(episode, acknowledged)
    sealed = EpisodeStore.open(store).seal_interrupted()
    assert [episode.number for episode in sealed] == [5]
    for episode in EpisodeStore.open(store).finished():
        assert episode.manifest.interrupted
        spans = episode.manifest.spans
        assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])][: len(spans)]
        assert (spans[-1].stop if spans else 0) == len(episode)


def read_back(episode, acknowledged: dict[str, int]) -> None:
    for stream, count in acknowledged.items():
        assert episode.rows_of(stream) >= count
    rows = episode.rows_of("joints")
    assert np.array_equal(episode.q_rad, np.array([writer.angles(row) for row in range(rows)]).reshape(-1, 3))
    assert np.array_equal(episode.streams.joint_ns, writer.START_NS + np.arange(rows) * writer.JOINT_PERIOD_NS)
    for name, camera in episode.cameras.items():
        for row in range(episode.rows_of(f"cameras/{name}")):
            assert camera.intact(row)
            assert (camera.picture(row) == writer.shade(name, row)).all()


def test_a_torn_tail_is_never_read(tmp_path: Path) -> None:
    recording = start(tmp_path / "s")
    fill(recording, 0.5)
    recording.flush()
    recording._stop()  # as after a kill: nothing is sealed
    recording._held.close()
    log = recording.folder / "commits" / "c" / "0" / "0"
    lines = np.fromfile(log, "<i8").reshape(-1, 5)
    last = int(np.flatnonzero(lines[:, -1])[-1])
    lines[last + 1] = [10_000, 10_000, 9, 9, 12345]  # a line whose checksum is wrong counts nothing
    log.write_bytes(lines.tobytes())
    episode = EpisodeStore.open(tmp_path / "s").episode(0)
    assert episode.rows_of("joints") == 50
    assert len(episode.q_rad) == 50


def test_a_folder_without_anything_acknowledged_is_removed(tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "s")
    torn = store.reserve()
    assert store.seal_interrupted() == []
    assert not torn.exists()


def test_two_recorders_on_one_store_leave_each_other_alone(tmp_path: Path) -> None:
    one = start(tmp_path / "s")
    fill(one, 0.2)
    two = start(tmp_path / "s")
    assert (one.number, two.number) == (0, 1)
    fill(two, 0.2)
    assert not one.finish().manifest.interrupted
    assert not two.finish().manifest.interrupted


def test_pictures_beyond_the_queue_are_refused_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = start(tmp_path / "s", queue_mib=3 * SMALL.nbytes / 2**20, commit_every_s=5.0)
    taken = [recording.image("front", S + number, SMALL) for number in range(5)]
    assert taken == [True, True, True, False, False]
    assert all(recording.joint(S + number, np.zeros(2)) for number in range(100))  # numbers have their own room
    assert recording.pressure().lost == {"cameras/front": 2}
    assert recording.pressure().waiting == 103
    episode = recording.finish()
    assert episode.manifest.lost == {"cameras/front": 2}
    assert episode.rows_of("cameras/front") == 3
    assert "queue is full" in caplog.text


def test_an_offer_never_waits_for_the_disk(tmp_path: Path) -> None:
    recording = start(tmp_path / "s", queue_mib=16)
    rgb = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    took = []
    for number in range(60):
        began = time.perf_counter()
        recording.image("front", S + number, rgb)
        took.append(time.perf_counter() - began)
    assert np.median(took) < 0.005
    lost = recording.pressure().lost.get("cameras/front", 0)
    assert recording.finish().rows_of("cameras/front") == 60 - lost


def test_backwards_stamps_and_nan_are_lost_and_counted_and_a_repeat_is_no_loss(tmp_path: Path) -> None:
    recording = start(tmp_path / "s")
    assert recording.joint(S, np.zeros(2))
    assert not recording.joint(S, np.zeros(2))
    assert not recording.joint(S - 1, np.zeros(2))
    assert not recording.joint(S + 1, np.array([0, np.nan]))
    assert recording.joint(S + 1, np.zeros(2))
    episode = recording.finish()
    assert episode.manifest.lost == {"joints": 2}
    assert len(episode.q_rad) == 2
    assert len(episode) == 0  # no command was sent: no frames, but nothing measured is lost


def test_wrong_shapes_names_and_sources_are_refused(tmp_path: Path) -> None:
    recording = start(tmp_path / "s")
    with pytest.raises(ValueError, match=r"q_rad has shape \(3,\), but there are 2 names"):
        recording.joint(S, np.zeros(3))
    with pytest.raises(ValueError, match="no camera 'side'; have: front"):
        recording.image("side", S, SMALL)
    with pytest.raises(ValueError, match="no source 'hold'; have: policy"):
        recording.sent(S, np.zeros(2), "hold")
    recording.discard()
    with pytest.raises(BadInput, match="cannot name a camera"):
        Recording(tmp_path / "s", "t", ["../up"], ["a"])


def test_discard_leaves_nothing_and_the_number_is_free(tmp_path: Path) -> None:
    recording = start(tmp_path / "s")
    fill(recording, 0.2)
    recording.discard()
    assert EpisodeStore.open(tmp_path / "s").folders() == []
    assert start(tmp_path / "s").number == 0


def test_a_finished_episode_takes_no_more(tmp_path: Path) -> None:
    recording = start(tmp_path / "s")
    fill(recording, 0.2)
    episode = recording.finish()
    with pytest.raises(RuntimeError, match="is closed"):
        recording.joint(2 * S, np.zeros(2))
    assert all(not file.stat().st_mode & 0o222 for file in episode.folder.rglob("*") if file.is_file())


FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, {root!r})
import numpy as np
from hardware.dataset.recording import Recording, RecordingConfig, RecordingFailed
from hardware.dataset.picture import Raw
recording = Recording({store!r}, "t", ["front"], ["a"], config=RecordingConfig(encoding=Raw(), commit_every_s=0.01))
for n in range(20):
    recording.joint(10**9 + n, np.array([float(n)]))
assert recording.flush()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    recording.image("front", 10**9, np.zeros((480, 640, 3), np.uint8))
    recording.flush()
except RecordingFailed as error:
    print("FAILED", error.problem)
try:
    recording.finish(True)
except RecordingFailed as error:
    print("AGAIN", error.problem)
"""


def test_a_disk_that_takes_no_more_is_an_error_and_the_acknowledged_part_stays(tmp_path: Path) -> None:
    script = FULL_DISK.format(root=str(ROOT), store=str(tmp_path / "s"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "FAILED cannot write" in done.stdout
    assert "AGAIN cannot write" in done.stdout
    (episode,) = EpisodeStore.open(tmp_path / "s").seal_interrupted()
    assert episode.q_rad[:, 0].tolist() == list(range(20))


def test_a_store_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="cannot make an episode store"):
        start(tmp_path / "file" / "store")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("x")
    with pytest.raises(BadInput, match="holds something that is no episode store"):
        start(tmp_path / "other")


def test_a_store_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    EpisodeStore.create(tmp_path / "s")
    file = tmp_path / "s" / "zarr.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(BadInput, match="of format 1"):
        EpisodeStore.open(tmp_path / "s")


def test_the_recorder_says_when_a_camera_stopped_for_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = start(tmp_path / "s", alignment=Alignment(rate_hz=10, picture_tolerance_s=0.1))
    for number in range(200):
        stamp_ns = S + number * 10_000_000
        recording.joint(stamp_ns, np.zeros(2))
        recording.sent(stamp_ns, np.zeros(2), "policy")
        if not 50 <= number < 150:
            recording.image("front", stamp_ns, SMALL)
    (gap,) = recording.finish().manifest.gaps
    assert (gap.stream, gap.start, gap.stop) == ("front", 6, 15)
    assert "front up to 0.910 s old in frames 6…14" in caplog.text
