"""A video file stands in for a camera: pictures in order, at the rate, stamped, and lost at its end."""

import importlib.util
import itertools
import time

import av
import numpy as np
import pytest

from hardware import cell as cells
from hardware import devices
from hardware.cameras.grabbing import GrabbedCamera
from hardware.cell_devices import OpenCvCamera, RealsenseCamera
from hardware.errors import BadInput
from hardware.ports import TIMEOUT_S, Camera, CameraImage, DeviceLost

FRAMES, WIDTH, HEIGHT = 12, 64, 48


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Frame i is of one red value, 20 i, with a blue left half: order and channels can be seen."""
    file = tmp_path_factory.mktemp("video") / "ramp.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        stream.options = {"crf": "1"}
        for index in range(FRAMES):
            rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            rgb[..., 0] = 20 * index
            rgb[:, : WIDTH // 2, 2] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return file


def open_camera(**changes) -> Camera:
    shipped = cells.load("so101")
    config = OpenCvCamera(width_px=WIDTH, height_px=HEIGHT, rate_hz=50.0).but(**changes)
    return devices.open_camera(shipped.but(cameras={"cam_side": config}), "cam_side")


def read_all(camera: Camera, within_s: float = 20.0) -> tuple[list[CameraImage], DeviceLost]:
    pictures = []
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        try:
            image = camera.read()
        except DeviceLost as lost:
            camera.close()
            return pictures, lost
        if image is not None:
            pictures.append(image)
        time.sleep(0.001)
    raise AssertionError("the video never ended")


def number(image: CameraImage) -> int:
    return round(float(image.rgb[..., 0].mean()) / 20)


def test_pictures_come_in_order_with_their_colours_until_the_end(video):
    camera = open_camera(source=str(video), rate_hz=20.0)
    assert isinstance(camera, Camera)
    assert (camera.name, camera.rate_hz) == ("cam_side", 20.0)
    pictures, lost = read_all(camera)
    assert "has ended" in str(lost)
    assert "loop: true" in lost.fix
    numbers = [number(image) for image in pictures]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == FRAMES - 1
    for image in pictures:
        assert image.rgb.shape == (HEIGHT, WIDTH, 3)
        assert image.rgb.flags["C_CONTIGUOUS"]
        assert image.rgb[:, : WIDTH // 2 - 4, 2].mean() == pytest.approx(200, abs=8)
        assert image.rgb[:, WIDTH // 2 + 4 :, 2].mean() == pytest.approx(0, abs=8)


def test_stamps_are_of_the_monotonic_clock_and_a_period_apart(video):
    before_ns = time.monotonic_ns()
    pictures, _ = read_all(open_camera(source=str(video), rate_hz=20.0))
    stamps = [image.stamp_ns for image in pictures]
    assert before_ns <= stamps[0]
    assert stamps[-1] <= time.monotonic_ns()
    steps = np.diff(stamps) / np.diff([number(image) for image in pictures]) * 1e-9
    assert steps.min() > 0.049
    assert np.median(steps) == pytest.approx(0.05, abs=0.01)


def test_a_picture_is_handed_out_once_and_reading_never_waits(video):
    camera = open_camera(source=str(video), rate_hz=2.0)
    end_s = time.monotonic() + 10
    while camera.read() is None:
        assert time.monotonic() < end_s
    took_s = []
    for _ in range(20):
        began_s = time.perf_counter()
        assert camera.read() is None
        took_s.append(time.perf_counter() - began_s)
    assert np.median(took_s) < TIMEOUT_S
    camera.close()


def test_only_the_newest_picture_is_kept(video):
    camera = open_camera(source=str(video), rate_hz=50.0, loop=True)
    time.sleep(1.5)
    image = camera.read()
    assert image is not None
    assert time.monotonic_ns() - image.stamp_ns < 1_000_000_000
    camera.close()


def test_with_loop_the_video_begins_anew(video):
    camera = open_camera(source=str(video), rate_hz=100.0, loop=True)
    numbers: list[int] = []
    end_s = time.monotonic() + 20
    while time.monotonic() < end_s and sum(a > b for a, b in itertools.pairwise(numbers)) < 2:
        image = camera.read()
        if image is not None:
            numbers.append(number(image))
        time.sleep(0.001)
    camera.close()
    assert sum(a > b for a, b in itertools.pairwise(numbers)) == 2


def test_closing_twice_is_safe_and_reading_then_says_so(video):
    camera = open_camera(source=str(video), loop=True)
    camera.close()
    camera.close()
    with pytest.raises(DeviceLost, match="is closed"):
        camera.read()


def test_a_size_that_the_cell_file_does_not_name_is_refused(video):
    with pytest.raises(BadInput, match="gives pictures of 64×48, not 640×48"):
        open_camera(source=str(video), width_px=640)


def test_what_is_no_camera_and_no_video_is_named(tmp_path):
    with pytest.raises(BadInput, match="no video"):
        open_camera(source=str(tmp_path / "none.mp4"))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(BadInput, match="not a video"):
        open_camera(source=str(tmp_path / "text.mp4"))
    for source in (97, "97", "/dev/video97"):
        with pytest.raises(DeviceLost, match="/dev/video97"):
            open_camera(source=source)


class Dying:
    """A source that gives one picture, then fails in its way."""

    def __init__(self, how: Exception | None) -> None:
        self.how, self.pictures, self.released = how, 1, False

    def grab(self) -> CameraImage:
        if self.pictures:
            self.pictures -= 1
            return CameraImage(time.monotonic_ns(), np.zeros((2, 2, 3), np.uint8))
        if self.how is None:
            time.sleep(3)
            raise DeviceLost("too late to matter")
        raise self.how

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize(
    ("how", "words"),
    [(DeviceLost("unplugged"), "unplugged"), (BadInput("other size"), "other size"), (OSError("io"), "OSError")],
)
def test_a_camera_that_dies_is_lost_after_its_last_picture_and_released(how, words):
    source = Dying(how)
    camera = GrabbedCamera("cam", 30.0, source)
    pictures, lost = read_all(camera)
    assert len(pictures) == 1
    assert words in str(lost)
    assert source.released


def test_a_camera_that_falls_silent_is_lost_while_its_driver_still_waits():
    began_s = time.monotonic()
    _, lost = read_all(GrabbedCamera("cam", 30.0, Dying(None)))
    assert "no picture from 'cam' for 1." in str(lost)
    assert time.monotonic() - began_s < 2.9


@pytest.mark.skipif(importlib.util.find_spec("pyrealsense2") is not None, reason="pyrealsense2 is installed")
def test_a_realsense_without_its_library_says_what_to_install():
    shipped = cells.load("so101")
    with pytest.raises(BadInput, match="pyrealsense2") as bad:
        devices.open_camera(shipped.but(cameras={"cam": RealsenseCamera(serial="1")}), "cam")
    assert "make setup EXTRAS=realsense" in bad.value.fix
