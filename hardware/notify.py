"""Tells the supervisor that this process can serve, by systemd's own protocol (`sd_notify`).

`tandem up` listens, and so does systemd for a unit of `Type=notify`. Without either, nothing happens.
"""

from __future__ import annotations

import os
import socket

VARIABLE = "NOTIFY_SOCKET"


def ready() -> None:
    """Sends READY=1 to whoever started this process. Does not raise when nobody listens any more."""
    address = os.environ.get(VARIABLE)
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(b"READY=1", address)
        except OSError:
            return
