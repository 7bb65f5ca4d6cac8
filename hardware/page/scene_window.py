"""viser's page and socket as part of this page: same port, same rules, to look at only.

The client is served as `/scene/` into a sandboxed frame: its origin is none, so that its scripts can open neither
`/state` nor anything else of this page. Its socket is `/scene?key=…`, whose key this page alone has been told. What
viser sends goes on to the browser as fast as that takes it; what the browser sends goes nowhere.
"""

from __future__ import annotations

import asyncio
import hmac
import importlib.util
import re
import secrets
import urllib.parse
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from hardware.page.pace import Pace
from hardware.page.scene_process import NoScene, SceneProcess

SOCKET, CLIENT = "/scene", "/scene/"
VISER = "viser-v"
"""How viser's protocols begin; the rest is its version, which must be the server's."""
POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob: data:; "
    "worker-src blob: data:; style-src 'unsafe-inline'; img-src blob: data:; font-src data:; "
    "connect-src blob: data: {socket}; frame-ancestors 'self'; base-uri 'none'"
)
"""All that viser's one file needs; it may reach its own socket, by name, as a frame without origin has no 'self'."""
NETLOC = re.compile(r"[A-Za-z0-9.:\[\]-]{1,120}")
WORKERS = b"""<script>Worker = class extends Worker { constructor(url, options) {
if (options?.type === "module" && String(url).startsWith("blob:")) throw new TypeError("needs an origin");
super(url, options); } };</script>"""
"""Chromium starts no module from a blob where there is no origin; viser's client then takes its other way, `data:`."""
LARGEST_BYTES = 64 * 2**20
MOST_PER_SECOND = 400
"""A hand that turns the view sends one for each picture drawn."""
TRY_AGAIN, POLICY_VIOLATION = 1013, 1008


class SceneWindow:
    """In the server's event loop."""

    def __init__(self, process: SceneProcess) -> None:
        self.key = secrets.token_urlsafe(24)
        """For the page's own eyes: it is in its hello, which comes over a socket that has its own rules."""
        self._process = process

    def refusal(self, origin: str | None, query: str, host_header: str) -> str | None:
        """None: whoever asks may look. A frame without an origin says `null`."""
        if origin not in (None, "null") and urllib.parse.urlsplit(origin).netloc.lower() != host_header.lower():
            return "a page of another origin may not look"
        given = urllib.parse.parse_qs(query).get("key", [""])[0]
        return None if hmac.compare_digest(given.encode(), self.key.encode()) else "the scene's key is needed"

    async def show(self, connection: ServerConnection) -> None:
        """For as long as the browser looks. Closes with the reason where there is nothing to be seen."""
        connection.ping_timeout = None  # a twin on its way over a slow link is no lost link
        with self._process.looked_at():
            try:
                drawn = await self._process.drawn()
            except NoScene as problem:
                await connection.close(TRY_AGAIN, str(problem)[:120])
                return
            protocol = [Subprotocol(connection.subprotocol)] if connection.subprotocol else None
            try:
                scene = connect(
                    drawn.address,
                    subprotocols=protocol,
                    max_size=LARGEST_BYTES,
                    max_queue=4,
                    compression=None,
                    ping_interval=None,
                    close_timeout=1,
                    proxy=None,
                )
                async with scene as source:
                    await _either(_pass_on(source, connection), _swallow(connection))
            except OSError:
                await connection.close(TRY_AGAIN, "the 3D scene has ended")


def chosen(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """For the handshake of any of this server's sockets: only viser's client offers protocols."""
    return next((protocol for protocol in offered if protocol.startswith(VISER)), None)


def policy(host_header: str) -> str:
    """Of the client's page, for whoever asked under that name."""
    netloc = host_header if NETLOC.fullmatch(host_header) else ""
    return POLICY.format(socket=f"ws://{netloc}{SOCKET} wss://{netloc}{SOCKET}" if netloc else "")


@cache
def client() -> bytes | None:
    """viser's page, one file; None where viser is not installed."""
    found = importlib.util.find_spec("viser")
    if found is None or not found.submodule_search_locations:
        return None
    page = Path(found.submodule_search_locations[0]) / "client" / "build" / "index.html"
    return page.read_bytes().replace(b"<head>", b"<head>" + WORKERS, 1)


async def _pass_on(source, connection: ServerConnection) -> None:
    async for message in source:
        await connection.send(message)
    await connection.close(source.close_code or TRY_AGAIN, source.close_reason or "the 3D scene has ended")


async def _swallow(connection: ServerConnection) -> None:
    """Nothing that a browser says reaches viser."""
    pace = Pace(MOST_PER_SECOND)
    async for _ in connection:
        if pace.exceeded():
            await connection.close(POLICY_VIOLATION, "too many messages")
            return


async def _either(*sides) -> None:
    """Until one of them has ended."""
    tasks = [asyncio.ensure_future(side) for side in sides]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionClosed):
            raise result
