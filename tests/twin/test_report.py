"""The report is one file: well-formed, without a network, with every gate, and safe against odd file names."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from hardware import artefact
from hardware.errors import GateFailed
from hardware.gate import Gate
from twin import report, report_page, report_plots
from twin.capture import BLURRED, COPIES, Capture, CapturedFrame
from twin.evaluate import EvaluateTwin, compare
from twin.manifest import read_twin
from twin.report_plots import Span
from twin.stage import Outcome, run

VOID = {"meta", "link", "img", "br", "line", "rect", "circle", "polyline", "polygon"}


class Reader(HTMLParser):
    """Checks that tags close in order; keeps what is linked, the words, and all tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def checked(file: Path) -> Reader:
    """Parses a page, and asserts what must hold for each."""
    text = file.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    assert all(link.startswith("data:image/") for link in reader.links)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert "prefers-color-scheme: dark" in style[1]
    assert "script" not in reader.tags
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert "nan" not in drawing.lower().replace("finance", "")
        ElementTree.fromstring(drawing)
    return reader


def test_a_finished_twin_has_every_gate_and_every_picture(small_bundle: Path) -> None:
    twin = read_twin(small_bundle)
    page = checked(small_bundle / "report.html")
    for gate in twin.gates:
        assert gate.name in page.words
    for title in ("Held-out photos", "Capture", "Cameras", "Training", "Time and memory", "Provenance"):
        assert title in page.words
    assert page.tags.count("img") == 3 * 2  # photo, render and error of the two held-out photos
    assert f"{twin.quality.psnr_db:.1f} dB" in page.words
    assert "16 of 16 frames found their place" in page.words


def test_the_truth_and_what_was_promised_are_shown(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "twin").symlink_to(small_bundle)
    evaluation = compare(EvaluateTwin(bundle=small_bundle))
    broken = Gate(name="held-out PSNR", value=20, relation=">=", limit=28, unit="dB")
    before = (small_bundle / "report.html").read_text()
    try:
        report.write(
            small_bundle, read_twin(small_bundle), report.Comparison(evaluation=evaluation, gates=(broken,))
        )
        page = checked(small_bundle / "report.html")
    finally:
        (small_bundle / "report.html").write_text(before)
    assert "Against the truth" in page.words
    assert "✕ failed" in page.words
    assert "≥ 28 dB" in page.words


def captured(names: dict[str, str]) -> Capture:
    """Frame name → why it was left out, "" for one that is used."""
    frames = tuple(
        CapturedFrame(
            name=name,
            source=name,
            width_px=640,
            height_px=480,
            blur=0.7 if reason == BLURRED else 0.3,
            brightness=120,
            camera="phone",
            kept=not reason,
            reason=reason,
        )
        for name, reason in names.items()
    )
    return Capture(kind="photos", frames=frames)


def failed_build(work: Path, names: dict[str, str], gate: Gate) -> GateFailed:
    def capture(out: Path) -> Outcome:
        artefact.write_model(out / "capture.json", captured(names))
        return Outcome(gates=(gate,))

    with pytest.raises(GateFailed) as error:
        run(work, "capture", "key", capture)
    return error.value


BLUR = Gate(
    name="blurred share",
    value=0.5,
    relation="<=",
    limit=0.35,
    advice="2 of 4 photos are blurred: walk slower",
)


def test_a_build_that_a_gate_stopped_is_explained(tmp_path: Path) -> None:
    names = {"a.jpg": "", "b.jpg": BLURRED, "c.jpg": BLURRED, "d.jpg": COPIES}
    error = failed_build(tmp_path / "work", names, BLUR)
    report.write_failure(tmp_path / "work", tmp_path / "report.html", error)
    page = checked(tmp_path / "report.html")
    assert "No twin" in page.words
    assert "walk slower" in page.words
    assert "b.jpg, left out: blurred" in page.words
    assert "1 of 4 frames are used" in page.words
    assert "Training" not in page.words


def test_an_earlier_build_s_later_stages_are_not_shown_with_a_failed_one(tmp_path: Path) -> None:
    run(tmp_path, "sfm", "old", lambda out: Outcome())
    error = failed_build(tmp_path, {"a.jpg": "", "b.jpg": ""}, BLUR)
    folders, stages = report.reached(tmp_path)
    assert list(folders) == ["capture"]
    assert stages[0].gates == (BLUR,)
    assert "blurred share" in error.problem


def test_file_names_cannot_inject_anything(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>&.jpg'
    error = failed_build(tmp_path / "work", {evil: "", "b.jpg": BLURRED}, BLUR.but(advice=evil))
    report.write_failure(tmp_path / "work", tmp_path / "report.html", error)
    page = checked(tmp_path / "report.html")
    assert evil in page.words


def test_a_span_maps_its_ends_and_ticks_lie_within() -> None:
    span = Span(2.0, 7.0, 100.0, 0.0)
    assert (span.at(2.0), span.at(7.0), span.at(4.5)) == (100, 0, 50)
    assert all(2 <= tick <= 7 for tick in span.ticks)
    assert len(span.ticks) >= 3
    assert Span(1.0, 1.0, 0.0, 10.0).at(1.0) == 0


@pytest.mark.parametrize("values", [np.zeros(5), np.full(3, 0.7), np.linspace(0, 50, 999)])
def test_a_histogram_counts_every_value_once(values: np.ndarray) -> None:
    drawing = report_plots.histogram(values, "px")
    counts = [int(count) for count in re.findall(r"<title>[\d.]+ … [\d.]+: (\d+)</title>", drawing)]
    assert sum(counts) == len(values)


def test_a_curve_of_one_point_or_of_equal_ones_is_drawn() -> None:
    for steps, values in (([100.0], [25.0]), ([1.0, 2.0], [25.0, 25.0])):
        drawing = report_plots.curve(steps, values, ["tip"] * len(steps), ("step", "dB"))
        assert drawing.count("<circle") == len(steps)
        ElementTree.fromstring(drawing)


def test_a_missing_picture_leaves_no_hole(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert report_page.picture(tmp_path / "none.png", "x") == ""
    assert report_page.picture(tmp_path / "broken.png", "x") == ""
