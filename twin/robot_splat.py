# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""The arm in a scan, in; the scene without it and one splat per link that joint angles move, out.

Where the arm stood is known (`T_world_base`, joint angles), so every Gaussian near a link's mesh is the arm's. The
links' own splats are sampled from the meshes, hidden sides too; each sample takes the colour of the arm's Gaussians
beside it, and where the scan saw none, the link's median colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from hardware import artefact
from hardware.bench.arm_models import ARMS
from hardware.errors import BadInput
from hardware.spatial import Pose, quat_wxyz_from_rotation
from twin import object_asset, splat_ply
from twin.object_asset import Plane, RobotAsset
from twin.splat import Splat
from twin.view import SH_0, base_colours

INFLATE_M = 6e-3
"""Gaussians this near to a link's mesh are the arm's: calibration is off by up to 3 mm, crusts by 1 mm."""
SAMPLES_PER_M2 = 150_000
SEEN_M = 6e-3
"""A sample takes the scan's colour from Gaussians at most this far away."""
OPAQUE = 0.1
WIDEST_M, SLIMMEST_M, FLAT_M, OPACITY = 2.0e-3, 6e-4, 3e-4, 0.95
"""Discs are half as wide as the next edge is far, within these: wider ones would stick out of it."""
EDGE_COSINE, NEIGHBOURS = 0.6, 24
UNSEEN_RGB = (0.5, 0.5, 0.5)
FEWEST = 50
FOLDER = "robot"


@dataclass(frozen=True, eq=False)
class Link:
    """A body of the arm's model: its drawn surface sampled in its own frame, and where it was in the scan."""

    name: str
    points: Float[ndarray, "N 3"]
    normals: Float[ndarray, "N 3"]
    material: Int[ndarray, " N"]
    """Of the arm's model, per sample."""
    T_world_link: Pose


def take(
    bundle: Path,
    splat: Splat,
    table: Plane,
    model: Literal["so101", "panda"],
    T_world_base: Pose,
    q_rad: dict[str, float],
) -> RobotAsset:
    """Writes robot.json and robot/<link>.ply; the background is whoever calls this's to make anew.

    Raises `BadInput` for unknown joints, and where the scan has no arm at that place.
    """
    links = placed_links(model, T_world_base, q_rad)
    own = members(splat, links, table)
    if own.sum() < FEWEST:
        raise BadInput(
            f"only {own.sum()} Gaussians lie on the arm: the scan has none at that place",
            "check T_world_base (`tandem calibrate base`) and the joint angles at the scan",
        )
    files = {}
    with artefact.staged_folder(bundle / FOLDER) as folder:
        arm = splat.select(own & (splat.opacities > OPAQUE))
        for link in links:
            splat_ply.write(folder / f"{link.name}.ply", link_splat(link, arm))
            files[link.name] = f"{FOLDER}/{link.name}.ply"
        np.savez_compressed(folder / object_asset.MEMBERS, index=np.flatnonzero(own), hole=hole(splat, own, table))
    asset = RobotAsset(model=model, T_world_base=object_asset.rows(T_world_base), q_rad=q_rad, links=files)
    artefact.write_model(bundle / object_asset.ROBOT, asset)
    return asset


def placed_links(model: Literal["so101", "panda"], T_world_base: Pose, q_rad: dict[str, float]) -> list[Link]:
    """Every body with drawn geometry, at the given angles."""
    compiled = ARMS[model].spec().compile()
    data = mujoco.MjData(compiled)
    known = [compiled.joint(number).name for number in range(compiled.njnt)]
    for name, angle_rad in q_rad.items():
        if name not in known:
            raise BadInput(f"the {model} has no joint '{name}'; have: {', '.join(known)}")
        data.qpos[compiled.joint(name).qposadr[0]] = angle_rad
    mujoco.mj_kinematics(compiled, data)
    rng = np.random.default_rng(0)
    links = []
    for body in range(1, compiled.nbody):
        surfaces = [(*sampled(*_surface(compiled, geom), rng), geom) for geom in _drawn(compiled, body)]
        if not surfaces:
            continue
        points, normals = (np.concatenate([part[k] for part in surfaces]) for k in (0, 1))
        material = np.concatenate([np.full(len(part[0]), compiled.geom_matid[part[2]]) for part in surfaces])
        name = compiled.body(body).name
        T_base_link = Pose.from_parts("base", name, data.xmat[body].reshape(3, 3), data.xpos[body])
        links.append(Link(name, points, normals, material, T_world_base @ T_base_link))
    return links


def _drawn(model: mujoco.MjModel, body: int) -> list[int]:
    """A body's meshes that nothing collides with."""
    start = model.body_geomadr[body]
    return [
        geom
        for geom in range(start, start + model.body_geomnum[body])
        if model.geom_contype[geom] == model.geom_conaffinity[geom] == 0
        and model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH
    ]


def _surface(model: mujoco.MjModel, geom: int) -> tuple[ndarray, ndarray]:
    """Vertices and faces of a mesh, in its body's frame."""
    mesh = model.geom_dataid[geom]
    first, number = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    corner, triangles = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
    local = model.mesh_vert[first : first + number] @ turn.reshape(3, 3).T + model.geom_pos[geom]
    return local, model.mesh_face[corner : corner + triangles]


def sampled(
    vertices: Float[ndarray, "V 3"], faces: ndarray, rng: np.random.Generator
) -> tuple[Float[ndarray, "N 3"], Float[ndarray, "N 3"]]:
    """Points spread evenly over the triangles, with their normals."""
    corners = vertices[faces].astype(np.float64)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = np.linalg.norm(across, axis=1)
    total_m2 = doubled.sum() / 2
    if not total_m2 > 0:
        raise BadInput("a link's mesh has no area", "the arm's model is damaged: install it again")
    triangle = rng.choice(len(faces), max(20, round(total_m2 * SAMPLES_PER_M2)), p=doubled / doubled.sum())
    u, v = rng.random((2, len(triangle)))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    edges = corners[triangle, 1] - corners[triangle, 0], corners[triangle, 2] - corners[triangle, 0]
    points = corners[triangle, 0] + u[:, None] * edges[0] + v[:, None] * edges[1]
    return points, across[triangle] / doubled[triangle, None]


def members(splat: Splat, links: list[Link], table: Plane) -> Bool[ndarray, " N"]:
    """Gaussians of the scan that are the arm's: near a link and not in the table's crust."""
    surface = np.concatenate([link.T_world_link.apply(link.points) for link in links])
    means = splat.means_m.astype(np.float64)
    low, high = surface.min(0) - INFLATE_M, surface.max(0) + INFLATE_M
    inside = np.flatnonzero(((means > low) & (means < high)).all(1))
    own = np.zeros(len(splat), bool)
    if len(inside):
        distance, _ = KDTree(surface).query(means[inside], distance_upper_bound=INFLATE_M + 0.02)
        thick = np.minimum(splat.scales_m[inside].max(1), 0.01)
        # what trained splats leave inside a solid lies further from its surface than its skin: shut in, so the arm's
        own[inside] = distance < INFLATE_M + thick
    return own & (table.heights_m(means) > 2e-3)


def link_splat(link: Link, arm: Splat) -> Splat:
    """In the link's frame; colours from the arm's Gaussians in the scan."""
    colours = np.tile(np.array(UNSEEN_RGB), (len(link.points), 1))
    if len(arm):
        distance, nearest = KDTree(arm.means_m.astype(np.float64)).query(link.T_world_link.apply(link.points), k=4)
        weight = arm.opacities[nearest] * np.exp(-0.5 * (distance / (SEEN_M / 2)) ** 2)
        seen = distance[:, 0] < SEEN_M
        mixed = (base_colours(arm)[nearest] * weight[..., None]).sum(1) / np.maximum(weight.sum(1), 1e-9)[:, None]
        if seen.any():
            colours[:] = np.median(mixed[seen], 0)
            for kind in np.unique(link.material[seen]):
                own = link.material == kind
                colours[own] = np.median(mixed[own & seen], 0)
            colours[seen] = mixed[seen]
    return discs(link.points, link.normals, colours)


def discs(points: Float[ndarray, "N 3"], normals: Float[ndarray, "N 3"], colours: Float[ndarray, "N 3"]) -> Splat:
    """Flat opaque Gaussians just below a surface, small beside its edges."""
    count = min(NEIGHBOURS, len(points))
    distance, near = KDTree(points).query(points, k=count)
    edge = np.einsum("nkc,nc->nk", normals[near], normals) < EDGE_COSINE
    wide = np.clip(np.where(edge, distance, np.inf).min(1) / 2, SLIMMEST_M, WIDEST_M)
    return Splat(
        means_m=points - FLAT_M * normals,
        quats_wxyz=quat_wxyz_from_rotation(_facing(normals)),
        scales_m=np.column_stack([wide, wide, np.full(len(points), FLAT_M)]),
        opacities=np.full(len(points), OPACITY),
        sh=((colours - 0.5) / SH_0)[:, None],
    )


def _facing(normals: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3 3"]:
    """Rotations whose z is the normal."""
    other = np.where(np.abs(normals[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    x = np.cross(other, normals)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, np.cross(normals, x), normals], 2)


def hole(splat: Splat, own: Bool[ndarray, " N"], table: Plane) -> Float[ndarray, "M 2"]:
    """What the arm's foot hid of the table, as points of the table's frame."""
    points = table.T_world_table.inverse().apply(splat.means_m[own].astype(np.float64))
    low = points[points[:, 2] < 0.03]
    return (low if len(low) >= 3 else points)[:, :2]
