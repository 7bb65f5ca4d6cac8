"""The 3D scene through the page's own port: who may look, that nobody can do more, and when its process lives."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from hardware import cell as cells
from hardware.page import scene_process, scene_window
from hardware.page.config import ServePage
from hardware.page.desk import Desk
from hardware.page.server import PageServer
from hardware.ports import CameraImage, JointReading
from tests.hardware.page.test_desk import PaperRobot, Q
from tests.hardware.page.test_server import get, socket_address
from tests.robot_ws.browser import descendants

STAND_IN = (sys.executable, str(Path(__file__).parent / "scene_stand_in.py"))
ROBOT = PaperRobot()
VISER = [Subprotocol("viser-v1.2.3")]


@pytest.fixture
def desk() -> Desk:
    desk = Desk(cells.load("bench"), ROBOT)
    desk.reading = JointReading(time.monotonic_ns(), desk.cell.limits.names, Q), 0.5
    return desk


@pytest.fixture
def server(desk: Desk) -> Iterator[PageServer]:
    ours = PageServer(desk, ServePage(port=0, most_viewers=3), 0, scene=STAND_IN)
    yield ours
    ours.close()


async def key(server: PageServer, origin: str | None = None) -> str:
    async with connect(socket_address(server, "state"), origin=None if origin is None else Origin(origin)) as state:
        return json.loads(await state.recv())["scene"]


async def looks(server: PageServer, scene_key: str, count: int = 1, origin: str = "null") -> list[dict]:
    address = f"{socket_address(server, 'scene')}?key={scene_key}"
    async with connect(address, origin=Origin(origin), subprotocols=VISER) as scene:
        return [json.loads(await asyncio.wait_for(scene.recv(), 30)) for _ in range(count)]


def children() -> list[int]:
    """Those that draw a scene for this process."""
    found = []
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if b"scene_stand_in.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def test_only_who_has_the_key_looks_and_no_page_of_another_origin_even_with_it(server: PageServer) -> None:
    async def visit() -> dict:
        scene_key = await key(server)
        for wrong, origin in (("", "null"), ("x" * 32, "null"), (scene_key, "http://evil.example")):
            with pytest.raises(InvalidStatus, match="403"):
                await looks(server, wrong, origin=origin)
        return (await looks(server, scene_key))[0]

    assert asyncio.run(visit())["protocol"] == VISER[0]
    with pytest.raises(InvalidStatus, match="403"):
        asyncio.run(key(server, origin="null"))  # the scene's own frame opens no other socket


def test_where_the_page_wants_a_token_the_key_is_had_with_it_alone(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a-token-of-many-letters")
    ours = PageServer(desk, ServePage(host="0.0.0.0", port=0, token_file=file), 0, scene=STAND_IN)

    async def visit() -> dict:
        address = ours.address.replace("http", "ws").replace("0.0.0.0", "127.0.0.1")
        with pytest.raises(InvalidStatus, match="403"):
            await connect(address + "state")
        async with connect(address + "state?token=a-token-of-many-letters") as state:
            scene_key = json.loads(await state.recv())["scene"]
        with pytest.raises(InvalidStatus, match="403"):
            await connect(address + "scene?token=a-token-of-many-letters")
        async with connect(f"{address}scene?key={scene_key}", subprotocols=VISER) as scene:
            return json.loads(await asyncio.wait_for(scene.recv(), 30))

    with contextlib.closing(ours):
        assert asyncio.run(visit())["protocol"] == VISER[0]


def test_what_a_viewer_says_reaches_nothing_and_too_much_of_it_ends_the_connection(
    server: PageServer, desk: Desk
) -> None:
    async def visit() -> dict:
        address = f"{socket_address(server, 'scene')}?key={await key(server)}"
        async with connect(address, subprotocols=VISER) as scene:
            await scene.recv()
            for word in ("{}", '{"do":"emergency_stop","active":true}', '{"do":"sit"}'):
                await scene.send(word)
            await asyncio.sleep(0.3)
            said = [json.loads(await scene.recv()) for _ in range(10)][-1]
        async with connect(address, subprotocols=VISER) as scene:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(1000):
                    await scene.send("x")
            await asyncio.wait_for(scene.wait_closed(), 10)
            assert scene.close_code == 1008
        return said

    said = asyncio.run(visit())
    assert said["heard"] == []
    assert (ROBOT.stops, ROBOT.commands, desk.seat.now.holder) == ([], [], None)


def test_the_scene_is_told_where_everything_is_and_gets_each_picture_once(server: PageServer, desk: Desk) -> None:
    server.pictures.put("cam_front", CameraImage(1, np.zeros((60, 80, 3), np.uint8)))

    async def visit() -> list[dict]:
        return await looks(server, await key(server), 40)

    frames = [said["frame"] for said in asyncio.run(visit()) if said["frame"]]
    assert frames[-1]["q_rad"] == pytest.approx(Q)
    assert frames[-1]["jpegs"] == {}


def test_it_is_fed_at_ten_a_second_at_most(server: PageServer) -> None:
    async def visit() -> list[dict]:
        scene_key = await key(server)
        await looks(server, scene_key)
        return await looks(server, scene_key, 41)  # two seconds

    first, *_, last = asyncio.run(visit())
    assert 1 <= last["count"] - first["count"] <= 25


def test_its_process_lives_only_while_somebody_looks(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_process, "IDLE_S", 0.3)
    assert children() == []

    async def visit() -> None:
        await looks(server, await key(server))

    for _ in range(2):  # and begins anew
        asyncio.run(visit())
        assert len(children()) == 1
        until = time.monotonic() + 20
        while children() and time.monotonic() < until:
            time.sleep(0.05)
        assert children() == []


def test_a_scene_that_cannot_be_is_said_in_words_to_everybody(desk: Desk) -> None:
    ours = PageServer(desk, ServePage(port=0), 0, scene=(*STAND_IN, "no model of this arm"))

    async def visit() -> dict:
        scene_key = await key(ours)
        with pytest.raises(ConnectionClosed) as closed:
            await looks(ours, scene_key)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.reason == "no model of this arm"
        async with connect(socket_address(ours, "state")) as state:
            await state.recv()
            return json.loads(await state.recv())["scene"]

    with contextlib.closing(ours):
        assert asyncio.run(visit()) == {"state": "failed", "words": "no model of this arm"}


def test_a_process_that_dies_is_begun_anew_for_the_next_who_looks(server: PageServer) -> None:
    async def visit() -> None:
        await looks(server, await key(server))

    asyncio.run(visit())
    [first] = children()
    os.kill(first, signal.SIGKILL)
    time.sleep(0.5)
    asyncio.run(visit())
    [second] = children()
    assert second != first


def test_a_page_without_a_scene_says_so_and_serves_none(desk: Desk) -> None:
    ours = PageServer(desk, ServePage(port=0), 0)
    with contextlib.closing(ours):
        assert asyncio.run(key(ours)) is None
        assert get(ours, "/scene/").status == 404
        with pytest.raises(InvalidStatus, match="404"):
            asyncio.run(looks(ours, "x"))


def test_visers_client_comes_from_here_into_a_frame_that_can_reach_its_own_socket_alone(server: PageServer) -> None:
    page = get(server, "/scene/")
    policy = page.headers["Content-Security-Policy"]
    netloc = server.address.removeprefix("http://").rstrip("/")
    assert page.status == 200
    assert "sandbox allow-scripts;" in policy
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy
    assert re.search(r"connect-src ([^;]*)", policy)[1].split() == [  # pyright: ignore[reportOptionalSubscript]
        "blob:",
        "data:",
        f"ws://{netloc}/scene",
        f"wss://{netloc}/scene",
    ]
    assert "evil" not in scene_window.policy("evil.example; script-src *")
    client = scene_window.client()
    assert client is not None
    assert client.count(b"<head><script>Worker") == 1
