"""Who may connect: an HTTP request's headers in, a reason to refuse it out.

A page of another site, opened in the same browser, could otherwise reach a server on this machine and drive the robot:
sockets are open to this page's own origin alone, and on loopback only under loopback's names (a foreign name may be
made to point here). Beyond loopback a token is needed too; it travels in the clear, so between machines use `ssh -L`.
"""

from __future__ import annotations

import hmac
import secrets
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from hardware.errors import BadInput
from hardware.loopback import is_loopback

SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Admission:
    """`host` is where the server listens."""

    host: str
    token: str | None = None

    def refusal(self, host_header: str, origin: str | None, query: str, is_socket: bool) -> str | None:
        """None: welcome. Pages and pictures need the right host; sockets the origin and the token as well."""
        name = urllib.parse.urlsplit(f"//{host_header}").hostname or ""
        if is_loopback(self.host) and not is_loopback(name):
            return f"this page is not served under the name '{name}'"
        if not is_socket:
            return None
        if origin is not None and urllib.parse.urlsplit(origin).netloc.lower() != host_header.lower():
            return "a page of another origin may not reach the robot"
        if self.token is not None:
            given = urllib.parse.parse_qs(query).get("token", [""])[0]
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return "a token is needed: open the page with ?token=…"
        return None


def token(host: str, file: Path | None) -> str | None:
    """None on loopback without a file. Beyond it a file is made where there is none. Raises `BadInput`."""
    if file is None:
        if is_loopback(host):
            return None
        raise BadInput(
            f"anyone who reaches {host} could drive the robot",
            "--token-file FILE (made if it is not there), or leave the host at 127.0.0.1 and use ssh -L",
        )
    try:
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(24) + "\n", encoding="utf-8")
        text = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadInput(f"cannot use the token file {file}: {error.strerror}") from error
    if len(text) < SHORTEST_TOKEN:
        raise BadInput(f"the token in {file} is shorter than {SHORTEST_TOKEN} characters", "openssl rand -hex 16")
    return text
