"""`tandem twin export`: a twin bundle in, files that other programs read out."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from hardware import artefact
from hardware.config import Config
from hardware.errors import BadInput
from twin import object_asset, splat_ply
from twin.export import nerfstudio, spz
from twin.posed_images import SparsePoints
from twin.render import scene
from twin.splat import Splat

log = logging.getLogger(__name__)


class ExportTwin(Config):
    """A twin for other programs: nerfstudio, a 3DGS .ply, a small .spz for viewers, MuJoCo, OpenUSD."""

    bundle: tyro.conf.Positional[Path]
    """Folder that `tandem twin build` made."""
    to: Literal["nerfstudio", "ply", "spz", "mjcf", "usd"]
    """nerfstudio: photos, poses and points, to train on. ply: the Gaussians, a plain 3D Gaussian splatting PLY.
    spz: the same in about a tenth of the size, with a little loss. mjcf: a folder for MuJoCo (objects need
    `tandem twin contact`). usd: a .usda with bodies and colliders, long arrays in NAME_arrays.usdc beside it."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """A new or empty folder for nerfstudio and mjcf, else a file."""
    min_opacity: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Leave out Gaussians more transparent than this (ply, spz): smaller files, fewer floating specks."""


def export(config: ExportTwin) -> int:
    """Leaves a whole result or none. Raises `BadInput` for a bundle that lacks what is asked for."""
    if config.to == "nerfstudio":
        to_nerfstudio(config.bundle, config.output)
    elif config.to == "mjcf":
        to_mjcf(config.bundle, config.output)
    elif config.to == "usd":
        to_usd(config.bundle, config.output)
    else:
        to_file(config)
    return 0


def to_file(config: ExportTwin) -> None:
    splat, posed = scene(config.bundle)
    if config.output.is_dir():
        raise BadInput(f"{config.output} is a folder", f"give a file name: -o twin.{config.to}")
    if config.output.suffix.lower() != f".{config.to}":
        raise BadInput(
            f"{config.output} does not end in .{config.to}", f"-o {config.output.with_suffix('.' + config.to)}"
        )
    kept = solid(splat, config.min_opacity)
    if config.to == "ply":
        splat_ply.write(config.output, kept)
    else:
        artefact.write_bytes(config.output, spz.encode(kept, z_up=posed.world != "sfm"))
    size_mb = config.output.stat().st_size / 1e6
    log.info("%d of %d Gaussians, %.2f MB → %s", len(kept), len(splat), size_mb, config.output)


def to_mjcf(bundle: Path, output: Path) -> None:
    """scene.xml and the meshes that it names, so that the folder stands alone."""
    from twin.export import mjcf

    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise BadInput(f"{output} is there already and not empty", "give a new or empty folder")
    mjcf.write(bundle)
    with artefact.staged_folder(output) as folder:
        shutil.copyfile(bundle / object_asset.SCENE_XML, folder / object_asset.SCENE_XML)
        for file in (*bundle.glob("objects/*/collision/*.obj"), *bundle.glob(f"{mjcf.ROBOT_MESHES}/*")):
            target = folder / file.relative_to(bundle)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    log.info("python -m mujoco.viewer --mjcf=%s", output / object_asset.SCENE_XML)


def to_usd(bundle: Path, output: Path) -> None:
    from twin.export import mjcf, usd

    if output.suffix.lower() != ".usda":
        raise BadInput(f"{output} does not end in .usda", f"-o {output.with_suffix('.usda')}")
    mjcf.write(bundle)
    usd.write(bundle, output)
    size_mb = sum(file.stat().st_size for file in (output, usd.arrays_file(output))) / 1e6
    log.info(
        "%.1f MB, valid by all of usd-core's validators → %s, and %s", size_mb, output, usd.arrays_file(output)
    )


def solid(splat: Splat, min_opacity: float) -> Splat:
    kept = splat.select(splat.opacities >= min_opacity)
    if not len(kept):
        most = float(splat.opacities.max(initial=0))
        raise BadInput(
            f"no Gaussian is as opaque as {min_opacity}; the most opaque has {most:.3f}", "--min-opacity 0"
        )
    return kept


def to_nerfstudio(bundle: Path, output: Path) -> None:
    """Photos and points come from the bundle's `work` folder."""
    _, posed = scene(bundle)
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise BadInput(f"{output} is there already and not empty", "give a new or empty folder")
    frames, points = bundle / "work" / "capture" / "frames", bundle / "work" / "alignment" / "points.npz"
    if not frames.is_dir():
        raise BadInput(f"{bundle} has no photos any more (no {frames})", "build it again: `work` holds the photos")
    with artefact.staged_folder(output) as folder:
        nerfstudio.write(folder, posed, frames, SparsePoints.load(points) if points.exists() else None)
    log.info("%d photos (%d held out) → %s", len(posed.views), len(posed.held_out), output)
    flags = "--orientation-method none --center-method none --auto-scale-poses False"
    log.info("train on it: ns-train splatfacto --data %s nerfstudio-data %s", output, flags)
