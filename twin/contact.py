"""`tandem twin contact`: a segmented bundle in; collision shapes, mass, friction, `scene.xml` and a report out."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from hardware import artefact, gate
from hardware.config import Config
from hardware.errors import BadInput
from twin import (
    collision,
    collision_report,
    force_recording,
    materials,
    mesh,
    object_asset,
    object_surface,
    outline,
    sight,
    splat_ply,
)
from twin.collision_report import CollisionReport, ObjectReport
from twin.export import mjcf
from twin.object_asset import Measured, ObjectAsset
from twin.render import scene
from twin.splat import Splat
from twin.splat_motion import moved

log = logging.getLogger(__name__)


class GiveContact(Config):
    """Lets a twin's objects push back: surfaces, convex pieces, mass and friction, and how good they are."""

    bundle: tyro.conf.Positional[Path]
    """A bundle that `tandem twin segment` took objects from."""
    material: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=MATERIAL of an object; without, it is taken for a packed carton."""
    mass: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=KG, weighed; it wins over the material."""
    friction: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=MU of the object on the table; it wins over the material."""
    lift: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=CSV with state (empty, loaded) and force_n, upward at the still wrist: lifted on the cell, it is weighed."""
    push: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=CSV with force_n and speed_m_s of a slow push over the table; needs the mass, by --mass or --lift."""
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False
    """Print the report as JSON."""


def give(config: GiveContact) -> int:
    """Everything is written, also where a gate fails; then `GateFailed` says which."""
    object_asset.require_metric(config.bundle)
    assets = object_asset.objects(config.bundle)
    choices = parsed(config, [asset.name for asset in assets])
    for asset in assets:
        write(config.bundle, asset, choices[asset.name])
    mjcf.write(config.bundle)
    report = collision_report.measure(config.bundle)
    artefact.write_model(config.bundle / object_asset.REPORT, report)
    if config.as_json:
        print(json.dumps(report.model_dump(mode="json"), indent=2))
    else:
        Console().print(_table(report))
    gate.check(report.gates)
    return 0


@dataclass(frozen=True)
class Known:
    """What is known of one object besides its shape; what is None comes from the material's table."""

    material: str
    mass: Measured | None = None
    friction: Measured | None = None


def parsed(config: GiveContact, names: list[str]) -> dict[str, Known]:
    """Of every object. Raises `BadInput` for what is no NAME=VALUE of one of them, and for unusable recordings."""
    flags = ("material", "mass", "friction", "lift", "push")
    kinds, weighed, slides, lifted, pushed = (_pairs(getattr(config, flag), flag, names) for flag in flags)
    for kind in kinds.values():
        materials.material(kind)
    for pair, one, other in (
        (weighed.keys() & lifted, "mass", "lift"),
        (slides.keys() & pushed, "friction", "push"),
    ):
        if pair:
            raise BadInput(f"'{min(pair)}' has both --{one} and --{other}", "give one of them")
    found = {}
    for name in names:
        mass = _given(weighed.get(name), "mass")
        if name in lifted:
            mass = force_recording.mass(Path(lifted[name]))
        friction = _given(slides.get(name), "friction")
        if name in pushed:
            if mass is None:
                raise BadInput(
                    f"--push {name}: friction is force over weight, and nobody weighed '{name}'",
                    f"--mass {name}=KG or --lift {name}=CSV",
                )
            friction = force_recording.friction(Path(pushed[name]), mass.value)
        found[name] = Known(kinds.get(name, materials.DEFAULT), mass, friction)
    return found


def _pairs(words: tuple[str, ...], flag: str, names: list[str]) -> dict[str, str]:
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in names:
            raise BadInput(f"--{flag} {word}: no object '{name}'; have: {', '.join(names)}", f"--{flag} NAME=VALUE")
        pairs[name] = value
    return pairs


def _given(text: str | None, flag: str) -> Measured | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise BadInput(f"--{flag}: '{text}' is no number") from error
    if not (np.isfinite(value) and value > 0):
        raise BadInput(f"--{flag}: {text} is not above 0")
    return materials.given(value)


def write(bundle: Path, asset: ObjectAsset, known: Known) -> ObjectAsset:
    """Surface, pieces and numbers of one object into its folder."""
    _, posed = scene(bundle)
    folder = object_asset.folder(bundle, asset.name)
    splat = splat_ply.read(folder / asset.splat)
    surface = object_surface.reconstruct(splat, asset, posed)
    asset, surface, splat = settled(asset, surface, splat)
    shape = collision.collider(asset, surface, splat)
    fitted, looked = collision.fit(shape, splat), sight.look(shape, splat, asset, posed)
    volume_m3 = shape.volume_m3 if shape.pieces[0].kind != "mesh" else object_surface.signed_volume_m3(surface)
    mass = known.mass or materials.mass(volume_m3, known.material)
    friction = known.friction or materials.friction(known.material)
    done = asset.but(
        visual=object_asset.VISUAL,
        collision=tuple(piece.model_dump() for piece in shape.pieces),
        material=known.material,
        mass_kg=mass.value,
        mass=mass.model_dump(),
        friction=friction.value,
        friction_known=friction.model_dump(),
        volume_m3=volume_m3,
        inflation_mm=fitted.inflation_mm,
        holes_mm=fitted.holes_mm,
        seen_into_mm=looked.seen_into_mm,
        unseen_share=looked.unseen_share,
        convex_count=len(shape.pieces),
    )
    mesh.write(folder / object_asset.VISUAL, surface)
    if (folder / object_asset.COLLISION).exists():
        shutil.rmtree(folder / object_asset.COLLISION)
    collision.write(folder, shape)
    splat_ply.write(folder / asset.splat, splat)
    artefact.write_model(folder / object_asset.ASSET, done)
    log.info("%s: %s, %d piece(s), %.3f kg", asset.name, shape.pieces[0].kind, len(shape.pieces), mass.value)
    return done


def settled(
    asset: ObjectAsset, surface: mesh.TriangleMesh, splat: Splat
) -> tuple[ObjectAsset, mesh.TriangleMesh, Splat]:
    """The outline where its shape fits the carved surface, else what the surface itself shows.

    A round outline stays where it is, for a handle would move it, unless the surface is a box: of a few hundred
    Gaussians a small block's outline looks round.
    """
    if collision.primitive(asset, surface) is not None:
        return asset, surface, splat
    placed, turned, own = recentred(asset, mesh.open3d().geometry.TriangleMesh(surface), splat)
    if asset.footprint != "cylinder":
        return placed, turned, own
    box = placed.but(footprint="box")
    return (asset, surface, splat) if collision.primitive(box, turned) is None else (box, turned, own)


def recentred(
    asset: ObjectAsset, surface: mesh.TriangleMesh, splat: Splat
) -> tuple[ObjectAsset, mesh.TriangleMesh, Splat]:
    """An outline that no shape fitted, read again from the carved surface: frame, surface and splat in it."""
    o3d = mesh.open3d()

    vertices = np.asarray(surface.vertices)
    flat = outline.rectangle(vertices[:, :2])
    foot_m, top_m = float(vertices[:, 2].min()), float(np.quantile(vertices[:, 2], 0.995))
    T_old_new = np.eye(4)
    c, s = np.cos(flat.yaw_rad), np.sin(flat.yaw_rad)
    T_old_new[:2, :2] = [[c, -s], [s, c]]
    T_old_new[:3, 3] = [*flat.centre_m, (foot_m + top_m) / 2]
    back = np.linalg.inv(T_old_new)
    surface.vertices = o3d.utility.Vector3dVector(vertices @ back[:3, :3].T + back[:3, 3])
    T_world_obj = asset.pose.matrix @ T_old_new
    size_m = (2 * flat.half_m[0], 2 * flat.half_m[1], top_m - foot_m)
    placed = asset.but(
        footprint="free", T_world_obj=tuple(tuple(row) for row in T_world_obj.tolist()), size_m=size_m
    )
    return placed, object_surface.outward(surface), moved(splat, back[:3, :3], back[:3, 3])


def _table(report: CollisionReport) -> Table:
    table = Table(
        "object", "inflation, mm", "holes, mm", "seen into, mm", "unseen, %", "pieces", "drift in 2 s, mm",
        "penetration, mm", "mass, kg",
    )  # fmt: skip
    for row in report.objects:
        deep = "no robot" if row.robot_penetration_mm is None else f"{row.robot_penetration_mm:.2f}"
        fits = f"{row.inflation_mm:.2f}", f"{row.holes_mm:.2f}", *_looked(row)
        table.add_row(row.name, *fits, str(row.convex_count), f"{row.drift_mm:.3f}", deep, f"{row.mass_kg:.3f}")
    for piece in report.furniture:
        over, under = ("not seen" if mm is None else f"{mm:.2f}" for mm in (piece.inflation_mm, piece.holes_mm))
        table.add_row(piece.name, over, under, "", "", "1", "furniture", f"{piece.penetration_mm:.2f}", "")
    return table


def _looked(row: ObjectReport) -> tuple[str, str]:
    if row.seen_into_mm is None or row.unseen_share is None:
        return "not measured", "not measured"
    return f"{row.seen_into_mm:.1f}", f"{100 * row.unseen_share:.0f}"
