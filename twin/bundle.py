"""Finished stages in, a twin bundle out: `twin.json`, splat, mesh, cameras and report; and `tandem twin info`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from hardware import artefact
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.gate import Gate
from twin import manifest, report
from twin.alignment import Alignment
from twin.build_config import BuildTwin
from twin.capture import Capture
from twin.manifest import File, Frames, Provenance, Quality, Twin, read_twin
from twin.posed_images import PosedImages
from twin.stage import StageResult

SOURCES = {
    manifest.SCENE: Path("splat") / "scene.ply",
    manifest.MESH: Path("mesh") / "mesh.ply",
    manifest.CAMERAS: Path("alignment") / "posed.json",
}
"""File of the bundle ← file in its `work` folder."""
USD_SUFFIXES = {".usda", ".usd", ".usdc"}


def write(output: Path, config: BuildTwin, results: list[StageResult]) -> None:
    """Puts the stages' results where a bundle has them. The manifest goes first and comes last."""
    work = output / manifest.WORK
    (output / manifest.NAME).unlink(missing_ok=True)
    for name, source in SOURCES.items():
        with artefact.staged_file(output / name) as temporary:
            shutil.copyfile(work / source, temporary)
    files = {name: manifest.file_of(output / name) for name in SOURCES}
    twin = describe(work, config, results, files)
    report.write(output, twin)
    artefact.write_model(output / manifest.NAME, twin)


def describe(work: Path, config: BuildTwin, results: list[StageResult], files: dict[str, File]) -> Twin:
    posed = read(PosedImages, work / "alignment" / "posed.json")
    captured = read(Capture, work / "capture" / "capture.json")
    return Twin(
        frames=Frames(world=posed.world, metric=posed.metric),
        scale=read(Alignment, work / "alignment" / "alignment.json"),
        quality=quality(results, posed, captured),
        provenance=Provenance(
            scan=config.scan.resolve().name,
            scan_kind=captured.kind,
            photos=len(captured.kept),
            trainer="tandem" if config.nerfstudio is None else "nerfstudio splatfacto",
            made_at=manifest.now(),
            version=manifest.version(),
            git_hash=manifest.git_hash(),
            seed=config.training.seed,
            machine=manifest.machine(),
            config=config.model_dump(mode="json"),
        ),
        stages=tuple(results),
        files=files,
    )


def quality(results: list[StageResult], posed: PosedImages, captured: Capture) -> Quality:
    numbers = {result.name: result.numbers for result in results}
    splat = numbers["splat"]
    return Quality(
        registered=len(posed.views),
        frames=len(captured.kept),
        reprojection_px=numbers["sfm"].get("reprojection_mean_px"),
        psnr_db=splat.get("psnr_db"),
        ssim=splat.get("ssim"),
        psnr_fitted_db=splat.get("psnr_fitted_db"),
        ssim_fitted=splat.get("ssim_fitted"),
        held_out_photos=len(posed.held_out),
        gaussians=int(splat["gaussians"]),
        triangles=int(numbers["mesh"]["triangles"]),
    )


class ShowInfo(Config):
    """What a twin bundle holds, in which frame and scale, and how good it is. Or what an OpenUSD file holds."""

    bundle: tyro.conf.Positional[Path]
    """Folder that `tandem twin build` made, or a .usda (.usd, .usdc) file: is it whole, and valid?"""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the manifest (of a USD file: what it holds) here."""


def show(config: ShowInfo) -> int:
    """Raises `BadInput` for a folder that is no whole bundle, and for a USD file whose layers are missing."""
    if config.bundle.suffix.lower() in USD_SUFFIXES:
        return show_usd(config)
    twin = read_twin(config.bundle)
    console = Console()
    print_summary(console, config.bundle)
    console.print(gates_table(twin.gates))
    for name, file in twin.files.items():
        state = "" if unchanged(config.bundle / name, file) else "  [yellow]changed or gone since the build[/]"
        console.print(f"  {name:<14} {file.bytes / 1e6:8.2f} MB{state}")
    if config.json_file is not None:
        artefact.write_model(config.json_file, twin)
    return 0


def show_usd(config: ShowInfo) -> int:
    from twin.export import usd

    if not config.bundle.is_file():
        raise BadInput(f"there is no {config.bundle}", "tandem twin export BUNDLE --to usd -o FILE.usda")
    held = usd.contents(usd.read_stage(config.bundle))
    table = Table(title=str(config.bundle), show_header=False, title_justify="left")
    for name, value in held.items():
        table.add_row(name, value)
    Console().print(table)
    if config.json_file is not None:
        artefact.write_text(config.json_file, json.dumps(held, indent=2) + "\n")
    return 0


def unchanged(path: Path, file: File) -> bool:
    return path.is_file() and manifest.file_of(path) == file


def print_summary(console: Console, output: Path) -> None:
    """A few lines: scale, cameras, quality, cost, and where the report is."""
    twin = read_twin(output)
    table = Table(title=f"Twin of {twin.provenance.scan}", show_header=False, title_justify="left")
    for name, value in summary(twin).items():
        table.add_row(name, value)
    table.add_row("report", str(output / manifest.REPORT))
    console.print(table)
    for gate in twin.gates:
        if not gate.passed:
            console.print(f"[yellow]warning[/] {gate}\n  → {gate.advice}", highlight=False)


def summary(twin: Twin) -> dict[str, str]:
    """The same words for the terminal and the report."""
    quality = twin.quality
    rows = {
        "scale": scale_in_words(twin),
        "cameras": f"{quality.registered} of {quality.frames} frames placed"
        + ("" if quality.reprojection_px is None else f", {quality.reprojection_px:.2f} px"),
    }
    if quality.psnr_db is not None and quality.ssim is not None:
        rows["held-out photos"] = (
            f"{quality.psnr_db:.2f} dB PSNR, {quality.ssim:.3f} SSIM over {quality.held_out_photos} never trained on"
        )
    rows["splat"] = f"{quality.gaussians:,} Gaussians"
    rows["mesh"] = f"{quality.triangles:,} triangles"
    rows["cost"] = f"{twin.seconds / 60:.1f} min, {twin.peak_memory_mb / 1024:.1f} GiB at most"
    return rows


def scale_in_words(twin: Twin) -> str:
    scale = twin.scale
    if not twin.frames.metric:
        return "not metric: no board was seen, lengths are arbitrary"
    if scale.kind == "board" and scale.held_out_median_mm is not None:
        return (
            f"metres, frame '{twin.frames.world}', ± {scale.scale_uncertainty_percent or 0:.2f} %; "
            f"corners of unused photos {scale.held_out_median_mm:.2f} mm off"
        )
    return f"metres, frame '{twin.frames.world}', as the scan gave it"


def gates_table(gates: tuple[Gate, ...]) -> Table:
    table = Table("gate", "value", "limit", "verdict")
    for gate in gates:
        verdict = "[green]ok[/]" if gate.passed else "[yellow]warning[/]"
        unit = f" {gate.unit}" if gate.unit else ""
        limit = f"{gate.relation} {gate.limit:.4g}{unit}"
        table.add_row(gate.name, f"{gate.value:.4g}{unit}", limit, verdict)
    return table
