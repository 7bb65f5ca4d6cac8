"""Pictures and a half-minute GIF of the page: `python benchmarks/page_film.py FOLDER [--twin TWIN]`.

A bench cell with the scripted policy: a person jogs the tool, puts the block on its ghost (the plant moves it for
them), starts an episode, takes over, goes back, gives back and marks success, and looks at it in 3D; then the twin's
page, where there is one. Writes page.gif, light.png, dark.png, tablet.png and scene.png. Without a GPU the browser
takes a second or more to draw the 3D scene: its frames are shown faster than they were taken.
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

FRAME_S = 0.3
GIF_WIDTH_PX, STILL_PX = 720, (960, 600)
COMMON, RARE = 170, 70
"""Colours of the film: those of large surfaces, and those of small things."""
CUT_S, LONGEST_S = 0.4, 0.5
"""How long the last frame before a cut is shown, and any frame at most."""


class Film:
    """One page, a frame three times a second."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.taken_s: list[float] = []
        self.cuts: set[int] = set()

    @property
    def lasted_s(self) -> float:
        return sum(self.lasting_ms()) / 1e3

    def palette(self) -> Image.Image:
        """Of the whole film, so that what does not change is the same; small things have their colour, too."""
        shown = self.frames[:: max(1, len(self.frames) // 12)]
        sheet = Image.new("RGB", (shown[0].width, shown[0].height * len(shown)))
        for number, frame in enumerate(shown):
            sheet.paste(frame, (0, number * frame.height))
        return palette(sheet)

    def cut(self) -> None:
        """What is waited for now is not in the film."""
        self.cuts.add(len(self.frames) - 1)

    def lasting_ms(self) -> list[int]:
        """Of each frame."""
        gaps_s = [later - sooner for sooner, later in itertools.pairwise(self.taken_s)] + [1.5]
        shown_s = [CUT_S if number in self.cuts else min(gap, LONGEST_S) for number, gap in enumerate(gaps_s[:-1])]
        return [round(1e3 * seconds) for seconds in (*shown_s, gaps_s[-1])]

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            due = time.monotonic() + FRAME_S
            self.taken_s.append(time.monotonic())
            image = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
            height = round(image.height * GIF_WIDTH_PX / image.width)
            self.frames.append(image.resize((GIF_WIDTH_PX, height), Image.Resampling.LANCZOS))
            time.sleep(max(0.0, due - time.monotonic()))

    def take(self, count: int) -> None:
        """So many frames, as fast as they come."""
        for _ in range(count):
            self.run(0.1)

    def hold(self, key: str, seconds: float) -> None:
        self.page.keyboard.down(key)
        self.run(seconds)
        self.page.keyboard.up(key)

    def save(self, file: Path) -> None:
        shared = self.palette()
        first, *others = [frame.quantize(palette=shared, dither=Image.Dither.NONE) for frame in self.frames]
        first.save(file, save_all=True, append_images=others, duration=self.lasting_ms(), loop=0, optimize=True)


def palette(picture: Image.Image) -> Image.Image:
    """What is large in the picture has most of the colours, what stands out has the rest."""
    most, widest = (
        picture.quantize(count, method=method).getpalette() or []
        for count, method in ((COMMON, Image.Quantize.MEDIANCUT), (RARE, Image.Quantize.MAXCOVERAGE))
    )
    both = Image.new("P", (1, 1))
    both.putpalette(most[: 3 * COMMON] + widest[: 3 * RARE])
    return both


def light(picture: Image.Image) -> Image.Image:
    """Small enough to lie in a repository."""
    picture = picture.convert("RGB").resize(STILL_PX, Image.Resampling.LANCZOS)
    return picture.quantize(palette=palette(picture), dither=Image.Dither.NONE)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument(
        "--twin", type=Path, help="of the bench with seed 0, aligned and rendered into its page/"
    )
    given = arguments.parse_args()
    folder = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    twin = [] if given.twin is None else ["--twin", str(given.twin.resolve())]
    with (
        tempfile.TemporaryDirectory() as scratch,
        cell(Path(scratch) / "run", "--record", str(Path(scratch) / "episodes"), *twin) as address,
        chromium() as browser,
    ):
        run = Path(scratch) / "run"
        film = Film(open_page(browser, address))
        looks(film.page, folder)
        link = PlantLink(load(run / "cell.json").plant_name)
        for _ in scenes(film, link, read(Guide, run / "reset_guide.json"), folder):
            print(f"{film.lasted_s:.0f} s filmed", flush=True)
        if given.twin is not None:
            twins_page(film)
        film.save(folder / "page.gif")
    print(f"{len(film.frames)} frames, {film.lasted_s:.0f} s, in {folder / 'page.gif'}")
    return 0


def scenes(film: Film, link: PlantLink, guide: Guide, folder: Path) -> Iterator[None]:
    page, start = film.page, guide.starts[0]
    film.hold("w", 0.8)
    film.hold("r", 0.8)
    film.cut()
    for share in (1.0, 0.5):
        link.place(start.but(x_m=start.x_m + 0.04 * share, y_m=start.y_m + 0.05 * share))
        page.wait_for_function("() => tandem.shown.last.left && !tandem.shown.last.left.is_there")
        film.run(0.9)
    link.place(start)
    page.wait_for_function("() => tandem.shown.last.left?.is_there")
    film.run(1.2)
    yield
    page.keyboard.press("1")
    page.wait_for_function("() => tandem.shown.last.source === 'scripted'")
    film.run(2.5)
    page.keyboard.press("t")
    film.run(0.8)
    film.hold("r", 1.2)
    film.hold("a", 1.0)
    film.hold("z", 1.6)
    yield
    page.keyboard.press("g")
    film.run(4.0)
    yield
    page.keyboard.press("2")
    page.wait_for_function("() => tandem.shown.last.episode.stage === 'free'")
    film.run(1.0)
    yield
    in_3d(film, link, guide, folder)
    yield


def in_3d(film: Film, link: PlantLink, guide: Guide, folder: Path) -> None:
    """The next episode's start, and its chunks as they are driven."""
    page = film.page
    link.place(guide.starts[page.evaluate("() => tandem.shown.last.episode.number")])
    film.cut()
    page.get_by_role("button", name="Show in 3D").click()
    page.wait_for_function("() => tandem.scene.state === 'on'", timeout=180_000)
    time.sleep(15.0)  # meshes and Gaussians are on their way
    notice = page.frame_locator("#scene iframe").locator("[class*='Notification'] button")
    if notice.count():
        notice.first.click()  # that WebGL has no GPU here
    film.take(2)
    page.keyboard.press("1")
    page.wait_for_function("() => tandem.shown.last.source === 'scripted'")
    film.take(2)
    light(Image.open(io.BytesIO(page.screenshot()))).save(folder / "scene.png", optimize=True)
    film.take(6)
    page.keyboard.press("2")


def twins_page(film: Film) -> None:
    """Photo ↔ rendering, and a workspace drawn on the table."""
    page = film.page
    film.cut()
    page.get_by_role("link", name="Twin").click()
    page.wait_for_function("() => document.querySelector('#photo').naturalWidth > 0")
    film.run(0.8)
    for percent in (33, 66, 100, 50, 0):
        page.locator("#mix").fill(str(percent))
        film.run(0.4)
    box = page.locator("#draw").bounding_box()
    assert box is not None
    for x, y in ((0.3, 0.5), (0.65, 0.48), (0.75, 0.75), (0.25, 0.78)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        film.run(0.3)
    film.run(1.0)


def looks(page: Page, folder: Path) -> None:
    """One full picture in light, one in dark, one as on a tablet."""
    page.screenshot(path=folder / "light.png")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=folder / "dark.png")
    page.set_viewport_size({"width": 820, "height": 1180})
    page.emulate_media(color_scheme="light")
    time.sleep(1.0)
    page.screenshot(path=folder / "tablet.png")
    page.set_viewport_size({"width": 1280, "height": 800})


if __name__ == "__main__":
    raise SystemExit(main())
