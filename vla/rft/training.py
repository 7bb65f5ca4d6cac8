"""The loop of reinforcement fine-tuning: prepared windows in, the policy with the best held-out reward out.

What the two voices get. The rewards judge sampled *tokens*, so GRPO moves the token head and the backbone below it.
The consistency head reads that backbone and would go stale while it moves; its own imitation loss goes on beside the
rewards, through the backbone as in supervised fine-tuning, so that it stays true to the demonstrations and gains what
the backbone gains. What acts on the robot stays what acted before, unless `voice` says otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from hardware.errors import BadInput
from vla import training_state
from vla.optimisation import adamw, learning_rate, set_rate
from vla.policy import Batch, TokenPolicy
from vla.rft import grpo
from vla.rft import samples as rft_samples
from vla.rft.config import ReinforcePolicy
from vla.rft.held_out import BATCH, Standing, standing
from vla.rft.reference import Reference, module, trained
from vla.rft.samples import Judge, Rollout
from vla.run_folder import POLICY, TENSORBOARD
from vla.sft.training import Material
from vla.tandem_vla import TandemVLA
from vla.training import Diverged, LongRun
from vla.training_state import Stage

log = logging.getLogger(__name__)


@runtime_checkable
class TwoVoiced(Protocol):
    """A policy with a head that tokens do not teach."""

    def consistency_loss(self, batch: Batch, seed: int) -> Tensor: ...


def has_taught_second_voice(policy: TokenPolicy) -> bool:
    """A consistency head that supervised fine-tuning left as it began has nothing to stay true to."""
    untaught = isinstance(policy, TandemVLA) and policy.config.consistency_weight == 0
    return isinstance(policy, TwoVoiced) and not untaught


class RftPoint(Standing):
    """One evaluation."""

    step: int


class RftState(Stage):
    curve: tuple[RftPoint, ...]


class Reinforcement(LongRun):
    """The state of one run. `policy` learns, `reference` is what it was at the start."""

    doing = "reinforcing"
    lighter = "sample fewer chunks at a time: --grpo.group"

    def __init__[P: TokenPolicy](
        self,
        config: ReinforcePolicy,
        policy: P,
        material: Material,
        judge: Judge,
        save_policy: Callable[[P, Path], None],
    ) -> None:
        """`policy` is an `nn.Module` too. `save_policy` writes its folder."""
        schedule = config.optimisation
        super().__init__(config, schedule.steps, config.evaluation.every_steps, schedule.batch)
        self.config, self.material, self.judge = config, material, judge
        self.policy = policy
        self.keep = lambda: save_policy(policy, config.output / POLICY)
        self.module.eval()  # no dropout: a sample's probability must be the same when it is learned from
        self.reference = Reference(policy)
        self.has_side_loss = config.consistency_weight > 0 and has_taught_second_voice(policy)
        self.optimiser = adamw(self.module, config.optimisation)
        self.curve: list[RftPoint] = []
        self._resume()
        self.board = SummaryWriter(str(config.output / TENSORBOARD), purge_step=self.step_count + 1)

    @property
    def module(self) -> nn.Module:
        return module(self.policy)

    # ── learning ────────────────────────────────────────────────────────────────────────────────────────────

    def finish(self) -> None:
        """All steps that are left."""
        if not self.curve and self.evaluate().fcr == 0:
            raise BadInput(
                "no sampled chunk decodes, so every reward is 0 and there is nothing to prefer",
                "train the token head first: tandem vla sft, with a token weight above 0",
            )
        self.take_steps()
        self.board.close()

    def said(self, number: float) -> str:
        return f"reward {number:.3f}, held out {self.curve[-1].reward:.3f}"

    def step(self) -> float:
        """Samples, scores, and one or more updates; gives the samples' mean reward.

        Draws and noise are functions of the step, so a resumed run goes on exactly.
        """
        set_rate(self.optimiser, learning_rate(self.config.optimisation, self.step_count))
        values = self._learn()
        self.step_count += 1
        for name, value in values.items():
            self.board.add_scalar(f"train/{name}", value, self.step_count)
        return values["reward"]

    def _learn(self) -> dict[str, float]:
        """Memory runs out in the first update or in none: the later ones are of the same size."""
        seed = self.config.seed * 1_000_003 + self.step_count

        def updates(count: int) -> dict[str, float]:
            batch = self.material.draws.draw(self.step_count, count)
            drawn = rft_samples.rollout(self.policy, self.reference, batch, self.config.grpo, self.judge, seed)
            values: dict[str, float] = {}
            for _ in range(self.config.grpo.updates):
                values = self._update(batch, drawn, seed)
            return rft_samples.means([drawn.rewards]) | values

        return self.fitting(updates, self._forget)

    def _forget(self) -> None:
        """Half-made gradients and, of the first step, moments: AdamW takes a half-made state for a whole one."""
        self.optimiser.zero_grad()
        if self.step_count == 0:
            self.optimiser.state.clear()

    def _update(self, batch: Batch, drawn: Rollout, seed: int) -> dict[str, float]:
        settings, samples = self.config.grpo, drawn.samples
        log_p = self.policy.log_probabilities(batch.observations, samples.tokens, settings.temperature)
        advantage = grpo.advantages(torch.from_numpy(drawn.rewards.total)).to(log_p)
        result = grpo.loss(
            log_p,
            samples.log_probabilities,
            drawn.log_reference,
            samples.mask,
            advantage,
            settings.clip,
            settings.kl_weight,
        )
        total, values = result.total, {"kl": float(result.kl), "clipped": float(result.clipped_share)}
        if self.has_side_loss and isinstance(self.policy, TwoVoiced):
            side = self.policy.consistency_loss(batch, seed)
            total = total + self.config.consistency_weight * side
            values["consistency"] = float(side.detach())
        if not np.isfinite(float(total.detach())):
            raise Diverged(
                f"the loss is {float(total.detach())} at step {self.step_count}",
                "lower --optimisation.learning-rate",
            )
        total.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), self.config.optimisation.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return values

    # ── measuring ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def best(self) -> RftPoint | None:
        """The first of those with the highest held-out reward; step 0 is the policy as it came."""
        return max(self.curve, key=lambda point: (point.reward, -point.step), default=None)

    def evaluate(self) -> RftPoint:
        """A point of the curve; the policy is written when it is the best so far, be it the one that came."""
        windows, most = self.material.held_out, self.config.evaluation.most_windows
        found = self.measured(
            lambda rows: standing(self.policy, windows, self.config.grpo, self.judge, most, rows), BATCH
        )
        point = RftPoint(step=self.step_count, **found.model_dump())
        if self.best is None or point.reward > self.best.reward:
            self.keep()
        self.curve.append(point)
        for name, value in found.scalars().items():
            self.board.add_scalar(f"held_out/{name}", value, self.step_count)
        errors = ", ".join(f"{voice} {error:.4f}" for voice, error in point.open_loop_error.items())
        log.info("step %d: held-out reward %.4f, open-loop error: %s", point.step, point.reward, errors)
        return point

    # ── going on after a stop ───────────────────────────────────────────────────────────────────────────────

    def save(self) -> None:
        state = RftState(
            run=self.material.key,
            step=self.step_count,
            seconds=self.seconds,
            batch=self.batch,
            curve=tuple(self.curve),
        )
        tensors = training_state.prefixed(trained(self.module), "policy.")
        tensors |= training_state.prefixed(training_state.moments(self.optimiser), "optimiser.")
        training_state.write(self.file, state, tensors)

    def _resume(self) -> None:
        stored = training_state.read(self.file, self.material.key, RftState)
        if stored is None:
            return
        state, tensors = stored
        self.step_count, self.seconds, self.batch = state.step, state.seconds, state.batch
        self.curve = list(state.curve)
        put = training_state.part(tensors, "policy.")
        with torch.no_grad():
            for name, parameter in trained(self.module).items():
                parameter.copy_(put[name])
        training_state.restore_moments(self.optimiser, training_state.part(tensors, "optimiser."))
        log.info("reinforcing goes on from step %d of %d", self.step_count, self.config.optimisation.steps)
