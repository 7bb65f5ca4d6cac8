"""`tandem vla serve`: a policy behind a websocket, for our client and for openpi's; observations in, chunks out.

As in openpi: metadata on connect, then one binary message per question and one per answer, an error as text before
the connection closes, `GET /healthz`. Unlike it: messages are bounded, actions that are not finite are not sent,
browsers are refused, only this machine can connect unless a token is set, and questions of several clients are
answered together. The token travels in the clear: between machines, use a tunnel (`ssh -L`) or a private network.
"""

from __future__ import annotations

import asyncio
import hmac
import http
import logging
import signal
import socket
import time
import urllib.parse
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy import ndarray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from hardware import notify
from hardware.config import Config
from hardware.errors import BadInput, TandemError
from hardware.loopback import is_loopback
from vla import wire
from vla.batching import Batcher
from vla.client import LARGEST_REQUEST_BYTES, read_token
from vla.served import SERVED, ServedPolicy, SessionPolicy, open_policy

log = logging.getLogger(__name__)

INTERNAL_ERROR = 1011
"""The websocket close code after an error text, as openpi's server uses it."""

KEEPALIVE_S, KEEPALIVES = 20, 3
"""After so long in silence a peer is asked for a sign of life, so often at most."""


class ServePolicy(Config):
    """Serve one policy to robots and simulators over a websocket."""

    policy: Path | None = None
    """A policy's folder, as `tandem vla sft` leaves it (RUN/policy)."""
    replay: Path | None = None
    """A recording (.npz) that is replayed to each client from its beginning."""
    host: str = "127.0.0.1"
    """Where to listen. Anything beyond this machine needs --token-file."""
    port: int = Field(default=8765, ge=0, lt=65536)
    """0 picks a free one."""
    token_file: Path | None = None
    """Holds the token that clients must send; `openssl rand -hex 16 > FILE` makes one."""
    batch_window_s: NonNegativeFloat = 0.003
    """The longest that a question waits for other clients' questions."""
    largest_clients: PositiveInt = 64
    largest_request_bytes: PositiveInt = LARGEST_REQUEST_BYTES
    send_timeout_s: PositiveFloat = 10.0
    """A client that does not take its answer for longer is dropped."""

    @model_validator(mode="after")
    def _serves_one(self) -> ServePolicy:
        if len(self.served) != 1:
            raise ValueError(f"give exactly one of {', '.join(f'--{kind}' for kind in SERVED)}")
        return self

    @property
    def served(self) -> dict[str, Path]:
        """Kind → path of what was asked for."""
        given = {kind: getattr(self, kind) for kind in SERVED}
        return {kind: path for kind, path in given.items() if path is not None}


def run(config: ServePolicy) -> int:
    """Serves until SIGINT or SIGTERM."""
    token = _token(config)
    [(kind, path)] = config.served.items()
    server = PolicyServer(open_policy(kind, path), config, token)

    def is_ready(address: str) -> None:
        log.info("serving %s at %s", path, address)
        notify.ready()

    asyncio.run(server.serve(is_ready))
    return 0


def _token(config: ServePolicy) -> str | None:
    token = read_token(config.token_file)
    if token is None and not is_loopback(config.host):
        raise BadInput(
            f"anyone who reaches {config.host}:{config.port} could use the policy",
            "openssl rand -hex 16 > token && tandem vla serve --token-file token, or leave --host at 127.0.0.1",
        )
    return token


class PolicyServer:
    """One policy, any number of clients, each with its own session where the policy remembers."""

    def __init__(self, policy: ServedPolicy, config: ServePolicy, token: str | None = None) -> None:
        self._policy = policy
        self._config = config
        self._token = token
        self._batcher = Batcher(policy, config.batch_window_s)
        self._metadata = wire.pack(policy.metadata)

    async def serve(self, on_ready: Callable[[str], object], stop: asyncio.Event | None = None) -> None:
        """Until `stop` is set, or SIGINT or SIGTERM arrives where it is None; `on_ready` gets the address."""
        config = self._config
        stop = stop or _stop_on_signals()
        server = serve(
            self._talk,
            config.host,
            config.port,
            origins=[None],  # a browser always sends one: no web page may drive a robot through this machine
            compression=None,
            max_size=config.largest_request_bytes,
            process_request=self._admit,
            server_header=None,
            ping_interval=None,  # clients without a thread answer pings only while they ask: idle ones would be closed
        )
        async with server as listening:
            for door in listening.sockets:
                watch(door)
            answering = asyncio.create_task(self._batcher.run())
            host, port = listening.sockets[0].getsockname()[:2]
            on_ready(f"ws://{f'[{host}]' if ':' in host else host}:{port}")
            try:
                await stop.wait()
            finally:
                answering.cancel()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        path, _, query = request.path.partition("?")
        if path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if self._token is not None and not self._knows(request, query):
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "a token is needed\n")
        if self._batcher.clients >= self._config.largest_clients:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many clients\n")
        return None

    def _knows(self, request: Request, query: str) -> bool:
        """`Authorization: Bearer …`, openpi's `Authorization: Api-Key …`, or `?token=…`."""
        offered = urllib.parse.parse_qs(query).get("token", [])
        for header in request.headers.get_all("Authorization"):
            scheme, _, value = header.partition(" ")
            if scheme.lower() in ("bearer", "api-key"):
                offered.append(value.strip())
        return any(hmac.compare_digest(value.encode(), str(self._token).encode()) for value in offered)

    async def _talk(self, connection: ServerConnection) -> None:
        who = connection.remote_address
        log.info("%s connected", who)
        self._batcher.clients += 1
        try:
            await self._send(connection, self._metadata)
            policy = self._policy.session() if isinstance(self._policy, SessionPolicy) else self._policy
            total_ms = None
            while True:
                question = await connection.recv()
                began_s = time.monotonic()
                await self._send(connection, await self._answer(policy, question, total_ms))
                total_ms = (time.monotonic() - began_s) * 1e3
        except (ConnectionClosed, TimeoutError):
            pass
        except TandemError as error:
            await self._fail(connection, f"{error.problem}. {error.fix}")
        except wire.WireError as error:
            await self._fail(connection, f"the message is refused: {error}")
        except Exception as error:
            log.exception("the policy failed on a question of %s", who)
            await self._fail(connection, f"{type(error).__name__}: {error}")
        finally:
            self._batcher.clients -= 1
            log.info("%s left", who)

    async def _answer(self, policy: ServedPolicy, question: str | bytes, total_ms: float | None) -> bytes:
        if isinstance(question, str):
            raise wire.WireError("a question is a binary message, not text")
        answer = await self._batcher.answer(policy, wire.unpack(question))
        actions = answer.message.get("actions")
        if not isinstance(actions, ndarray) or not np.isfinite(actions).all():
            raise ValueError('the policy gave no finite array under "actions"')
        timing: dict[str, float] = {
            "infer_ms": answer.infer_ms,
            "queue_ms": answer.queue_ms,
            "batch": answer.batch,
        }
        if total_ms is not None:
            timing["prev_total_ms"] = total_ms
        return wire.pack({**answer.message, "server_timing": timing})

    async def _send(self, connection: ServerConnection, message: bytes | str) -> None:
        async with asyncio.timeout(self._config.send_timeout_s):
            await connection.send(message)

    async def _fail(self, connection: ServerConnection, problem: str) -> None:
        """Says what was wrong, then closes: whoever sends nonsense is not to be trusted with the next message."""
        log.warning("%s: %s", connection.remote_address, problem)
        try:
            await self._send(connection, problem)
            await connection.close(INTERNAL_ERROR, "the frame before says why")
        except (ConnectionClosed, TimeoutError):
            pass


def watch(door: socket.socket | TransportSocket) -> None:
    """Of all whom it lets in, the system notices who is gone without a word, and ends the connection."""
    door.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVES)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
