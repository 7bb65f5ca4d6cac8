"""A store of episodes → a LeRobot dataset beside it, by `tandem data publish` in a process of its own, and a tar."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Literal

State = Literal["none", "runs", "done", "failed"]
MOST_DOWNLOAD_BYTES = 256 * 1024**2
"""A larger dataset is named, not sent: the server holds an answer in memory."""


class Export:
    """Any thread. One export at a time; each goes into a new folder."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.state: State = "none"
        self.words = ""
        """Where it lies, or what went wrong."""
        self.tar: Path | None = None

    def begin(self) -> bool:
        """False: one runs already."""
        with self._lock:
            if self.state == "runs":
                return False
            self.state, self.words, self.tar = "runs", "", None
        threading.Thread(target=self._run, name="export", daemon=True).start()
        return True

    def shown(self) -> dict[str, object]:
        return {"state": self.state, "words": self.words, "download": self.tar is not None}

    def _run(self) -> None:
        output = self._store.parent / f"{self._store.name}_lerobot_{time.strftime('%Y%m%d_%H%M%S')}"
        words = [sys.executable, "-m", "tandem", "data", "publish", str(self._store), str(output)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            self._end("failed", (ended.stderr.strip() or ended.stdout.strip())[-400:])
            return
        if sum(file.stat().st_size for file in output.rglob("*")) <= MOST_DOWNLOAD_BYTES:
            tar = output.with_suffix(".tar")
            with tarfile.open(tar, "w") as packed:
                packed.add(output, output.name)
            self.tar = tar
        self._end("done", str(output))

    def _end(self, state: State, words: str) -> None:
        with self._lock:
            self.state, self.words = state, words
