"""A person's session at the page: connect, jog, start an episode, take over from the script, give back, judge; stop.

The pictures that it takes are kept in `out/page/`.
"""

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hardware import announcement
from hardware.dataset.store import EpisodeStore
from hardware.node_graph import Occasion
from hardware.page.config import ServePage
from tests.robot_ws.browser import chromium, needs_chromium, open_page, take_controls
from tests.robot_ws.running_cell import RunningCell, bench, free_port

pytestmark = [
    pytest.mark.slow,
    needs_chromium,
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed"),
]

PICTURES = Path(__file__).parents[2] / "out" / "page"
STAGE = "stage => tandem.shown.last.episode.stage === stage"


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCell]:
    with tempfile.TemporaryDirectory(prefix="tandem-") as sockets:
        folder = tmp_path_factory.mktemp("run")
        chosen = bench(Path(sockets), {"kind": "scripted"})
        occasion = Occasion(
            folder / "cell.json",
            folder,
            store=folder / "episodes",
            intervention="page",
            page=ServePage(port=free_port()),
            is_paced_by_person=True,
        )
        running = RunningCell(folder, Path(sockets), chosen, occasion)
        running.wait(lambda: (folder / "page.txt").is_file(), "the page is served")
        yield running
        running.close()


@pytest.fixture(scope="module")
def page(cell: RunningCell) -> Iterator:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        yield open_page(browser, (cell.folder / "page.txt").read_text().strip())


def press_until(page, key: str, condition: str, argument: object = None) -> None:
    """Holds the key until the page's JavaScript says so; pressed anew where the page was kept waiting."""
    for _ in range(10):
        page.keyboard.down(key)
        try:
            page.wait_for_function(condition, arg=argument, timeout=4000)
            return
        except Exception as error:
            if "Timeout" not in type(error).__name__:
                raise
        finally:
            page.keyboard.up(key)
    raise AssertionError(f"{key} did nothing: {page.evaluate('() => tandem.shown.last')}")


def q_rad(page) -> np.ndarray:
    return np.array(page.evaluate("() => tandem.shown.last.q_rad"))


def seams(cell: RunningCell) -> list[dict]:
    file = cell.folder / "control" / "seams.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def eventually(cell: RunningCell, found: Callable[[], bool], what: str) -> None:
    cell.wait(found, what)


def test_a_person_connects_and_jogs_the_tool(page) -> None:
    page.wait_for_function(STAGE, arg="free")
    page.screenshot(path=PICTURES / "start.png")
    take_controls(page)
    before = page.evaluate("() => tandem.shown.last.tip_m")
    press_until(page, "w", "before => tandem.shown.last.tip_m[0] > before[0] + 0.01", before)
    after = page.evaluate("() => tandem.shown.last.tip_m")
    assert abs(after[1] - before[1]) < 0.01
    assert page.get_by_text("You drive.").is_visible()


@pytest.mark.timeout(200)
def test_one_key_takes_over_without_a_jump_and_one_gives_back(cell: RunningCell, page) -> None:
    page.wait_for_function("() => !document.querySelector('#ep-start').disabled")
    page.keyboard.press("1")
    page.wait_for_function(STAGE, arg="running")
    page.wait_for_function("() => tandem.shown.last.source === 'scripted'")
    time.sleep(0.5)
    page.keyboard.press("t")
    page.wait_for_function("() => tandem.shown.last.in_charge")
    time.sleep(0.5)  # the policy's motion has run out: what moves from here on is the person's
    before = q_rad(page)
    press_until(page, "r", "before => Math.abs(tandem.shown.last.q_rad[2] - before) > 0.04", before[2])
    page.screenshot(path=PICTURES / "person.png")
    page.keyboard.press("g")
    page.wait_for_function("() => tandem.shown.last.source === 'scripted'")
    time.sleep(0.5)
    page.keyboard.press("2")
    page.wait_for_function(STAGE, arg="free")
    eventually(cell, lambda: len(announcement.results(cell.folder)) == 1, "the verdict is written")
    assert announcement.results(cell.folder)[0].success is True
    taken = [seam for seam in seams(cell) if seam["kind"] == "take_over"]
    assert taken
    assert max(seam["max_position_jump_rad"] for seam in taken) < 2e-3


def test_the_episode_is_whole_with_labelled_spans(cell: RunningCell) -> None:
    eventually(cell, lambda: bool(EpisodeStore.open(cell.folder / "episodes").finished()), "it is sealed")
    [episode] = EpisodeStore.open(cell.folder / "episodes").finished()
    assert episode.manifest.success is True
    sources = [span.source for span in episode.manifest.spans]
    assert [name for n, name in enumerate(sources) if n == 0 or sources[n - 1] != name] == [
        "scripted",
        "human",
        "scripted",
    ]


def test_the_episode_can_be_looked_through(page) -> None:
    page.get_by_role("button", name="Episode 0, ✓ success").click()
    page.wait_for_function("() => document.querySelector('#viewer-image').naturalWidth > 0")
    page.locator("#viewer-frame").fill("5")
    assert "of" in page.locator("#viewer-line").inner_text()
    page.screenshot(path=PICTURES / "viewer.png")
    page.locator("#stop").click(trial=True)  # the stop stays within reach
    page.get_by_role("button", name="Close", exact=True).click()


@pytest.mark.timeout(200)
def test_a_discarded_episode_leaves_nothing(cell: RunningCell, page) -> None:
    before = len(EpisodeStore.open(cell.folder / "episodes").folders())
    page.wait_for_function("() => !document.querySelector('#ep-start').disabled")
    page.keyboard.press("1")
    page.wait_for_function(STAGE, arg="running")
    eventually(
        cell, lambda: len(EpisodeStore.open(cell.folder / "episodes").folders()) == before + 1, "it is recorded"
    )
    page.keyboard.press("0")
    page.wait_for_function(STAGE, arg="free")
    eventually(cell, lambda: len(EpisodeStore.open(cell.folder / "episodes").folders()) == before, "it is gone")
    assert len(announcement.results(cell.folder)) == 1


def test_the_stop_key_stops_for_good_until_it_is_released(cell: RunningCell, page) -> None:
    page.locator("#theme").focus()  # whatever has the focus
    page.keyboard.press("Space")
    page.wait_for_function("() => tandem.shown.last.stopped")
    page.screenshot(path=PICTURES / "stopped.png")
    before = q_rad(page)
    page.keyboard.down("r")
    time.sleep(0.6)
    page.keyboard.up("r")
    assert np.abs(q_rad(page) - before).max() < 0.02
    page.get_by_role("button", name="Release the stop").click()
    page.wait_for_function("() => !tandem.shown.last.stopped")
    press_until(page, "r", "before => Math.abs(tandem.shown.last.q_rad[2] - before) > 0.03", before[2])


def test_a_second_person_watches_asks_and_gets_the_controls(cell: RunningCell, page) -> None:
    other = open_page(page.context.browser, page.url)
    other.get_by_role("button", name="Ask to drive").click()
    page.get_by_role("button", name="Hand over").click()
    other.wait_for_function("() => tandem.drive.enabled")
    page.wait_for_function("() => !tandem.drive.enabled")
    assert other.get_by_text("You have the controls.").is_visible() or other.get_by_text("You drive.").is_visible()
    other.close()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dark", {"color_scheme": "dark"}),
        ("tablet", {"viewport": {"width": 820, "height": 1180}, "has_touch": True}),
    ],
)
def test_it_looks_right_in_the_dark_and_on_a_tablet(page, name: str, options: dict) -> None:
    """The pictures are for people; here: nothing sticks out, and every control has a name."""
    other = open_page(page.context.browser, page.url, **options)
    other.wait_for_function("() => tandem.pictures.ages.length > 4")
    other.screenshot(path=PICTURES / f"{name}.png", full_page=True)
    assert other.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    nameless = "() => [...document.querySelectorAll('button, input')].filter(e => !e.textContent && !e.ariaLabel"
    assert other.evaluate(nameless + " && !e.labels?.length).length") == 0
    other.close()
