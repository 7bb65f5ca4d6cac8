"""Servers for a policy's client that do what a test says: websockets that answer as told, and bare TCP."""

import contextlib
import socket
import threading

from websockets.sync.server import serve

from vla import wire

HELLO = wire.pack({"who": "a test"})


@contextlib.contextmanager
def websocket_server(handler, **options):
    """A real websocket server in a thread; gives its port."""

    def quietly(connection):
        with contextlib.suppress(Exception):
            handler(connection)

    with serve(quietly, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join(5)


@contextlib.contextmanager
def raw_server(handler):
    """Accepts one TCP connection after another and hands each to `handler(socket)`; closes them at the end."""
    listening = socket.create_server(("127.0.0.1", 0))
    opened: list[socket.socket] = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                opened.append(connection)
                with contextlib.suppress(OSError):
                    handler(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for connection in opened:
            connection.close()
        thread.join(5)


def answering(*answers, hello=HELLO):
    """A handler that greets, then gives one of the answers to each question."""

    def handler(connection):
        connection.send(hello)
        for answer in answers:
            connection.recv()
            connection.send(answer)
        connection.recv()

    return handler
