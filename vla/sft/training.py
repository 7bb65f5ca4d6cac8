"""The training loop of supervised fine-tuning: prepared windows in, the best averaged policy out."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from accelerate import Accelerator
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from vla import held_out, policy_file, training_state
from vla.held_out import Score
from vla.optimisation import Learner, adamw, average, learning_rate, set_rate, take_step
from vla.run_folder import POLICY, TENSORBOARD
from vla.sft.config import TrainPolicy
from vla.tandem_vla import TandemVLA
from vla.training import Diverged, LongRun
from vla.training_state import Point, RunState
from vla.windows import Draws, Windows

log = logging.getLogger(__name__)

SEEDS_APART = 1_000_000_007
"""From one process's noise to the next one's."""


@dataclass(frozen=True, eq=False)
class Material:
    """What is learned from, and what is measured on."""

    draws: Draws
    held_out: Windows
    key: str
    """Identity of config and data: a checkpoint of another run is not taken."""


class Training(LongRun):
    """The state of one run. `policy` is what learns, `averaged` what is evaluated and kept."""

    doing = "training"

    def __init__(
        self, config: TrainPolicy, policy: TandemVLA, material: Material, accelerator: Accelerator
    ) -> None:
        schedule = config.optimisation
        processes = accelerator.num_processes
        super().__init__(config, schedule.steps, config.evaluation.every_steps, schedule.batch, processes)
        self.config, self.material, self.accelerator = config, material, accelerator
        self.policy = policy.to(accelerator.device)
        self.averaged = copy.deepcopy(self.policy).eval().requires_grad_(False)
        self.optimiser = adamw(self.policy, config.optimisation)
        self.learner, self.prepared_optimiser = accelerator.prepare(Learner(self.policy), self.optimiser)
        self.train_losses: list[float] = []
        self.curve: list[Point] = []
        self._resume()
        self.board = self._board()

    # ── learning ────────────────────────────────────────────────────────────────────────────────────────────

    def finish(self) -> None:
        """All steps that are left, or until nothing gets better."""
        self.take_steps()
        if self.board:
            self.board.close()
        if self.stalled and self.step_count < self.steps:
            log.info("stopped at step %d: %d evaluations without a better one", self.step_count, self._since_best())

    def said(self, number: float) -> str:
        return f"loss {number:.3f}, open loop {self.best:.4f}" if self.curve else f"loss {number:.3f}"

    def step(self) -> float:
        """One update. The draw and the noise are functions of the step, so a resumed run goes on exactly."""
        settings = self.config.optimisation
        set_rate(self.optimiser, learning_rate(settings, self.step_count))
        loss = self._loss_and_gradients()
        if not np.isfinite(loss):
            raise Diverged(f"the loss is {loss} at step {self.step_count}", "lower --optimisation.learning-rate")
        self.accelerator.clip_grad_norm_(self.learner.parameters(), settings.clip_norm)
        take_step(self.prepared_optimiser, f"--optimisation.batch {max(1, self.batch // 2)} in a new folder")
        average(self.averaged.parameters(), self.policy.parameters(), settings.ema, self.step_count)
        self.step_count += 1
        self.train_losses.append(loss)
        self._log({f"train/{name}": value for name, value in self._parts().items()})
        return loss

    def _loss_and_gradients(self) -> float:
        process = self.accelerator.process_index

        def update(batch_size: int) -> float:
            batch = self.material.draws.draw(self.step_count, batch_size, process)
            seed = self.config.seed * 1_000_003 + self.step_count + process * SEEDS_APART
            with self.accelerator.autocast():
                loss = self.learner(batch, seed)
            self.accelerator.backward(loss)
            return float(loss.detach())

        return self.fitting(update, self.prepared_optimiser.zero_grad)

    # ── measuring ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def best(self) -> float:
        return min((point.open_loop_error for point in self.curve), default=float("inf"))

    @property
    def stalled(self) -> bool:
        patience = self.config.evaluation.patience
        return 0 < patience <= self._since_best()

    def _since_best(self) -> int:
        errors = [point.open_loop_error for point in self.curve]
        return len(errors) - 1 - int(np.argmin(errors)) if errors else 0

    def evaluate(self) -> Score:
        """A point of the curve; the policy is written when it is the best so far."""
        windows, most = self.material.held_out, self.config.evaluation.most_windows
        score = self.measured(lambda rows: held_out.score(self.averaged, windows, most, rows), held_out.BATCH)
        better = score.open_loop_error < self.best
        point = Point(
            step=self.step_count,
            train_loss=float(np.mean(self.train_losses)) if self.train_losses else float("nan"),
            held_out_loss=score.loss,
            token_loss=score.token_loss,
            consistency_loss=score.consistency_loss,
            open_loop_error=score.open_loop_error,
        )
        self.train_losses.clear()
        self.curve.append(point)
        self._log(
            {
                "held_out/loss": point.held_out_loss,
                "held_out/open_loop_error": point.open_loop_error,
                "train/learning_rate": learning_rate(self.config.optimisation, self.step_count - 1),
            }
        )
        if self.accelerator.is_main_process:
            log.info(
                "step %d: held-out loss %.3f, open-loop error %.4f", point.step, score.loss, point.open_loop_error
            )
        if better and self.accelerator.is_main_process:
            policy_file.save_policy(self.averaged, self.config.output / POLICY)
        return score

    def _parts(self) -> dict[str, float]:
        learner = self.accelerator.unwrap_model(self.learner)
        return learner.parts

    def _log(self, values: dict[str, float]) -> None:
        if self.board:
            for name, value in values.items():
                self.board.add_scalar(name, value, self.step_count)

    def _board(self) -> SummaryWriter | None:
        """Points after the checkpoint, which a killed run may have written, are hidden."""
        if not self.accelerator.is_main_process:
            return None
        return SummaryWriter(str(self.config.output / TENSORBOARD), purge_step=self.step_count + 1)

    # ── going on after a stop ───────────────────────────────────────────────────────────────────────────────

    def save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        state = RunState(
            run=self.material.key,
            step=self.step_count,
            seconds=self.seconds,
            batch=self.batch,
            train_losses=tuple(self.train_losses),
            curve=tuple(self.curve),
        )
        tensors = training_state.prefixed(policy_file.weights(self.policy), "policy.")
        tensors |= training_state.prefixed(policy_file.weights(self.averaged), "averaged.")
        tensors |= training_state.prefixed(training_state.moments(self.optimiser), "optimiser.")
        training_state.write(self.file, state, tensors)

    def _resume(self) -> None:
        stored = training_state.read(self.file, self.material.key, RunState)
        if stored is None:
            return
        state, tensors = stored
        self.step_count, self.seconds, self.batch = state.step, state.seconds, state.batch
        self.train_losses, self.curve = list(state.train_losses), list(state.curve)
        put = self._put(tensors)
        put("policy.", self.policy)
        put("averaged.", self.averaged)
        training_state.restore_moments(self.optimiser, training_state.part(tensors, "optimiser."))
        log.info("training goes on from step %d of %d", self.step_count, self.config.optimisation.steps)

    def _put(self, tensors: dict[str, Tensor]) -> Callable[[str, TandemVLA], None]:
        return lambda prefix, policy: policy_file.restore(
            policy, training_state.part(tensors, prefix), str(self.file)
        )
