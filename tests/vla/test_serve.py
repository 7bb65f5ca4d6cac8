"""The server answers our client and openpi's way of asking, batches, guards its door, and outlives bad clients."""

import asyncio
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

import tandem
from hardware.errors import BadInput
from hardware.loopback import is_loopback
from vla import exchange, replay, serve, wire
from vla.client import PolicyClient, PolicyFailed, ServerLost
from vla.replay import Recording, Replay
from vla.serve import PolicyServer, ServePolicy
from vla.served import SERVED, BatchedPolicy, SessionPolicy

ROOT = Path(__file__).parents[2]
RECORDING = Recording(np.arange(20.0).reshape(10, 2), ("a", "b"), rate_hz=10.0)
TOKEN = "0123456789abcdef0123"


class Doubler:
    """A real batched policy: the actions are twice the state. It counts its calls, and may be slow or fall over."""

    metadata = {"name": "doubler"}
    largest_batch = 3

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s = takes_s
        self.batches: list[int] = []
        self.threads: set[int] = set()

    def infer(self, observation: dict) -> dict:
        return self.infer_batch([observation])[0]

    def infer_batch(self, observations: list[dict]) -> list[dict]:
        self.batches.append(len(observations))
        self.threads.add(threading.get_ident())
        time.sleep(self.takes_s)
        return [{"actions": 2 * observation["state"][None]} for observation in observations]


@contextlib.contextmanager
def serving(policy, token: str | None = None, **options):
    """The server on a free port of this machine, in a thread; gives the port."""
    config = ServePolicy(replay=Path("unused.npz"), port=0, **options)
    ready: list[str] = []
    started = threading.Event()
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run():
        stop = asyncio.Event()
        stops.append((asyncio.get_running_loop(), stop))

        def on_ready(address: str) -> None:
            ready.append(address)
            started.set()

        await PolicyServer(policy, config, token).serve(on_ready, stop)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(10)
    try:
        yield int(ready[0].rpartition(":")[2])
    finally:
        loop, stop = stops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        assert not thread.is_alive()


def asking(port: int, **options) -> contextlib.closing[PolicyClient]:
    return contextlib.closing(PolicyClient(port=port, **options))


def healthz(port: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_our_client_gets_a_replay_as_a_chunk():
    wanted = exchange.Facts(("a", "b"), 10.0, 10)
    with serving(Replay(RECORDING)) as port, asking(port) as client:
        said = exchange.facts(client.metadata())
        assert said == wanted
        answer = client.infer({exchange.STAMP: 0})
        chunk = exchange.chunk(answer, 0, wanted, said)
        np.testing.assert_array_equal(chunk.values, RECORDING.actions)
        assert answer["server_timing"]["infer_ms"] >= 0
        assert "prev_total_ms" not in answer["server_timing"]
        assert client.infer({exchange.STAMP: 0})["server_timing"]["prev_total_ms"] > 0


def test_a_new_session_begins_the_replay_anew():
    with serving(Replay(RECORDING)) as port, asking(port) as client:
        client.infer({exchange.STAMP: 0})
        assert client.infer({exchange.STAMP: 900_000_000})["actions"][0, 0] == 18.0
        client.reset()
        assert client.infer({exchange.STAMP: 900_000_000})["actions"][0, 0] == 0.0


def test_openpis_way_of_asking_is_understood():
    """As its client does it: plain msgpack with byte-string keys, a header 'Api-Key', text for an error."""

    def array(entry):
        if b"__ndarray__" in entry:
            return np.ndarray(buffer=entry[b"data"], dtype=np.dtype(entry[b"dtype"]), shape=entry[b"shape"])
        return entry

    state = np.array([1.0, 2.0], np.float32)
    packed = {b"__ndarray__": True, b"data": state.tobytes(), b"dtype": state.dtype.str, b"shape": state.shape}
    with serving(Doubler(), TOKEN) as port:
        headers = {"Authorization": f"Api-Key {TOKEN}"}
        with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, additional_headers=headers) as link:
            assert msgpack.unpackb(link.recv()) == {"name": "doubler"}
            link.send(msgpack.packb({"state": packed, "prompt": "go"}))
            answer = msgpack.unpackb(link.recv(), object_hook=array)
            np.testing.assert_array_equal(answer["actions"], [[2.0, 4.0]])
            assert answer["actions"].dtype == np.float32
            assert set(answer["server_timing"]) >= {"infer_ms"}
            link.send(msgpack.packb({"wrong": 1}))
            assert "KeyError: 'state'" in link.recv()
            with pytest.raises(ConnectionClosedError) as closed:
                link.recv()
            assert closed.value.rcvd.code == 1011


def test_questions_of_several_clients_are_answered_together_and_each_gets_its_own():
    policy = Doubler(takes_s=0.05)
    wrong = []

    def ask(port: int, who: int) -> None:
        with asking(port) as client:
            for step in range(4):
                actions = client.infer({"state": np.array([who, step], float)})["actions"]
                if not np.array_equal(actions, [[2 * who, 2 * step]]):
                    wrong.append((who, step, actions))

    with serving(policy, batch_window_s=0.02) as port:
        threads = [threading.Thread(target=ask, args=(port, who)) for who in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert sum(policy.batches) == 20
    assert max(policy.batches) == policy.largest_batch
    assert len(policy.batches) <= 12
    assert len(policy.threads) == 1


def test_a_lone_client_does_not_wait_for_others():
    with serving(Doubler(), batch_window_s=1.0) as port, asking(port) as client:
        client.metadata()
        began_s = time.monotonic()
        client.infer({"state": np.zeros(2)})
        assert time.monotonic() - began_s < 0.5


def test_one_bad_observation_in_a_batch_costs_only_its_sender_the_answer():
    outcomes: dict[int, object] = {}

    def ask(port: int, who: int) -> None:
        with asking(port) as client:
            client.metadata()
            barrier.wait()
            try:
                outcomes[who] = client.infer({"other" if who == 1 else "state": np.array([who], float)})["actions"][
                    0
                ]
            except PolicyFailed as error:
                outcomes[who] = error

    barrier = threading.Barrier(3)
    policy = Doubler()
    with serving(policy, batch_window_s=0.5) as port:
        threads = [threading.Thread(target=ask, args=(port, who)) for who in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert policy.batches[0] == 3
    assert (outcomes[0], outcomes[2]) == (0.0, 4.0)
    assert "KeyError: 'state'" in str(outcomes[1])


@pytest.mark.parametrize(
    "question", [b"\xc1", b"", msgpack.packb([1]), "text", msgpack.packb({"s": msgpack.Timestamp(1)})]
)
def test_garbage_is_answered_with_its_reason_and_the_server_lives(question):
    with serving(Doubler()) as port:
        with connect(f"ws://127.0.0.1:{port}", compression=None) as link:
            link.recv()
            link.send(question)
            assert "refused" in link.recv()
            with pytest.raises(ConnectionClosedError):
                link.recv()
        with asking(port) as client:
            assert client.infer({"state": np.ones(1)})["actions"] == 2.0


def test_an_oversized_question_ends_its_connection_only():
    with (
        serving(Doubler(), largest_request_bytes=10_000) as port,
        asking(port) as client,
    ):
        with pytest.raises(ServerLost, match="1009"):
            client.infer({"state": np.zeros(10_000)})
        client.reset()
        assert client.infer({"state": np.zeros(100)})["actions"].shape == (1, 100)


@pytest.mark.parametrize(
    "actions",
    [np.array([[np.nan]]), [[1.0]], None, np.array([[object()]])],
    ids=["NaN", "a list", "nothing", "objects"],
)
def test_a_policy_that_gives_what_no_robot_should_get_is_reported(actions):
    class Broken:
        metadata: dict = {}

        def infer(self, observation: dict) -> dict:
            return {"actions": actions}

    with serving(Broken()) as port, asking(port) as client, pytest.raises(PolicyFailed):
        client.infer({})


def test_a_client_that_leaves_while_it_waits_costs_the_others_nothing():
    policy = Doubler(takes_s=0.3)
    with serving(policy) as port:
        with asking(port, reply_timeout_s=0.05) as hasty, pytest.raises(ServerLost):
            hasty.infer({"state": np.zeros(1)})
        with asking(port) as client:
            assert client.infer({"state": np.ones(1)})["actions"] == 2.0


def test_a_question_under_way_when_the_server_stops_gets_an_error_not_silence():
    errors = []

    def ask(port: int) -> None:
        with asking(port, reply_timeout_s=5.0) as client:
            client.metadata()
            asked.set()
            try:
                client.infer({"state": np.zeros(1)})
            except ServerLost as error:
                errors.append(str(error))

    asked = threading.Event()
    with serving(Doubler(takes_s=1.0)) as port:
        thread = threading.Thread(target=ask, args=(port,))
        thread.start()
        asked.wait()
        time.sleep(0.2)
    thread.join(5)
    assert "shutting down" in errors[0] or "closed the connection" in errors[0]


def test_health_needs_no_token_and_everything_else_does():
    with serving(Doubler(), TOKEN) as port:
        assert healthz(port) == (200, b"OK\n")
        for token in (None, "wrong-wrong-wrong-wrong"):
            with asking(port, token=token) as client, pytest.raises(ServerLost, match="another token"):
                client.infer({"state": np.ones(1)})
        with asking(port, token=TOKEN) as client:
            assert client.infer({"state": np.ones(1)})["actions"] == 2.0
        with connect(f"ws://127.0.0.1:{port}/?token={TOKEN}") as link:
            assert wire.unpack(link.recv()) == {"name": "doubler"}
        with pytest.raises(InvalidStatus):
            connect(f"ws://127.0.0.1:{port}/?token=")


def test_a_web_page_cannot_connect():
    with serving(Doubler()) as port:
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://127.0.0.1:{port}", origin="https://example.com")
        assert refused.value.response.status_code == 403


def test_more_clients_than_allowed_are_turned_away():
    with serving(Doubler(), largest_clients=1) as port:
        with asking(port) as first:
            first.metadata()
            with pytest.raises(InvalidStatus) as refused:
                connect(f"ws://127.0.0.1:{port}")
            assert refused.value.response.status_code == 503
        for _ in range(50):  # the server hears of the close a moment later
            with asking(port) as second, contextlib.suppress(ServerLost):
                assert second.metadata() == {"name": "doubler"}
                return
            time.sleep(0.05)
        raise AssertionError("the place was not freed")


def test_anything_beyond_this_machine_needs_a_token(tmp_path):
    replay.write(tmp_path / "run.npz", RECORDING)
    for host in ("0.0.0.0", "::", "192.168.1.5", "robot.local"):
        with pytest.raises(BadInput, match="anyone who reaches"):
            serve.run(ServePolicy(replay=tmp_path / "run.npz", host=host))
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))


def test_the_protocols_tell_policies_apart():
    assert isinstance(Doubler(), BatchedPolicy)
    assert not isinstance(Doubler(), SessionPolicy)
    assert isinstance(Replay(RECORDING), SessionPolicy)
    assert not isinstance(Replay(RECORDING), BatchedPolicy)


def test_every_kind_that_is_served_is_a_field_of_the_command():
    assert set(SERVED) <= set(ServePolicy.model_fields)
    with pytest.raises(ValueError, match="exactly one of --policy, --replay"):
        ServePolicy()


@contextlib.contextmanager
def command(file: Path, port: int):
    """`tandem vla serve` as a process that listens; gives it and its port."""
    words = [sys.executable, "-m", "tandem", "vla", "serve", "--replay", str(file), "--port", str(port)]
    env = os.environ | {"COLUMNS": "300"}
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=env)
    assert process.stderr is not None
    try:
        found = None
        while found is None:
            line = process.stderr.readline()
            assert line, "the server ended"
            found = re.search(r"ws://127\.0\.0\.1:(\d+)", line)
        yield process, int(found[1])
    finally:
        process.kill()
        process.stderr.close()
        process.wait()


def test_the_command_outlives_its_clients_and_ends_when_it_is_told_to(tmp_path):
    replay.write(tmp_path / "run.npz", RECORDING)
    with command(tmp_path / "run.npz", 0) as (process, port):
        for _ in range(2):
            with asking(port) as client:
                assert client.infer({})["actions"].shape == (10, 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_killed_server_is_noticed_at_once_and_found_again_when_it_is_back(tmp_path):
    replay.write(tmp_path / "run.npz", RECORDING)
    with command(tmp_path / "run.npz", 0) as (process, port), asking(port) as client:
        client.infer({})
        process.kill()
        process.wait()
        began_s = time.monotonic()
        with pytest.raises(ServerLost):
            client.infer({})
        assert time.monotonic() - began_s < 0.5
        with command(tmp_path / "run.npz", port):
            for _ in range(60):
                try:
                    assert client.infer({})["actions"].shape == (10, 2)
                    return
                except ServerLost:
                    time.sleep(0.1)
            raise AssertionError("the client did not come back")


def test_the_command_says_what_is_missing(tmp_path, capsys):
    assert tandem.main(["vla", "serve", "--replay", str(tmp_path / "none.npz")]) == 2
    assert "not a recording to replay" in capsys.readouterr().err


def test_an_idle_client_is_kept_and_one_that_is_gone_is_noticed(monkeypatch):
    told, server = {}, serve.serve
    monkeypatch.setattr(serve, "serve", lambda *given, **more: told.update(more) or server(*given, **more))
    with serving(Doubler()):
        assert told["ping_interval"] is None
    with socket.create_server(("127.0.0.1", 0)) as door:
        serve.watch(door)
        with socket.create_connection(door.getsockname()), door.accept()[0] as link:
            assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == serve.KEEPALIVE_S
