"""Pictures and a half-minute GIF of the page: `python benchmarks/page_film.py FOLDER`.

A bench cell with the scripted policy: a person puts the block on its ghost (the plant moves it for them), starts an
episode, takes over, moves the tool, goes back, gives back and marks success. Writes page.gif, light.png, dark.png and
tablet.png.
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

from hardware.bench.link import PlantLink
from hardware.cell import load
from hardware.config import read
from hardware.page.ghost import Guide

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
    with (
        tempfile.TemporaryDirectory() as scratch,
        cell(Path(scratch) / "run", "--record", str(Path(scratch) / "episodes")) as address,
        chromium() as browser,
    ):
        run = Path(scratch) / "run"
        film = Film(open_page(browser, address))
        for _ in scenes(film, PlantLink(load(run / "cell.json").plant_name), read(Guide, run / "reset_guide.json")):
            print(f"{film.taken_s[-1] - film.taken_s[0]:.0f} s filmed", flush=True)
        film.save(folder / "page.gif")
        looks(film.page, folder)
    print(f"{len(film.frames)} frames in {folder / 'page.gif'}")
    return 0


def scenes(film: Film, link: PlantLink, guide: Guide) -> Iterator[None]:
    page, start = film.page, guide.starts[0]
    for share in (1.0, 1.0, 0.6, 0.3):
        link.place(start.but(x_m=start.x_m + 0.04 * share, y_m=start.y_m + 0.05 * share))
        page.wait_for_function("() => tandem.shown.last.left && !tandem.shown.last.left.is_there")
        film.run(1.2)
    link.place(start)
    page.wait_for_function("() => tandem.shown.last.left?.is_there")
    film.run(2.0)
    yield
    page.keyboard.press("1")
    page.wait_for_function("() => tandem.shown.last.source === 'scripted'")
    film.run(2.5)
    yield
    page.keyboard.press("t")
    film.run(0.8)
    film.hold("r", 1.6)
    film.hold("a", 1.2)
    film.hold("z", 2.0)
    yield
    page.keyboard.press("g")
    film.run(9.0)
    yield
    page.keyboard.press("2")
    page.wait_for_function("() => tandem.shown.last.episode.stage === 'free'")
    film.run(3.5)
    yield


def looks(page: Page, folder: Path) -> None:
    """One full picture in light, one in dark, one as on a tablet."""
    page.screenshot(path=folder / "light.png")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=folder / "dark.png")
    page.set_viewport_size({"width": 1024, "height": 768})
    page.emulate_media(color_scheme="light")
    time.sleep(1.0)
    page.screenshot(path=folder / "tablet.png")


if __name__ == "__main__":
    raise SystemExit(main())
