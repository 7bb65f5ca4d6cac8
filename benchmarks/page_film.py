"""Pictures and a half-minute GIF of the page: `python benchmarks/page_film.py FOLDER`.

A bench cell with the scripted policy: a person takes the controls, starts an episode, takes over, moves the tool, gives
back and marks success. Writes page.gif, light.png, dark.png and tablet.png.
"""

from __future__ import annotations

import argparse
import io
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from page_session import cell, chromium, open_page
from PIL import Image
from playwright.sync_api import Page

FRAME_S = 0.25
GIF_WIDTH_PX = 760


class Film:
    """One page, a frame four times a second."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.taken_s: list[float] = []

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            due = time.monotonic() + FRAME_S
            self.taken_s.append(time.monotonic())
            image = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
            height = round(image.height * GIF_WIDTH_PX / image.width)
            self.frames.append(image.resize((GIF_WIDTH_PX, height), Image.Resampling.LANCZOS))
            time.sleep(max(0.0, due - time.monotonic()))

    def hold(self, key: str, seconds: float) -> None:
        self.page.keyboard.down(key)
        self.run(seconds)
        self.page.keyboard.up(key)

    def save(self, file: Path) -> None:
        palette = [frame.quantize(128, dither=Image.Dither.NONE) for frame in self.frames]
        first, *others = palette
        lasted_ms = [round(1e3 * (later - sooner)) for sooner, later in itertools.pairwise(self.taken_s)] + [2000]
        first.save(file, save_all=True, append_images=others, duration=lasted_ms, loop=0, optimize=True)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    folder = arguments.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, cell(Path(scratch) / "run") as address, chromium() as browser:
        film = Film(open_page(browser, address))
        for _ in scenes(film):
            print(f"{film.taken_s[-1] - film.taken_s[0]:.0f} s filmed", flush=True)
        film.save(folder / "page.gif")
        looks(film.page, folder)
    print(f"{len(film.frames)} frames in {folder / 'page.gif'}")
    return 0


def scenes(film: Film) -> Iterator[None]:
    page = film.page
    film.run(3.0)
    yield
    film.hold("w", 1.5)
    film.hold("r", 1.5)
    yield
    page.keyboard.press("1")
    page.wait_for_function("() => tandem.shown.last.source === 'scripted'")
    film.run(3.0)
    yield
    page.keyboard.press("t")
    film.run(1.0)
    film.hold("r", 2.0)
    film.hold("a", 1.5)
    yield
    page.keyboard.press("g")
    film.run(9.0)
    yield
    page.keyboard.press("2")
    page.wait_for_function("() => tandem.shown.last.episode.stage === 'free'")
    film.run(4.0)
    yield


def looks(page: Page, folder: Path) -> None:
    """One full picture in light, one in dark, one as on a tablet."""
    page.screenshot(path=folder / "light.png")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=folder / "dark.png")
    page.set_viewport_size({"width": 820, "height": 1180})
    page.emulate_media(color_scheme="light")
    time.sleep(1.0)
    page.screenshot(path=folder / "tablet.png")


if __name__ == "__main__":
    raise SystemExit(main())
