"""Cups are told from filled ones: where cameras look in there is air, and a collider that fills it is seen into."""

import numpy as np
import pytest
import small_objects as small
import small_twin

from twin import collision, collision_report, hollow, object_surface, sight
from twin.camera_path import looking
from twin.object_asset import Convex, ObjectAsset
from twin.posed_images import PosedImages, View
from twin.splat import Splat

SIZE_M, WALL_M, FLOOR_M = 0.08, 0.006, 0.02
VOXEL_M = 2e-3
CUP = ObjectAsset(
    name="cup",
    T_world_obj=((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0)),
    size_m=(SIZE_M, SIZE_M, SIZE_M),
    footprint="box",
    gaussians=1,
)


def cup(veil: bool) -> Splat:
    """A square cup, its frame in its middle: walls from outside and inside, floor, and perhaps a faint veil on top."""
    half, inner = SIZE_M / 2, SIZE_M / 2 - WALL_M
    outside = small.box((SIZE_M,) * 3, (0.0, 0.0), 0.0)
    means = outside.means_m.astype(np.float64) - [0, 0, small.TABLE_Z_M + half]
    lid = means[:, 2] > half - 1e-6
    across = np.abs(means[:, :2]).max(1)
    inside = means[~lid & (across > half - 1e-6)] * [inner / half, inner / half, 1.0]
    inside = inside[inside[:, 2] > FLOOR_M - half]
    facing = np.eye(3)[np.abs(inside[:, :2]).argmax(1)]
    floor = small.grid((2 * inner, 2 * inner), 0.003)
    floor = np.column_stack([floor, np.full(len(floor), FLOOR_M - half)])
    up = np.tile([0.0, 0, 1], (len(floor), 1))
    rim = lid & (across > inner)
    parts = [
        outside.select(~lid | rim),
        small.sheet(inside, facing, (0.5, 0.5, 0.5)),
        small.sheet(floor, up, (0.5, 0.5, 0.5)),
    ]
    parts[0].means_m[:] = means[~lid | rim]
    if veil:
        faint = small.sheet(np.column_stack([floor[:, :2], np.full(len(floor), half)]), up, (0.5, 0.5, 0.5))
        faint.opacities[:] = 0.1
        parts.append(faint)
    return Splat.concatenate(parts)


def from_above() -> PosedImages:
    views = []
    for index in range(24):
        turn, high = 2 * np.pi * index / 24, (0.5, 0.9, 1.2)[index % 3]
        at = 0.6 * np.array([np.cos(turn) * np.cos(high), np.sin(turn) * np.cos(high), np.sin(high)])
        T = looking(at, np.zeros(3), np.array([0, 0, 1.0]))
        rows = tuple(tuple(map(float, row)) for row in T)
        views.append(View(image=f"{index}.jpg", camera="phone", T_world_cam=rows))
    return PosedImages(world="board", metric=True, cameras={"phone": small_twin.CAMERA}, views=tuple(views))


def boxes(*pieces: Convex) -> collision.Collider:
    return collision.Collider(pieces, tuple(collision.as_mesh(piece) for piece in pieces))


FILLED = boxes(Convex(kind="box", half_m=(SIZE_M / 2,) * 3))
OFF_M = (SIZE_M - WALL_M) / 2
OPEN = boxes(
    *(Convex(kind="box", half_m=(WALL_M / 2, SIZE_M / 2, SIZE_M / 2), at_m=(x, 0.0, 0.0)) for x in (-OFF_M, OFF_M)),
    *(Convex(kind="box", half_m=(SIZE_M / 2, WALL_M / 2, SIZE_M / 2), at_m=(0.0, y, 0.0)) for y in (-OFF_M, OFF_M)),
    Convex(kind="box", half_m=(SIZE_M / 2, SIZE_M / 2, FLOOR_M / 2), at_m=(0.0, 0.0, (FLOOR_M - SIZE_M) / 2)),
)


@pytest.mark.parametrize("veil", [False, True])
def test_a_collider_that_fills_a_cup_is_seen_into_and_one_with_walls_is_not(veil: bool) -> None:
    splat, posed = cup(veil), from_above()
    filled, open_above = (sight.look(shape, splat, CUP, posed) for shape in (FILLED, OPEN))
    assert filled.seen_into_mm > 2 * collision_report.SEEN_INTO_LIMIT_MM
    assert open_above.seen_into_mm < 3
    assert filled.unseen_share < 0.1


def test_a_solid_thing_is_not_seen_into() -> None:
    solid = small.box((SIZE_M,) * 3, (0.0, 0.0), 0.0)
    solid.means_m[:] -= np.array([0, 0, small.TABLE_Z_M + SIZE_M / 2], np.float32)
    assert sight.look(FILLED, solid, CUP, from_above()).seen_into_mm < 3


@pytest.mark.parametrize("veil", [False, True])
def test_carving_leaves_a_cup_open_behind_a_veil_too(veil: bool) -> None:
    surface = object_surface.reconstruct(cup(veil), CUP, from_above())
    shape = collision.as_collider([surface])
    down = np.column_stack([np.zeros((5, 2)), [0.035, 0.025, 0.015, 0.005, -0.005]])
    assert shape.outside_m(down).min() > 0.01  # air in the middle, down to the floor's neighbourhood
    wall = np.array([[SIZE_M / 2 - WALL_M / 2, 0.0, 0.0], [0.0, WALL_M / 2 - SIZE_M / 2, 0.01]])
    assert shape.outside_m(wall).max() < 0


def test_what_cameras_see_a_little_way_into_is_no_hollow() -> None:
    inside = np.full((20, 20, 20), -5e-3)
    inside[4:16, 4:16, 4:16] = 5e-3
    past = np.where(inside > 0, 8e-3, 0.0)
    assert hollow.air(inside, past, VOXEL_M) is None
    past[7:13, 7:13, 7:16] = 0.02
    found = hollow.air(inside, past, VOXEL_M)
    assert found is not None
    assert found[10, 10, 12] > 0
    assert found[4, 10, 10] < 0  # a wall stays
