"""The bench's surroundings as pictures and shapes: the table's top, floor, four walls. Metres, sRGB."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from numpy.random import Generator

from hardware.bench import prints, shapes, textures
from hardware.bench.shapes import Shape

TABLE_M = (1.2, 1.24, 0.035)
"""Along x and y, and how thick its top is."""
TABLE_PX_PER_M = 1000.0
ROOM_M = (4.4, 4.4, 2.5)
TABLE_HEIGHT_M = 0.74
WALL_PX_PER_M = 220.0
FLOOR_PX_PER_M = 300.0


def table_top(
    rng: Generator,
    stands: Sequence[tuple[tuple[float, float], tuple[float, float], float]],
) -> UInt8[ndarray, "H W 3"]:
    """The used oak top, x to the right and y up the picture, its centre the origin.

    `stands` are (centre xy_m, half axes m, yaw_rad) of what stands on it, for the shade that touches it.
    """
    top = textures.planks(rng, (TABLE_M[1], TABLE_M[0]), TABLE_PX_PER_M, (0.13, 0.9))
    textures.scratches(top, rng, 60, TABLE_PX_PER_M)
    height, width = top.shape[:2]
    for _ in range(7):
        centre = (rng.uniform(0.08, 0.92) * width, rng.uniform(0.08, 0.92) * height)
        textures.stain(top, rng, centre, rng.uniform(0.02, 0.045) * TABLE_PX_PER_M, (0.62, 0.5, 0.4), rng.random())
    textures.specks(top, rng, 90, ((230, 226, 214), (70, 84, 110), (120, 44, 36)))
    for (x_m, y_m), half_m, yaw_rad in stands:
        centre = (width / 2 + x_m * TABLE_PX_PER_M, height / 2 - y_m * TABLE_PX_PER_M)
        half_px = (half_m[0] * TABLE_PX_PER_M, half_m[1] * TABLE_PX_PER_M)
        textures.contact_shade(top, centre, half_px, -yaw_rad, 0.012 * TABLE_PX_PER_M)
    return top


def floor(rng: Generator) -> UInt8[ndarray, "H W 3"]:
    grey = ((92, 90, 88), (124, 121, 116), (150, 147, 140), (172, 168, 160))
    return textures.concrete(rng, ROOM_M[:2], FLOOR_PX_PER_M, grey)


def walls(rng: Generator) -> tuple[UInt8[ndarray, "H W 3"], ...]:
    """Pictures of the walls at +x, +y, −x, −y, seen from inside the room."""
    tones = ((222, 222, 212), (208, 216, 222), (228, 214, 194), (214, 222, 206))
    plain = [textures.plaster(rng, (ROOM_M[2], ROOM_M[0]), WALL_PX_PER_M, tone) for tone in tones]
    hills = ((206, 190, 160), (150, 176, 190), (96, 120, 128), (62, 92, 84), (40, 62, 56))
    dusk = ((92, 80, 120), (220, 150, 110), (120, 74, 84), (74, 54, 76), (44, 38, 58))
    _hang(plain[0], prints.shelf(rng, _px(1.8, 1.9), 5), 0.35, 0.0)
    _hang(plain[0], prints.poster(rng, _px(0.9, 1.2), hills), 2.9, 0.75)
    _hang(plain[1], prints.whiteboard(rng, _px(2.0, 1.2)), 0.5, 0.75)
    _hang(plain[1], prints.poster(rng, _px(0.8, 1.1), dusk), 3.1, 0.7)
    _hang(plain[2], prints.tool_wall(rng, _px(2.4, 1.3)), 0.9, 0.3)
    _hang(plain[2], prints.poster(rng, _px(0.6, 0.9), hills[::-1]), 3.55, 0.8)
    _hang(plain[3], prints.poster(rng, _px(0.9, 1.2), dusk[::-1]), 0.4, 0.6)
    _hang(plain[3], prints.shelf(rng, _px(2.2, 1.5), 4), 1.8, 0.1)
    return tuple(plain)


def _px(width_m: float, height_m: float) -> tuple[int, int]:
    return round(width_m * WALL_PX_PER_M), round(height_m * WALL_PX_PER_M)


def _hang(wall: UInt8[ndarray, "H W 3"], picture: UInt8[ndarray, "h w 3"], left_m: float, above_m: float) -> None:
    """Puts a picture on a wall: how far from its left end, and how far its lower edge is above the floor."""
    height, width = picture.shape[:2]
    left = round(left_m * WALL_PX_PER_M)
    bottom = len(wall) - round(above_m * WALL_PX_PER_M)
    wall[bottom - height : bottom, left : left + width] = picture


def room_shapes(centre_m: Sequence[float], floor_z_m: float) -> tuple[Shape, ...]:
    """Floor, then the walls at +x, +y, −x, −y; seen from inside only."""
    x, y, z = ROOM_M[0] / 2, ROOM_M[1] / 2, ROOM_M[2]
    cells = (24, 16)
    flat = [
        shapes.grid((-x, y, 0), (2 * x, 0, 0), (0, -2 * y, 0), (24, 24)),
        shapes.grid((x, y, z), (0, -2 * y, 0), (0, 0, -z), cells),
        shapes.grid((-x, y, z), (2 * x, 0, 0), (0, 0, -z), cells),
        shapes.grid((-x, -y, z), (0, 2 * y, 0), (0, 0, -z), cells),
        shapes.grid((x, -y, z), (-2 * x, 0, 0), (0, 0, -z), cells),
    ]
    return tuple(shape.moved((centre_m[0], centre_m[1], floor_z_m)) for shape in flat)


def table_shapes() -> tuple[Shape, Shape]:
    """(the top's surface, everything below it), origin at the centre of the surface, z up."""
    x, y, thick = TABLE_M
    surface = shapes.grid((-x / 2, y / 2, 0), (x, 0, 0), (0, -y, 0), (40, 40))
    sides = shapes.box_faces(TABLE_M)
    rim = [sides[name].moved((0, 0, -thick / 2)) for name in ("front", "right", "back", "left", "bottom")]
    leg_m = (0.06, 0.06, TABLE_HEIGHT_M - thick)
    legs = [
        shapes.plain_box(leg_m).moved((sx * (x / 2 - 0.07), sy * (y / 2 - 0.07), -thick - leg_m[2] / 2))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    return surface, shapes.joined([*rim, *legs])


def dark_wood(rng: Generator) -> UInt8[ndarray, "H W 3"]:
    """For the table's rim and legs."""
    oak = textures.planks(rng, (0.25, 0.5), 600.0, (0.25, 1.0))
    return textures.as_rgb(oak.astype(np.float32) * 0.7)
