"""The plant as a process: clients that share it, die or talk nonsense; a plant that is killed and comes back."""

import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hardware.arms.bench import PlantArm, PlantGripper
from hardware.bench import wire
from hardware.bench.link import PlantLink
from hardware.bench.tasks.start import TaskStart
from hardware.cameras.bench import PlantCamera
from hardware.errors import BadInput
from hardware.ports import Arm, Camera, DeviceLost, Gripper

ROOT = Path(__file__).parents[3]
SMALL = ("--camera-width-px", "160", "--camera-height-px", "120", "--camera-rate-hz", "10")


def start(address: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hardware.bench.plant_server", "--name", str(address), *SMALL, *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    process.communicate(timeout=30)
    return process.returncode


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    address = tmp_path_factory.mktemp("plant") / "bench.sock"
    process = start(address)
    PlantLink(str(address), wait_s=120.0).close()
    yield address
    assert end(process) == 0
    assert not address.exists()


@pytest.fixture
def link(served: Path) -> Iterator[PlantLink]:
    with PlantLink(str(served), wait_s=10.0) as connected:
        connected.reset(seed=1)
        yield connected


def test_the_drivers_are_an_arm_a_gripper_and_cameras(link: PlantLink) -> None:
    assert isinstance(PlantArm(link), Arm)
    assert isinstance(PlantGripper(link), Gripper)
    cameras = [PlantCamera(link, name) for name in link.info.cameras]
    assert all(isinstance(camera, Camera) for camera in cameras)
    assert [camera.rate_hz for camera in cameras] == [10.0, 10.0]
    assert {camera.name for camera in cameras} == {"cam_front", "cam_wrist"}


def test_the_arm_goes_where_it_is_sent_in_real_time(link: PlantLink) -> None:
    arm = PlantArm(link)
    home = arm.read().q_rad
    sent = arm.send(home + np.array([0.3, 0, 0, 0, 0]))
    assert sent[0] == pytest.approx(home[0] + 0.3, abs=1e-3)
    deadline = time.monotonic() + 10
    while abs(arm.read().q_rad[0] - sent[0]) > 0.02 and time.monotonic() < deadline:
        time.sleep(0.01)
    reading = arm.read()
    assert abs(reading.q_rad[0] - sent[0]) < 0.02
    assert abs(time.monotonic_ns() - reading.stamp_ns) < 500e6
    assert reading.names == arm.names


def test_the_gripper_closes_and_an_opening_beyond_one_is_clipped(link: PlantLink) -> None:
    gripper = PlantGripper(link)
    assert gripper.send(1.5) == 1.0
    assert gripper.send(0.2) == pytest.approx(0.2)
    deadline = time.monotonic() + 10
    while gripper.read()[1] > 0.25 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gripper.read()[1] == pytest.approx(0.2, abs=0.05)


def test_each_picture_is_handed_out_once_with_a_rising_stamp(link: PlantLink) -> None:
    camera = PlantCamera(link, "cam_front")
    images, deadline = [], time.monotonic() + 20
    while len(images) < 4 and time.monotonic() < deadline:
        image = camera.read()
        if image is not None:
            images.append(image)
        time.sleep(0.005)
    stamps = [image.stamp_ns for image in images]
    assert len(set(stamps)) == 4
    assert stamps == sorted(stamps)
    assert images[0].rgb.shape == (120, 160, 3)
    assert images[0].rgb.std() > 20
    camera.close()
    assert camera.read() is None


def test_a_wrong_camera_or_command_is_refused_and_the_link_lives_on(link: PlantLink) -> None:
    with pytest.raises(BadInput, match="have: cam_front, cam_wrist"):
        PlantCamera(link, "cam_top")
    with pytest.raises(ValueError, match="5 finite angles"):
        link.command(np.zeros(6))
    with pytest.raises(ValueError, match="5 finite angles"):
        link.command(np.full(5, np.nan))
    with pytest.raises(ValueError, match="have: id, ood"):
        link._ask("draw_start", distribution="elsewhere", seed=1)
    assert not link.success()


def test_starts_and_truth_come_over_the_link(link: PlantLink) -> None:
    start_at = TaskStart(x_m=0.21, y_m=-0.08, yaw_rad=0.1)
    assert link.reset(start_at) == start_at
    np.testing.assert_allclose(link.truth()["block"].translation_m[:2], [0.21, -0.08], atol=2e-3)
    assert link.draw_start("id", 5) == link.draw_start("id", 5)
    assert link.place(seed=5) == link.draw_start("id", 5)
    assert 0 <= link.progress() < 1


def test_several_clients_share_the_plant(link: PlantLink, served: Path) -> None:
    with PlantLink(str(served)) as other:
        link.reset(TaskStart(x_m=0.2, y_m=-0.1, yaw_rad=0.0))
        np.testing.assert_allclose(other.truth()["block"].matrix, link.truth()["block"].matrix, atol=1e-3)


CLIENT = (
    "import sys; from hardware.bench.link import PlantLink; l = PlantLink(sys.argv[1]); print('in', flush=True)"
)


def test_a_client_that_is_killed_changes_nothing_for_the_others(link: PlantLink, served: Path) -> None:
    command = [sys.executable, "-c", CLIENT + "; import time; time.sleep(60)", str(served)]
    client = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert client.stdout.readline() == "in\n"
    client.kill()
    client.communicate()
    before = link.reading()[0].stamp_ns
    time.sleep(0.1)
    assert link.reading()[0].stamp_ns > before
    assert not link.success()


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", struct.pack("!I", 2**31), struct.pack("!I", 3) + b"\xc1\xc1\xc1"],
    ids=["http", "huge", "no msgpack"],
)
def test_a_client_that_talks_nonsense_is_cut_off_alone(link: PlantLink, served: Path, garbage: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as rude:
        rude.settimeout(5)
        rude.connect(str(served))
        rude.sendall(garbage)
        assert rude.recv(10) == b""
    assert not link.success()


@pytest.mark.parametrize(
    "request_",
    [{"do": "fly"}, {}, {"do": 3}, {"do": "command"}, {"do": "command", "q_rad": "x", "gripper_open": None}],
)
def test_a_request_that_makes_no_sense_is_refused_politely(served: Path, request_: dict[str, object]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect(str(served))
        client.sendall(wire.pack(request_))
        assert "refused" in wire.receive(client)


def test_a_second_plant_of_the_same_name_does_not_start(served: Path) -> None:
    process = start(served)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == BadInput.exit_code
    assert "listens at" in errors


def keep_reading(read: Callable[[], object]) -> None:
    """For five seconds."""
    end_s = time.monotonic() + 5
    while time.monotonic() < end_s:
        read()
        time.sleep(0.002)


def test_a_killed_plant_is_noticed_at_once_and_found_again_when_it_is_back(tmp_path: Path) -> None:
    """kill -9: once it has ended, drivers raise within 100 ms; a new plant takes the dead one's socket over."""
    address = tmp_path / "p.sock"
    process = start(address)
    link = PlantLink(str(address), wait_s=120.0)
    arm, camera = PlantArm(link), PlantCamera(link, "cam_front")
    arm.read()
    process.kill()
    process.wait(timeout=30)
    ended_s = time.monotonic()
    with pytest.raises(DeviceLost, match="does not answer"):
        keep_reading(arm.read)
    assert time.monotonic() - ended_s < 0.1
    with pytest.raises(DeviceLost):
        keep_reading(camera.read)
    with pytest.raises(DeviceLost, match="plant_server"):
        arm.send(np.zeros(5))
    arm.stop()  # never raises
    process.communicate()
    again = start(address)
    try:
        link.reconnect(wait_s=120.0)
        assert arm.read().names == arm.names
    finally:
        link.close()
        assert end(again) == 0


def test_a_plant_that_does_not_exist_is_lost_with_the_way_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(DeviceLost, match=r"python -m hardware\.bench\.plant_server"):
        PlantLink(str(tmp_path / "none.sock"), wait_s=0.1)
