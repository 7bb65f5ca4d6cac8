from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy import ndarray

from hardware.dataset import retag, video
from hardware.dataset.video import Clip, Encoder, Remuxer, psnr_db
from hardware.errors import BadInput


def moving(count: int, height: int = 64, width: int = 96) -> list[ndarray]:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return [np.stack([x + n, y + 2 * n, x + y], -1).clip(0, 255).astype(np.uint8) for n in range(count)]


@pytest.mark.parametrize("codec", ["av1", "h264"])
def test_pictures_come_back_in_order_and_on_the_grid(codec: str, tmp_path: Path) -> None:
    encoder = Encoder.model_validate({"codec": codec, "crf": 12})
    pictures, file = moving(15), tmp_path / "film.mp4"
    assert video.encode(encoder, file, iter(pictures), 25) == 15
    facts = video.probe(file)
    assert (facts.codec, facts.width, facts.height, len(facts), facts.declared) == (codec, 96, 64, 15, 15)
    assert facts.tag in video.TAGS[codec]
    assert np.abs(facts.time_s - np.arange(15) / 25).max() < 1e-4
    assert facts.rate_hz == pytest.approx(25)
    back = list(video.decode(Clip(file, 0.0, 15, 25.0)))
    assert min(psnr_db(one, other) for one, other in zip(pictures, back, strict=True)) > 35
    middle = list(video.decode(Clip(file, 6 / 25, 4, 25.0)))
    assert np.array_equal(middle, back[6:10])


def test_films_with_reordered_pictures_join_without_loss(tmp_path: Path) -> None:
    """An encoder that looks ahead stores pictures out of order; joined, they must still be shown in order."""
    films = []
    for number, count in enumerate((12, 9)):
        film = tmp_path / f"{number}.mp4"
        encoder = Encoder(codec="h264", crf=18, pictures_per_keyframe=50)
        video.encode(encoder, film, moving(40)[20 * number : 20 * number + count], 30)
        films.append(Clip(film, 0.0, count, 30.0))
    remuxer = Remuxer(tmp_path / "joined.mp4", 30)
    depths = []
    for clip in films:
        with video.opened(clip.file) as container:
            piece = video.cut(container, clip)
            assert piece is not None
            depths.append(piece.depth)
            assert remuxer.takes(container.streams.video[0], piece)
            remuxer.append(container.streams.video[0], piece)
    remuxer.close()
    assert max(depths) > 0
    facts = video.probe(tmp_path / "joined.mp4")
    assert np.abs(facts.time_s - np.arange(21) / 30).max() < 1e-9
    wanted = [rgb for clip in films for rgb in video.decode(clip)]
    joined = list(video.decode(Clip(tmp_path / "joined.mp4", 0.0, 21, 30.0)))
    assert np.array_equal(joined, wanted)
    assert np.array_equal(list(video.decode(Clip(tmp_path / "joined.mp4", 12 / 30, 9, 30.0))), wanted[12:])


def test_a_trimmed_film_with_reordered_pictures_is_not_copied(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    video.encode(Encoder(codec="h264", pictures_per_keyframe=50), film, moving(12), 30)
    for count, is_copied in ((12, True), (7, False)):  # picture 7 may lean on one that would be cut off
        with video.opened(film) as container:
            assert (video.cut(container, Clip(film, 0.0, count, 30.0, alone=True)) is not None) == is_copied


def test_another_coding_does_not_join(tmp_path: Path) -> None:
    clips = []
    for name, (height, width) in {"small": (64, 96), "large": (128, 96)}.items():
        video.encode(Encoder(codec="h264"), tmp_path / f"{name}.mp4", moving(4, height, width), 30)
        clips.append(Clip(tmp_path / f"{name}.mp4", 0.0, 4, 30.0))
    remuxer = Remuxer(tmp_path / "joined.mp4", 30)
    taken = []
    for clip in clips:
        with video.opened(clip.file) as container:
            piece = video.cut(container, clip)
            assert piece is not None
            taken.append(remuxer.takes(container.streams.video[0], piece))
            if taken[-1]:
                remuxer.append(container.streams.video[0], piece)
    remuxer.close()
    assert taken == [True, False]


def test_what_an_encoder_cannot_take_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="both must be even"):
        video.encode(Encoder(codec="h264"), tmp_path / "odd.mp4", moving(2, 63, 96), 30)
    with pytest.raises(BadInput, match="libsvtav1 cannot write"):
        video.encode(Encoder(codec="av1"), tmp_path / "tiny.mp4", moving(2, 2, 2), 30)


def test_a_file_that_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"not a film")
    with pytest.raises(BadInput, match=r"cannot read the video .*film\.mp4"):
        video.probe(tmp_path / "film.mp4")


def test_a_wrong_tag_is_mended_in_a_copy(tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    video.encode(Encoder(codec="h264", crf=12), file, moving(6), 30)
    (scratch := tmp_path / "scratch").mkdir()
    assert retag.retagged(file, scratch) is None
    whole = list(video.decode(Clip(file, 0.0, 6, 30.0)))
    file.write_bytes(file.read_bytes().replace(b"avc1", b"hvc1"))
    wrong = file.read_bytes()
    mended = retag.retagged(file, scratch)
    assert mended is not None
    assert file.read_bytes() == wrong
    assert np.array_equal(list(video.decode(Clip(mended, 0.0, 6, 30.0))), whole)


def test_psnr_by_hand() -> None:
    black, grey = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 51, np.uint8)
    assert psnr_db(black, grey) == pytest.approx(13.979, abs=1e-3)  # 10 log10(255² / 51²) = 10 log10 25
    assert psnr_db(grey, grey) == float("inf")
    assert all(one < other for one, other in pairwise([psnr_db(black, grey), psnr_db(black, grey // 2)]))
