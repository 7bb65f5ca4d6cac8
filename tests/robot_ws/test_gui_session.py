"""A person's session at the page: connect, jog, go back, start an episode, take over from the script, give back, judge;
follow two guided resets; stop; look at the cell in 3D.

The pictures that it takes are kept in `out/page/`.
"""

import importlib.util
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hardware import announcement, artefact
from hardware.bench import reset_guide
from hardware.bench.link import PlantLink
from hardware.bench.plant_config import PlantConfig
from hardware.config import read
from hardware.dataset.store import EpisodeStore
from hardware.node_graph import Occasion
from hardware.page.config import ServePage
from hardware.page.ghost import Guide
from hardware.page.resets import RESETS, Reset
from tests.robot_ws.browser import chromium, needs_chromium, open_page, take_controls
from tests.robot_ws.running_cell import RunningCell, bench, free_port

pytestmark = [
    pytest.mark.slow,
    needs_chromium,
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed"),
]

PICTURES = Path(__file__).parents[2] / "out" / "page"
GUIDED = 10
STAGE = "stage => tandem.shown.last.episode.stage === stage"


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCell]:
    with tempfile.TemporaryDirectory(prefix="tandem-") as sockets:
        folder = tmp_path_factory.mktemp("run")
        chosen = bench(Path(sockets), {"kind": "scripted"}, width_px=320)
        artefact.write_model(folder / "guide.json", reset_guide.guide(PlantConfig(), 0, GUIDED))
        occasion = Occasion(
            folder / "cell.json",
            folder,
            store=folder / "episodes",
            intervention="page",
            page=ServePage(port=free_port()),
            guide=folder / "guide.json",
            seeks_object=True,
            is_paced_by_person=True,
        )
        running = RunningCell(folder, Path(sockets), chosen, occasion, watches=False)
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


@pytest.mark.timeout(120)
def test_holding_z_goes_back_along_the_way(page) -> None:
    """A page that was kept waiting has seen a gap in the way, and goes back no further: then once more."""
    for _ in range(3):
        before = page.evaluate("() => tandem.shown.last.tip_m")
        press_until(page, "r", "before => tandem.shown.last.tip_m[2] > before[2] + 0.02", before)
        page.wait_for_function("() => tandem.shown.last.undo_s > 0.1")
        top_m = page.evaluate("() => tandem.shown.last.tip_m[2]")
        back = "before => tandem.shown.last.tip_m[2] < before[2] + 0.01 || tandem.shown.last.undo_s === 0"
        press_until(page, "z", back, before)
        time.sleep(0.5)
        away = np.array(page.evaluate("() => tandem.shown.last.tip_m")) - before
        assert (
            before[2] + away[2] < top_m + 0.003
        )  # a way that was cut short may be of no length; it never leads on
        if np.abs(away).max() < 0.015:
            return
    raise AssertionError(f"still {away * 1e3} mm from where it went from")


PAD = """() => {
    const button = () => ({ pressed: false, value: 0 });
    const buttons = Array.from({ length: 17 }, button);
    window.pad = { connected: true, mapping: "standard", axes: [0, 0, 0, 0], buttons };
    navigator.getGamepads = () => [window.pad, null];
}"""
HOLD = "held => Object.assign(pad.buttons[4], { pressed: held, value: Number(held) })"


@pytest.mark.timeout(120)
def test_a_gamepads_stick_moves_the_tool_only_while_its_shoulder_button_is_held(page) -> None:
    page.evaluate(PAD)
    before = page.evaluate("() => tandem.shown.last.tip_m")
    page.evaluate("() => { pad.axes[3] = -1; }")  # right stick forward: up
    time.sleep(0.6)
    assert abs(page.evaluate("() => tandem.shown.last.tip_m[2]") - before[2]) < 0.005
    for _ in range(10):
        page.evaluate(HOLD, True)
        time.sleep(0.8)
        page.evaluate(HOLD, False)
        time.sleep(0.4)
        if page.evaluate("() => tandem.shown.last.tip_m[2]") > before[2] + 0.02:
            break
    resting = page.evaluate("() => tandem.shown.last.tip_m[2]")
    assert resting > before[2] + 0.02
    time.sleep(0.6)
    assert abs(page.evaluate("() => tandem.shown.last.tip_m[2]") - resting) < 0.005
    page.evaluate("() => { navigator.getGamepads = () => []; }")


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
    # a plain switch jumps by 19 mrad and more; on a busy machine late ticks alone look like some of it
    assert max(seam["max_position_jump_rad"] for seam in taken) < 1e-2


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
    page.locator("#viewer-note").fill("the block slid")
    page.get_by_role("button", name="Save the note").click()
    page.locator("#shelf .noted", has_text="the block slid").wait_for()
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


@pytest.mark.timeout(280)
def test_two_guided_resets_are_followed_seen_and_noted(cell: RunningCell, page) -> None:
    """The person's hand is the plant's: the object is put down beside the ghost, then on it."""
    guide = read(Guide, cell.folder / "guide.json")
    store = EpisodeStore.open(cell.folder / "episodes")
    before = len(store.finished())
    with PlantLink(cell.cell.plant_name) as link:
        for number in range(2):
            page.wait_for_function(STAGE, arg="free")
            episode = page.evaluate("() => tandem.shown.last.episode.number")
            start = guide.starts[episode]
            link.place(start.but(x_m=start.x_m + 0.03, y_m=start.y_m - 0.02))
            page.wait_for_function("() => Math.abs(tandem.shown.last.left?.away_m - 0.036) < 0.008")
            page.wait_for_function(
                "() => document.querySelector('#guide-line').innerText.includes('along the arrow')"
            )
            if number == 0:
                page.screenshot(path=PICTURES / "reset.png")
            link.place(start)
            page.wait_for_function("() => document.querySelector('#guide-line').innerText.startsWith('✓ In place')")
            page.keyboard.press("1")
            page.wait_for_function(STAGE, arg="running")
            page.keyboard.press("3")
    page.wait_for_function(STAGE, arg="free")
    page.screenshot(path=PICTURES / "plan.png")
    noted = [Reset.model_validate_json(line) for line in (cell.folder / RESETS).read_text().splitlines()]
    assert [one.how for one in noted[-2:]] == ["placed", "placed"]
    eventually(cell, lambda: len(store.finished()) == before + 2, "both are on disk")
    for one, episode in zip(noted[-2:], store.finished()[before:], strict=True):
        seen = episode.manifest.object_seen  # what `tandem rl expand` bends a real cell's demonstrations by
        assert seen is not None
        assert np.hypot(seen.x_m - one.start.x_m, seen.y_m - one.start.y_m) < 0.012
    page.keyboard.press("9")
    page.wait_for_function("before => tandem.shown.last.episode.number === before + 1", arg=noted[-1].episode + 1)
    assert "1 out of reach" in page.locator("#plan-line").inner_text()


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


@pytest.mark.parametrize("waits", [0, 1])
def test_a_key_pressed_anew_at_once_was_let_go_in_between(page, waits: int) -> None:
    """A held key moves nothing after a stop until it is let go: two presses within one heartbeat are two, also where
    the release could not leave at once, as something still waited in the socket.
    """
    beats = page.evaluate(
        """(waits) => {
          const { link } = tandem, { send, socket } = link, beats = [];
          link.send = (message) => message.do === "beat" && beats.push("z" in message.axes);
          link.socket = { readyState: WebSocket.OPEN, bufferedAmount: 0 };
          link.owesRest = false;
          ["keydown", "keyup", "keydown", "keyup"].forEach((type, number) => {
            link.socket.bufferedAmount = number === 1 ? waits : 0;
            document.body.dispatchEvent(new KeyboardEvent(type, { code: "KeyR", bubbles: true }));
          });
          Object.assign(link, { send, socket });
          return beats;
        }""",
        waits,
    )
    assert beats == [True, False, True, False]


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
    other.screenshot(path=PICTURES / f"{name}.png")
    assert other.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    named = "[...document.querySelectorAll('button, input, select, textarea, meter, progress')]"
    nameless = (
        f"() => {named}.filter(e => !e.textContent && !e.ariaLabel && !e.labels?.length).map(e => e.outerHTML)"
    )
    assert other.evaluate(nameless) == []
    other.close()


def arms_share(frame) -> float:
    """Of the 3D scene's picture: what is as yellow as an SO-101's plastic."""
    rgb = np.array(Image.open(io.BytesIO(frame.screenshot())).convert("RGB")).astype(int)
    red, green, blue = rgb.transpose(2, 0, 1)
    return float(((red - blue > 80) & (green - blue > 50)).mean())


@pytest.mark.timeout(400)
def test_the_cell_is_shown_in_3d_and_the_keyboard_stays_with_the_page(page) -> None:
    if not page.evaluate("() => tandem.shown.holds"):
        take_controls(page)
    page.get_by_role("button", name="Show in 3D").click()
    page.wait_for_function("() => tandem.scene.state === 'on'", timeout=240_000)
    frame = page.locator("#scene iframe")
    for _ in range(60):
        if arms_share(frame) > 0.01:
            break
        time.sleep(1.0)
    page.screenshot(path=PICTURES / "scene.png")
    assert arms_share(frame) > 0.01
    frame.click(position={"x": 200, "y": 200})  # a click into the frame would take the keyboard with it
    page.wait_for_function("() => document.hasFocus() && document.activeElement.tagName !== 'IFRAME'")
    page.keyboard.press("Space")
    page.wait_for_function("() => tandem.shown.last.stopped")
    page.get_by_role("button", name="Release the stop").click()
    page.get_by_role("button", name="Close the 3D scene").click()
    assert not frame.is_visible()
