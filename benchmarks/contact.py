"""How true a twin's contact is on the simulated bench: object pose, inflation, resting drift, penetration.

`python benchmarks/contact.py BUNDLE TRUTH [--quick] [--json FILE]`: a twin of a bench scan (as `tandem bench demo`
builds it) and the scan's truth.json. Boxes are the true ones, made 24 mm larger and put off by up to 4 mm and 5°, as a
person would draw them. `--quick` takes three objects. The bundle is copied; it is not changed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from hardware import artefact
from hardware.bench import props, so101
from hardware.bench.truth import ObjectTruth, Truth, read_truth
from hardware.errors import GateFailed
from hardware.spatial import Pose
from twin import collision, collision_report, mesh, object_asset, object_surface
from twin.contact import GiveContact, give
from twin.object_asset import ObjectAsset, RobotAsset
from twin.segment import SegmentTwin, segment

QUICK = ("tea_carton", "tin", "block_a")
MATERIAL = {"mug": "empty_mug", "book": "book", "tin": "filled_tin", "bottle": "filled_bottle", "block_b": "wood"}
NEEDED = ("scene.ply", "cameras.json", "twin.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--quick", action="store_true", help="three objects, no robot")
    parser.add_argument("--json", type=Path, help="write the measurements here")
    parser.add_argument("--seed", type=int, default=0, help="of how far off the boxes are drawn")
    arguments = parser.parse_args()
    print(machine.line())
    truth = read_truth(arguments.truth)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "twin"
        bundle.mkdir()
        for name in NEEDED:
            shutil.copyfile(arguments.bundle / name, bundle / name)
        rows = measured(bundle, truth, arguments.quick, np.random.default_rng(arguments.seed))
    Console().print(as_table(rows))
    if arguments.json is not None:
        report = {"machine": machine.describe(), "objects": rows}
        artefact.write_text(arguments.json, json.dumps(report, indent=2) + "\n")


def measured(bundle: Path, truth: Truth, quick: bool, rng: np.random.Generator) -> list[dict[str, object]]:
    chosen = [thing for thing in truth.objects if not quick or thing.name in QUICK]
    T_board_base = truth.base_board.inverse()
    started = time.monotonic()
    robot = None
    if not quick:
        robot = bundle / "arm.json"
        angles = dict(zip(so101.JOINTS, so101.REST_RAD, strict=True))
        base = Pose("world", "base", T_board_base.matrix)
        artefact.write_model(robot, RobotAsset(model="so101", T_world_base=object_asset.rows(base), q_rad=angles))
    boxes = tuple(drawn(T_board_base @ thing.pose, thing, rng) for thing in chosen)
    segment(SegmentTwin(bundle=bundle, object=tuple(thing.name for thing in chosen), box=boxes, robot=robot))
    material = tuple(f"{name}={kind}" for name, kind in MATERIAL.items() if name in {t.name for t in chosen})
    try:
        give(GiveContact(bundle=bundle, material=material))
    except GateFailed as error:
        print(error.problem)
    report = collision_report.measure(bundle)
    print(f"{time.monotonic() - started:.0f} s for segmenting and contact of {len(chosen)} objects")
    shapes = {thing.name: thing for thing in props.all_props(np.random.default_rng(truth.seed))}
    rows = []
    for thing, asset, row in zip(
        sorted(chosen, key=lambda thing: thing.name), object_asset.objects(bundle), report.objects, strict=True
    ):
        T_true_obj = np.linalg.inv((T_board_base @ thing.pose).matrix) @ asset.pose.matrix
        over, under = against(shapes[thing.name], bundle, asset, T_true_obj)
        rows.append(
            {
                "object": thing.name,
                "position_mm": float(1e3 * np.linalg.norm(T_true_obj[:3, 3])),
                "inflation_p95_mm": over,
                "holes_p95_mm": under,
                "reported_inflation_mm": row.inflation_mm,
                "pieces": row.convex_count,
                "drift_mm": row.drift_mm,
                "robot_penetration_mm": row.robot_penetration_mm,
                "mass_error": row.mass_kg / thing.mass_kg - 1,
            }
        )
    return rows


def drawn(T_board_obj: Pose, thing: ObjectTruth, rng: np.random.Generator) -> str:
    """As a person draws it."""
    yaw_deg = np.degrees(np.arctan2(T_board_obj.rotation[1, 0], T_board_obj.rotation[0, 0])) + rng.uniform(-5, 5)
    centre = T_board_obj.translation_m + rng.uniform(-0.004, 0.004, 3)
    return ",".join(f"{x:.4f}" for x in (*centre, *(np.array(thing.size_m) + 0.024), yaw_deg))


def against(prop: props.Prop, bundle: Path, asset: ObjectAsset, T_true_obj: np.ndarray) -> tuple[float, float]:
    """95 % of the collision surface sticks out of the true one by less (mm); and the true one out of it."""
    o3d = mesh.open3d()
    true = o3d.geometry.TriangleMesh()
    for part in prop.parts:
        true += o3d.geometry.TriangleMesh(
            o3d.utility.Vector3dVector(part.shape.vertices_m), o3d.utility.Vector3iVector(part.shape.faces)
        )
    true.merge_close_vertices(1e-5)
    meshes = []
    for piece in asset.collision:
        if piece.kind == "mesh":
            file = object_asset.folder(bundle, asset.name) / str(piece.file)
            meshes.append(object_surface.outward(o3d.io.read_triangle_mesh(str(file))))
        else:
            meshes.append(collision.as_mesh(piece))
    shape = collision.Collider(asset.collision, tuple(meshes))
    points = np.concatenate([collision.samples(each) for each in meshes])
    points = points[np.abs(shape.outside_m(points)) < 1e-4]
    there = object_surface.outside_m(true, points @ T_true_obj[:3, :3].T + T_true_obj[:3, 3])
    back = np.linalg.inv(T_true_obj)
    here = shape.outside_m(collision.samples(true) @ back[:3, :3].T + back[:3, 3])
    return float(1e3 * max(0, np.quantile(there, 0.95))), float(1e3 * max(0, np.quantile(here, 0.95)))


def as_table(rows: list[dict[str, object]]) -> Table:
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{x:.2f}" if isinstance(x, float) else str(x) for x in row.values()))
    return table


if __name__ == "__main__":
    main()
