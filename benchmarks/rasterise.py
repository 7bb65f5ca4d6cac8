"""How fast the twin's rasteriser draws, beside peers, on the same scenes in the same run.

`python benchmarks/rasterise.py [--quick] [--json FILE]`. Every repetition times all rasterisers in turn, so that a
machine whose speed drifts slows all of them; a ratio is taken within a repetition, and its spread is over those.
Other rasterisers on PyPI that were tried draw on a GPU only: gsplat, splax (its kernels have no CPU path under JAX),
gausscam (asks for more storage buffers than software Vulkan has), gswarp, taichi-splatting.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from benchmarks.peers import table_top, torch_tiles, warp_splats
from hardware.artefact import write_text
from twin.rasterise.choose import rasteriser, why_no_cuda
from twin.ssim import photometric
from twin.threads import thread_count

COUNTS = (20_000, 100_000, 500_000)
SIZES = ((128, 128), (256, 256), (640, 480))
ASKED_MS = {("forward", 20_000, 128): 1000 / 150, ("forward", 100_000, 256): 1000 / 32, ("both", 20_000, 256): 30.0}
SLOWEST_S = 1.0
"""A peer that takes longer than this for one picture is timed twice."""
VIEWS = 8


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="20k Gaussians, two sizes, three repetitions")
    arguments.add_argument("--gaussians", type=int, nargs="+", default=COUNTS, help="which scenes")
    arguments.add_argument("--json", type=Path, help="also write the figures here")
    given = arguments.parse_args()
    torch.set_num_threads(thread_count())
    counts, sizes, repeats = (COUNTS[:1], SIZES[:2], 3) if given.quick else (given.gaussians, SIZES, 5)
    rows = [row for n in counts for size in sizes for row in measure(n, size, repeats)]
    rows.append(measure_ssim(repeats))
    show(rows)
    if given.json:
        import json

        write_text(given.json, json.dumps({"machine": machine.describe(), "rows": rows}, indent=1) + "\n")


def measure(count: int, size: tuple[int, int], repeats: int) -> list[dict[str, object]]:
    """Forward and forward + backward of one scene at one size, all rasterisers in turn."""
    splat, camera = table_top.splat(count), table_top.camera(*size)
    ours = {"ours": rasteriser("cpu")} | ({} if why_no_cuda() else {"gsplat on CUDA": rasteriser("cuda")})
    grad = np.random.default_rng(1).normal(size=(size[1], size[0], 3)).astype(np.float32)

    def forward_of(drawer) -> Callable[[int], object]:
        return lambda view: drawer.render(splat, camera, table_top.T_cam_world(view))

    def both_of(drawer) -> Callable[[int], object]:
        return lambda view: drawer.forward(splat, camera, table_top.T_cam_world(view)).backward(grad)

    def torch_forward(view: int) -> object:
        with torch.no_grad():
            return torch_tiles.render(constants, pose(view), camera)

    def torch_both(view: int) -> object:
        torch_tiles.render(variables, pose(view), camera).backward(torch.from_numpy(grad))
        return variables[0].grad

    constants, variables = torch_tiles.tensors(splat, False), torch_tiles.tensors(splat, True)
    warp_draw = warp_splats.renderer(splat, camera, table_top.T_cam_world(0))
    forward = {name: forward_of(drawer) for name, drawer in ours.items()}
    forward |= {"torch tiles": torch_forward, "mujoco-warp": lambda view: warp_draw()}
    both = {name: both_of(drawer) for name, drawer in ours.items()} | {"torch tiles": torch_both}
    require_same(forward["ours"](0).rgb, torch_forward(0).numpy())  # pyright: ignore
    what = {"gaussians": count, "size": f"{size[0]}×{size[1]}"}
    return [
        what | {"pass": name} | row
        for name, runs in (("forward", forward), ("forward+backward", both))
        for row in compare(runs, repeats)
    ]


def pose(view: int) -> torch.Tensor:
    return torch.from_numpy(table_top.T_cam_world(view).astype(np.float32))


def require_same(ours: np.ndarray, peer: np.ndarray) -> None:
    """A peer that draws something else is no peer."""
    off = float(np.abs(ours - peer).mean())
    if off > 1e-3:
        raise SystemExit(f"the torch peer draws another picture: mean difference {off:.2g}")


def compare(runs: dict[str, Callable[[int], object]], repeats: int) -> list[dict[str, object]]:
    """Milliseconds (median, least, most) of each, and how many times slower than ours it is, pair by pair."""
    for run in runs.values():
        run(0)
    first_s = {name: seconds(run, 0) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats):
        for name, run in runs.items():
            if repeat < 2 or first_s[name] < SLOWEST_S:
                views = range(VIEWS) if first_s[name] < 0.2 else range(1)
                times[name].append(float(np.mean([seconds(run, repeat * VIEWS + view) for view in views])) * 1e3)
    rows = []
    for name, ms in times.items():
        ratios = [peer / own for peer, own in zip(ms, times["ours"], strict=False)]
        rows.append(
            {"rasteriser": name, "ms": round(float(np.median(ms)), 2), "ms_least": round(min(ms), 2)}
            | {"ms_most": round(max(ms), 2), "times_ours": round(float(np.median(ratios)), 2)}
            | {"times_ours_least": round(min(ratios), 2), "times_ours_most": round(max(ratios), 2)}
        )
    return rows


def seconds(run: Callable[[int], object], view: int) -> float:
    began = time.perf_counter()
    run(view)
    return time.perf_counter() - began


def measure_ssim(repeats: int) -> dict[str, object]:
    """L1 + SSIM with its gradient, at 400 × 300."""
    rng = np.random.default_rng(0)
    drawn, photo = rng.random((300, 400, 3)).astype(np.float32), rng.integers(0, 256, (300, 400, 3), np.uint8)
    run = lambda _: photometric(drawn, photo, np.eye(3, 4, dtype=np.float32), 0.2, None)  # noqa: E731
    run(0)
    ms = [1e3 * float(np.mean([seconds(run, 0) for _ in range(VIEWS)])) for _ in range(repeats)]
    return {"gaussians": 0, "size": "400×300", "pass": "SSIM + L1 with gradient", "rasteriser": "ours"} | {
        "ms": round(float(np.median(ms)), 2),
        "ms_least": round(min(ms), 2),
        "ms_most": round(max(ms), 2),
        "times_ours": 1.0,
        "times_ours_least": 1.0,
        "times_ours_most": 1.0,
    }


def show(rows: list[dict[str, object]]) -> None:
    table = Table(title=machine.line())
    for column in ("Gaussians", "size", "pass", "rasteriser", "ms", "frames/s", "times slower than ours"):
        table.add_column(column, justify="right" if column in ("Gaussians", "ms", "frames/s") else "left")
    for row in rows:
        spread = f"{row['times_ours']} ({row['times_ours_least']} … {row['times_ours_most']})"
        ms = float(row["ms"])  # pyright: ignore
        table.add_row(
            f"{row['gaussians']:,}",
            str(row["size"]),
            str(row["pass"]),
            str(row["rasteriser"]),
            f"{row['ms']} ({row['ms_least']} … {row['ms_most']})",
            f"{1000 / ms:.0f}",
            "–" if row["rasteriser"] == "ours" else spread,
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
