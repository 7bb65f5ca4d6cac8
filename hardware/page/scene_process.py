"""The process that draws the 3D scene, as the page's server keeps it: started when somebody looks, fed ten times a
second, ended when nobody has looked for a while.

It stands apart, as meshes, Gaussians and viser would keep the server's thread from answering heartbeats in time. A
frame leaves when the one before is drawn, so that nothing waits in between and old positions are never drawn.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from hardware.page.scene_frame import SceneFrame

log = logging.getLogger(__name__)

RATE_HZ = 10.0
START_S, DRAW_S, END_S = 90.0, 10.0, 3.0
"""It has so long to begin, to draw a frame, and to end."""
IDLE_S = 20.0
"""With nobody looking it goes on for so long, as people come back."""
GONE = "the process that draws the 3D scene has ended; see the page's log"


class NoScene(Exception):
    """Why there is nothing to look at, in words."""


@dataclass(frozen=True)
class Drawn:
    """Where the scene is to be had."""

    address: str
    words: str


class SceneProcess:
    """All in one event loop. `command` starts it; `frame` says, in any thread, where everything is now."""

    def __init__(self, command: tuple[str, ...], frame: Callable[[], SceneFrame]) -> None:
        self._command, self._frame = command, frame
        self.state, self.words = "off", ""
        """`off`, `starting`, `on` or `failed`; and what a person should know of it."""
        self._viewers = 0
        self._empty_since = 0.0
        self._life: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Drawn] | None = None
        self._ending: asyncio.Future[None] | None = None

    @contextmanager
    def looked_at(self):
        """Somebody looks for as long as this lasts."""
        self._viewers += 1
        try:
            yield
        finally:
            self._viewers -= 1
            self._empty_since = asyncio.get_running_loop().time()

    async def drawn(self) -> Drawn:
        """Begins it where it does not run. Raises `NoScene`."""
        if self._life is None or self._life.done() or self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._life = asyncio.create_task(self._live(self._ready))
        return await asyncio.shield(self._ready)

    async def close(self) -> None:
        if self._life is not None:
            self._life.cancel()
            with suppress(asyncio.CancelledError):
                await self._life
        if self._ending is not None:
            await self._ending

    async def _live(self, ready: asyncio.Future[Drawn]) -> None:
        process = None
        self.state, self.words = "starting", ""
        try:
            pipe = subprocess.PIPE
            process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
            drawn = await self._begun(process)
            self.state, self.words = "on", drawn.words
            ready.set_result(drawn)
            await self._feed(process)
            self.state, self.words = "off", ""
        except (NoScene, OSError, TimeoutError) as problem:
            words = str(problem) or "the 3D scene does not answer"
            log.warning("no 3D scene: %s", words)
            self.state, self.words = "failed", words
            if not ready.done():
                ready.set_exception(NoScene(words))
                ready.exception()  # nobody may be waiting any more
        finally:
            if not ready.done():
                ready.cancel()
            if process is not None:
                self._ending = asyncio.ensure_future(_ended(process))
                await asyncio.shield(self._ending)

    async def _begun(self, process: asyncio.subprocess.Process) -> Drawn:
        said = json.loads(await self._answer(process, START_S))
        if "problem" in said:
            raise NoScene(said["problem"])
        return Drawn(said["address"], said["words"])

    async def _feed(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        loop = asyncio.get_running_loop()
        due_s = self._empty_since = loop.time()
        while self._viewers or loop.time() - self._empty_since < IDLE_S:
            if process.returncode is not None:
                raise NoScene(GONE)
            if self._viewers:
                frame = await asyncio.to_thread(self._frame)
                process.stdin.write(frame.model_dump_json().encode() + b"\n")
                await process.stdin.drain()
                await self._answer(process, DRAW_S)
            due_s = max(due_s + 1 / RATE_HZ, loop.time())
            await asyncio.sleep(due_s - loop.time())

    async def _answer(self, process: asyncio.subprocess.Process, within_s: float) -> bytes:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), within_s)
        if not line:
            raise NoScene(GONE)
        return line


async def _ended(process: asyncio.subprocess.Process) -> None:
    """It ends with its input; one that does not is killed."""
    try:
        await asyncio.wait_for(process.communicate(), END_S)
    except TimeoutError:
        process.kill()
        await process.communicate()
