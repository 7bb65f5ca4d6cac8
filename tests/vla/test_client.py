"""Against servers that are slow, gone, half-open or talk garbage, every call ends in time and the next one recovers."""

import contextlib
import socket
import subprocess
import sys
import threading
import time

import msgpack
import numpy as np
import pytest
from hostile_servers import HELLO, answering, raw_server, websocket_server
from websockets.frames import CloseCode
from websockets.sync.server import serve

from hardware.errors import BadInput
from vla import wire
from vla.client import BadReply, PolicyClient, PolicyFailed, ServerLost, ServerSlow, read_token

GOOD = wire.pack({"actions": np.arange(12.0).reshape(4, 3)})
LIMIT_S = 0.3
SLACK_S = 0.5
"""What a loaded machine may add to a deadline."""


def within(began_s: float, limit_s: float) -> bool:
    return time.monotonic() - began_s < limit_s + SLACK_S


def client_of(port: int, **options) -> PolicyClient:
    return PolicyClient("127.0.0.1", port, connect_timeout_s=LIMIT_S, reply_timeout_s=LIMIT_S, **options)


@contextlib.contextmanager
def connected(port: int, **options):
    with contextlib.closing(client_of(port, **options)) as client:
        yield client


def test_the_client_brings_no_heavy_library():
    code = (
        "import sys, vla.client; "
        "print([m for m in ('torch', 'jax', 'pydantic', 'cv2', 'scipy', 'lerobot', 'rclpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_hears_what_the_server_is_and_gets_actions():
    with websocket_server(answering(GOOD, GOOD)) as port, connected(port) as client:
        assert client.metadata() == {"who": "a test"}
        for _ in range(2):
            np.testing.assert_array_equal(client.infer({"prompt": "go"})["actions"], np.arange(12.0).reshape(4, 3))


def test_no_server_is_known_at_once_and_the_pause_before_the_next_attempt_grows():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = client_of(port)
    pauses = []
    for _ in range(4):
        began_s = time.monotonic()
        with pytest.raises(ServerLost, match="not reachable"):
            client.infer({})
        assert within(began_s, 0.0)
        with pytest.raises(ServerLost, match="trying again in"):
            client.infer({})
        pauses.append(client._try_after_s - time.monotonic())
        client._try_after_s = 0.0
    assert pauses == sorted(pauses)
    assert pauses[3] == pytest.approx(0.8, abs=0.1)


def test_a_server_that_comes_up_later_is_found():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = client_of(port)
    with pytest.raises(ServerLost):
        client.infer({})
    handler = answering(GOOD)
    with serve(handler, "127.0.0.1", port) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        time.sleep(0.15)
        assert client.infer({})["actions"].shape == (4, 3)
        client.close()
        server.shutdown()
        thread.join(5)


@pytest.mark.parametrize("phase", ["handshake", "metadata", "answer"])
def test_silence_ends_by_the_deadline(phase):
    def silent(connection):
        if phase == "answer":
            connection.send(HELLO)
        connection.recv()
        time.sleep(3 * LIMIT_S)

    open_half = raw_server(lambda connection: None)
    with open_half if phase == "handshake" else websocket_server(silent) as port, connected(port) as client:
        began_s = time.monotonic()
        with pytest.raises(ServerSlow, match="in time"):
            client.infer({})
        assert within(began_s, 2 * LIMIT_S if phase == "answer" else LIMIT_S)


def test_a_port_nobody_accepts_on_ends_by_the_deadline():
    """The kernel completes the handshake, and nobody ever reads: a server that hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listening:
        began_s = time.monotonic()
        with pytest.raises(ServerSlow), connected(listening.getsockname()[1]) as client:
            client.infer({})
        assert within(began_s, LIMIT_S)


def test_a_server_that_stops_reading_cannot_hold_up_a_large_question():
    stopped = threading.Event()

    def deaf(connection):
        connection.send(HELLO)
        stopped.wait(5)  # its receive buffers fill

    big = {"observation/cam": np.zeros((3000, 3000, 3), np.uint8)}
    with websocket_server(deaf, max_queue=1, max_size=None) as port, connected(port) as client:
        began_s = time.monotonic()
        with pytest.raises(ServerSlow):
            client.infer(big)
        assert within(began_s, 2 * LIMIT_S)
        stopped.set()


def test_an_answer_byte_by_byte_ends_by_the_deadline_too():
    def drip(connection):
        connection.send(HELLO)
        connection.recv()
        for byte in GOOD:
            connection.socket.sendall(bytes([0x02 if byte == GOOD[0] else 0x00, 1, byte]))
            time.sleep(0.05)

    with websocket_server(drip) as port, connected(port) as client:
        began_s = time.monotonic()
        with pytest.raises(ServerLost):
            client.infer({})
        assert within(began_s, 2 * LIMIT_S)


def test_pings_in_a_row_do_not_move_the_deadline():
    def pinging(connection):
        connection.send(HELLO)
        connection.recv()
        for _ in range(100):
            connection.ping()
            time.sleep(0.02)

    with websocket_server(pinging) as port, connected(port) as client:
        began_s = time.monotonic()
        with pytest.raises(ServerSlow):
            client.infer({})
        assert within(began_s, 2 * LIMIT_S)


def test_a_late_answer_is_never_taken_for_the_next_ones():
    count = iter(range(100))

    def late_first(connection):
        connection.send(HELLO)
        while True:
            connection.recv()
            number = next(count)
            if number == 0:
                time.sleep(LIMIT_S + 0.1)
            connection.send(wire.pack({"actions": np.full((1, 1), number)}))

    with websocket_server(late_first) as port, connected(port) as client:
        with pytest.raises(ServerSlow):
            client.infer({})
        time.sleep(0.2)
        assert client.infer({})["actions"][0, 0] == 1


def test_an_answer_that_nobody_asked_for_costs_the_connection():
    connections = []

    def twice(connection):
        connections.append(connection)
        connection.send(HELLO)
        connection.recv()
        connection.send(wire.pack({"actions": np.full((1, 1), len(connections))}))
        connection.send(wire.pack({"actions": np.full((1, 1), 666.0)}))
        connection.recv()

    with websocket_server(twice) as port, connected(port) as client:
        assert client.infer({})["actions"][0, 0] == 1
        time.sleep(0.1)
        assert client.infer({})["actions"][0, 0] == 2


def test_an_idle_client_answers_pings_before_it_asks():
    alive = []

    def pinging(connection):
        connection.send(HELLO)
        connection.recv()
        connection.send(GOOD)
        answered = connection.ping()
        connection.recv()
        alive.append(answered.wait(1))
        connection.send(GOOD)
        connection.recv()

    with websocket_server(pinging) as port, connected(port) as client:
        client.infer({})
        time.sleep(0.1)
        client.infer({})
    assert alive == [True]


def test_a_connection_that_died_while_idle_is_replaced_without_an_error():
    with websocket_server(lambda c: (c.send(HELLO), c.recv(), c.send(GOOD), c.close())) as port:
        client = client_of(port)
        for _ in range(3):
            assert client.infer({})["actions"].shape == (4, 3)
            time.sleep(0.1)
        client.close()


def test_a_server_that_closes_mid_message_is_lost():
    def cut(connection):
        connection.send(HELLO)
        connection.recv()
        connection.socket.sendall(bytes([0x82, 126, 4, 0]) + bytes(100))
        connection.socket.shutdown(socket.SHUT_RDWR)

    with websocket_server(cut) as port, connected(port) as client:
        began_s = time.monotonic()
        with pytest.raises(ServerLost, match="closed the connection"):
            client.infer({})
        assert within(began_s, 0.0)


def test_a_server_that_closes_in_place_of_an_answer_says_why():
    with (
        websocket_server(lambda c: (c.send(HELLO), c.recv(), c.close(1012, "restarting"))) as port,
        connected(port) as client,
        pytest.raises(ServerLost, match="restarting"),
    ):
        client.infer({})


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xc1garbage",
        GOOD[:-3],
        GOOD + b"x",
        msgpack.packb([1, 2]),
        wire.pack({"action": np.zeros((2, 2))}),
        wire.pack({"actions": [[1.0, 2.0]]}),
        wire.pack({"actions": np.zeros((0, 3))}),
        wire.pack({"actions": np.float64(1.0)}),
        wire.pack({"actions": np.array(["left", "right"])}),
        wire.pack({"actions": np.array([[True, False]])}),
        wire.pack({"actions": np.array([[0.0, np.nan]])}),
        wire.pack({"actions": np.array([[0.0, np.inf]])}),
        msgpack.packb({"actions": {b"__ndarray__": True, b"data": b"x", b"dtype": "|O", b"shape": [1]}}),
        msgpack.packb({"actions": {b"__ndarray__": True, b"data": b"x", b"dtype": "<f8", b"shape": [1]}}),
    ],
    ids=lambda answer: repr(answer[:24]),
)
def test_an_answer_that_no_robot_should_execute_is_refused(answer):
    with websocket_server(answering(answer)) as port, connected(port) as client:
        with pytest.raises(BadReply):
            client.infer({})
        assert not client.is_connected


def test_an_oversized_answer_is_refused_before_it_is_read():
    huge = wire.pack({"actions": np.zeros((1000, 1000))})
    limit = 1 << 20
    with websocket_server(answering(huge)) as port, connected(port, largest_reply_bytes=limit) as client:  # noqa: SIM117
        with pytest.raises(BadReply, match=str(limit)):
            client.infer({})


@pytest.mark.parametrize("hello", [b"\xc1", msgpack.packb(3), b""])
def test_garbage_in_place_of_the_greeting_is_refused(hello):
    with websocket_server(answering(GOOD, hello=hello)) as port, connected(port) as client, pytest.raises(BadReply):
        client.infer({})


@pytest.mark.parametrize(
    "said",
    [b"SSH-2.0-OpenSSH_9.6\r\n", bytes(range(256)) * 4, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b""],
)
def test_what_is_no_websocket_server_is_named_so(said):
    def other(connection):
        connection.recv(100)
        connection.sendall(said)
        connection.close()

    with raw_server(other) as port, connected(port) as client:
        began_s = time.monotonic()
        with pytest.raises(ServerLost):
            client.infer({})
        assert within(began_s, LIMIT_S)


@pytest.mark.parametrize("frames", [bytes([0xF2, 1, 65]), bytes([0x82, 0x81, 0, 0, 0, 0, 65]), bytes([0x8B, 0])])
def test_frames_that_break_the_protocol_are_refused(frames):
    def broken(connection):
        connection.send(HELLO)
        connection.recv()
        connection.socket.sendall(frames)
        connection.recv()

    with websocket_server(broken) as port, connected(port) as client, pytest.raises(BadReply, match="protocol"):
        client.infer({})


def test_an_error_text_is_shown_and_the_server_asked_again_at_once():
    def failing(connection):
        connection.send(HELLO)
        connection.recv()
        connection.send("Traceback …\nKeyError: 'observation/state'")
        connection.close(CloseCode.INTERNAL_ERROR)

    with websocket_server(failing) as port, connected(port) as client:
        for _ in range(2):
            with pytest.raises(PolicyFailed, match="observation/state"):
                client.infer({})


def test_what_cannot_be_sent_is_the_callers_fault_and_keeps_the_connection():
    with websocket_server(answering(GOOD, GOOD)) as port, connected(port) as client:
        client.infer({})
        link = client._link
        for bad in ({"x": np.array([None])}, {"x": object()}, {"x": np.zeros((40 << 20,), np.uint8)}):
            with pytest.raises(BadInput):
                client.infer(bad)
        client.infer({})
        assert client._link is link


def test_an_interrupt_while_waiting_drops_the_connection(monkeypatch):
    with websocket_server(answering(GOOD)) as port, connected(port) as client:
        client.metadata()

        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(client._link, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.infer({})
        assert not client.is_connected


def test_a_token_file_holds_one_long_token(tmp_path):
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    assert read_token(file) == "0123456789abcdef"
    assert read_token(None) is None
    for bad in ("", "short", "0123456789abcdef\n0123456789abcdef"):
        file.write_text(bad)
        with pytest.raises(BadInput, match="16 or more"):
            read_token(file)
    with pytest.raises(BadInput, match="cannot read"):
        read_token(tmp_path / "none")
