"""A video: frames spread by motion, the sharpest of their stretch, the right way up."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pictures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.errors import BadInput
from twin import video
from twin.video import Look, choose

WIDTH, HEIGHT = 160, 120


def film(file: Path, frames, rate_hz: int = 30) -> Path:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate_hz))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "12"}
        for rgb in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")))
        container.mux(stream.encode())
    return file


def pan(count: int, step_px: float = 3.0) -> list[np.ndarray]:
    """A window that slides over a wide picture."""
    wide = pictures.detail(WIDTH + int(count * abs(step_px)) + 1, HEIGHT, 4)
    return [wide[:, round(n * step_px) : round(n * step_px) + WIDTH] for n in range(count)]


looks = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.1)), min_size=1, max_size=60).map(
    lambda values: [Look(n, n / 15, blur, motion) for n, (blur, motion) in enumerate(values)]
)


@given(looks, st.integers(1, 40))
def test_at_most_as_many_as_asked_in_order_and_each_the_sharpest_around(seen, count):
    chosen = choose(seen, count)
    assert 1 <= len(chosen) <= min(count, len(seen))
    numbers = [look.index for look in chosen]
    assert numbers == sorted(set(numbers))
    for look in chosen:
        neighbours = [other for other in seen[max(0, look.index - 1) : look.index + 2] if other not in chosen]
        same_stretch = [other for other in neighbours if stretch(seen, other, count) == stretch(seen, look, count)]
        assert all(look.blur <= other.blur for other in same_stretch)


def stretch(seen: list[Look], look: Look, count: int) -> int:
    way = np.cumsum([other.motion + 1e-6 for other in seen])
    return min(int(way[look.index] / way[-1] * count), count - 1)


def test_a_camera_that_stands_still_gives_few_frames_while_it_does():
    seen = [Look(n, n / 15, 0.3, 0.0 if n < 50 else 0.05) for n in range(100)]
    chosen = [look.index for look in choose(seen, 10)]
    assert sum(number < 50 for number in chosen) == 1
    assert len(chosen) == 10


def test_frames_are_spread_over_the_way_and_avoid_the_blurred(tmp_path: Path):
    frames = pan(60)
    frames = [pictures.smeared(rgb, 15) if n % 4 == 0 else rgb for n, rgb in enumerate(frames)]
    taken = list(video.spread_frames(film(tmp_path / "a.mp4", frames), 8))
    stamps = [stamp_s for stamp_s, _ in taken]
    assert 6 <= len(taken) <= 8
    assert stamps == sorted(stamps)
    assert all(round(stamp_s * 30) % 4 for stamp_s in stamps)
    for stamp_s, rgb in taken:
        error = np.abs(rgb.astype(int) - frames[round(stamp_s * 30)].astype(int)).mean()
        assert error < 12


def test_motion_is_measured_in_shares_of_the_width(tmp_path: Path):
    found = video.survey(film(tmp_path / "a.mp4", pan(30, 4.0)))
    # Every second frame of 30 is looked at: 8 px of 160.
    assert len(found) == 15
    assert np.median([look.motion for look in found[1:]]) == pytest.approx(8 / 160, rel=0.1)


def test_a_phone_held_upright_gives_upright_frames(tmp_path: Path):
    lying = film(tmp_path / "lying.mp4", pan(3))
    turned = tmp_path / "turned.mp4"
    with av.open(str(lying)) as source, av.open(str(turned), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    write_display_matrix(turned)
    (_, rgb), *_ = video.spread_frames(turned, 3)
    (_, flat), *_ = video.spread_frames(lying, 3)
    assert rgb.shape == (WIDTH, HEIGHT, 3)
    np.testing.assert_array_equal(rgb, np.rot90(flat, -1))  # turned clockwise, as a player shows it


def write_display_matrix(file: Path) -> None:
    """Sets the track header's matrix to a clockwise quarter turn (ISO 14496-12, 8.3.2): 0 1 0 / −1 0 0 / 0 0 1."""
    data = bytearray(file.read_bytes())
    header = data.index(b"tkhd") + 4
    matrix = header + (40 if data[header] == 0 else 52)
    values = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    file.write_bytes(bytes(data))


def test_what_is_no_video_is_named(tmp_path: Path):
    (tmp_path / "text.mp4").write_text("not a film")
    with pytest.raises(BadInput, match=r"text\.mp4 is not a video"):
        list(video.spread_frames(tmp_path / "text.mp4", 3))
    whole = film(tmp_path / "a.mp4", pan(30)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"cut\.mp4 is not a"):
        list(video.spread_frames(tmp_path / "cut.mp4", 3))


def sound_only(file: Path) -> Path:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44_100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def test_a_recording_without_pictures_is_named(tmp_path: Path):
    with pytest.raises(BadInput, match=r"sound\.mp4 has no video in it"):
        list(video.spread_frames(sound_only(tmp_path / "sound.mp4"), 3))
