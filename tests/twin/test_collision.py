"""Surfaces are closed and where the Gaussians are; primitives stand for what they fit, convex pieces for the rest."""

import dataclasses

import numpy as np
import pytest
import small_objects as small
import small_twin

from hardware.errors import BadInput
from twin import collision, collision_report, object_surface
from twin.mesh import open3d
from twin.object_asset import Convex, ObjectAsset

I4 = ((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0))


def asset(size_m, footprint="box", T=I4):
    return ObjectAsset(name="thing", T_world_obj=T, size_m=size_m, footprint=footprint, gaussians=1)


def solid(*pieces):
    return [collision.as_mesh(piece) for piece in pieces]


BOX = Convex(kind="box", half_m=(0.03, 0.02, 0.025))


def test_primitives_as_triangles_have_their_volume():
    box, can = solid(BOX, Convex(kind="cylinder", half_m=(0.03, 0.04)))
    assert object_surface.signed_volume_m3(box) == pytest.approx(0.06 * 0.04 * 0.05)
    # 48 sides: a regular polygon has 48/2 · sin(2π/48) / π = 0.9971 of its circle's area
    assert object_surface.signed_volume_m3(can) == pytest.approx(0.9971 * np.pi * 0.03**2 * 0.08, rel=1e-3)


def test_the_outside_of_a_turned_box_is_measured_along_its_axes():
    turned = Convex(kind="box", half_m=(0.03, 0.02, 0.025), yaw_rad=np.pi / 2, at_m=(0.1, 0.0, 0.0))
    shape = collision.Collider((turned,), tuple(solid(turned)))
    points = np.array([[0.1, 0.035, 0.0], [0.125, 0.0, 0.0], [0.1, 0.0, 0.0]])
    np.testing.assert_allclose(shape.outside_m(points), [0.005, 0.005, -0.02], atol=1e-6)


def test_the_outline_is_the_collider_where_the_surface_agrees_and_not_where_it_does_not():
    surface = solid(Convex(kind="box", half_m=(0.0305, 0.0198, 0.025)))[0]
    found = collision.primitive(asset((0.06, 0.04, 0.05)), surface)
    assert found is not None
    assert found.pieces == (BOX,)
    assert collision.primitive(asset((0.09, 0.04, 0.05)), surface) is None
    assert collision.primitive(asset((0.06, 0.04, 0.05), "free"), surface) is None


def test_inflation_and_holes_are_read_side_by_side():
    """The collider is 1 mm too long at one end and 2 mm too short in height; skin is 1.3 · 0.2 mm."""
    splat = small.box(at=(0.0, 0.0), yaw_rad=0.0)
    splat = dataclasses.replace(splat, means_m=splat.means_m - np.array([0, 0, small.TABLE_Z_M + 0.025]))
    wrong = Convex(kind="box", half_m=(0.0305, 0.02, 0.024), at_m=(0.0005, 0.0, -0.001))
    fit = collision.fit(collision.Collider((wrong,), tuple(solid(wrong))), splat)
    assert fit.inflation_mm == pytest.approx(1.0 - 0.26, abs=0.15)
    assert fit.holes_mm == pytest.approx(2.0 + 0.26, abs=0.15)
    right = collision.fit(collision.Collider((BOX,), tuple(solid(BOX))), splat)
    assert right.inflation_mm < 0.1
    assert right.holes_mm < 0.4


def test_a_missing_piece_is_a_hole_however_deep_it_is():
    """The last third of the box has no collider: its top and three flanks stick out by up to 20 mm."""
    splat = centred(small.box(at=(0.0, 0.0), yaw_rad=0.0), 0.05)
    lacking = Convex(kind="box", half_m=(0.02, 0.02, 0.025), at_m=(-0.01, 0.0, 0.0))
    fit = collision.fit(collision.Collider((lacking,), tuple(solid(lacking))), splat)
    assert fit.inflation_mm < 0.1
    assert fit.holes_mm == pytest.approx(20.0, abs=2.5)
    assert fit.holes_mm > collision_report.HOLES_LIMIT_MM


def test_one_floater_is_no_hole():
    splat = centred(small.box(at=(0.0, 0.0), yaw_rad=0.0), 0.05)
    means = splat.means_m.copy()
    means[0] = (0.0, 0.0, 0.06)
    fit = collision.fit(collision.Collider((BOX,), tuple(solid(BOX))), dataclasses.replace(splat, means_m=means))
    assert fit.holes_mm < 0.4


def test_a_face_far_outside_the_crust_is_inflation_too():
    """12 mm too high: no Gaussian of the top is within 4 mm of the face."""
    splat = centred(small.box(at=(0.0, 0.0), yaw_rad=0.0), 0.05)
    tall = Convex(kind="box", half_m=(0.03, 0.02, 0.031), at_m=(0.0, 0.0, 0.006))
    fit = collision.fit(collision.Collider((tall,), tuple(solid(tall))), splat)
    assert fit.inflation_mm == pytest.approx(12.0 - 0.26, abs=0.4)


def centred(splat, height_m):
    return dataclasses.replace(splat, means_m=splat.means_m - np.array([0, 0, small.TABLE_Z_M + height_m / 2]))


def test_a_box_that_was_read_too_large_is_put_on_the_crust_face_by_face():
    """2 mm too high, 1 mm too long at +x only: the true box plus its skin of 1.3 · 0.2 mm comes back, foot unmoved."""
    splat = centred(small.box(at=(0.0, 0.0), yaw_rad=0.0), 0.05)
    read = Convex(kind="box", half_m=(0.0305, 0.02, 0.026))
    splat = dataclasses.replace(splat, means_m=splat.means_m - np.array([0.0005, 0, 0.001]))
    before = collision.Collider((read,), tuple(solid(read)))
    assert collision.fit(before, splat).inflation_mm > 1.5
    after = collision.on_crust(before, splat)
    assert collision.fit(after, splat).inflation_mm < 0.1
    skin = 1.3 * small.THIN_M
    (piece,) = after.pieces
    np.testing.assert_allclose(piece.half_m, [0.03 + skin, 0.02 + skin, 0.025 + skin / 2], atol=2e-4)
    np.testing.assert_allclose(piece.at_m[0], -0.0005, atol=2e-4)
    assert piece.at_m[2] - piece.half_m[2] == pytest.approx(-0.026)


def test_a_lid_below_its_rim_is_shared_between_inflation_and_holes():
    """The lid lies 3 mm below the rim, which only the wall reaches: the face goes 1.5 mm down, and both are told."""
    splat = centred(small.can(), small.CAN_HEIGHT_M)
    means = splat.means_m - np.array([*small.CAN_AT, 0])
    top = means[:, 2] > small.CAN_HEIGHT_M / 2 - 1e-4
    lid = top & (np.hypot(means[:, 0], means[:, 1]) < 0.0285)
    means[lid, 2] -= 0.003
    splat = dataclasses.replace(splat, means_m=means)
    read = Convex(kind="cylinder", half_m=(0.031, small.CAN_HEIGHT_M / 2))
    before = collision.Collider((read,), tuple(solid(read)))
    assert collision.fit(before, splat).inflation_mm == pytest.approx(3.0 - 0.26, abs=0.2)
    after = collision.on_crust(before, splat)
    fitted = collision.fit(after, splat)
    assert fitted.inflation_mm == pytest.approx(1.5, abs=0.25)
    assert fitted.holes_mm == pytest.approx(1.5, abs=0.25)
    assert after.pieces[0].half_m[0] == pytest.approx(0.03 + 1.3 * small.THIN_M, abs=3e-4)


def test_an_l_shape_becomes_convex_pieces_that_leave_its_corner_free():
    o3d = open3d()
    outline = np.array([[0, 0], [0.1, 0], [0.1, 0.03], [0.03, 0.03], [0.03, 0.08], [0, 0.08]])
    n = len(outline)
    vertices = np.concatenate([np.column_stack([outline, np.full(n, z)]) for z in (0.0, 0.04)])
    caps = [(0, 1, 2), (0, 2, 3), (0, 3, 5), (3, 4, 5)]
    faces = [face[::-1] for face in caps] + [tuple(i + n for i in face) for face in caps]
    for i in range(n):
        j = (i + 1) % n
        faces += [(i, j, j + n), (i, j + n, i + n)]
    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(vertices), o3d.utility.Vector3iVector(np.array(faces))
    )
    assert object_surface.signed_volume_m3(mesh) == pytest.approx((0.1 * 0.03 + 0.03 * 0.05) * 0.04)
    shape = collision.decomposed(mesh)
    assert 2 <= len(shape.pieces) <= 8
    assert shape.volume_m3 == pytest.approx(1.8e-4, rel=0.1)
    inside_corner = np.array([[0.07, 0.06, 0.02]])
    assert shape.outside_m(inside_corner)[0] > 0.02
    assert shape.outside_m(np.array([[0.08, 0.015, 0.02]]))[0] < -0.01


def test_carving_finds_the_box_that_the_cameras_see():
    splat = small.box()
    c, s = np.cos(small.BOX_YAW_RAD), np.sin(small.BOX_YAW_RAD)
    T = ((c, -s, 0.0, 0.1), (s, c, 0.0, 0.05), (0.0, 0.0, 1.0, small.TABLE_Z_M + 0.025), (0.0, 0.0, 0.0, 1.0))
    thing = asset(small.BOX_M, T=T)
    from twin.splat_motion import moved

    inverse = thing.pose.inverse()
    own = moved(splat, inverse.rotation, inverse.translation_m)
    surface = object_surface.reconstruct(own, thing, small_twin.cameras(count=16))
    assert object_surface.signed_volume_m3(surface) == pytest.approx(0.06 * 0.04 * 0.05, rel=0.15)
    off = np.abs(collision.as_collider(solid(BOX)).outside_m(collision.samples(surface)))
    assert np.quantile(off, 0.9) < 2.5e-3
    assert collision.primitive(thing, surface) is not None


def test_a_flat_mesh_has_no_volume():
    o3d = open3d()
    flat = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0.0]])),
        o3d.utility.Vector3iVector(np.array([[0, 1, 2]])),
    )
    with pytest.raises(BadInput, match="'sheet' has no volume"):
        object_surface.require_volume(flat, "sheet")
    assert collision.hull(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]])) is None
    with pytest.raises(BadInput, match="has no volume"):
        collision.collider(asset((0.1, 0.1, 0.1)), o3d.geometry.TriangleMesh(), small.box())


def test_pieces_whose_top_was_carved_off_are_raised_to_the_crusts_and_keep_their_foot():
    """The box shows its top 50 mm over its foot; two pieces side by side end 2.5 mm below."""
    splat = centred(small.box(at=(0.0, 0.0), yaw_rad=0.0), 0.05)
    low = [Convex(kind="box", half_m=(0.015, 0.02, 0.02375), at_m=(x, 0.0, -0.00125)) for x in (-0.015, 0.015)]
    shape = collision.as_collider(solid(*low))
    taller = collision.raised(shape, splat)
    points = np.concatenate([np.asarray(mesh.vertices) for mesh in taller.meshes])
    skin = 1.3 * small.THIN_M
    assert points[:, 2].max() == pytest.approx(0.025 + skin, abs=2e-4)
    assert points[:, 2].min() == pytest.approx(-0.025, abs=1e-6)
    np.testing.assert_allclose(np.ptp(points[:, :2], axis=0), (0.06, 0.04), atol=1e-6)
    assert collision.fit(taller, splat).holes_mm < collision.fit(shape, splat).holes_mm - 1.5
    assert collision.raised(taller, splat) is taller
