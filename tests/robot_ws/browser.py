"""Headless Chromium, and what a person at the page does with it."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hardware import priority

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb"]
ARGUMENTS += ["--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows"]
ARGUMENTS += ["--enable-unsafe-swiftshader"]  # WebGL without a GPU, for the 3D scene
PATIENCE_MS = 60_000


@contextmanager
def chromium() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with as_quick_as_the_cell():
        running = playwright.sync_playwright().start()
    try:
        with as_quick_as_the_cell():
            browser = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
    finally:
        running.stop()


@contextmanager
def as_quick_as_the_cell() -> Iterator[None]:
    """For what is started within: a person's browser has a machine of its own, and this one shares the cell's cores."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    priority.prefer_process()
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


def open_page(browser, address: str, **options):
    """In a context of its own, once the first pulses have come."""
    page = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.wait_for_function("() => window.tandem?.shown.last.q_rad !== undefined")
    return page


def take_controls(page) -> None:
    page.get_by_role("button", name="Take the controls").click()
    page.wait_for_function("() => tandem.drive.enabled")


def choose_joints(page) -> None:
    page.get_by_text("Joints", exact=True).click()


def kill_renderers() -> int:
    """Of the browsers that this process started; when the first was, on the monotonic clock."""
    killed_ns = []
    for pid in descendants(os.getpid()):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"--type=renderer" in words:
            os.kill(pid, signal.SIGKILL)
            killed_ns.append(time.monotonic_ns())
    return killed_ns[0]


def descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue
        parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(folder.name))
    found, left = [], [pid]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found
