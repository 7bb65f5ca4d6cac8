"""How open a scanned tray's collider is: its floor and its rim against the bench's own tray.

`python benchmarks/tray.py BUNDLE … [--quick] [--json FILE]`: bundles that `tandem demo` scanned, tray and all (its
folder `twin`). Contact is made anew in a copy; as the bundle has it stands beside it. `--quick`: only as they are.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from benchmarks.contact import as_table, loaded
from hardware import artefact
from hardware.bench.tasks.pick_place import FLOOR_M, RIM_M, TRAY_HALF_M, WALL_M
from twin import contact, materials, mesh, object_asset
from twin.object_asset import ObjectAsset

NAME, STEP_M = "tray", 1e-3
NEEDED = ("scene.ply", "cameras.json", "twin.json", "supports.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--quick", action="store_true", help="only as the bundles are")
    parser.add_argument("--json", type=Path, help="write the measurements here")
    arguments = parser.parse_args()
    print(machine.line())
    rows = []
    for bundle in arguments.bundles:
        rows.append({"bundle": str(bundle), "contact": "as it is"} | measured(bundle))
        if not arguments.quick:
            rows.append({"bundle": str(bundle), "contact": "made anew"} | anew(bundle))
    print(f"true: floor {1e3 * FLOOR_M:.0f} mm, rim {1e3 * RIM_M:.0f} mm")
    Console().print(as_table(rows))
    if arguments.json is not None:
        truth = {"floor_mm": 1e3 * FLOOR_M, "rim_mm": 1e3 * RIM_M}
        report = {"machine": machine.describe(), "truth": truth, "trays": rows}
        artefact.write_text(arguments.json, json.dumps(report, indent=2) + "\n")


def anew(bundle: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "twin"
        copy.mkdir()
        for name in NEEDED:
            shutil.copyfile(bundle / name, copy / name)
        shutil.copytree(object_asset.folder(bundle, NAME), object_asset.folder(copy, NAME))
        contact.write(copy, tray(copy), contact.Known(tray(copy).material or materials.DEFAULT))
        return measured(copy)


def tray(bundle: Path) -> ObjectAsset:
    return next(asset for asset in object_asset.objects(bundle) if asset.name == NAME)


def measured(bundle: Path) -> dict[str, Any]:
    """Heights over the table, looked at from straight above, about the middle of what is higher than 2 mm."""
    o3d = mesh.open3d()
    asset = tray(bundle)
    shape = loaded(bundle, asset)
    scene = o3d.t.geometry.RaycastingScene()
    for piece in shape.meshes:
        scene.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(piece))
    line = np.arange(-TRAY_HALF_M - 0.01, TRAY_HALF_M + 0.01, STEP_M) + 0.3 * STEP_M
    x, y = np.meshgrid(line, line, indexing="ij")
    rays = np.stack([x, y, np.full_like(x, 0.1), np.zeros_like(x), np.zeros_like(x), -np.ones_like(x)], -1)
    way_m = scene.cast_rays(rays.astype(np.float32))["t_hit"].numpy()
    foot_m = min(float(np.asarray(piece.vertices)[:, 2].min()) for piece in shape.meshes)
    over_mm = 1e3 * np.where(np.isfinite(way_m), 0.1 - way_m - foot_m, 0.0)
    rows, columns = (np.flatnonzero((over_mm > 2).any(axis)) for axis in (1, 0))
    x, y = x - line[rows[[0, -1]]].mean(), y - line[columns[[0, -1]]].mean()
    out_m = np.maximum(np.abs(x), np.abs(y))
    floor = over_mm[out_m < TRAY_HALF_M - 2 * WALL_M]
    wall = (out_m > TRAY_HALF_M - 1.25 * WALL_M) & (out_m < TRAY_HALF_M + WALL_M)
    parts = [wall & (np.abs(y - at) < 5e-3) for at in np.arange(-0.04, 0.041, 0.01)]
    return {
        "floor_median_mm": float(np.median(floor)),
        "floor_p90_mm": float(np.quantile(floor, 0.9)),
        "rim_mm": float(np.median([over_mm[part].max() for part in parts])),
        "seen_into_mm": asset.seen_into_mm,
        "inflation_mm": asset.inflation_mm,
        "holes_mm": asset.holes_mm,
        "pieces": asset.convex_count,
    }


if __name__ == "__main__":
    main()
