"""The page's server: files, state and pictures to browsers, heartbeats and buttons from them; in a thread of its own.

On `websockets` alone, which is a dependency anyway: it serves both sockets and the few files, checks frames and
bounds messages, so that no web framework is needed.

`/state`: a pulse 25 times a second out (JSON), what a person does in (`hardware.page.wire`). `/pictures`: JPEGs out
(`pictures.HEADER`), acknowledgements in. `/scene`: the 3D scene out, nothing in. A page that does not keep up misses
pulses and pictures, and nobody else does.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import logging
import threading
import time
from pathlib import Path

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from hardware.errors import BadInput, TandemError
from hardware.loopback import is_loopback
from hardware.page import scene_frame, scene_window, wire
from hardware.page.admission import Admission, token
from hardware.page.config import ServePage
from hardware.page.desk import Desk, Visitor
from hardware.page.pace import Pace
from hardware.page.pictures import Flow, Pictures
from hardware.page.scene_process import SceneProcess
from hardware.page.scene_window import SceneWindow
from hardware.page.shown_folders import PRIVATE, Folders, ShownFolders
from hardware.page.twin_folder import REPORT

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
PAGE_POLICY = "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'"
REPORT_POLICY = "sandbox allow-scripts; default-src 'none'; img-src data:; " + "; ".join(
    f"{kind}-src 'unsafe-inline'" for kind in ("style", "script")
)
"""A twin's report is one file with everything in it; it may not reach this page or anything else."""
PULSE_HZ = 25.0
WAITING_BYTES = 16_384
"""A page with more than this unsent misses pulses until it has caught up."""
MOST_PER_SECOND = 200
"""Messages of one page; a page that sends more is disconnected."""
POLICY_VIOLATION = 1008


class PageServer:
    """Starts when made and raises `BadInput` when it cannot; `close` ends it. `scene`: what draws the 3D scene."""

    def __init__(
        self,
        desk: Desk,
        config: ServePage,
        unix_offset_ns: int,
        folders: Folders | None = None,
        scene: tuple[str, ...] = (),
    ) -> None:
        self.config = config
        self.pictures = Pictures(tuple(desk.cell.cameras), unix_offset_ns, self._pictures_changed)
        self.address = ""
        self._desk = desk
        self._shown = ShownFolders(folders or Folders())
        self._jpegs = scene_frame.NewJpegs(self.pictures)
        self._scene = SceneProcess(scene, self._scene_frame)
        self._window = SceneWindow(self._scene) if scene and scene_window.client() is not None else None
        self._sockets = {"/state": self._listen, "/pictures": self._show}
        if self._window is not None:
            self._sockets[scene_window.SOCKET] = self._window.show
        self._admission = Admission(config.host, token(config.host, config.token_file))
        self._files = {f"/{file.name}": (TYPES[file.suffix], file.read_bytes()) for file in STATIC.iterdir()}
        self._files["/"] = self._files["/index.html"]
        self._pages: dict[ServerConnection, str] = {}
        self._failure: Exception | None = None
        self._started = threading.Event()
        self._watchers: set[asyncio.Event] = set()
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise BadInput(f"cannot serve the page: {self._failure}", "another --page-port, or 0 for a free one")

    @property
    def link(self) -> str:
        """What a person opens."""
        return self.address if self._admission.token is None else f"{self.address}?token={self._admission.token}"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._failure = error
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        server = serve(
            self._talk,
            self.config.host,
            self.config.port,
            compression=None,
            max_size=wire.LARGEST_BYTES,
            max_queue=16,
            ping_interval=5,
            ping_timeout=10,
            close_timeout=1,
            process_request=self._admit,
            select_subprotocol=scene_window.chosen,
            server_header=None,
            logger=logging.getLogger("websockets.page"),
        )
        async with server as listening:
            host, port = listening.sockets[0].getsockname()[:2]
            self.address = f"http://{'localhost' if is_loopback(host) else host}:{port}/"
            beating = asyncio.create_task(self._pulse())
            self._started.set()
            await self._closing.wait()
            beating.cancel()
            await self._scene.close()

    # Requests

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """A file, a refusal, or None: a socket is opened."""
        path, _, query = request.path.partition("?")
        is_socket, is_scene = path in self._sockets, path == scene_window.SOCKET
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        is_private = (is_socket and not is_scene) or path.startswith(PRIVATE)
        refusal = self._admission.refusal(host, origin, query, is_private)
        if is_scene and self._window is not None:
            refusal = refusal or self._window.refusal(origin, query, host)
        if refusal is not None:
            return connection.respond(http.HTTPStatus.FORBIDDEN, refusal + "\n")
        if not is_socket:
            if not is_private:
                return self._file(connection, path, host)
            return await asyncio.to_thread(self._private, connection, path)
        if sum(open_path == path for open_path in self._pages.values()) >= self.config.most_viewers:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many viewers\n")
        return None

    def _file(self, connection: ServerConnection, path: str, host: str) -> Response:
        if path == scene_window.CLIENT and self._window is not None:
            return _found(TYPES[".html"], scene_window.client() or b"", scene_window.policy(host))
        if path not in self._files:
            return connection.respond(http.HTTPStatus.NOT_FOUND, "there is no such page\n")
        return _found(*self._files[path])

    def _private(self, connection: ServerConnection, path: str) -> Response:
        try:
            found = self._shown.answer(path)
        except TandemError as error:
            return connection.respond(http.HTTPStatus.INTERNAL_SERVER_ERROR, f"{error.problem}\n")
        if found is None:
            return connection.respond(http.HTTPStatus.NOT_FOUND, "there is no such thing\n")
        return _found(*found)

    # Sockets

    async def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path = connection.request.path.partition("?")[0]
        if list(self._pages.values()).count(path) >= self.config.most_viewers:  # many came at once
            await connection.close(POLICY_VIOLATION, "too many viewers")
            return
        self._pages[connection] = path
        try:
            await self._sockets[path](connection)
        except ConnectionClosed:
            pass
        finally:
            del self._pages[connection]

    async def _listen(self, connection: ServerConnection) -> None:
        visitor = self._desk.enter()
        try:
            await connection.send(json.dumps(self._desk.hello(visitor) | self._shown.hello() | self._scene_hello()))
            pace = Pace(MOST_PER_SECOND)
            async for text in connection:
                if pace.exceeded():
                    await connection.close(POLICY_VIOLATION, "too many messages")
                    return
                try:
                    await self._heard(visitor, wire.read(text))
                except ValueError as error:
                    await connection.close(POLICY_VIOLATION, f"not understood: {error}"[:120])
                    return
        finally:
            self._desk.leave(visitor)

    def _scene_hello(self) -> dict[str, object]:
        return {"scene": None if self._window is None else self._window.key}

    def _scene_frame(self) -> scene_frame.SceneFrame:
        return scene_frame.frame(self._desk, time.monotonic_ns(), self._jpegs.take())

    async def _heard(self, visitor: Visitor, said: wire.Message) -> None:
        """What is about folders is done here, by who has the controls; the rest is the desk's."""
        may_write = self._desk.seat.now.holder == visitor.number
        match said:
            case wire.Note() if may_write:
                await asyncio.to_thread(self._shown.note, said.episode, said.text)
            case wire.Export() if may_write and self._shown.export is not None:
                self._shown.export.begin()
            case wire.Draw() if may_write and self._shown.twin is not None:
                await asyncio.to_thread(self._shown.twin.keep, said.name, said.polygon_m, said.box)
            case _:
                self._desk.hear(visitor, said)

    async def _pulse(self) -> None:
        due_s = time.monotonic()
        while True:
            viewers = [connection for connection, path in self._pages.items() if path == "/state"]
            try:
                pulse = self._desk.pulse()
                if self._shown.export is not None:
                    pulse["export"] = self._shown.export.shown()
                pulse["scene"] = {"state": self._scene.state, "words": self._scene.words}
                text = json.dumps(pulse)
                broadcast([one for one in viewers if one.transport.get_write_buffer_size() < WAITING_BYTES], text)
            except Exception:
                log.exception("no pulse")
            due_s = max(due_s + 1 / PULSE_HZ, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())

    async def _show(self, connection: ServerConnection) -> None:
        flows = {camera: Flow() for camera in self.pictures.cameras}
        changed = asyncio.Event()
        self._watchers.add(changed)
        listening = asyncio.create_task(self._hear_acknowledgements(connection, flows, changed))
        try:
            while not listening.done():
                await changed.wait()
                changed.clear()
                for camera, flow in flows.items():
                    if flow.may_send(self.pictures.number(camera)):
                        await self._send_picture(connection, camera, flow)
        finally:
            self._watchers.discard(changed)
            listening.cancel()

    async def _send_picture(self, connection: ServerConnection, camera: str, flow: Flow) -> None:
        message = await asyncio.to_thread(self.pictures.message, camera, flow.tier)
        if message is not None:
            number, data = message
            flow.left(number, time.monotonic_ns())
            await connection.send(data)

    async def _hear_acknowledgements(
        self, connection: ServerConnection, flows: dict[str, Flow], changed: asyncio.Event
    ) -> None:
        try:
            async for text in connection:
                place, _, number = str(text).partition(" ")
                if place.isdecimal() and number.isdecimal() and int(place) < len(flows):
                    flows[self.pictures.cameras[int(place)]].came(int(number), time.monotonic_ns())
                    changed.set()
        except ConnectionClosed:
            pass
        finally:
            changed.set()

    def _pictures_changed(self) -> None:
        """From any thread."""
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for changed in self._watchers:
            changed.set()


def _found(kind: str, body: bytes, policy: str = "") -> Response:
    policy = REPORT_POLICY if kind == REPORT else policy or PAGE_POLICY
    length = {"Content-Length": str(len(body)), "Connection": "close"}
    headers = Headers(HEADERS | {"Content-Security-Policy": policy, "Content-Type": kind} | length)
    return Response(200, "OK", headers, body)
