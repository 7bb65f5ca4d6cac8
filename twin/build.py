"""`tandem twin build`: a scan in, a twin bundle out, through stages that are cached and resumed."""

from __future__ import annotations

import contextlib
import fcntl
import logging
from collections.abc import Callable, Generator
from pathlib import Path

from rich.console import Console

from hardware import artefact
from hardware.errors import BadInput, GateFailed, TandemError
from twin import alignment, bundle, capture, mesh, nerfstudio_runner, report, sfm, training
from twin.build_config import BuildTwin
from twin.manifest import NAME, REPORT
from twin.stage import Outcome, StageResult, fingerprint, noticing_a_full_disk, run

FAILURE = "failed.html"

log = logging.getLogger(__name__)


def build(config: BuildTwin) -> int:
    """Leaves a whole bundle or none. Bad input leaves nothing; a failed gate leaves its explanation in report.html,
    or, beside a twin that an earlier build made, in failed.html."""
    fresh = not config.output.exists()
    require_usable(config.output)
    with noticing_a_full_disk(config.output), only_build_in(config.output):
        try:
            artefact.write_model(config.output / "work" / report.CONFIG, config)
            results = run_stages(config)
        except GateFailed as error:
            explanation = config.output / (FAILURE if (config.output / NAME).exists() else REPORT)
            report.write_failure(config.output / "work", explanation, error)
            log.error("%s explains what was measured", explanation)
            raise
        except TandemError:
            if fresh and not any((config.output / "work").glob("*/stage.json")):
                artefact.remove(config.output)
            raise
        bundle.write(config.output, config, results)
        (config.output / FAILURE).unlink(missing_ok=True)
    bundle.print_summary(Console(), config.output)
    return 0


def require_usable(output: Path) -> None:
    """Raises `BadInput` for a file, or a folder that holds something other than a build."""
    if output.exists() and not output.is_dir():
        raise BadInput(f"{output} is a file", "give a folder for the bundle: -o my_twin")
    if output.exists() and any(output.iterdir()) and not (output / "work").is_dir():
        raise BadInput(f"{output} holds files that are not a twin bundle", "give a new or empty folder")


@contextlib.contextmanager
def only_build_in(output: Path) -> Generator[None]:
    """Two builds into one folder would tread on each other's stages: the second is refused."""
    work = output / "work"
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / ".lock").open("w")
    except OSError as error:
        raise BadInput(
            f"cannot write to {output}: {error.strerror}", "give a writable folder: -o my_twin"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"another build is running in {output}", "wait for it, or give another -o") from error
        yield


def run_stages(config: BuildTwin) -> list[StageResult]:
    """Every stage in order. A stage's key holds the keys before it, so a change redoes all that follows."""
    work = config.output / "work"
    results: list[StageResult] = []

    def stage(name: str, settings: object, do: Callable[[Path], Outcome]) -> Path:
        before = results[-1].fingerprint if results else fingerprint(identity(config.scan))
        results.append(run(work, name, fingerprint(before, settings), do))
        return work / name

    captured = stage("capture", config.capture, lambda out: capture.capture(config.capture, config.scan, out))
    frames = captured / "frames"
    posed = stage("sfm", config.sfm, lambda out: sfm.reconstruct(config.sfm, captured, out))
    aligned = stage(
        "alignment", config.alignment, lambda out: alignment.align(config.alignment, frames, posed, out)
    )
    splat = stage("splat", (config.training, config.nerfstudio), lambda out: train(config, frames, aligned, out))
    stage("mesh", config.mesh, lambda out: mesh.extract(config.mesh, aligned, splat, out))
    return results


def train(config: BuildTwin, frames: Path, posed: Path, out: Path) -> Outcome:
    """With the built-in trainer, or with nerfstudio's where its environment is given."""
    if config.nerfstudio is not None:
        return nerfstudio_runner.train(config.training, config.nerfstudio, frames, posed, out)
    return training.train(config.training, frames, posed, out)


def identity(scan: Path) -> list[tuple[str, int, int]]:
    """Name, size and modification time of every file of the scan: enough to notice a changed one."""
    if not scan.exists():
        raise BadInput(
            f"there is no {scan}", "give a folder of photos, a video, a transforms.json or a COLMAP model"
        )
    files = [scan] if scan.is_file() else sorted(path for path in scan.rglob("*") if path.is_file())
    return [(str(file.relative_to(scan)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
