"""The server as browsers and worse clients meet it."""

import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hardware import cell as cells
from hardware.errors import BadInput
from hardware.page.config import ServePage
from hardware.page.desk import Desk
from hardware.page.server import STATIC, PageServer
from hardware.ports import CameraImage
from tests.hardware.page.test_desk import PaperRobot


@pytest.fixture
def server() -> Iterator[PageServer]:
    ours = PageServer(Desk(cells.load("bench"), PaperRobot()), ServePage(port=0, most_viewers=3), 0)
    yield ours
    ours.close()


def socket_address(server: PageServer, path: str) -> str:
    return server.address.replace("http", "ws") + path


def get(server: PageServer, path: str, host: str | None = None) -> http.client.HTTPResponse:
    netloc = server.address.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(netloc, timeout=5)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def test_every_file_of_the_page_is_served_from_here_and_nothing_else(server: PageServer) -> None:
    for file in STATIC.iterdir():
        assert get(server, f"/{file.name}").status == 200
    page = get(server, "/")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    for path in ("/../server.py", "/server.py", "/static/index.html", "/%2e%2e/desk.py"):
        assert get(server, path).status == 404
    assert get(server, "/", host="evil.example").status == 403


def test_the_page_names_no_other_server() -> None:
    for file in STATIC.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text


def test_a_page_of_another_origin_opens_no_socket(server: PageServer) -> None:
    async def enter(origin: str) -> str:
        async with connect(socket_address(server, "state"), origin=origin) as socket:  # type: ignore[arg-type]
            return str(await socket.recv())

    with pytest.raises(InvalidStatus, match="403"):
        asyncio.run(enter("http://evil.example"))
    assert json.loads(asyncio.run(enter(server.address.rstrip("/"))))["is"] == "hello"


def test_pulses_come_steadily_and_a_visitor_too_many_is_refused(server: PageServer) -> None:
    async def visit() -> list[dict]:
        async with contextlib.AsyncExitStack() as stack:
            address = socket_address(server, "state")
            sockets = [await stack.enter_async_context(connect(address)) for _ in range(3)]
            with pytest.raises(InvalidStatus, match="503"):
                await connect(address)
            return [json.loads(await sockets[0].recv()) for _ in range(10)]

    hello, *pulses = asyncio.run(visit())
    assert (hello["is"], hello["cell"]) == ("hello", "bench")
    numbers = [pulse["n"] for pulse in pulses]
    assert numbers == list(range(numbers[0], numbers[0] + 9))


def test_twenty_viewers_all_get_the_newest_pulse_and_one_of_them_drives() -> None:
    robot = PaperRobot()
    desk = Desk(cells.load("bench"), robot)
    ours = PageServer(desk, ServePage(port=0), 0)

    async def visit() -> list[int]:
        async with contextlib.AsyncExitStack() as stack:
            address = socket_address(ours, "state")
            sockets = [await stack.enter_async_context(connect(address)) for _ in range(20)]
            await sockets[7].send('{"do":"sit"}')
            await sockets[7].send('{"do":"episode","what":"start"}')
            await sockets[8].send('{"do":"episode","what":"stop"}')
            counts = [0] * 20

            async def watch(number: int) -> None:
                async for _ in sockets[number]:
                    counts[number] += 1

            watching = [asyncio.create_task(watch(number)) for number in range(20)]
            await asyncio.sleep(0.5)  # what waited for those who came first while the last ones came
            before = list(counts)
            await asyncio.sleep(2.0)
            for task in watching:
                task.cancel()
            return [count - so_far for count, so_far in zip(counts, before, strict=True)]

    counts = asyncio.run(visit())
    ours.close()
    assert min(counts) > 20  # of 50 on a machine with nothing else to do
    assert max(counts) - min(counts) <= 5
    assert robot.asked == ["start"]


@pytest.mark.parametrize("text", ["nonsense", '{"do":"fly"}', "x" * 5000])
def test_a_page_that_talks_nonsense_or_too_much_is_cut_off_and_nobody_else_is(
    server: PageServer, text: str
) -> None:
    async def visit() -> dict:
        address = socket_address(server, "state")
        async with connect(address) as well, connect(address) as bad:
            await bad.send(text)
            await asyncio.wait_for(bad.wait_closed(), 5)
            assert bad.close_code in (1008, 1009)
            await well.recv()
            return json.loads(await asyncio.wait_for(well.recv(), 5))

    assert asyncio.run(visit())["is"] == "pulse"


def test_a_flood_of_messages_ends_the_connection(server: PageServer) -> None:
    async def flood() -> None:
        async with connect(socket_address(server, "state")) as socket:
            for _ in range(1000):
                await socket.send('{"do":"give_back"}')
            while True:
                await asyncio.wait_for(socket.recv(), 5)

    with pytest.raises(ConnectionClosed) as closed:
        asyncio.run(flood())
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.reason == "too many messages"


def test_a_page_that_does_not_read_its_pictures_gets_two_and_others_all(server: PageServer) -> None:
    async def visit() -> tuple[int, int]:
        address = socket_address(server, "pictures")
        async with connect(address) as lazy, connect(address) as keen:
            for number in range(1, 11):
                rgb = np.full((60, 80, 3), number, np.uint8)
                server.pictures.put("cam_front", CameraImage(number, rgb))
                await asyncio.wait_for(keen.recv(), 5)
                await keen.send(f"0 {number}")
            await asyncio.sleep(0.1)
            return 10, await received(lazy)

    assert asyncio.run(visit()) == (10, 2)


async def received(socket: ClientConnection) -> int:
    count = 0
    with contextlib.suppress(TimeoutError):
        while True:
            await asyncio.wait_for(socket.recv(), 0.1)
            count += 1
    return count


def test_a_port_that_is_taken_is_said(server: PageServer) -> None:
    port = int(server.address.rstrip("/").rpartition(":")[2])
    with pytest.raises(BadInput, match="cannot serve the page"):
        PageServer(Desk(cells.load("bench"), PaperRobot()), ServePage(port=port), 0)


def test_the_page_brings_no_torch_no_simulator_and_no_ros() -> None:
    heavy = "('torch', 'mujoco', 'rclpy', 'lerobot')"
    code = f"import sys, hardware.page.server, hardware.page.arms; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
