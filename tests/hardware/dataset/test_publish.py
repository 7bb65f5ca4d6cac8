import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tandem
from hardware.dataset import lerobot_layout, video
from hardware.dataset import stats as statistics
from hardware.dataset.check import check
from hardware.dataset.convert import convert
from hardware.dataset.info import info
from hardware.dataset.lerobot_writer import column_values
from hardware.dataset.merge import merge
from hardware.dataset.publish import PublishData, publish
from hardware.dataset.repair import repair
from hardware.dataset.store import EpisodeStore
from hardware.dataset.video import Encoder, Remuxer, psnr_db
from hardware.errors import BadInput

ROOT = Path(__file__).parents[3]
DEMOS = ROOT.parent / "shared" / "data" / "demos_humanoid_v21"
ENCODER = Encoder(codec="h264", crf=12)
real_demos = pytest.mark.skipif(not DEMOS.is_dir(), reason="the humanoid demonstrations are not here")


@pytest.fixture(scope="module")
def published(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("published") / "set"
    publish(PublishData(store=store, output=output, encoder=ENCODER))
    return output


def loaded(root: Path):
    """By LeRobot itself, with the decoder that every machine has."""
    datasets = pytest.importorskip("lerobot.datasets")
    return datasets.LeRobotDataset("local/test", root=root, video_backend="pyav", return_uint8=True)


def test_lerobot_loads_what_was_published_and_sees_the_same(store: Path, published: Path) -> None:
    dataset = loaded(published)
    episodes = EpisodeStore.open(store).episodes()
    assert dataset.num_episodes == 3
    assert len(dataset) == sum(map(len, episodes))
    flat = [(episode, number) for episode in episodes for number in range(len(episode))]
    for at in range(0, len(dataset), 5):
        item, (episode, number) = dataset[at], flat[at]
        frame = episode.frame(number)
        assert np.allclose(item["observation.state"], frame.observation.q_rad, atol=1e-5)
        assert np.allclose(item["action"], frame.action, atol=1e-5)
        assert ("policy", "human")[int(item["source"])] == frame.source
        assert int(item["success"]) == {True: 1, False: 0, None: -1}[episode.manifest.success]
        assert item["task"] == "pick"
        assert float(item["timestamp"]) == pytest.approx(number / 30, abs=1e-6)
        for name, rgb in frame.observation.images.items():
            seen = item[f"observation.images.{name}"].numpy().transpose(1, 2, 0)
            assert psnr_db(seen, rgb) > 35


def test_a_published_set_is_sound(published: Path) -> None:
    assert check(published, decode_all=True).findings == ()


def test_lerobots_own_statistics_agree(published: Path) -> None:
    compute = pytest.importorskip("lerobot.datasets.compute_stats")
    values = np.random.default_rng(0).random((4000, 3)).astype(np.float32)
    mine, theirs = statistics.of_column(values), compute.get_feature_stats(values, axis=0, keepdims=False)
    for name in ("min", "max", "mean", "std"):
        assert np.allclose(mine[name], theirs[name], atol=1e-5)
    for name in statistics.QUANTILES:  # theirs are of a histogram of 5,000 bins; measured: 4e-4 apart
        assert np.allclose(mine[name], theirs[name], atol=2e-3)
    halves = [statistics.of_column(values[:900]), statistics.of_column(values[900:])]
    whole, joined = statistics.combined(halves), compute.aggregate_stats([{"x": half} for half in halves])["x"]
    for name, value in joined.items():
        assert np.allclose(whole[name], value)
    assert statistics.sample(1000) == compute.sample_indices(1000)
    stated = lerobot_layout.read(published).stats
    assert stated is not None
    assert np.array(stated["observation.images.front"]["mean"]).shape == (3, 1, 1)


def test_only_the_wanted_outcomes_are_published(store: Path, tmp_path: Path) -> None:
    result = publish(PublishData(store=store, output=tmp_path / "good", outcome="success", encoder=ENCODER))
    assert result.episodes == (0,)
    assert result.left_out == {1: "it is no success", 2: "it is no success"}
    assert lerobot_layout.read(tmp_path / "good").info.robot_type == "bench"
    with pytest.raises(BadInput, match=r"no episode 9 in .*; have: 0, 1, 2"):
        publish(PublishData(store=store, output=tmp_path / "none", episodes=(9,)))


def test_info_counts_the_same_before_and_after(store: Path, published: Path) -> None:
    before, after = info(store), info(published)
    assert before.frames == after.frames
    assert before.frames_by_source == after.frames_by_source
    assert before.success == after.success == {"yes": 1, "no": 1, "not judged": 1}
    assert before.corrections == after.corrections == 3
    assert after.cameras == {f"observation.images.{name}": size for name, size in before.cameras.items()}


def test_convert_leaves_rows_and_pictures_as_they_are(v21: Path, tmp_path: Path) -> None:
    result = convert(v21, tmp_path / "v3", ENCODER)
    assert result.written.pictures_copied == result.written.frames == 41
    assert_equal(v21, tmp_path / "v3", result.source_numbers)
    item = loaded(tmp_path / "v3")[12]
    assert item["task"] == "place"
    assert int(item["episode_index"]) == 1


def assert_equal(source: Path, target: Path, numbers: tuple[int, ...]) -> None:
    """Every row and, decoded, every picture."""
    one, other = lerobot_layout.read(source), lerobot_layout.read(target)
    by_number = {entry.number: entry for entry in one.episodes}
    for number, entry in zip(numbers, other.episodes, strict=True):
        rows, wanted = other.rows(entry), one.rows(by_number[number])
        for key in ("observation.state", "action", "timestamp", "frame_index"):
            assert np.array_equal(column_values(rows[key]), column_values(wanted[key]))
        for key in one.videos:
            pairs = zip(video.decode(entry.clips[key]), video.decode(by_number[number].clips[key]), strict=True)
            assert all(np.array_equal(a, b) for a, b in pairs)


@real_demos
def test_the_humanoid_set_lacks_96_episodes() -> None:
    report = check(DEMOS)
    missing = report.of("missing-episode")
    assert len(missing) == 96
    assert {finding.episode for finding in missing} == set(range(100)) - {1, 2, 4, 5}
    assert (report.episodes_described, report.episodes_present, report.frames_present) == (100, 4, 1461)
    assert len(report.findings) == 96


@real_demos
@pytest.mark.slow
def test_the_humanoid_set_becomes_v3_without_loss(tmp_path: Path) -> None:
    result = convert(DEMOS, tmp_path / "v3", Encoder())
    assert result.source_numbers == (1, 2, 4, 5)
    assert len(result.missing_episodes) == 96
    assert result.written.pictures_copied == result.written.frames == 1461
    assert_equal(DEMOS, tmp_path / "v3", result.source_numbers)
    dataset = loaded(tmp_path / "v3")
    assert len(dataset) == 1461
    assert dataset[700]["observation.images.cam_high"].shape == (3, 480, 640)


def test_merge_joins_equal_sets_and_names_the_difference_of_others(
    v21: Path, published: Path, tmp_path: Path
) -> None:
    result = merge([v21, v21], tmp_path / "both", ENCODER)
    assert (result.episodes, result.frames, result.pictures_copied) == (6, 82, 82)
    assert check(tmp_path / "both", decode_all=True).findings == ()
    with pytest.raises(BadInput, match="'source' is only in"):
        merge([v21, published], tmp_path / "no", ENCODER)
    other = shutil.copytree(v21, tmp_path / "other")
    file = other / "meta/info.json"
    file.write_text(file.read_text().replace('"fps": 30, "data', '"fps": 25, "data').replace("elbow", "wrist"))
    with pytest.raises(BadInput, match=r"fps: 30 and 25.*'action' names: .*elbow.* and .*wrist"):
        merge([v21, other], tmp_path / "no", ENCODER)


def test_a_clip_that_cannot_be_copied_is_encoded_again_and_measured(v21: Path, tmp_path: Path) -> None:
    source = shutil.copytree(v21, tmp_path / "source")
    clip = lerobot_layout.read(v21).episodes[1].clips["observation.images.front"]
    film = next(source.glob("videos/*/*/*1.mp4"))
    pictures = list(video.decode(clip))
    video.encode(Encoder(codec="h264", crf=18, pictures_per_keyframe=50), film, [*pictures, *pictures], 30)
    result = repair(source, tmp_path / "v3", ENCODER)
    assert result.written.pictures_copied == 21
    assert result.written.pictures_encoded_again == 20
    assert result.written.worst_psnr_db is not None
    assert 35 < result.written.worst_psnr_db < 99
    assert result.lost == ()
    assert check(tmp_path / "v3", decode_all=True).findings == ()


def test_joined_clips_lie_on_the_grid(v21: Path, tmp_path: Path) -> None:
    remuxer = Remuxer(tmp_path / "joined.mp4", 30)
    for entry in lerobot_layout.read(v21).episodes:
        clip = entry.clips["observation.images.front"]
        with video.opened(clip.file) as container:
            piece = video.cut(container, clip)
            assert piece is not None
            assert remuxer.takes(container.streams.video[0], piece)
            remuxer.append(container.streams.video[0], piece)
    remuxer.close()
    facts = video.probe(tmp_path / "joined.mp4")
    assert np.abs(facts.time_s - np.arange(41) / 30).max() < 1e-9


def test_the_front_door_runs_each_verb(
    store: Path, v21: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    assert tandem.main(["data", "info", str(store), "--json", str(tmp_path / "info.json")]) == 0
    assert tandem.main(["data", "check", str(store), "--json", str(report)]) == 0
    assert '"findings": []' in report.read_text()
    (broken := tmp_path / "broken").mkdir()
    shutil.copytree(v21, broken, dirs_exist_ok=True)
    next(broken.glob("data/*/*1.parquet")).unlink()
    assert tandem.main(["data", "check", str(broken)]) == 1
    assert tandem.main(["data", "repair", str(broken), str(tmp_path / "fixed"), "--encoder.codec", "h264"]) == 0
    assert tandem.main(["data", "convert", str(v21), str(tmp_path / "v3")]) == 0
    assert tandem.main(["data", "merge", str(store), str(store), "--output", str(tmp_path / "both")]) == 0
    assert tandem.main(["data", "convert", str(tmp_path), str(tmp_path / "x")]) == 2
    said = capsys.readouterr().out
    assert "who acted" in said
    assert "missing-file" in said
    assert "lost from episode 1: 20 frames" in said


def test_no_command_of_a_running_cell_brings_torch() -> None:
    modules = "recording, store, frames, check, repair, convert, merge, publish, info"
    heavy = "print(*(name in sys.modules for name in ('torch', 'lerobot')))"
    script = f"import sys\nfrom hardware.dataset import {modules}\n{heavy}"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


TINY_ACT = """--policy.type=act --policy.push_to_hub=false --policy.device=cpu --policy.pretrained_backbone_weights=null
--policy.dim_model=32 --policy.n_heads=2 --policy.dim_feedforward=32 --policy.n_encoder_layers=1 --policy.latent_dim=4
--policy.n_vae_encoder_layers=1 --policy.chunk_size=4 --policy.n_action_steps=4 --steps=1 --batch_size=2
--num_workers=0 --save_checkpoint=false --wandb.enable=false --dataset.video_backend=pyav --log_freq=1"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lerobot_train_takes_what_was_published(published: Path, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("lerobot-train")
    if not program.exists():
        pytest.skip("lerobot's training command is not installed")
    flags = [f"--dataset.root={published}", "--dataset.repo_id=local/test", f"--output_dir={tmp_path / 'out'}"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [program, *flags, *TINY_ACT.split()], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "step:1" in done.stdout + done.stderr
    assert "l1_loss" in done.stdout + done.stderr
