import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hardware.dataset.check import check
from hardware.dataset.column import ColumnReader
from hardware.dataset.merge import merge
from hardware.dataset.recording import Recording
from hardware.dataset.repair import repair
from hardware.dataset.store import EpisodeStore
from hardware.dataset.video import Encoder
from hardware.errors import BadInput

ENCODER = Encoder()


@pytest.fixture
def broken(store: Path, tmp_path: Path) -> Path:
    """A copy that may be written to."""
    copy = shutil.copytree(store, tmp_path / "broken")
    for file in copy.rglob("*"):
        if file.is_file():
            file.chmod(0o644)
    return copy


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 0xFF
    file.write_bytes(data)


def kinds(path: Path) -> set[str]:
    return {finding.kind for finding in check(path, decode_all=True).findings}


def test_a_sound_store_has_no_findings(store: Path) -> None:
    report = check(store, decode_all=True)
    assert report.findings == ()
    assert report.episodes_present == 3


def test_a_flipped_bit_in_a_picture_is_found_and_the_picture_left_out(broken: Path, tmp_path: Path) -> None:
    camera = EpisodeStore.open(broken).episode(1).cameras["front"]
    offset, length, _ = camera.places[7].tolist()
    flip(camera.folder / "bytes/c/0", offset + length // 2)
    (finding,) = check(broken).findings
    assert (finding.kind, finding.episode, finding.where) == ("broken-picture", 1, "front")
    assert finding.detail.endswith(": 7")
    result = repair(broken, tmp_path / "repaired", ENCODER)
    (loss,) = result.lost
    assert (loss.episode, loss.why) == (1, "1 damaged pictures are left out")
    assert kinds(tmp_path / "repaired") == set()
    before = EpisodeStore.open(broken).episode(1)
    after = EpisodeStore.open(tmp_path / "repaired").episode(1)
    assert np.array_equal(after.q_rad, before.q_rad)
    assert len(after.streams.picture_ns["front"]) == len(before.streams.picture_ns["front"]) - 1
    kept = [row for row in range(len(before.streams.picture_ns["front"])) if row != 7]
    assert bytes(after.cameras["front"].encoded(9)) == bytes(before.cameras["front"].encoded(kept[9]))


def test_a_flipped_bit_in_the_numbers_costs_the_episode(broken: Path, tmp_path: Path) -> None:
    flip(broken / "episodes/000000/sent/action/c/0/0", 20)
    (finding,) = check(broken).of("wrong-checksum")
    assert (finding.episode, finding.where) == (0, "sent/action")
    result = repair(broken, tmp_path / "repaired", ENCODER)
    assert result.written.episodes == 2
    assert "is not what was written" in result.lost[0].why


def test_frames_that_do_not_follow_from_the_stamps_are_aligned_anew(broken: Path, tmp_path: Path) -> None:
    flip(broken / "episodes/000002/frames/joint_row/c/0", 0)
    assert kinds(broken) == {"wrong-frames"}
    repair(broken, tmp_path / "repaired", ENCODER)
    assert kinds(tmp_path / "repaired") == set()


@pytest.mark.parametrize("name", ["zarr.json", "joints/q_rad/c/0/0", "joints/q_rad/zarr.json", "commits/c/0/0"])
def test_a_lost_or_cut_file_costs_its_episode_only(broken: Path, tmp_path: Path, name: str) -> None:
    file = broken / "episodes/000001" / name
    if name == "zarr.json":
        file.write_text("{")
    else:
        file.unlink()
    assert not check(broken).sound
    result = repair(broken, tmp_path / "repaired", ENCODER)
    assert [loss.episode for loss in result.lost] == [1]
    assert kinds(tmp_path / "repaired") == set()


def test_an_interrupted_episode_is_a_warning_and_repair_seals_it(broken: Path, tmp_path: Path) -> None:
    recording = Recording(broken, "pick", ["front", "wrist"], ["shoulder", "elbow", "gripper"])
    for number in range(50):
        recording.joint(number * 10_000_000 + 1, np.zeros(3))
        recording.sent(number * 10_000_000 + 1, np.zeros(3), "twin")
    recording.flush()
    assert kinds(broken) == set()  # it is being recorded: nothing is wrong
    recording._stop()
    recording._held.close()
    report = check(broken)
    assert report.sound
    assert [finding.kind for finding in report.findings] == ["interrupted"]
    repair(broken, tmp_path / "repaired", ENCODER)
    sealed = EpisodeStore.open(tmp_path / "repaired").episode(3)
    assert sealed.manifest.interrupted
    assert np.array_equal(sealed.streams.sent_source, np.full(50, 3))


def test_merged_stores_hold_the_same_bytes(store: Path, tmp_path: Path) -> None:
    result = merge([store, store], tmp_path / "both", ENCODER)
    assert result.episodes == 6
    assert kinds(tmp_path / "both") == set()
    one, other = EpisodeStore.open(store).episode(1), EpisodeStore.open(tmp_path / "both").episode(4)
    assert np.array_equal(one.q_rad, other.q_rad)
    assert one.manifest == other.manifest


def test_a_store_with_other_cameras_is_refused_by_name(store: Path, tmp_path: Path) -> None:
    recording = Recording(tmp_path / "other", "pick", ["top"], ["shoulder", "elbow", "gripper"])
    recording.joint(1, np.zeros(3))
    recording.finish()
    with pytest.raises(BadInput, match="cameras: front, wrist and top"):
        merge([store, tmp_path / "other"], tmp_path / "both", ENCODER)
    assert not (tmp_path / "both").exists()


def test_a_column_with_another_coding_is_refused(broken: Path) -> None:
    file = broken / "episodes/000000/joints/q_rad/zarr.json"
    metadata = json.loads(file.read_text())
    metadata["codecs"].append({"name": "zstd", "configuration": {"level": 1}})
    file.write_text(json.dumps(metadata))
    with pytest.raises(BadInput, match="only 'bytes' is read"):
        ColumnReader(file.parent).rows(3)
