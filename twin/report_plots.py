"""Numbers in, small SVG drawings out, for a report that must read in light and dark and without a network.

Colours are CSS classes of `report.css`. Every mark carries its value as a tooltip.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

LEFT, RIGHT, TOP, BOTTOM = 44.0, 10.0, 10.0, 34.0
"""Margins round a plot's area, in the drawing's units (about CSS pixels)."""


@dataclass(frozen=True)
class Span:
    """Values from `low` to `high` drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float | int) -> float:
        share = (float(value) - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> list[float]:
        found = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        return [float(tick) for tick in found if self.low - slack <= tick <= self.high + slack]


@dataclass(frozen=True)
class Area:
    """A plot's axes."""

    width: float
    height: float
    x: Span
    y: Span

    @classmethod
    def of(cls, width: float, height: float, x: tuple[float, float], y: tuple[float, float]) -> Area:
        return cls(width, height, Span(*x, LEFT, width - RIGHT), Span(*y, height - BOTTOM, TOP))

    def draw(self, marks: Iterable[str], x_name: str, y_name: str, what: str) -> str:
        """Grid, ticks and names round the marks."""
        parts = []
        for tick in self.y.ticks:
            at = self.y.at(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{self.width - RIGHT}" y1="{at}" y2="{at}"/>')
            parts.append(text(LEFT - 6, at + 4, number(tick), "end"))
        parts += [text(self.x.at(tick), self.height - BOTTOM + 15, number(tick), "middle") for tick in self.x.ticks]
        base = self.height - BOTTOM
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{self.width - RIGHT}" y1="{base}" y2="{base}"/>')
        parts.append(text((LEFT + self.width - RIGHT) / 2, self.height - 4, x_name, "middle"))
        parts.append(text(0.0, TOP - 1, y_name, "start") if y_name else "")
        return svg(self.width, self.height, [*parts, *marks], what)


def svg(width: float, height: float, parts: Iterable[str], what: str) -> str:
    """`what` is read out to those who cannot see it."""
    box = f"0 0 {width:g} {height:g}"
    return f'<svg viewBox="{box}" role="img" aria-label="{html.escape(what)}">{"".join(parts)}</svg>'


def text(x: float | int, y: float | int, words: str, anchor: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(words)}</text>'


def number(value: float) -> str:
    """Short: 1500 → 1,500, 0.25 → 0.25."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def strip(
    values: Sequence[float],
    kinds: Sequence[str],
    names: Sequence[str],
    limit: float | None,
    labels: tuple[str, str],
    height: float = 190.0,
) -> str:
    """One bar per item, in order; `kinds` are CSS classes. `labels` name the axes."""
    high = 1.08 * max([*values, limit or 0.0, 1e-9])
    area = Area.of(1000.0, height, (0.0, float(len(values))), (0.0, high))
    wide = max(1.0, (area.x.end - area.x.start) / len(values) - 1.5)
    marks = []
    for index, (value, kind, name) in enumerate(zip(values, kinds, names, strict=True)):
        top, left = area.y.at(value), area.x.at(index) + 0.75
        tip = f"<title>{html.escape(name)}: {value:.3g}</title>"
        size = f'width="{wide:.2f}" height="{area.y.start - top:.2f}"'
        marks.append(f'<rect class="{kind}" x="{left:.2f}" y="{top}" {size}>{tip}</rect>')
    if limit is not None:
        marks.append(level(area, limit, "limit"))
        marks.append(text(area.width - RIGHT, TOP - 1, f"- - limit {number(limit)}", "end"))
    return area.draw(marks, labels[0], labels[1], f"{labels[1]} of {len(values)} items, largest {max(values):.3g}")


def level(area: Area, value: float, kind: str) -> str:
    at = area.y.at(value)
    return f'<line class="{kind}" x1="{LEFT}" x2="{area.width - RIGHT}" y1="{at}" y2="{at}"/>'


def histogram(values: Float[ndarray, " N"], x_name: str, bins: int = 40) -> str:
    """To the 99th percentile, what lies beyond in the last bin; the mean is marked."""
    high = max(float(np.percentile(values, 99)), 1e-9)
    counts, edges = np.histogram(np.clip(values, 0, high), bins=bins, range=(0, high))
    area = Area.of(480.0, 240.0, (0.0, high), (0.0, 1.06 * float(counts.max())))
    marks = []
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        x, top = area.x.at(left), area.y.at(float(count))
        size = f'width="{area.x.at(right) - x - 0.8:.2f}" height="{area.y.start - top:.2f}"'
        tip = f"<title>{left:.2f} … {right:.2f}: {count}</title>"
        marks.append(f'<rect class="first" x="{x}" y="{top}" {size}>{tip}</rect>')
    mean = float(values.mean())
    at = area.x.at(min(mean, high))
    marks.append(f'<line class="mark" x1="{at}" x2="{at}" y1="{TOP}" y2="{area.y.start}"/>')
    marks.append(text(at + 5, TOP + 12, f"mean {mean:.2f}", "start", "value"))
    return area.draw(marks, x_name, "count", f"{len(values)} values of {x_name}, mean {mean:.3g}")


def curve(xs: Sequence[float], ys: Sequence[float], tips: Sequence[str], names: tuple[str, str]) -> str:
    """A line through the points; the last one is labelled."""
    low, high = min(ys), max(ys)
    room = 0.08 * ((high - low) or abs(high) or 1.0)
    area = Area.of(480.0, 240.0, (0.0, max(xs)), (low - room, high + 2 * room))
    at = [(area.x.at(x), area.y.at(y)) for x, y in zip(xs, ys, strict=True)]
    marks = [f'<polyline class="line" points="{" ".join(f"{x},{y}" for x, y in at)}"/>']
    for (x, y), tip in zip(at, tips, strict=True):
        marks.append(f'<circle class="first" cx="{x}" cy="{y}" r="3"><title>{html.escape(tip)}</title></circle>')
    marks.append(text(at[-1][0], at[-1][1] - 8, number(ys[-1]), "end", "value"))
    return area.draw(marks, names[0], names[1], f"{names[1]} over {names[0]}, last {ys[-1]:.4g}")


def durations(rows: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars: name, length, what to write beside it."""
    longest = max([length for _, length, _ in rows] + [1e-9])
    parts = []
    for index, (name, length, words) in enumerate(rows):
        y = 6.0 + 30 * index
        wide = max(1.5, 520 * length / longest)
        parts.append(text(92.0, y + 15, name, "end", "value"))
        parts.append(f'<rect class="first" x="104" y="{y}" width="{wide:.1f}" height="20" rx="3"/>')
        parts.append(text(112 + wide, y + 15, words, "start"))
    return svg(1000.0, 12.0 + 30 * len(rows), parts, "time of each stage")


# ── cameras ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Plan:
    """Cameras and points, projected onto a plane: across and up the drawing."""

    centres: Float[ndarray, "C 2"]
    looks: Float[ndarray, "C 2"]
    """Where each camera looks, projected too, of length ≤ 1."""
    points: Float[ndarray, "N 2"]
    outline: Float[ndarray, "M 2"] | None = None
    """The board."""


def plan(seen: Plan, apart: Sequence[bool], names: Sequence[str], unit: str) -> str:
    """Cameras in order, their path, where they look, and what lies between them, at one scale in both directions."""
    width, height, margin = 480.0, 380.0, 18.0
    everything = np.concatenate([seen.centres, seen.points]) if len(seen.points) else seen.centres
    low, high = everything.min(0), everything.max(0)
    per_unit = float(((np.array([width, height]) - 2 * margin) / np.maximum(high - low, 1e-9)).min())
    middle = (low + high) / 2

    def place(xy: Float[ndarray, "N 2"]) -> Float[ndarray, "N 2"]:
        return np.round((xy - middle) * [per_unit, -per_unit] + [width / 2, height / 2], 1)

    marks = [f'<circle class="faint" cx="{x}" cy="{y}" r="1"/>' for x, y in place(seen.points)]
    if seen.outline is not None:
        marks.append(f'<polygon class="outline" points="{joined(place(seen.outline))}"/>')
    marks.append(f'<polyline class="path" points="{joined(place(seen.centres))}"/>')
    ends = place(seen.centres + seen.looks * 16 / per_unit)
    for (x, y), (to_x, to_y), held_out, name in zip(place(seen.centres), ends, apart, names, strict=True):
        kind = "apart" if held_out else ""
        marks.append(f'<line class="look {kind}" x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}"/>')
        tip = f"<title>{html.escape(name)}{' (held out)' if held_out else ''}</title>"
        marks.append(f'<circle class="{"second" if held_out else "first"}" cx="{x}" cy="{y}" r="3">{tip}</circle>')
    length = max(tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 1e-9) if tick * per_unit < width / 3)
    if unit:
        end, y = 10 + length * per_unit, height - 6
        marks.append(f'<line class="outline" x1="10" x2="{end:.1f}" y1="{y}" y2="{y}"/>')
        marks.append(text(10.0, y - 5, f"{length:g} {unit}", "start"))
    return svg(width, height, marks, f"{len(names)} cameras")


def joined(points: Float[ndarray, "N 2"]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
