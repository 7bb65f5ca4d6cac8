"""How true a twin's contact is on the simulated bench: object pose, inflation, resting drift, penetration.

`python benchmarks/contact.py [--seeds 5] [--work FOLDER] [--quick] [--json FILE]`: the twins that
benchmarks/alignment.py films and builds in FOLDER (made here where they are missing), one per seed; a figure, FILE's
name with .png, lies beside FILE. `--built BUNDLE TRUTH` takes a twin that is there already, as the first seed. Boxes
are the true ones, made 24 mm larger and put off by up to 4 mm and 5°, as a person would draw them. `--quick`: one
seed, three objects. Bundles are copied, not changed; what is measured is kept in FOLDER.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import alignment, machine
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
LIMITS = {
    "position_mm": 4.0,
    "inflation_p95_mm": 2.0,
    "reported_inflation_mm": 2.0,
    "seen_into_mm": collision_report.SEEN_INTO_LIMIT_MM,
    "drift_mm": 1.0,
    "robot_penetration_mm": 0.0,
}
"""What the project promises of every object. *inflation*: over the bench's own mesh, and as the report says."""
NEEDED = ("scene.ply", "cameras.json", "twin.json")


Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("out/alignment"))
    parser.add_argument("--built", type=Path, nargs=2, metavar=("BUNDLE", "TRUTH"))
    parser.add_argument("--objects", nargs="+", help="only these; what is measured is then not kept")
    parser.add_argument("--quick", action="store_true", help="one seed, three objects, no robot")
    parser.add_argument("--json", type=Path, help="write the measurements here")
    arguments = parser.parse_args()
    print(machine.line())
    rows: list[Row] = []
    for seed in range(1 if arguments.quick else arguments.seeds):
        kept = arguments.work / f"contact_{seed}.json"
        part = arguments.quick or arguments.objects is not None
        if kept.is_file() and not part:
            rows += json.loads(kept.read_text(encoding="utf-8"))
            continue
        built = arguments.built if seed == 0 and arguments.built else alignment.made(arguments.work, seed)
        truth = read_truth(built[1])
        names = arguments.objects or (QUICK if arguments.quick else tuple(thing.name for thing in truth.objects))
        found = of_copy(built[0], truth, names, not arguments.quick, seed)
        if not part:
            artefact.write_text(kept, json.dumps(found, indent=2) + "\n")
        rows += found
    Console().print(as_table(rows))
    Console().print(as_table(summary(rows)))
    if arguments.json is not None:
        report = {"machine": machine.describe(), "summary": summary(rows), "objects": rows}
        artefact.write_text(arguments.json, json.dumps(report, indent=2) + "\n")
        draw(arguments.json.with_suffix(".png"), rows)


def of_copy(built: Path, truth: Truth, names: Sequence[str], with_robot: bool, seed: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "twin"
        bundle.mkdir()
        for name in NEEDED:
            shutil.copyfile(built / name, bundle / name)
        rows = measured(bundle, truth, names, with_robot, np.random.default_rng(seed))
    return [{"seed": seed} | row for row in rows]


def summary(rows: list[Row]) -> list[Row]:
    """For each promise: how many of all objects keep it, the median and the worst of them, and which that is."""
    found = []
    for measure, limit in LIMITS.items():
        own = [row for row in rows if row[measure] is not None]
        values = [float(row[measure]) for row in own]
        if not values:
            continue
        worst = own[int(np.argmax(values))]
        found.append(
            {
                "measure": measure,
                "limit": limit,
                "kept": f"{sum(value <= limit for value in values)} of {len(values)}",
                "median": float(np.median(values)),
                "worst": max(values),
                "of": f"{worst['object']}, seed {worst['seed']}",
            }
        )
    return found


def draw(file: Path, rows: list[Row]) -> None:
    """Every object of every seed, a panel for each promise."""
    names = sorted({str(row["object"]) for row in rows})
    sheet = Figure(figsize=(11, 3.4), layout="constrained")
    for axis, (measure, limit) in zip(sheet.subplots(1, len(LIMITS)), LIMITS.items(), strict=True):
        for row in rows:
            if row[measure] is not None:
                axis.plot(names.index(str(row["object"])), row[measure], f"C{row['seed']}.", markersize=7)
        axis.axhline(limit, color="grey", linestyle=":")
        axis.set_title(f"{measure} (dotted: limit)", fontsize=7)
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axis.tick_params(axis="y", labelsize=7)
    with artefact.staged_file(file) as temporary:
        sheet.savefig(temporary, dpi=110, format="png")


def measured(
    bundle: Path, truth: Truth, names: Sequence[str], with_robot: bool, rng: np.random.Generator
) -> list[Row]:
    chosen = [thing for thing in truth.objects if thing.name in names]
    T_board_base = truth.base_board.inverse()
    started = time.monotonic()
    robot = None
    if with_robot:
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
                "position_mm": away_mm(shapes[thing.name], bundle, asset, T_true_obj),
                "inflation_p95_mm": over,
                "holes_p95_mm": under,
                "reported_inflation_mm": row.inflation_mm,
                "seen_into_mm": row.seen_into_mm,
                "unseen_share": row.unseen_share,
                "hollow_depth_mm": hollow_mm(bundle, asset),
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


def away_mm(prop: props.Prop, bundle: Path, asset: ObjectAsset, T_true_obj: np.ndarray) -> float:
    """How far the thing is from its true place.

    Of a box or a cylinder: its frame. A free outline's frame is a convention (the smallest rectangle round a mug
    stands askew, and so does its centre), so there the carved surface is brought onto the true one (ICP, 6 mm at
    most), and how far that moves the frame's origin is the error.
    """
    if asset.footprint != "free":
        return float(1e3 * np.linalg.norm(T_true_obj[:3, 3]))
    o3d = mesh.open3d()
    there = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(collision.samples(true_mesh(prop))))
    visual = o3d.io.read_triangle_mesh(str(object_asset.folder(bundle, asset.name) / str(asset.visual)))
    here = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(collision.samples(visual)))
    moved = np.asarray(o3d.pipelines.registration.registration_icp(here, there, 6e-3, T_true_obj).transformation)
    return float(1e3 * np.linalg.norm(moved[:3, 3] - T_true_obj[:3, 3]))


def hollow_mm(bundle: Path, asset: ObjectAsset) -> float | None:
    """How deep a finger of 8 mm goes into the middle of a free shape from above; None for a box or a cylinder."""
    if asset.footprint != "free":
        return None
    shape = loaded(bundle, asset)
    corners = np.concatenate([np.asarray(each.vertices) for each in shape.meshes])
    low, high = corners.min(0), corners.max(0)
    step = np.arange(-0.02, 0.0201, 4e-3)
    across = np.stack(np.meshgrid(step, step, indexing="ij"), -1).reshape(-1, 2)
    deep = 0.0
    for height in np.arange(high[2], low[2], -2e-3):
        points = np.column_stack([across, np.full(len(across), height)])
        if shape.outside_m(points).max() < 4e-3:
            break
        deep = high[2] - height
    return float(1e3 * deep)


def against(prop: props.Prop, bundle: Path, asset: ObjectAsset, T_true_obj: np.ndarray) -> tuple[float, float]:
    """95 % of the collision surface sticks out of the true one by less (mm); and the true one out of it."""
    true, shape = true_mesh(prop), loaded(bundle, asset)
    points = np.concatenate([collision.samples(each) for each in shape.meshes])
    points = points[np.abs(shape.outside_m(points)) < 1e-4]
    there = object_surface.outside_m(true, points @ T_true_obj[:3, :3].T + T_true_obj[:3, 3])
    back = np.linalg.inv(T_true_obj)
    here = shape.outside_m(collision.samples(true) @ back[:3, :3].T + back[:3, 3])
    return float(1e3 * max(0, np.quantile(there, 0.95))), float(1e3 * max(0, np.quantile(here, 0.95)))


def true_mesh(prop: props.Prop) -> mesh.TriangleMesh:
    o3d = mesh.open3d()
    true = o3d.geometry.TriangleMesh()
    for part in prop.parts:
        true += o3d.geometry.TriangleMesh(
            o3d.utility.Vector3dVector(part.shape.vertices_m), o3d.utility.Vector3iVector(part.shape.faces)
        )
    true.merge_close_vertices(1e-5)
    return true


def loaded(bundle: Path, asset: ObjectAsset) -> collision.Collider:
    """The collision shape as the bundle has it."""
    meshes = []
    for piece in asset.collision:
        if piece.kind == "mesh":
            file = object_asset.folder(bundle, asset.name) / str(piece.file)
            meshes.append(object_surface.outward(mesh.open3d().io.read_triangle_mesh(str(file))))
        else:
            meshes.append(collision.as_mesh(piece))
    return collision.Collider(asset.collision, tuple(meshes))


def as_table(rows: list[Row]) -> Table:
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{x:.2f}" if isinstance(x, float) else str(x) for x in row.values()))
    return table


if __name__ == "__main__":
    main()
