"""The viewer serves what the bundle holds, its boxes and sliders do what they say, and Ctrl-C ends it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import small_twin

from hardware.errors import BadInput
from hardware.spatial import Pose
from twin.splat import Splat
from twin.view import Reach, ViewTwin, base_colours, covariances, serve, thumbnail

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return small_twin.write(tmp_path_factory.mktemp("twins") / "table")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetched(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=10) as page:
        return page.read()


def test_a_covariance_is_the_spread_of_the_gaussian():
    # Scales 1 2 3 turned by 90° about z: x takes y's spread and y takes x's.
    quarter = Pose.exp("a", "b", np.array([0, 0, 0, 0, 0, np.pi / 2])).quat_wxyz
    splat = Splat(np.zeros((1, 3)), 2 * quarter[None], np.array([[1.0, 2, 3]]), np.ones(1), np.zeros((1, 1, 3)))
    np.testing.assert_allclose(covariances(splat)[0], np.diag([4.0, 1, 9]), atol=1e-6)


def test_colours_are_those_the_splat_was_given():
    splat = small_twin.splat(600)
    np.testing.assert_allclose(base_colours(splat)[-1], small_twin.BALLS[-1][1], atol=1e-6)


def test_the_scene_holds_splat_cameras_mesh_and_axes(bundle):
    server = serve(ViewTwin(bundle=bundle, port=free_port()))
    try:
        nodes = set(server.scene._handle_from_node_name)
        assert {"/splat", "/mesh", "/world", "/cameras"} <= nodes
        assert sum(name.startswith("/cameras/") for name in nodes) == 9
        labels = {handle.label for handle in server.gui._gui_input_handle_from_uuid.values()}
        assert {"Splat", "Least opacity", "Cameras", "Mesh", "Camera", "Axes of 'board' (0.1 m)"} <= labels
        assert b"<html" in fetched(server.get_port()).lower()
    finally:
        server.stop()


def test_the_boxes_and_the_slider_change_the_scene(bundle):
    server = serve(ViewTwin(bundle=bundle, port=free_port()))
    try:
        inputs = {handle.label: handle for handle in server.gui._gui_input_handle_from_uuid.values()}
        nodes = server.scene._handle_from_node_name
        before = len(nodes["/splat"].buffer)
        inputs["Least opacity"].value = 0.8
        inputs["Mesh"].value = True
        inputs["Cameras"].value = False
        wait_for(lambda: len(nodes["/splat"].buffer) < before and nodes["/mesh"].visible)
        kept = (small_twin.splat().opacities >= 0.8).sum()
        assert len(nodes["/splat"].buffer) == kept
        assert not nodes["/cameras"].visible
        inputs["Splat"].value = False
        wait_for(lambda: not nodes["/splat"].visible)
    finally:
        server.stop()


def wait_for(holds) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_two_viewers_can_run_at_once(bundle):
    port = free_port()
    first, second = (serve(ViewTwin(bundle=bundle, port=port)) for _ in range(2))
    try:
        assert first.get_port() != second.get_port()
    finally:
        first.stop()
        second.stop()


def test_the_reach_is_the_cameras_distance_to_what_they_see():
    reach = Reach.of(small_twin.cameras(9), small_twin.splat())
    np.testing.assert_allclose(reach.target, [0, 0, 0.03], atol=1e-9)
    assert reach.distance == pytest.approx(0.816, abs=0.03)  # hypot(0.7, 0.42)
    nobody = Reach.of(small_twin.cameras(0), small_twin.splat())
    assert 0.1 < nobody.distance < 0.6


def test_a_missing_photo_has_no_thumbnail_and_a_large_one_is_shrunk(tmp_path, bundle):
    assert thumbnail(tmp_path / "gone.jpg") is None
    small = thumbnail(bundle / "work" / "capture" / "frames" / "photo_000.jpg")
    assert small is not None
    assert max(small.shape) <= 160


def test_a_folder_without_a_twin_and_a_foreign_address_are_refused(tmp_path, bundle):
    with pytest.raises(BadInput, match="no twin"):
        serve(ViewTwin(bundle=tmp_path))
    with pytest.raises(BadInput, match="cannot serve"):
        serve(ViewTwin(bundle=bundle, host="203.0.113.7", port=free_port()))


def test_it_prints_its_address_and_ctrl_c_ends_it(bundle):
    port = free_port()
    command = [sys.executable, "-m", "tandem", "twin", "view", str(bundle), "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"}
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if f"http://localhost:{port}" in line:
                break
        assert f"http://localhost:{port}" in "".join(lines)
        assert b"<html" in fetched(port).lower()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
