"""Printed pictures of the bench: carton labels, a bottle's wrap, notes, posters, shelves and tools on a wall.

All text is made up. Deterministic in the generator; fonts come inside Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from hardware.bench import textures

Rgb = tuple[int, int, int]
Number = int | float
Box = tuple[Number, Number, Number, Number]

# fmt: off
WORDS = (
    "torque", "servo", "encoder", "gripper", "bearing", "spindle", "damper", "lattice", "anchor", "marble",
    "copper", "willow", "harbour", "lantern", "orchard", "saffron", "granite", "meadow", "compass", "velvet",
    "thunder", "pepper", "walnut", "ribbon", "signal", "kettle", "cedar", "amber",
)
# fmt: on
INK: Rgb = (38, 38, 42)


def font(size_px: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(6.0, size_px))


def fitting(
    pen: ImageDraw.ImageDraw, text: str, width_px: float, most_px: float
) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The letters in which the text is at most this wide and high."""
    return font(min(most_px, most_px * width_px / pen.textlength(text, font=font(most_px))))


def sheet(size_px: tuple[int, int], colour: Rgb) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A blank page of (width, height) and its pen."""
    page = Image.new("RGB", size_px, colour)
    return page, ImageDraw.Draw(page)


def words(rng: Generator, count: int) -> str:
    return " ".join(str(word) for word in rng.choice(WORDS, count))


def paragraph(pen: ImageDraw.ImageDraw, rng: Generator, area: Box, size_px: float, ink: Rgb = INK) -> None:
    """Fills an area (left, top, right, bottom) with lines of small print."""
    left, top, right, bottom = area
    letter = font(size_px)
    while top + size_px < bottom:
        line = words(rng, 12)
        while line and pen.textlength(line, font=letter) > (right - left) * rng.uniform(0.8, 1.0):
            line = line.rpartition(" ")[0]
        pen.text((left, top), line, fill=ink, font=letter)
        top += 1.35 * size_px


def barcode(pen: ImageDraw.ImageDraw, rng: Generator, area: Box) -> None:
    left, top, right, bottom = area
    pen.rectangle(area, fill=(250, 250, 248))
    x, end = left + 0.06 * (right - left), right - 0.06 * (right - left)
    unit = max(1.0, (end - x) / 60)
    while x < end:
        bar = unit * rng.integers(1, 4)
        pen.rectangle((x, top + 0.1 * (bottom - top), min(x + bar, end), bottom - 0.1 * (bottom - top)), fill=INK)
        x += bar + unit * rng.integers(1, 4)


def blobs(
    pen: ImageDraw.ImageDraw, rng: Generator, area: Box, colours: Sequence[Rgb], count: int, reach: float
) -> None:
    """Scatters discs, leaves and triangles of up to `reach` pixels over an area."""
    left, top, right, bottom = area
    for _ in range(count):
        x, y, r = rng.uniform(left, right), rng.uniform(top, bottom), reach * rng.uniform(0.25, 1)
        colour = colours[int(rng.integers(len(colours)))]
        kind = rng.integers(3)
        if kind == 0:
            pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
        elif kind == 1:
            pen.regular_polygon((x, y, r), int(rng.integers(3, 7)), rotation=rng.uniform(0, 360), fill=colour)
        else:
            start = rng.uniform(0, 360)
            pen.chord((x - r, y - r, x + r, y + r), start, start + rng.uniform(90, 200), fill=colour)


def panel(
    rng: Generator, size_px: tuple[int, int], title: str, paper: Rgb, accents: Sequence[Rgb]
) -> UInt8[ndarray, "H W 3"]:
    """The side of a carton: a band with a title, a picture, small print and a bar code."""
    width, height = size_px
    page, pen = sheet(size_px, paper)
    band = 0.24 * height
    pen.rectangle((0, 0, width, band), fill=accents[0])
    pen.rectangle((0, band, width, band + 0.03 * height), fill=accents[-1])
    pen.text(
        (0.06 * width, 0.06 * band),
        title,
        fill=(252, 250, 244),
        font=fitting(pen, title, 0.88 * width, 0.62 * band),
    )
    claim = words(rng, 3)
    pen.text(
        (0.06 * width, 0.7 * band), claim, fill=(252, 250, 244), font=fitting(pen, claim, 0.88 * width, 0.22 * band)
    )
    blobs(pen, rng, (0.1 * width, 1.35 * band, 0.9 * width, 0.66 * height), accents, 14, 0.12 * min(width, height))
    paragraph(pen, rng, (0.06 * width, 0.74 * height, 0.6 * width, 0.97 * height), max(7.0, 0.034 * height))
    barcode(pen, rng, (0.64 * width, 0.78 * height, 0.95 * width, 0.95 * height))
    return np.array(page)


def carton(
    rng: Generator, size_m: Sequence[float], px_per_m: float, title: str, paper: Rgb, accents: Sequence[Rgb]
) -> UInt8[ndarray, "H W 3"]:
    """The picture for `shapes.box`: six different panels, three in a row."""
    x, y, z = size_m
    sizes_m = ((x, z), (y, z), (x, z), (y, z), (x, y), (x, y))
    cell = round(max(max(pair) for pair in sizes_m) * px_per_m)
    cells = []
    for width_m, height_m in sizes_m:
        drawn = panel(rng, (round(width_m * px_per_m), round(height_m * px_per_m)), title, paper, accents)
        cells.append(cv2.resize(drawn, (cell, cell), interpolation=cv2.INTER_CUBIC))
    picture = np.concatenate([np.concatenate(cells[:3], 1), np.concatenate(cells[3:], 1)], 0)
    worn = 1 + 0.06 * textures.noise(rng, (picture.shape[0], picture.shape[1]), (8, 12), 4)
    return textures.as_rgb(picture * worn[..., None])


def wrap(
    rng: Generator, size_px: tuple[int, int], title: str, paper: Rgb, accents: Sequence[Rgb]
) -> UInt8[ndarray, "H W 3"]:
    """A band to go round a bottle: the title twice, pictures and small print between."""
    width, height = size_px
    page, pen = sheet(size_px, paper)
    pen.rectangle((0, 0, width, 0.1 * height), fill=accents[0])
    pen.rectangle((0, 0.88 * height, width, height), fill=accents[-1])
    for left in (0.04 * width, 0.54 * width):
        pen.text(
            (left, 0.14 * height), title, fill=accents[0], font=fitting(pen, title, 0.42 * width, 0.3 * height)
        )
        pen.text((left, 0.45 * height), words(rng, 2), fill=INK, font=font(0.12 * height))
        paragraph(pen, rng, (left, 0.62 * height, left + 0.22 * width, 0.86 * height), 0.06 * height)
        blobs(
            pen,
            rng,
            (left + 0.3 * width, 0.2 * height, left + 0.42 * width, 0.8 * height),
            accents,
            9,
            0.13 * height,
        )
    return np.array(page)


def note(rng: Generator, size_px: tuple[int, int]) -> UInt8[ndarray, "H W 3"]:
    """A page of a lab book: squared paper, handwriting-like lines, a plot."""
    width, height = size_px
    page, pen = sheet(size_px, (243, 241, 232))
    step = width / 24
    for k in range(1, 60):
        pen.line((k * step, 0, k * step, height), fill=(222, 228, 230))
        pen.line((0, k * step, width, k * step), fill=(222, 228, 230))
    paragraph(pen, rng, (2 * step, 2 * step, width - 2 * step, 0.45 * height), 1.8 * step, (58, 70, 132))
    base, left = 0.93 * height, 3 * step
    pen.line((left, 0.5 * height, left, base, width - 2 * step, base), fill=INK, width=3)
    x = np.linspace(left, width - 3 * step, 60)
    for colour in ((180, 40, 40), (30, 110, 60)):
        rise = 1 - np.exp(-(x - left) / (width * rng.uniform(0.12, 0.4)))
        y = base - 0.36 * height * rise + rng.normal(0, 0.006 * height, len(x)).cumsum()
        pen.line([(float(a), float(b)) for a, b in zip(x, y, strict=True)], fill=colour, width=4)
    return np.array(page)


def poster(rng: Generator, size_px: tuple[int, int], colours: Sequence[Rgb]) -> UInt8[ndarray, "H W 3"]:
    """A wall print: a landscape of ridges under a sun, with a title."""
    width, height = size_px
    sky = textures.graded(np.linspace(0, 1, height, dtype=np.float32)[:, None].repeat(width, 1), colours[:2])
    page = Image.fromarray(textures.as_rgb(sky))
    pen = ImageDraw.Draw(page)
    sun, r = (rng.uniform(0.25, 0.75) * width, rng.uniform(0.2, 0.35) * height), 0.11 * width
    pen.ellipse((sun[0] - r, sun[1] - r, sun[0] + r, sun[1] + r), fill=(250, 236, 190))
    for k, colour in enumerate(colours[2:]):
        ridge = textures.noise(rng, (4, width), (1, 3 + k), 5)[0]
        y = (0.45 + 0.13 * k + 0.12 * ridge) * height
        outline = [(float(a), float(b)) for a, b in enumerate(y)]
        pen.polygon([(0, height), *outline, (width, height)], fill=colour)
    pen.rectangle((0, 0.88 * height, width, height), fill=(246, 243, 234))
    pen.text((0.05 * width, 0.895 * height), words(rng, 2).upper(), fill=INK, font=font(0.06 * height))
    return np.array(page)


def whiteboard(rng: Generator, size_px: tuple[int, int]) -> UInt8[ndarray, "H W 3"]:
    """Boxes, arrows and scribbles in four pens."""
    width, height = size_px
    page, pen = sheet(size_px, (236, 239, 240))
    pens: tuple[Rgb, ...] = ((30, 60, 150), (170, 36, 40), (24, 110, 60), INK)
    for row in range(3):
        for column in range(4):
            x, y = (column + 0.15) * width / 4, (row + 0.2) * height / 3
            dx, dy = width / 4 * rng.uniform(0.4, 0.7), height / 3 * rng.uniform(0.3, 0.6)
            colour = pens[rng.integers(4)]
            pen.rectangle((x, y, x + dx, y + dy), outline=colour, width=3)
            pen.text((x + 6, y + 0.2 * dy), words(rng, 1), fill=colour, font=font(0.045 * height))
            target = (x + dx + rng.uniform(20, 0.1 * width), y + rng.uniform(0, 1.6) * dy)
            pen.line((x + dx, y + dy / 2, *target), fill=pens[rng.integers(4)], width=4)
    pen.rectangle((0, 0, width - 1, height - 1), outline=(150, 152, 155), width=max(3, width // 100))
    return np.array(page)


def shelf(rng: Generator, size_px: tuple[int, int], boards: int) -> UInt8[ndarray, "H W 3"]:
    """Shelves full of books and boxes, seen from the front."""
    width, height = size_px
    page, pen = sheet(size_px, (52, 44, 38))
    pitch, thick = height / boards, max(4.0, 0.03 * height)
    for row in range(boards):
        base, x = (row + 1) * pitch - thick, 0.02 * width
        while x < 0.96 * width:
            w, h = width * rng.uniform(0.02, 0.075), pitch * rng.uniform(0.5, 0.85)
            grey, hue = rng.uniform(45, 190), rng.uniform(-55, 55, 3)
            colour = tuple(int(c) for c in np.clip(grey + hue, 25, 225))
            pen.rectangle((x, base - h, min(x + w, 0.98 * width), base), fill=colour, outline=(30, 28, 26))
            pale = tuple(min(255, c + 90) for c in colour)
            for at in rng.uniform(0.15, 0.85, 2):
                pen.rectangle((x + 0.2 * w, base - at * h - 0.05 * h, x + 0.8 * w, base - at * h), fill=pale)
            x += w + width * rng.choice([0.002, 0.002, 0.03])
        pen.rectangle((0, base, width, base + thick), fill=(150, 120, 88))
    return np.array(page)


def tool_wall(rng: Generator, size_px: tuple[int, int]) -> UInt8[ndarray, "H W 3"]:
    """A pegboard with tools hanging from it."""
    width, height = size_px
    page, pen = sheet(size_px, (196, 176, 148))
    step = width / 36
    for y in np.arange(step / 2, height, step).tolist():
        for x in np.arange(step / 2, width, step).tolist():
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(120, 104, 84))
    x = 0.05 * width
    while x < 0.92 * width:
        top, long, wide = height * rng.uniform(0.08, 0.3), height * rng.uniform(0.3, 0.55), width * 0.035
        grip = tuple(int(c) for c in rng.uniform(20, 200, 3))
        pen.rectangle((x + 0.35 * wide, top, x + 0.65 * wide, top + long), fill=(96, 98, 104))
        pen.rounded_rectangle((x, top + 0.5 * long, x + wide, top + long), wide / 3, fill=grip)
        pen.regular_polygon(
            (x + wide / 2, top, wide * rng.uniform(0.4, 1.0)), int(rng.integers(3, 9)), fill=(70, 72, 78)
        )
        x += wide * rng.uniform(1.8, 3.2)
    return np.array(page)
