"""`tandem calibrate camera`: a folder of pictures of the board in; the camera's intrinsics, or a refusal, out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from pydantic import Field
from rich.console import Console
from rich.table import Table

from calibration import intrinsics, next_view, result, views
from calibration.intrinsics import Intrinsics
from calibration.views import BoardView
from hardware import artefact
from hardware.board import Board, CharucoBoard
from hardware.config import Config
from hardware.gate import Gate, check

log = logging.getLogger(__name__)


class CalibrateCamera(Config):
    """Pictures of a printed board → focal length, centre and distortion, with errors on pictures that took no part."""

    pictures: tyro.conf.Positional[Path]
    """Folder of pictures of one camera at one resolution, focus locked."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("intrinsics.json")
    board: Annotated[Board, Field(discriminator="kind")] = CharucoBoard()
    """Measure the print with a ruler."""
    distortion: Literal[0, 2, 4, 5] = 5
    """How many of k1 k2 p1 p2 k3 to solve."""
    held_out_limit_px: Annotated[float, Field(gt=0)] = 0.8
    least_coverage: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Share of the picture's 8 × 6 cells that the board must have been in."""
    least_tilt_deg: Annotated[float, Field(ge=0)] = 25.0
    """Between the board's normals in the two most different pictures."""
    focal_deviation_limit_percent: Annotated[float, Field(gt=0)] = 0.5
    """One standard deviation of the focal length."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the measurements here, whatever the gates say."""


def calibrate(config: CalibrateCamera) -> int:
    """Raises `GateFailed`, with what to photograph next, when the pictures cannot support an answer."""
    files = views.pictures(config.pictures)
    seen, _ = views.look(config.board, files)
    solved = intrinsics.solve(config.board, seen, config.distortion)
    answer = as_result(config, seen, solved)
    show(Console(), answer, solved)
    write_coverage(config.output.with_suffix(".coverage.png"), solved)
    if config.json_file is not None:
        artefact.write_model(config.json_file, answer)
    check(answer.gates)
    result.write(config.output, answer)
    log.info("%s written", config.output)
    return 0


def as_result(config: CalibrateCamera, seen: list[BoardView], solved: Intrinsics) -> result.IntrinsicsResult:
    used = tuple(
        result.Used(
            name=view.name,
            error=float(error),
            outlier=view.name in solved.outliers,
            sha256=views.sha256(config.pictures / view.name),
        )
        for view, error in zip(seen, solved.view_rms_px, strict=True)
    )
    return result.IntrinsicsResult(
        made=result.now(),
        board=config.board,
        used=used,
        gates=gates(config, solved),
        camera=solved.camera,
        rms_px=solved.rms_px,
        held_out_rms_px=solved.held_out_rms_px,
        focal_deviation_px=solved.focal_deviation_px,
        coverage=solved.covered,
    )


def gates(config: CalibrateCamera, solved: Intrinsics) -> tuple[Gate, ...]:
    wanted = next_view.of_camera(solved)
    return (
        Gate(name="held-out error", value=solved.held_out_rms_px, relation="<=", limit=config.held_out_limit_px,
             unit="px", advice="blurred pictures, a bent board or a wrong --board: look at the worst views."),
        Gate(name="coverage", value=solved.covered, relation=">=", limit=config.least_coverage, advice=wanted),
        Gate(name="tilt between views", value=solved.tilt_deg, relation=">=", limit=config.least_tilt_deg, unit="°",
             advice="the views are too alike: tilt the board by 30° to the left, right, up and down."),
        Gate(name="focal length's deviation", value=100 * solved.focal_deviation_px / solved.camera.fx_px,
             relation="<=", limit=config.focal_deviation_limit_percent, unit="%", advice=wanted),
    )  # fmt: skip


def show(console: Console, answer: result.IntrinsicsResult, solved: Intrinsics) -> None:
    camera = answer.camera
    table = Table(title=f"{camera.width_px} × {camera.height_px}, {len(answer.used)} pictures")
    table.add_column("what")
    table.add_column("value", justify="right")
    rows = {
        "focal length": f"{camera.fx_px:.2f} ± {answer.focal_deviation_px:.2f} px",
        "centre": f"{camera.cx_px:.2f}, {camera.cy_px:.2f} px",
        "distortion k1 k2 p1 p2 k3": " ".join(f"{value:.4f}" for value in camera.distortion),
        "RMS": f"{answer.rms_px:.3f} px",
        "RMS on pictures held out": f"{answer.held_out_rms_px:.3f} px",
        "outliers": ", ".join(solved.outliers) or "none",
        "next": next_view.of_camera(solved),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    for gate in answer.gates:
        table.add_row("gate", str(gate))
    console.print(table)


def write_coverage(file: Path, solved: Intrinsics) -> None:
    """Corners per cell of the picture."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(solved.coverage, cmap="viridis", extent=(0, 1, 1, 0), aspect="auto")
    for (row, column), count in np.ndenumerate(solved.coverage):
        x, y = (column + 0.5) / solved.coverage.shape[1], (row + 0.5) / solved.coverage.shape[0]
        axes.text(
            x, y, str(count), ha="center", va="center", color="white" if count < solved.coverage.max() / 2 else "k"
        )
    axes.set(title="Corners seen in each part of the picture", xticks=[], yticks=[])
    figure.colorbar(image)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    artefact.write_bytes(file, stream.getvalue())
