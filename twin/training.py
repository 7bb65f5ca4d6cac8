"""Posed photos in, a splat out: the `splat` stage of a build."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import numpy as np
from numpy import ndarray

from hardware import artefact
from hardware import config as configs
from hardware.errors import BadInput, TandemError
from hardware.gate import Gate
from hardware.progress import progress
from twin import checkpoint, held_out, photos, schedule, splat_ply
from twin.densify import densified
from twin.exposure import Exposures
from twin.image_quality import ViewQuality
from twin.initial_splat import initial_splat, scene_extent_m
from twin.optimiser import Parameters, StepSizes
from twin.photos import Photo
from twin.posed_images import PosedImages, SparsePoints
from twin.rasterise.choose import rasteriser
from twin.rasterise.protocol import Rasteriser
from twin.splat import Splat
from twin.ssim import photometric
from twin.stage import Outcome, fingerprint
from twin.training_config import TrainingConfig

log = logging.getLogger(__name__)

FEWEST_PHOTOS = 2
SCATTERED_SHARE, FEWEST_SCATTERED = 0.1, 2000
"""Gaussians put at random along the photos' rays, where SfM has no points: a share of its points, at least."""
CURVE_VIEWS = 6
FIRST_PREVIEW_S, PREVIEW_EVERY_S = 15.0, 45.0
WARN_BELOW_DB = 18.0
"""Below, a render is no longer taken for the photo at a glance."""


def train(config: TrainingConfig, frames: Path, posed: Path, out: Path) -> Outcome:
    """Goes on from a checkpoint of the same run in `out`. Raises `BadInput` for photos that do not fit the poses."""
    run = Training(config, frames, posed, out)
    run.finish()
    return run.write_results()


class Diverged(TandemError):
    """The loss or the splat is no longer finite."""


class Training:
    """The state of one run: what a checkpoint holds, and the photos it learns from."""

    def __init__(self, config: TrainingConfig, frames: Path, posed: Path, out: Path) -> None:
        images = configs.read(PosedImages, posed / "posed.json")
        if len(images.training) < FEWEST_PHOTOS:
            raise BadInput(f"{len(images.training)} photos to train on", "a splat needs at least 2, and wants 50")
        self.config, self.budget, self.out = config, config.budget, out
        self.rasteriser = rasteriser(config.preset)
        self.photos = photos.load(frames, images, images.training, self.budget.long_side_px)
        self.held_out = photos.load(frames, images, images.held_out, self.budget.long_side_px)
        points = SparsePoints.load(posed / "points.npz") if (posed / "points.npz").exists() else None
        self.extent_m = scene_extent_m(self.photos, points)
        self.parameters = self._first_parameters(points)
        self.first_count = len(self.parameters)
        self.exposures = Exposures(len(self.photos))
        self.step_count, self.seconds = 0, 0.0
        self.curve: list[dict[str, float]] = []
        points_key = 0 if points is None else float(np.abs(points.xyz).sum())
        self.key = fingerprint(config.but(checkpoint_every_s=0), images, points_key)
        self._resume()

    def _first_parameters(self, points: SparsePoints | None) -> Parameters:
        rng = self._rng("start")
        known = 0 if points is None else len(points.xyz)
        scattered = max(FEWEST_SCATTERED, int(SCATTERED_SHARE * known))
        splat = initial_splat(self.photos, points, self.extent_m, scattered, rng)
        most = self.budget.max_gaussians
        if len(splat) > most:
            splat = splat.select(np.sort(rng.choice(len(splat), most, replace=False)))
        return Parameters.of(splat)

    def _rng(self, purpose: str, number: int = 0) -> np.random.Generator:
        """The same numbers for the same purpose, whatever was drawn before: a resumed run draws the same."""
        return np.random.default_rng([self.config.seed, number, *purpose.encode()])

    # ── learning ────────────────────────────────────────────────────────────────────────────────────────────

    def finish(self) -> None:
        """All steps that are left. On Ctrl-C the state is kept first."""
        before, began = self.seconds, time.monotonic()
        saved, preview_at = began, began + FIRST_PREVIEW_S
        with progress("training", self.budget.steps, self.step_count) as advance:
            try:
                while self.step_count < self.budget.steps:
                    loss = self.step()
                    advance(f"{len(self.parameters)} Gaussians, loss {loss:.3f}")
                    now = time.monotonic()
                    self.seconds = before + now - began
                    if self.step_count % self.config.score_every == 0 or self.step_count == self.budget.steps:
                        self._extend_curve()
                    if now >= preview_at:
                        preview_at = now + PREVIEW_EVERY_S
                        self._write_preview()
                    if now >= saved + self.config.checkpoint_every_s:
                        saved = now
                        self._save()
            except KeyboardInterrupt:
                self._save()
                raise
        self._save()

    def step(self) -> float:
        """One photo: render, compare, differentiate, update. Returns the loss."""
        share = self.step_count / self.budget.steps
        index = self._photo_of_step()
        photo = self.photos[index]
        self._raise_sh_degree(schedule.sh_degree(share, self.budget.sh_degree))
        level = photo.levels[schedule.level(share)]
        try:
            drawn = self.rasteriser.forward(self.parameters.splat, level.camera, photo.T_cam_world)
        except BadInput as error:
            raise self._diverged(photo, error.problem) from error
        exposure = self.exposures.matrices[index]
        loss = photometric(drawn.rendering.rgb, level.rgb, exposure, self.config.ssim_weight, level.valid)
        if not np.isfinite(loss.loss):
            raise self._diverged(photo, "the loss is not finite")
        gradient = drawn.backward(loss.grad_rgb)
        self.step_count += 1
        self.parameters.step(gradient, self._sizes(share), self.step_count, self._noise_seed())
        try:  # now, before it is copied, drawn or kept in a checkpoint
            self.parameters.splat.require_finite()
        except BadInput as error:
            raise self._diverged(photo, error.problem) from error
        self.exposures.step(index, loss.grad_exposure, self.config.rates.exposure, self.config.exposure_weight)
        if self.step_count % len(self.photos) == 0:
            self.exposures.centre()
        if schedule.densifies(self.step_count, share):
            count = schedule.gaussians(share, self.first_count, self.budget.max_gaussians)
            self.parameters = densified(self.parameters, count, self._rng("densify", self.step_count))
        return loss.loss

    def _photo_of_step(self) -> int:
        """Every photo once an epoch, in an order of its own each time."""
        epoch, turn = divmod(self.step_count, len(self.photos))
        return int(self._rng("order", epoch).permutation(len(self.photos))[turn])

    def _noise_seed(self) -> int:
        return self.config.seed * 1_000_003 + self.step_count

    def _raise_sh_degree(self, degree: int) -> None:
        if degree > self.parameters.splat.sh_degree:
            self.parameters = self.parameters.with_sh_degree(degree)

    def _sizes(self, share: float) -> StepSizes:
        config, rates, n = self.config, self.config.rates, len(self.parameters)
        mean_extents = schedule.falling(share, rates.means_extents, rates.means_last_extents)
        return StepSizes(
            mean_m=mean_extents * self.extent_m,
            quat=rates.quats,
            log_scale=rates.log_scales,
            opacity_logit=rates.opacity_logits,
            sh_base=rates.sh_base,
            sh_higher=rates.sh_higher,
            opacity_pull=config.opacity_weight / n,
            scale_pull=config.scale_weight / (3 * n * self.extent_m),
            noise_per_m=config.noise * mean_extents / rates.means_extents / self.extent_m,
        )

    def _diverged(self, photo: Photo, why: str) -> Diverged:
        return Diverged(
            f"training diverged at step {self.step_count} on {photo.name}: {why}",
            "lower the learning rates (--training.rates.…) or take another --training.seed",
        )

    # ── results ─────────────────────────────────────────────────────────────────────────────────────────────

    def _extend_curve(self) -> None:
        """A few held-out photos; without any there is no curve."""
        if not self.held_out:
            return
        shown = self.held_out[:: -(-len(self.held_out) // CURVE_VIEWS)]
        views = held_out.score(self.rasteriser, self.parameters.splat, shown)
        point = {"step": self.step_count, "seconds": round(self.seconds, 2), "gaussians": len(self.parameters)}
        self.curve.append(point | means(views))
        log.info("step %d: held out %.2f dB, SSIM %.3f", self.step_count, *list(means(views).values())[:2])
        artefact.write_text(self.out / "curve.json", json.dumps(self.curve, indent=1))

    def _write_preview(self) -> None:
        shown = (self.held_out or self.photos)[0]
        held_out.write_preview(self.out / "preview.png", self.rasteriser, self.parameters.splat, shown)

    def write_results(self) -> Outcome:
        artefact.write_text(self.out / "curve.json", json.dumps(self.curve, indent=1))
        numbers = {
            "steps": float(self.step_count),
            "training_seconds": round(self.seconds, 1),
            "training_photos": float(len(self.photos)),
        }
        splat = self.parameters.splat
        return write_splat(self.out, self.rasteriser, splat, self.held_out, self.photos[0], numbers)

    # ── going on after a stop ───────────────────────────────────────────────────────────────────────────────

    def _save(self) -> None:
        arrays = {"rows": self.parameters.rows, "first": self.parameters.first, "second": self.parameters.second}
        arrays |= {f"exposure.{name}": array for name, array in self.exposures.arrays().items()}
        state = checkpoint.Progress(
            run=self.key, step=self.step_count, seconds=self.seconds, curve=tuple(self.curve)
        )
        checkpoint.write(self.out / checkpoint.NAME, state, arrays)

    def _resume(self) -> None:
        stored = checkpoint.read(self.out / checkpoint.NAME, self.key)
        if stored is None:
            return
        state, arrays = stored
        self.step_count, self.seconds, self.curve = state.step, state.seconds, list(state.curve)
        self.parameters = Parameters(arrays["rows"], arrays["first"], arrays["second"])
        self.exposures.restore(part(arrays, "exposure."))
        log.info("training goes on from step %d of %d", self.step_count, self.budget.steps)


def part(arrays: dict[str, ndarray], prefix: str) -> dict[str, ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def means(views: list[ViewQuality]) -> dict[str, float]:
    """Over the views; raw first, then with the photo's exposure fitted."""
    names = ("psnr_db", "ssim", "psnr_fitted_db", "ssim_fitted")
    return {name: float(np.mean([getattr(view, name) for view in views])) for name in names}


def write_splat(
    out: Path,
    draw: Rasteriser,
    splat: Splat,
    apart: list[Photo],
    example: Photo,
    numbers: dict[str, float],
) -> Outcome:
    """The splat, its scores on the photos kept `apart`, and pictures of them (of `example` where there are none)."""
    splat_ply.write(out / "scene.ply", splat)
    held_out.write_preview(out / "preview.png", draw, splat, (apart or [example])[0])
    views = held_out.score(draw, splat, apart)
    artefact.write_text(out / "held_out.json", json.dumps([view.model_dump() for view in views], indent=1))
    held_out.write_pictures(out / "held_out", draw, splat, apart)
    camera = example.levels[-1].camera
    numbers = numbers | {
        "gaussians": len(splat),
        "held_out_photos": len(apart),
        "width_px": camera.width_px,
        "height_px": camera.height_px,
    }
    if not views:
        return Outcome(numbers=numbers, notes=("No photo was held out, so nothing measures the twin's quality.",))
    return Outcome(numbers=numbers | means(views), gates=(quality_gate(views),))


def quality_gate(views: list[ViewQuality]) -> Gate:
    return Gate(
        name="held-out PSNR",
        value=means(views)["psnr_db"],
        relation=">=",
        limit=WARN_BELOW_DB,
        unit="dB",
        advice="look at held_out/*.error.png: all over means poor poses or changing light (film again, slower, "
        "with locked exposure); in places means too few photos there; blur means more steps or Gaussians",
        blocking=False,
    )
