"""A bench cell with its page, and a headless Chromium that looks at it: for whoever measures or films the page."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

START_S = 180.0
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--force-color-profile=srgb"]
"""Everything is drawn by the processor, the 3D scene as well."""


@contextmanager
def cell(folder: Path, *flags: str) -> Iterator[str]:
    """`tandem gui bench` in a process; the page's address."""
    words = [sys.executable, "-m", "tandem", "gui", "bench", "--page.port", "0", "--run", str(folder), *flags]
    with (folder.parent / "cell.log").open("w") as log, subprocess.Popen(words, stderr=log, stdout=log) as process:
        try:
            until = time.monotonic() + START_S
            while not (folder / "page.txt").is_file():
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"the cell does not start: {(folder.parent / 'cell.log').read_text()}")
                time.sleep(0.1)
            yield (folder / "page.txt").read_text().strip()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


@contextmanager
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("chromium is not installed: apt-get install chromium")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def open_page(browser: Browser, address: str, width_px: int = 1280, height_px: int = 800) -> Page:
    """With the controls taken, once the arm is free to move."""
    page = browser.new_page(viewport={"width": width_px, "height": height_px})
    page.set_default_timeout(60_000)
    page.goto(address)
    page.wait_for_function("() => window.tandem?.shown.last.episode?.stage === 'free'")
    page.get_by_role("button", name="Take the controls").click()
    page.wait_for_function("() => tandem.drive.enabled")
    return page
