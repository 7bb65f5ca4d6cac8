"""The things on the bench's table: what each looks like, what it touches others with, what it weighs.

A prop's frame: origin at the centre of its bounding box, z up as it stands. Everything is drawn from shapes and
pictures made here; labels are made up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from numpy.random import Generator

from hardware.bench import prints, shapes, textures
from hardware.bench.shapes import Shape

PX_PER_M = 2200.0
"""Of the props' pictures: about two texels to a pixel of a photo from 0.7 m."""


@dataclass(frozen=True, eq=False)
class Part:
    """A drawn surface."""

    shape: Shape
    picture: UInt8[ndarray, "H W 3"]
    gloss: float = 0.1
    """0 matt … 1 polished."""


@dataclass(frozen=True)
class Collider:
    """A MuJoCo primitive: half sizes of a box, (radius, half height) of a cylinder, (radius,) of a sphere."""

    kind: str
    half_m: tuple[float, ...]
    at_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw_rad: float = 0.0


@dataclass(frozen=True, eq=False)
class Prop:
    """A free body; `friction` is MuJoCo's (sliding, torsional m, rolling m)."""

    name: str
    size_m: tuple[float, float, float]
    parts: tuple[Part, ...]
    colliders: tuple[Collider, ...]
    mass_kg: float
    friction: tuple[float, float, float] = (0.7, 0.005, 0.0001)

    @property
    def footprint_m(self) -> tuple[float, float]:
        """Half axes of the ellipse it stands on."""
        return self.size_m[0] / 2, self.size_m[1] / 2


def all_props(rng: Generator) -> tuple[Prop, ...]:
    return (
        carton(rng, "tea_carton", "GREEN TEA", (0.105, 0.058, 0.15), (222, 214, 190), TEA, 0.14),
        carton(rng, "screw_box", "SCREWS M3", (0.085, 0.062, 0.048), (60, 92, 128), SCREWS, 0.21),
        book(rng),
        bottle(rng),
        tin(rng),
        mug(rng),
        block(rng, "block_a", 0.04, "A", (196, 84, 62)),
        block(rng, "block_b", 0.034, "B", (66, 120, 168)),
    )


TEA: tuple[prints.Rgb, ...] = ((44, 104, 66), (178, 196, 92), (214, 150, 60), (150, 60, 44))
SCREWS: tuple[prints.Rgb, ...] = ((206, 96, 44), (226, 200, 120), (200, 206, 214), (34, 44, 60))
BOOK: tuple[prints.Rgb, ...] = ((132, 40, 50), (214, 178, 110), (62, 74, 104), (206, 198, 184))
SOAP: tuple[prints.Rgb, ...] = ((30, 96, 140), (110, 180, 190), (236, 190, 80), (60, 70, 130))
TIN: tuple[prints.Rgb, ...] = ((150, 44, 40), (230, 190, 96), (60, 96, 70), (210, 110, 50))


def carton(
    rng: Generator,
    name: str,
    title: str,
    size_m: tuple[float, float, float],
    paper: prints.Rgb,
    accents: Sequence[prints.Rgb],
    mass_kg: float,
) -> Prop:
    picture = prints.carton(rng, size_m, PX_PER_M, title, paper, accents)
    return Prop(name, size_m, (Part(shapes.box(size_m), picture),), (_box(size_m),), mass_kg)


def book(rng: Generator) -> Prop:
    """A bound book, lying; its edges show the pages."""
    size_m = (0.14, 0.2, 0.026)
    picture = prints.carton(rng, size_m, PX_PER_M, "KINEMATICS", (176, 160, 130), BOOK)
    return Prop("book", size_m, (Part(shapes.box(size_m), picture),), (_box(size_m),), 0.42)


def block(rng: Generator, name: str, side_m: float, letter: str, colour: prints.Rgb) -> Prop:
    """A wooden toy block with a letter on every side."""
    size = round(4 * side_m * PX_PER_M)
    wood = textures.planks(rng, (side_m, side_m), size / side_m, (side_m, 4 * side_m))
    page, pen = prints.sheet((size, size), colour)
    pen.text((size / 2, size / 2), letter, fill=(244, 238, 220), font=prints.font(0.62 * size), anchor="mm")
    picture = wood[:size, :size].copy()
    rim = size // 9
    picture[rim:-rim, rim:-rim] = np.array(page)[rim:-rim, rim:-rim]
    picture = cv2.resize(picture, (size // 2, size // 2), interpolation=cv2.INTER_AREA)
    worn = 1 + 0.05 * textures.noise(rng, picture.shape[:2], (4, 4), 3)
    picture = textures.as_rgb((picture * worn[..., None]).astype(np.float32))
    size_m = (side_m, side_m, side_m)
    parts = (Part(shapes.plain_box(size_m), picture),)
    return Prop(name, size_m, parts, (_box(size_m),), 650 * side_m**3, (0.9, 0.005, 0.0001))


def bottle(rng: Generator) -> Prop:
    """A soap bottle: body with a label wrapped round it, shoulder, cap."""
    radius_m, height_m = 0.031, 0.185
    half = height_m / 2
    body = [
        [(0.0001, half), (0.012, half), (0.0125, half - 0.002)],
        [(0.0125, half - 0.002), (0.0125, half - 0.032)],
        [(0.0125, half - 0.032), (0.022, half - 0.042), (0.029, half - 0.054), (radius_m, half - 0.065)],
        [(radius_m, half - 0.065), (radius_m, -half)],
        [(radius_m, -half), (0.0001, -half)],
    ]
    shape = shapes.lathe(body, 64)
    picture = _lathed_picture(
        rng, body, radius_m, {0: (40, 44, 50), 1: (40, 44, 50), 2: (206, 214, 206), 4: (60, 60, 60)}
    )
    top, bottom = _rows(body, 3, picture)
    label = prints.wrap(rng, (picture.shape[1], bottom - top), "FOAM 21", (214, 222, 214), SOAP)
    picture[top:bottom] = label
    colliders = (
        Collider("cylinder", (radius_m, (height_m - 0.06) / 2), (0.0, 0.0, -0.03)),
        Collider("cylinder", (0.0125, 0.03), (0.0, 0.0, half - 0.03)),
    )
    size_m = (2 * radius_m, 2 * radius_m, height_m)
    return Prop("bottle", size_m, (Part(shape, picture, 0.3),), colliders, 0.23)


def tin(rng: Generator) -> Prop:
    """A tin with a paper band and a ribbed lid."""
    radius_m, height_m = 0.036, 0.088
    half = height_m / 2
    body = [
        [(0.0001, half - 0.002), (radius_m - 0.003, half - 0.002)],
        [(radius_m - 0.003, half - 0.002), (radius_m - 0.002, half), (radius_m, half)],
        [(radius_m, half), (radius_m, -half)],
        [(radius_m, -half), (0.0001, -half)],
    ]
    picture = _lathed_picture(rng, body, radius_m, {0: (172, 174, 176), 1: (150, 152, 156), 3: (120, 122, 126)})
    top, bottom = _rows(body, 0, picture)
    for ring in np.linspace(top + 6, bottom - 4, 4).astype(int):
        picture[ring : ring + 3] = textures.as_rgb(picture[ring : ring + 3].astype(np.float32) * 0.8)
    top, bottom = _rows(body, 2, picture)
    picture[top:bottom] = prints.wrap(rng, (picture.shape[1], bottom - top), "TOMATO", (226, 208, 170), TIN)
    size_m = (2 * radius_m, 2 * radius_m, height_m)
    parts = (Part(shapes.lathe(body, 64), picture, 0.3),)
    return Prop("tin", size_m, parts, (Collider("cylinder", (radius_m, half)),), 0.31)


def mug(rng: Generator) -> Prop:
    """A stoneware mug, hollow for drawing and for contact: a ring of boxes on a disc, and a handle."""
    radius_m, height_m, wall_m, reach_m = 0.038, 0.09, 0.004, 0.028
    half, inner_m = height_m / 2, radius_m - wall_m
    shift_m = -reach_m / 2  # the bounding box includes the handle at +x
    body = [
        [(inner_m, half), (inner_m + wall_m / 2, half + 0.001), (radius_m, half)],
        [(radius_m, half), (radius_m, -half + 0.004), (radius_m - 0.004, -half)],
        [(radius_m - 0.004, -half), (0.0001, -half)],
    ]
    inside = [
        [(0.0001, -half + 0.007), (inner_m - 0.004, -half + 0.007), (inner_m, -half + 0.011), (inner_m, half)]
    ]
    along = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 17)
    bow_m = np.stack([radius_m - 0.002 + (reach_m - 0.003) * np.cos(along), 0 * along, 0.026 * np.sin(along)], -1)
    picture = _glaze(rng, (400, 520))
    shape = shapes.joined([shapes.lathe(body, 64), shapes.lathe(inside, 64), shapes.tube(bow_m, 0.0045)])
    walls = [
        Collider(
            "box",
            (wall_m / 2, 1.02 * radius_m * math.tan(math.pi / 14), half),
            (shift_m + (radius_m - wall_m / 2) * math.cos(a), (radius_m - wall_m / 2) * math.sin(a), 0.0),
            a,
        )
        for a in np.linspace(0, 2 * np.pi, 14, endpoint=False).tolist()
    ]
    base = Collider("cylinder", (radius_m - 0.002, 0.003), (shift_m, 0.0, -half + 0.003))
    grip = Collider("box", (0.0045, 0.0045, 0.026), (shift_m + radius_m + reach_m - 0.0095, 0.0, 0.0))
    size_m = (2 * radius_m + reach_m, 2 * radius_m, height_m)
    parts = (Part(shape.moved((shift_m, 0, 0)), picture, 0.4),)
    return Prop("mug", size_m, parts, (*walls, base, grip), 0.3)


def _box(size_m: Sequence[float]) -> Collider:
    return Collider("box", (size_m[0] / 2, size_m[1] / 2, size_m[2] / 2))


def _glaze(rng: Generator, size_px: tuple[int, int]) -> UInt8[ndarray, "H W 3"]:
    """Two glazes that run into each other, with iron specks."""
    rows = np.linspace(0, 1, size_px[0], dtype=np.float32)[:, None]
    value = rows * 1.3 - 0.1 + 0.16 * textures.noise(rng, size_px, (2, 9), 4)
    glaze = textures.as_rgb(
        textures.graded(value, ((58, 96, 104), (86, 138, 138), (188, 182, 156), (206, 196, 170)))
    )
    textures.specks(glaze, rng, 260, ((96, 70, 50), (60, 50, 44)))
    glaze[:, -2:] = glaze[:, :2]
    return glaze


def _lathed_picture(
    rng: Generator, strips: Sequence[shapes.Profile], radius_m: float, colours: dict[int, prints.Rgb]
) -> UInt8[ndarray, "H W 3"]:
    """A picture for `shapes.lathe(strips)` at `PX_PER_M`, with plain worn colours for some strips."""
    height = round(sum(_length_m(strip) for strip in strips) * PX_PER_M)
    picture = np.zeros((height, round(2 * np.pi * radius_m * PX_PER_M), 3), np.float32)
    for number, colour in colours.items():
        top, bottom = _rows(strips, number, picture)
        picture[top:bottom] = colour
    worn = 1 + 0.07 * textures.noise(rng, (picture.shape[0], picture.shape[1]), (10, 10), 3)
    return textures.as_rgb(picture * worn[..., None])


def _length_m(strip: shapes.Profile) -> float:
    return float(np.linalg.norm(np.diff(np.array(strip), axis=0), axis=1).sum())


def _rows(strips: Sequence[shapes.Profile], number: int, picture: ndarray) -> tuple[int, int]:
    """First and last row of one strip in the picture."""
    ends = np.cumsum([0.0, *(_length_m(strip) for strip in strips)])
    first, last = ends[number : number + 2] / ends[-1] * len(picture)
    return round(float(first)), round(float(last))
