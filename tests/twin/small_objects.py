"""A small metric bundle with a box and a can on a table, all of flat Gaussians whose places are known by hand."""

from pathlib import Path

import numpy as np
import small_twin

from hardware import artefact
from hardware.spatial import quat_wxyz_from_rotation
from twin import splat_ply
from twin.splat import Splat

TABLE_Z_M = -0.003
BOX_AT, BOX_YAW_RAD, BOX_M = (0.1, 0.05), 0.35, (0.06, 0.04, 0.05)
CAN_AT, CAN_RADIUS_M, CAN_HEIGHT_M = (-0.12, 0.0), 0.03, 0.08
THIN_M, WIDE_M = 2e-4, 2.2e-3
BOX_FLAG = "0.1,0.05,0.022,0.085,0.065,0.07,22"
CAN_FLAG = "-0.12,0,0.037,0.09,0.09,0.1"


def sheet(points, normals, rgb, wide_m=WIDE_M):
    """Discs that face along the normals."""
    other = np.where(np.abs(normals[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    x = np.cross(other, normals)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    turn = np.stack([x, np.cross(normals, x), normals], 2)
    n = len(points)
    return Splat(
        means_m=points,
        quats_wxyz=quat_wxyz_from_rotation(turn),
        scales_m=np.tile([wide_m, wide_m, THIN_M], (n, 1)),
        opacities=np.full(n, 0.9),
        sh=np.tile((np.array(rgb) - 0.5) / small_twin.C0, (n, 1))[:, None],
    )


def grid(size, step):
    return np.stack(
        np.meshgrid(*(np.linspace(-side / 2, side / 2, max(2, round(side / step) + 1)) for side in size)), -1
    ).reshape(-1, len(size))


def table(half_m=0.3, step=0.01):
    xy = grid((2 * half_m, 2 * half_m), step)
    points = np.column_stack([xy, np.full(len(xy), TABLE_Z_M)])
    return sheet(points, np.tile([0.0, 0, 1], (len(points), 1)), (0.6, 0.5, 0.4), 0.007)


def box(size=BOX_M, at=BOX_AT, yaw_rad=BOX_YAW_RAD, step=0.003):
    """Top and four sides, their centres on the faces."""
    x, y, z = np.array(size) / 2
    sides = []
    for axis, (u, v) in enumerate(((1, 2), (0, 2), (0, 1))):
        for sign in (-1, 1):
            if (axis, sign) == (2, -1):
                continue
            flat = grid((size[u], size[v]), step)
            points = np.zeros((len(flat), 3))
            points[:, u], points[:, v], points[:, axis] = flat[:, 0], flat[:, 1], sign * (x, y, z)[axis]
            normal = np.zeros((len(flat), 3))
            normal[:, axis] = sign
            sides.append((points, normal))
    points, normals = (np.concatenate(part) for part in zip(*sides, strict=True))
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    return sheet(points @ turn.T + [*at, TABLE_Z_M + z], normals @ turn.T, (0.8, 0.2, 0.15))


def can():
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    height = np.linspace(0, CAN_HEIGHT_M, 27)
    a, h = (part.ravel() for part in np.meshgrid(angle, height))
    out = np.column_stack([np.cos(a), np.sin(a), 0 * a])
    side = out * CAN_RADIUS_M + np.column_stack([0 * a, 0 * a, h])
    lid = grid((2 * CAN_RADIUS_M, 2 * CAN_RADIUS_M), 0.003)
    lid = lid[np.linalg.norm(lid, axis=1) <= CAN_RADIUS_M]
    top = np.column_stack([lid, np.full(len(lid), CAN_HEIGHT_M)])
    points = np.concatenate([side, top]) + np.array([*CAN_AT, TABLE_Z_M])
    normals = np.concatenate([out, np.tile([0.0, 0, 1], (len(top), 1))])
    return sheet(points, normals, (0.15, 0.3, 0.8))


def write(folder: Path, *things: Splat) -> Path:
    """scene.ply and cameras.json: what segmenting and contact read."""
    splat_ply.write(folder / "scene.ply", Splat.concatenate([table(), *things]))
    artefact.write_model(folder / "cameras.json", small_twin.cameras(count=16))
    return folder
