"""A bundle's work folder in, `report.html` out: one file without a network that says how good the twin is, and why."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware import artefact
from hardware.config import Config, read
from hardware.errors import GateFailed
from hardware.gate import Gate
from twin import manifest, report_page, report_plots
from twin.build_config import BuildTwin
from twin.camera_path import poses, up_axis
from twin.capture import BLURRED, Capture
from twin.evaluate import Evaluation, in_words
from twin.held_out import FULL_ERROR
from twin.image_quality import ViewQuality
from twin.manifest import Twin
from twin.posed_images import PosedImages, SparsePoints
from twin.report_plots import Plan
from twin.stage import MANIFEST, StageResult

CONFIG = "config.json"
"""The resolved `BuildTwin` in the work folder."""
SHOWN_VIEWS, SHOWN_POINTS = 6, 1500
UNITS = {"mm": "mm", "px": "px", "percent": "%", "db": "dB", "seconds": "s", "m2": "m²", "m": "m", "deg": "°"}
NEAR_SHARE = 0.8
"""At least this share of the sparse points is drawn, and all that are no farther off than the cameras."""


class Comparison(Config):
    """A twin against what is known of its scene, and what was promised of it."""

    evaluation: Evaluation
    gates: tuple[Gate, ...] = ()
    push: str = ""
    """What happened when a thing in the twin was pushed, …"""
    picture: str | None = None
    """… and the moving picture of it, a file beside the report."""


def write(output: Path, twin: Twin, comparison: Comparison | None = None) -> None:
    """Of a finished bundle."""
    work = output / manifest.WORK
    folders = {stage.name: work / stage.name for stage in twin.stages}
    quality, scale = twin.quality, twin.scale
    title = f"Twin of {twin.provenance.scan}"
    source = f"{twin.provenance.photos} frames from {twin.provenance.scan_kind}"
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="quiet">{source}, {twin.provenance.made_at}, {html.escape(twin.provenance.machine)}</p>',
        report_page.tiles(
            [
                (f"{quality.registered}/{quality.frames}", "", "frames placed"),
                *([(f"{quality.psnr_db:.1f}", "dB", "held-out PSNR")] if quality.psnr_db is not None else []),
                *([(f"{quality.ssim:.3f}", "", "held-out SSIM")] if quality.ssim is not None else []),
                ("yes", scale_tolerance(scale.scale_uncertainty_percent), "metric")
                if twin.frames.metric
                else ("no", "", "metric"),
                (f"{quality.gaussians / 1000:.0f}k", "", "Gaussians"),
                (f"{twin.seconds / 60:.1f}", "min", "to build"),
            ]
        ),
        truth_section(comparison),
        push_section(output, comparison),
        *body(folders, list(twin.stages), read(BuildTwin, work / CONFIG)),
        provenance_section(twin),
    ]
    artefact.write_text(output / manifest.REPORT, report_page.page(title, parts))


def scale_tolerance(percent: float | None) -> str:
    return "" if percent is None else f"± {percent:.1g} %"


def write_failure(work: Path, file: Path, error: GateFailed) -> None:
    """Of a build that a gate stopped: what was measured until then, and what would help."""
    folders, stages = reached(work)
    title = "No twin"
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="quiet">The build stopped, since the twin would not be right. {manifest.now()}</p>',
        f'<div class="banner"><h2>{html.escape(error.problem)}</h2><p>{html.escape(error.fix)}</p></div>',
        *body(folders, stages, read(BuildTwin, work / CONFIG) if (work / CONFIG).is_file() else None),
    ]
    artefact.write_text(file, report_page.page(title, parts))


def reached(work: Path) -> tuple[dict[str, Path], list[StageResult]]:
    """Stages in order, up to the one whose gate failed: that one left its measurements in its partial folder."""
    folders, stages = {}, []
    for name in manifest.STAGES:
        partial = [folder for folder in work.glob(f"{name}.partial-*") if (folder / MANIFEST).is_file()]
        folder = partial[0] if partial else work / name
        if not (folder / MANIFEST).is_file():
            break
        folders[name] = folder
        stages.append(read(StageResult, folder / MANIFEST))
        if partial:
            break
    return folders, stages


def body(folders: dict[str, Path], stages: list[StageResult], config: BuildTwin | None) -> list[str]:
    """Each stage's section, where the stage was reached."""
    of_stage = {stage.name: stage for stage in stages}
    rows = [(stage.name, gate) for stage in stages for gate in stage.gates]
    sections = [report_page.section("Gates", report_page.gates(rows))] if rows else []
    if "splat" in folders:
        sections += [quality_section(folders["splat"], of_stage["splat"])]
    if "capture" in folders:
        sections.append(capture_section(folders["capture"], of_stage["capture"], config))
    if "sfm" in folders:
        sections.append(cameras_section(folders, of_stage, config))
    if "splat" in folders:
        sections.append(training_section(folders["splat"], of_stage["splat"]))
    sections.append(cost_section(stages))
    return sections


# ── one section each ────────────────────────────────────────────────────────────────────────────────────────────


def truth_section(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    rows = [("twin", gate) for gate in comparison.gates]
    parts = [report_page.gates(rows)] if rows else []
    lead = "Measured against what is known of the scene; the build never read it."
    return report_page.section(
        "Against the truth", *parts, report_page.pairs(in_words(comparison.evaluation)), lead=lead
    )


def push_section(output: Path, comparison: Comparison | None) -> str:
    """A push in the twin, where there was one."""
    if comparison is None or comparison.picture is None:
        return ""
    moving = report_page.moving_picture(output / comparison.picture, "the arm pushes a thing in the twin")
    return report_page.section("Pushed in the twin", moving, lead=comparison.push)


def capture_section(folder: Path, stage: StageResult, config: BuildTwin | None) -> str:
    captured = read(Capture, folder / "capture.json")
    kinds = [
        "first" if frame.kept else ("bad" if frame.reason == BLURRED else "faint") for frame in captured.frames
    ]
    limit = config.capture.blur_limit if config is not None and captured.kind in ("photos", "video") else None
    names = [f"{frame.name}{'' if frame.kept else f', left out: {frame.reason}'}" for frame in captured.frames]
    drawing = report_plots.strip(
        [frame.blur for frame in captured.frames], kinds, names, limit, ("frame, in order", "blur (0 is sharp)")
    )
    meanings = {"first": "used", "bad": "blurred, left out", "faint": "left out: like the one before"}
    lead = f"{len(captured.kept)} of {len(captured.frames)} frames are used."
    shown = {kind: words for kind, words in meanings.items() if kind in kinds}
    return report_page.section(
        "Capture", report_page.key(shown), report_page.figure(drawing), report_page.notes(stage.notes), lead=lead
    )


def cameras_section(folders: dict[str, Path], stages: dict[str, StageResult], config: BuildTwin | None) -> str:
    where = folders.get("alignment", folders["sfm"])
    posed = read(PosedImages, where / "posed.json")
    sfm = stages["sfm"]
    parts = [report_page.key({"first": "trained on", "second": "held out"}), camera_plans(posed, where, config)]
    errors = folders["sfm"] / "reprojection.npz"
    beside = report_page.pairs(numbers_in_words(sfm, stages.get("alignment")))
    if errors.is_file():
        with np.load(errors) as arrays:
            drawing = report_plots.histogram(arrays["errors_px"].astype(np.float64), "px")
        parts.append(report_page.columns(report_page.figure(drawing, "Reprojection error of the points"), beside))
    else:
        parts.append(beside)
    said = [note for name in ("sfm", "alignment") if name in stages for note in stages[name].notes]
    share = f"{len(posed.views)} of {sfm.numbers.get('frames', len(posed.views)):.0f} frames found their place."
    return report_page.section("Cameras", *parts, report_page.notes(said), lead=share)


def numbers_in_words(sfm: StageResult, alignment: StageResult | None) -> dict[str, str]:
    """Every measurement of the two stages."""
    return measured(sfm.numbers | (alignment.numbers if alignment is not None else {}))


def measured(numbers: dict[str, float]) -> dict[str, str]:
    """`held_out_median_mm: 0.1398` → `held out median: 0.1398 mm`."""
    rows = {}
    for name, value in numbers.items():
        stem, _, last = name.rpartition("_")
        unit = UNITS.get(last, "") if stem else ""
        words = stem if unit else name
        rows[words.replace("_", " ")] = f"{value:,.5g} {unit}".strip()
    return rows


def camera_plans(posed: PosedImages, where: Path, config: BuildTwin | None) -> str:
    """From above, and from the side."""
    if not posed.views:
        return ""
    views = sorted(posed.views, key=lambda view: view.image)
    Ts_world_cam = poses(tuple(views))
    up = up_axis(posed)
    right = np.array([1.0, 0, 0]) if posed.world != "sfm" else Ts_world_cam[0, :3, 0]
    right = right - (right @ up) * up
    right = right / np.linalg.norm(right)
    points = drawn_points(where / "points.npz", Ts_world_cam[:, :3, 3])
    board = None
    if posed.world == "board" and config is not None:
        half_x, half_y = (side_m / 2 for side_m in config.alignment.board.size_m)
        board = np.array([[-half_x, -half_y, 0], [half_x, -half_y, 0], [half_x, half_y, 0], [-half_x, half_y, 0]])
    apart, names = [view.held_out for view in views], [view.image for view in views]
    drawings = []
    for title, above in (("From above", np.cross(up, right)), ("From the side", up)):
        onto = np.stack([right, above], 1)
        seen = Plan(
            centres=Ts_world_cam[:, :3, 3] @ onto,
            looks=Ts_world_cam[:, :3, 2] @ onto,
            points=points @ onto,
            outline=None if board is None else board @ onto,
        )
        drawing = report_plots.plan(seen, apart, names, "m" if posed.metric else "")
        drawings.append(report_page.figure(drawing, title))
    return report_page.columns(*drawings)


def drawn_points(file: Path, centres: Float[ndarray, "C 3"]) -> Float[ndarray, "N 3"]:
    """A sample of the sparse points without the far ones, which would shrink the drawing."""
    if not file.is_file():
        return np.zeros((0, 3))
    xyz = SparsePoints.load(file).xyz
    if not len(xyz):
        return xyz
    middle = np.median(xyz, axis=0)
    away = np.linalg.norm(xyz - middle, axis=1)
    reach = max(float(np.linalg.norm(centres - middle, axis=1).max()), float(np.quantile(away, NEAR_SHARE)))
    xyz = xyz[away <= reach]
    return xyz[:: max(1, len(xyz) // SHOWN_POINTS)]


def quality_section(folder: Path, stage: StageResult) -> str:
    """Photo, render and error of held-out photos: the worst, the middle and the best."""
    views = held_out_views(folder)
    if not views:
        return report_page.section("Held-out photos", report_page.notes(stage.notes))
    heads = "".join(f"<div>{html.escape(word)}</div>" for word in ("photo", "render", "error"))
    scale = report_page.colour_scale("0", f"{FULL_ERROR:g} of full brightness, or more")
    parts = [f'<div class="heads">{heads}</div>']
    for view in chosen(views):
        stem = Path(view.image).stem
        pictures = "".join(
            report_page.picture(folder / "held_out" / f"{stem}.{what}.png", f"{what} of {view.image}")
            for what in ("photo", "render", "error")
        )
        score = f"{view.psnr_db:.2f} dB, SSIM {view.ssim:.3f}"
        fitted = f"exposure fitted: {view.psnr_fitted_db:.2f} dB, {view.ssim_fitted:.3f}"
        head = f'<b>{html.escape(view.image)}</b><span>{score}</span><span class="quiet small">{fitted}</span>'
        parts.append(f'<div class="view"><header>{head}</header><div class="views">{pictures}</div></div>')
    lead = f"{len(views)} photos were never trained on. Shown are the worst, the middle and the best of them."
    return report_page.section("Held-out photos", *parts, "<br>", scale, lead=lead)


def held_out_views(folder: Path) -> list[ViewQuality]:
    """Worst first."""
    file = folder / "held_out.json"
    listed = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return sorted((ViewQuality.model_validate(view) for view in listed), key=lambda view: view.psnr_db)


def chosen[T](ordered: Sequence[T]) -> list[T]:
    """At most six, evenly from first to last."""
    if len(ordered) <= SHOWN_VIEWS:
        return list(ordered)
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, SHOWN_VIEWS).round().astype(int)]


def training_section(folder: Path, stage: StageResult) -> str:
    file = folder / "curve.json"
    points = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    drawings = []
    if points:
        steps = [float(point["step"]) for point in points]
        tips = [
            f"step {p['step']:.0f}, {p['seconds']:.0f} s: {p['psnr_db']:.2f} dB, {p['ssim']:.3f}" for p in points
        ]
        for name, title in (("psnr_db", "PSNR, dB"), ("ssim", "SSIM"), ("gaussians", "Gaussians")):
            drawing = report_plots.curve(steps, [float(point[name]) for point in points], tips, ("step", ""))
            drawings.append(report_page.figure(drawing, title))
    return report_page.section(
        "Training",
        report_page.columns(*drawings, report_page.pairs(measured(stage.numbers))),
        lead="Quality on a few of the held-out photos while the splat learned." if points else "",
    )


def cost_section(stages: list[StageResult]) -> str:
    rows = [
        (
            stage.name,
            stage.seconds,
            f"{stage.seconds:,.1f} s, {stage.cpu_seconds:,.1f} s of CPU time, {stage.peak_memory_mb / 1024:.2f} GiB",
        )
        for stage in stages
    ]
    total = sum(stage.seconds for stage in stages)
    cpu = sum(stage.cpu_seconds for stage in stages)
    spent = f"{total / 60:.1f} min in all, {cpu / 60:.1f} min of CPU time over all cores."
    lead = f"{spent} Memory is the process's peak up to the end of the stage."
    return report_page.section("Time and memory", report_page.figure(report_plots.durations(rows)), lead=lead)


def provenance_section(twin: Twin) -> str:
    origin = twin.provenance
    rows = {
        "frame of the world": f"{twin.frames.world}, {'metres' if twin.frames.metric else 'arbitrary units'}",
        "trainer": origin.trainer,
        "version": f"{origin.version}, git {origin.git_hash or 'unknown'}",
        "seed": str(origin.seed),
        **{name: f"{file.bytes / 1e6:,.2f} MB, sha256 {file.sha256[:16]}…" for name, file in twin.files.items()},
    }
    settings = html.escape(json.dumps(origin.config, indent=2))
    folded = f"<details><summary>All settings of the build</summary><pre>{settings}</pre></details>"
    return report_page.section("Provenance", report_page.pairs(rows), folded)
