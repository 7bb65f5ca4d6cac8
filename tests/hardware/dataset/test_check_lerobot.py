import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardware.dataset import lerobot_layout, video
from hardware.dataset.check import check
from hardware.dataset.convert import convert
from hardware.dataset.lerobot_writer import column_values
from hardware.dataset.repair import repair
from hardware.dataset.video import Clip, Encoder, Remuxer
from hardware.errors import BadInput

FRAMES, FPS = 41, 30
ENCODER = Encoder(codec="h264", crf=18)


def data(root: Path, episode: int = 1) -> Path:
    return root / f"data/chunk-000/episode_{episode:06d}.parquet"


def movie(root: Path, episode: int = 1) -> Path:
    return root / f"videos/chunk-000/observation.images.front/episode_{episode:06d}.mp4"


def set_column(root: Path, name: str, values: pa.Array, episode: int = 1) -> None:
    table = pq.read_table(data(root, episode))
    pq.write_table(table.set_column(table.column_names.index(name), name, values), data(root, episode))


def edit_info(root: Path, **changes: object) -> None:
    file = root / "meta/info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def cut_file(file: Path, share: float) -> None:
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])


def delete_both(root: Path) -> None:
    data(root).unlink()
    movie(root).unlink()


def delete_movie(root: Path) -> None:
    movie(root).unlink()


def cut_movie_without_index(root: Path) -> None:
    cut_file(movie(root), 0.7)  # this encoder writes the index last, so it is gone


def cut_movie_with_index(root: Path) -> None:
    """The index is at the front: the file opens, and breaks off."""
    again(root, 20)
    cut_file(movie(root), 0.8)


def again(root: Path, count: int, fps: int = FPS) -> None:
    """Writes the episode's film anew, index first."""
    source = movie(root).with_suffix(".old.mp4")
    movie(root).rename(source)
    with video.opened(source) as container:
        piece = video.cut(container, Clip(source, 0.0, count, float(FPS)))
        assert piece is not None
        remuxer = Remuxer(movie(root), fps)
        remuxer.append(container.streams.video[0], piece)
        remuxer.close()
    source.unlink()


def drop_last_pictures(root: Path) -> None:
    again(root, 14)


def wrong_codec_name(root: Path) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["observation.images.front"]["info"]["video.codec"] = "av1"
    (root / "meta/info.json").write_text(json.dumps(info))


def wrong_codec_letters(root: Path) -> None:
    file = movie(root)
    file.write_bytes(file.read_bytes().replace(b"avc1", b"mp4v", 2))


def clock_back(root: Path) -> None:
    stamps = np.arange(20, dtype=np.float32) / FPS
    stamps[9] = stamps[4]
    set_column(root, "timestamp", pa.array(stamps))


def drift(root: Path) -> None:
    set_column(root, "timestamp", pa.array((np.arange(20) / FPS * 1.002).astype(np.float32)))


def film_at_another_rate(root: Path) -> None:
    again(root, 20, fps=25)


def cut_table(root: Path) -> None:
    cut_file(data(root), 0.6)


def rows_lost(root: Path) -> None:
    pq.write_table(pq.read_table(data(root)).slice(0, 15), data(root))


def column_lost(root: Path) -> None:
    pq.write_table(pq.read_table(data(root)).drop_columns(["action"]), data(root))


def nan(root: Path) -> None:
    values = np.ones((20, 3), np.float32)
    values[5, 1] = np.nan
    set_column(root, "action", pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 3))


def text_in_place_of_numbers(root: Path) -> None:
    set_column(root, "action", pa.array(["x"] * 20))


def narrow_vectors(root: Path) -> None:
    set_column(root, "action", pa.FixedSizeListArray.from_arrays(pa.array(np.ones(40, np.float32)), 2))


def wrong_frame_index(root: Path) -> None:
    set_column(root, "frame_index", pa.array(np.arange(20) + 1))


def wrong_task(root: Path) -> None:
    set_column(root, "task_index", pa.array(np.full(20, 7)))


def wrong_totals(root: Path) -> None:
    edit_info(root, total_frames=40)


def wrong_stats(root: Path) -> None:
    file = root / "meta/episodes_stats.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1]["stats"]["observation.state"]["mean"][2] += 5
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def stray_file(root: Path) -> None:
    shutil.copy(data(root), data(root, 77))


BREAKS: list[tuple[Callable[[Path], None], str, int]] = [
    (delete_both, "missing-episode", 21),
    (delete_movie, "missing-file", 21),
    (cut_movie_without_index, "broken-video", 21),
    (drop_last_pictures, "truncated-video", 35),
    (wrong_codec_name, "wrong-codec-tag", FRAMES),
    (wrong_codec_letters, "wrong-codec-tag", FRAMES),
    (clock_back, "bad-timestamps", FRAMES),
    (drift, "video-drift", FRAMES),
    (film_at_another_rate, "bad-timestamps", FRAMES),
    (cut_table, "broken-data", 21),
    (rows_lost, "wrong-length", 36),
    (column_lost, "missing-column", 21),
    (nan, "not-finite", 21),
    (text_in_place_of_numbers, "wrong-type", 21),
    (narrow_vectors, "wrong-type", 21),
    (wrong_frame_index, "bad-bookkeeping", FRAMES),
    (wrong_task, "unknown-task", FRAMES),
    (wrong_totals, "wrong-totals", FRAMES),
    (wrong_stats, "wrong-stats", FRAMES),
    (stray_file, "unlisted-file", FRAMES),
]


def test_a_sound_dataset_has_no_findings(v21: Path) -> None:
    report = check(v21, decode_all=True)
    assert report.findings == ()
    assert (report.episodes_present, report.frames_present, report.what) == (3, FRAMES, "LeRobot v2.1")


@pytest.mark.parametrize(("damage", "kind", "left"), BREAKS, ids=[damage.__name__ for damage, _, _ in BREAKS])
def test_each_damage_is_named_and_repaired(
    v21: Path, tmp_path: Path, damage: Callable[[Path], None], kind: str, left: int
) -> None:
    broken = shutil.copytree(v21, tmp_path / "broken")
    damage(broken)
    before = {file: file.read_bytes() for file in broken.rglob("*") if file.is_file()}
    report = check(broken)
    assert kind in {finding.kind for finding in report.findings}
    about = [f for f in report.findings if f.kind == kind and f.episode is not None]
    assert all(finding.episode == 1 for finding in about if kind not in ("wrong-codec-tag",))

    result = repair(broken, tmp_path / "repaired", ENCODER)
    assert {file: file.read_bytes() for file in broken.rglob("*") if file.is_file()} == before
    assert kind in result.mended
    assert result.written.frames == left
    assert sum(loss.frames for loss in result.lost) == FRAMES - left
    after = check(tmp_path / "repaired", decode_all=True)
    assert after.findings == ()
    assert after.frames_present == left


def test_a_film_that_breaks_off_is_trimmed_to_what_decodes(v21: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(v21, tmp_path / "broken")
    cut_movie_with_index(broken)
    (finding,) = check(broken).of("truncated-video")
    assert finding.episode == 1
    result = repair(broken, tmp_path / "repaired", ENCODER)
    (loss,) = result.lost
    assert loss.episode == 1
    assert 0 < loss.frames < 20
    assert "pictures can be decoded" in loss.why
    assert check(tmp_path / "repaired", decode_all=True).findings == ()


def test_the_metadata_gives_way_when_rows_and_pictures_agree_on_another_rate(v21: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(v21, tmp_path / "broken")
    edit_info(broken, fps=50)
    assert {finding.kind for finding in check(broken).findings} == {"bad-timestamps"}
    result = repair(broken, tmp_path / "repaired", ENCODER)
    assert result.notes == ("fps is 30, as rows and pictures are stamped; the metadata said 50",)
    assert lerobot_layout.read(tmp_path / "repaired").info.fps == FPS
    assert result.written.frames == FRAMES


def test_repaired_rows_and_pictures_are_those_of_the_source(v21: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(v21, tmp_path / "broken")
    drop_last_pictures(broken)
    repair(broken, tmp_path / "repaired", ENCODER)
    source, target = lerobot_layout.read(v21), lerobot_layout.read(tmp_path / "repaired")
    for one, other, length in zip(source.episodes, target.episodes, (12, 14, 9), strict=True):
        for key in ("observation.state", "action"):
            wanted = column_values(source.rows(one)[key])[:length]
            assert np.array_equal(column_values(target.rows(other)[key]), wanted)
        seen = list(video.decode(other.clips["observation.images.front"]))
        wanted_pictures = list(video.decode(one.clips["observation.images.front"]))[:length]
        assert np.array_equal(seen, wanted_pictures)
        assert other.tasks == one.tasks


def damaged_v3(v21: Path, tmp_path: Path) -> Path:
    convert(v21, tmp_path / "v3", ENCODER)
    return tmp_path / "v3"


def test_wrong_statistics_of_a_v3_set_are_found_and_computed_anew(v21: Path, tmp_path: Path) -> None:
    root = damaged_v3(v21, tmp_path)
    stats = json.loads((root / "meta/stats.json").read_text())
    stats["action"]["std"][0] *= 3
    (root / "meta/stats.json").write_text(json.dumps(stats))
    (finding,) = check(root).findings
    assert finding.kind == "wrong-stats"
    assert "action: std[0]" in finding.detail
    repair(root, tmp_path / "repaired", ENCODER)
    assert check(tmp_path / "repaired").findings == ()


def test_missing_statistics_of_a_v3_set_are_found(v21: Path, tmp_path: Path) -> None:
    root = damaged_v3(v21, tmp_path)
    (root / "meta/stats.json").unlink()
    assert [finding.kind for finding in check(root).findings] == ["missing-stats"]


def test_a_v3_film_that_breaks_off_costs_only_the_episodes_behind_the_break(v21: Path, tmp_path: Path) -> None:
    root = damaged_v3(v21, tmp_path)
    file = root / "videos/observation.images.front/chunk-000/file-000.mp4"
    cut_file(file, 0.75)
    report = check(root)
    assert {finding.kind for finding in report.findings} == {"truncated-video"}
    assert 0 not in {finding.episode for finding in report.findings}
    result = repair(root, tmp_path / "repaired", ENCODER)
    assert result.written.episodes < 3 or result.written.frames < FRAMES
    assert check(tmp_path / "repaired", decode_all=True).findings == ()


def test_other_versions_and_lost_keys_are_refused_by_name(v21: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(v21, tmp_path / "broken")
    edit_info(broken, codebase_version="v1.6")
    with pytest.raises(BadInput, match=r"says 'v1\.6'; have: v2\.0, v2\.1, v3"):
        check(broken)
    edit_info(broken, codebase_version="v2.1")
    file = broken / "meta/episodes.jsonl"
    file.write_text(file.read_text().replace('"length"', '"len"'))
    with pytest.raises(BadInput, match="'length'"):
        check(broken)
    (broken / "meta/info.json").write_text('{"fps": 30}')
    with pytest.raises(BadInput, match="codebase_version: Field required"):
        check(broken)
    with pytest.raises(BadInput, match="neither an episode store"):
        check(tmp_path)


def test_repair_writes_over_nothing_and_not_into_its_source(v21: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(BadInput, match="is already there"):
        repair(v21, tmp_path / "there", ENCODER)
    with pytest.raises(BadInput, match="lies inside"):
        repair(v21, v21 / "new", ENCODER)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match=r"cannot write .*file/new"):
        repair(v21, tmp_path / "file" / "new", ENCODER)


def test_repair_of_nothing_sound_says_so_and_leaves_nothing(v21: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(v21, tmp_path / "broken")
    shutil.rmtree(broken / "videos")
    with pytest.raises(BadInput, match="no episode is left to write"):
        repair(broken, tmp_path / "repaired", ENCODER)
    assert not list(tmp_path.glob("*repaired*"))


def test_convert_refuses_a_damaged_set_and_points_to_repair(v21: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(v21, tmp_path / "broken")
    nan(broken)
    with pytest.raises(BadInput, match=r"episode 1.*not finite") as refused:
        convert(broken, tmp_path / "v3", ENCODER)
    assert "tandem data repair" in refused.value.fix
