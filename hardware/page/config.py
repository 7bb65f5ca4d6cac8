"""Where the page is served, and to whom."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from hardware.config import Config


class ServePage(Config):
    host: str = "127.0.0.1"
    """This machine only; from another, `ssh -L 8090:localhost:8090 WORKSTATION`, or an address and a token file."""
    port: int = Field(default=8090, ge=0, lt=65536)
    """0 picks a free one."""
    token_file: Path | None = None
    """Holds the token that pages must bring where `host` is not loopback; made where it is not there."""
    most_viewers: int = Field(default=20, ge=1)
