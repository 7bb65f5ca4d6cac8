"""Triangle meshes with texture coordinates: boxes, lathed bodies, tubes, flat pictures. Metres, outward faces.

Texture coordinate (0, 0) is the picture's upper left corner, (1, 1) its lower right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

Number = int | float
Profile = Sequence[tuple[Number, Number]]
"""(radius_m, z_m) from one end of a lathed strip to the other; smooth inside a strip, an edge between two."""


@dataclass(frozen=True, eq=False)
class Shape:
    """Vertices that lie on an edge or a seam are doubled, so that each has one normal and one texture point."""

    vertices_m: Float[ndarray, "V 3"]
    normals: Float[ndarray, "V 3"]
    uv: Float[ndarray, "V 2"]
    faces: Int[ndarray, "F 3"]

    def moved(self, translation_m: Sequence[Number], rotation: Float[ndarray, "3 3"] | None = None) -> Shape:
        turn = np.eye(3) if rotation is None else rotation
        vertices_m = self.vertices_m @ turn.T + np.asarray(translation_m, float)
        return Shape(vertices_m, self.normals @ turn.T, self.uv, self.faces)

    def mapped(self, left: Number, top: Number, right: Number, bottom: Number) -> Shape:
        """The same with its texture points squeezed into a window of the picture."""
        window = np.array([left, top]) + self.uv * [right - left, bottom - top]
        return Shape(self.vertices_m, self.normals, window, self.faces)


def joined(shapes: Sequence[Shape]) -> Shape:
    starts = np.cumsum([0, *(len(shape.vertices_m) for shape in shapes)])
    return Shape(
        np.concatenate([shape.vertices_m for shape in shapes]),
        np.concatenate([shape.normals for shape in shapes]),
        np.concatenate([shape.uv for shape in shapes]),
        np.concatenate([shape.faces + start for shape, start in zip(shapes, starts[:-1], strict=True)]),
    )


def grid(
    corner_m: Sequence[Number], right_m: Sequence[Number], down_m: Sequence[Number], cells: tuple[int, int] = (1, 1)
) -> Shape:
    """A flat picture: its upper left corner and its two edges; seen from the side of `down × right`."""
    columns, rows = cells
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    uv = np.stack([u.ravel(), v.ravel()], -1)
    right, down = np.asarray(right_m, float), np.asarray(down_m, float)
    vertices_m = np.asarray(corner_m, float) + uv @ np.stack([right, down])
    normal = np.cross(down, right)
    normals = np.broadcast_to(normal / np.linalg.norm(normal), vertices_m.shape)
    return Shape(vertices_m, normals.copy(), uv, _quads(rows, columns)[:, ::-1])


def _quads(rows: int, columns: int) -> Int[ndarray, "F 3"]:
    """Two triangles per cell of a (rows + 1) × (columns + 1) lattice, row by row."""
    first = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).ravel()
    right, below = first + 1, first + columns + 1
    return np.concatenate([np.stack([first, right, below], -1), np.stack([right, below + 1, below], -1)])


def box_faces(size_m: Sequence[Number]) -> dict[str, Shape]:
    """The six sides of a box about the origin; each shows a whole picture, upright when seen from outside."""
    x, y, z = (side / 2 for side in size_m)
    return {
        "front": grid((-x, -y, z), (2 * x, 0, 0), (0, 0, -2 * z)),
        "right": grid((x, -y, z), (0, 2 * y, 0), (0, 0, -2 * z)),
        "back": grid((x, y, z), (-2 * x, 0, 0), (0, 0, -2 * z)),
        "left": grid((-x, y, z), (0, -2 * y, 0), (0, 0, -2 * z)),
        "top": grid((-x, y, z), (2 * x, 0, 0), (0, -2 * y, 0)),
        "bottom": grid((-x, -y, -z), (2 * x, 0, 0), (0, 2 * y, 0)),
    }


ATLAS = ("front", "right", "back", "left", "top", "bottom")
"""The cells of a box's picture, three in a row, two rows."""


def box(size_m: Sequence[Number], inset: float = 0.002) -> Shape:
    """A box whose picture has a cell per side, in the order of `ATLAS`; `inset` keeps neighbours from bleeding."""
    faces = box_faces(size_m)
    placed = []
    for number, name in enumerate(ATLAS):
        left, top = (number % 3) / 3, (number // 3) / 2
        placed.append(
            faces[name].mapped(left + inset, top + inset, left + 1 / 3 - inset, top + 1 / 2 - inset),
        )
    return joined(placed)


def plain_box(size_m: Sequence[Number]) -> Shape:
    """A box that shows the whole picture on each side."""
    return joined(list(box_faces(size_m).values()))


def lathe(strips: Sequence[Profile], segments: int = 48) -> Shape:
    """Strips turned about z, each from its outside's upper end down; u runs round, v along all strips' length.

    A strip that is listed upwards shows its other side: the inside of a mug.
    """
    lengths = [float(np.linalg.norm(np.diff(np.array(strip), axis=0), axis=1).sum()) for strip in strips]
    ends = np.cumsum([0.0, *lengths]) / sum(lengths)
    turned = [
        _turned(np.array(strip, float), segments).mapped(0, top, 1, bottom)
        for strip, top, bottom in zip(strips, ends[:-1], ends[1:], strict=True)
    ]
    return joined(turned)


def _turned(profile: Float[ndarray, "P 2"], segments: int) -> Shape:
    angle_rad = np.linspace(0, 2 * np.pi, segments + 1)
    tangent = np.gradient(profile, axis=0)
    outward = np.stack([-tangent[:, 1], tangent[:, 0]], -1)
    outward /= np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1e-12)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1))])
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)

    def round_z(pair: Float[ndarray, "P 2"]) -> Float[ndarray, "V 3"]:
        r, z = pair[:, :1], pair[:, 1:]
        return np.stack([r * cos, r * sin, np.broadcast_to(z, (len(pair), segments + 1))], -1).reshape(-1, 3)

    u, v = np.meshgrid(np.linspace(0, 1, segments + 1), along / along[-1])
    faces = _quads(len(profile) - 1, segments)
    return Shape(round_z(profile), round_z(outward), np.stack([u.ravel(), v.ravel()], -1), faces[:, ::-1])


def tube(centres_m: Float[ndarray, "P 3"], radius_m: float, sides: int = 12) -> Shape:
    """A round bar along points that lie in a plane y = const; u runs round, v along."""
    tangent = np.gradient(centres_m, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.array([0.0, 1.0, 0.0])
    upward = np.cross(side, tangent)
    angle_rad = np.linspace(0, 2 * np.pi, sides + 1)
    normals = np.cos(angle_rad)[:, None] * upward[:, None] + np.sin(angle_rad)[:, None] * side
    vertices_m = centres_m[:, None] + radius_m * normals
    u, v = np.meshgrid(np.linspace(0, 1, sides + 1), np.linspace(0, 1, len(centres_m)))
    faces = _quads(len(centres_m) - 1, sides)
    uv = np.stack([u.ravel(), v.ravel()], -1)
    return Shape(vertices_m.reshape(-1, 3), normals.reshape(-1, 3), uv, faces)
