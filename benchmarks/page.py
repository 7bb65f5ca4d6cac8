"""The page's delays: a key's press and release to the plant's motion and rest, and a camera's exposure to the screen.

`python benchmarks/page.py [--quick] [--json FILE]`. A bench cell of true ROS 2 processes, its page in headless Chromium
on the same machine (drawn by the processor), keys pressed in the page's own JavaScript, motion seen at the plant. The
plant's cameras deliver 35 ms after the exposure began and its servos get a command 20 ms late: both are in the figures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import machine
import numpy as np
from page_session import cell, chromium, open_page
from playwright.sync_api import Page

from hardware.bench.link import PlantLink
from hardware.cell import load
from hardware.ports import DeviceLost

MOVES_RAD_S, RESTS_RAD_S = 0.1, 0.05
"""Of the fastest joint."""
HELD_S = 0.6
KEY = """([what, code]) => { window.dispatchEvent(new KeyboardEvent(what, { code }));
         return performance.timeOrigin + performance.now(); }"""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="10 presses and 5 s of pictures")
    arguments.add_argument("--json", type=Path, help="also write the figures here")
    given = arguments.parse_args()
    presses, seconds = (10, 5.0) if given.quick else (100, 30.0)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        with cell(run, "--policy", "none") as address, chromium() as browser:
            page = open_page(browser, address)
            page.get_by_text("Joints", exact=True).click()
            found = keys(page, run, presses)
            found["camera_to_screen"] = pictures(page, seconds)
            found["round_trip"] = np.array(page.evaluate("() => tandem.shown.trips"))
    print(machine.line())
    print(f"{presses} presses of a key, {seconds:.0f} s of pictures (2 cameras, 320×240, 10 Hz)")
    print(f"{'from → to':<34}{'n':>6}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    figures = {name: figure(values) for name, values in found.items()}
    for name, row in figures.items():
        print(f"{name:<34}{row['n']:>6}{row['p50_ms']:>9.1f}{row['p99_ms']:>9.1f}{row['max_ms']:>9.1f}")
    if given.json:
        given.json.write_text(json.dumps({"machine": machine.describe(), "figures": figures}, indent=1) + "\n")
    return 0


def figure(values_ms: np.ndarray) -> dict[str, float]:
    p50_ms, p99_ms = np.percentile(values_ms, [50, 99])
    return {
        "n": len(values_ms),
        "p50_ms": round(float(p50_ms), 2),
        "p99_ms": round(float(p99_ms), 2),
        "max_ms": round(float(values_ms.max()), 2),
    }


def keys(page: Page, run: Path, presses: int) -> dict[str, np.ndarray]:
    started, stopped, missed = [], [], 0
    with PlantLink(load(run / "cell.json").plant_name) as link:
        for number in range(presses):
            code = "KeyQ" if number % 2 == 0 else "KeyA"
            pressed_ns = act(page, "keydown", code)
            moving_ns = first(link, pressed_ns, lambda speed: speed > MOVES_RAD_S)
            time.sleep(HELD_S)
            released_ns = act(page, "keyup", code)
            rest_ns = first(link, released_ns, lambda speed: speed < RESTS_RAD_S)
            if moving_ns is None or rest_ns is None:
                missed += 1
                continue
            started.append((moving_ns - pressed_ns) / 1e6)
            stopped.append((rest_ns - released_ns) / 1e6)
            time.sleep(0.5)
            print(f"\r{number + 1} of {presses}", end="", flush=True)
    print(f"\r{missed} presses moved nothing: the page was kept waiting and let go" if missed else "\r", end="\n")
    return {"key_to_motion": np.array(started), "release_to_rest": np.array(stopped)}


def act(page: Page, what: str, code: str) -> int:
    """When the key went down or up, on the monotonic clock."""
    unix_ms = page.evaluate(KEY, [what, code])
    return time.monotonic_ns() - round(time.time() * 1e9 - unix_ms * 1e6)


def first(link: PlantLink, since_ns: int, is_it) -> int | None:
    """The stamp of the plant's first reading after `since_ns` whose speed is so; None: not within a second."""
    while time.monotonic_ns() - since_ns < 1_000_000_000:
        try:
            reading, _ = link.reading()
        except DeviceLost:
            return None
        speed = 0.0 if reading.dq_rad_s is None else float(np.abs(reading.dq_rad_s).max())
        if reading.stamp_ns > since_ns and is_it(speed):
            return reading.stamp_ns
        time.sleep(0.001)
    return None


def pictures(page: Page, seconds: float) -> np.ndarray:
    page.evaluate("() => { tandem.pictures.ages.length = 0; }")
    time.sleep(seconds)
    return np.array(page.evaluate("() => tandem.pictures.ages"))


if __name__ == "__main__":
    raise SystemExit(main())
