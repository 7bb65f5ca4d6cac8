"""The chunk actor–critic: batches of a replay in, a better policy out.

Actor: the policy's consistency head and all of the backbone behind its keypoints, L_π = β L_IL + η L_Q with
L_Q = −E Q(s, π(s)) / E |Q|. Critics: TD on the chunk target, with the Cal-QL term while offline.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from hardware import artefact
from hardware.config import Config
from hardware.errors import BadInput, TandemError
from rl_online.learning import embedding
from rl_online.learning.critic import ChunkCritic, calibrated_gap, follow, target, td_loss
from rl_online.learning.presets import ActorWeights, Algorithm
from rl_online.learning.replay import Transitions
from rl_online.learning.returns import of_chunks
from vla.encoders import has_bfloat16
from vla.optimisation import average
from vla.tandem_vla import TandemVLA
from vla.training_state import moments, part, prefixed, restore_moments

Stage = Literal["offline", "online"]


class Diverged(TandemError):
    """A loss is no longer finite."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A batch as tensors."""

    percept: Float[Tensor, "B P"]
    next_percept: Float[Tensor, "B P"]
    known: Float[Tensor, "B K"]
    next_known: Float[Tensor, "B K"]
    seen: Float[Tensor, "B E"]
    next_seen: Float[Tensor, "B E"]
    actions: Float[Tensor, "B H D"]
    reward: Float[Tensor, " B"]
    bootstrap: Float[Tensor, " B"]
    floor: Float[Tensor, " B"]
    padded: Tensor
    worth: Float[Tensor, " B"]
    """1 where the chunk should be imitated."""


class Progress(Config):
    """How far an agent has come."""

    critic_updates: int = 0
    actor_updates: int = 0
    offline_updates: int = 0
    version: int = 0
    """Of the published weights."""
    embedding: str


class Agent:
    """Owns the policy, the critics and their optimisers. One thread."""

    def __init__(self, policy: TandemVLA, algorithm: Algorithm, seed: int = 0) -> None:
        self.policy, self.algorithm, self.seed = policy.eval(), algorithm, seed
        self.shape = embedding.replay_shape(policy)
        policy.requires_grad_(False)
        self.reference = copy.deepcopy(policy)
        """As it was given, for what goes into the replay."""
        self.actor = embedding.learned(policy)
        for parameter in self.actor.values():
            parameter.requires_grad_(True)
        self.averaged = copies(self.actor)
        done_steps = policy.interface.replan_steps
        self.critic = ChunkCritic(self.shape.seen, done_steps, self.shape.action_dims, algorithm.critic, seed)
        self.critic.to(policy.device)
        self.slow = copy.deepcopy(self.critic).requires_grad_(False)
        decay = algorithm.weight_decay
        self.actor_optimiser = torch.optim.AdamW(
            self.actor.values(), algorithm.actor_rate, weight_decay=decay, fused=True
        )
        self.critic_optimiser = torch.optim.AdamW(
            self.critic.parameters(), algorithm.critic_rate, weight_decay=decay, fused=True
        )
        self.progress = Progress(embedding=self.shape.embedding)

    def update(self, batch: Transitions, stage: Stage) -> dict[str, float]:
        """One critic update, and one of the actor after every `critic_updates` of them. Returns what to log."""
        rows, before = self.rows(batch), self.progress
        noise = torch.Generator().manual_seed(self.seed * 1_000_003 + before.critic_updates)
        figures = self._update_critic(rows, stage, noise)
        acted = (before.critic_updates + 1) % self.algorithm.critic_updates == 0
        if acted:
            figures |= self._update_actor(rows, self.weights_of(stage), noise)
        if not all(np.isfinite(value) for value in figures.values()):
            raise Diverged(f"a loss is not finite at update {before.critic_updates}: {figures}", "lower the rates")
        self.progress = before.but(
            critic_updates=before.critic_updates + 1,
            actor_updates=before.actor_updates + acted,
            offline_updates=before.offline_updates + (stage == "offline"),
        )
        return figures

    def weights_of(self, stage: Stage) -> ActorWeights:
        """Without L_Q while the critic warms up."""
        weights = self.algorithm.offline if stage == "offline" else self.algorithm.online
        is_warm = self.progress.critic_updates >= self.algorithm.critic_warm_up
        return weights if is_warm else weights.but(value=0.0)

    def rows(self, batch: Transitions) -> Rows:
        chunks = of_chunks(batch.rewards.astype(np.float64), batch.terminated, batch.executed, self.algorithm.gamma)
        return Rows(
            percept=self._tensor(batch.percept),
            next_percept=self._tensor(batch.next_percept),
            known=self._tensor(batch.known),
            next_known=self._tensor(batch.next_known),
            seen=self._tensor(batch.seen),
            next_seen=self._tensor(batch.next_seen),
            actions=self._tensor(batch.actions),
            reward=self._tensor(chunks.reward),
            bootstrap=self._tensor(chunks.bootstrap),
            floor=self._tensor(batch.floor),
            padded=torch.from_numpy(np.arange(self.shape.horizon_steps) >= batch.executed[:, None]).to(self.device),
            worth=self._tensor(batch.imitate),
        )

    @property
    def device(self) -> torch.device:
        return self.policy.device

    def context(self, rows: Rows) -> Float[Tensor, "B N W"]:
        return embedding.context_of(self.policy, rows.percept, rows.known)

    def next_context(self, rows: Rows) -> Float[Tensor, "B N W"]:
        return embedding.context_of(self.policy, rows.next_percept, rows.next_known)

    # ── the two losses ──────────────────────────────────────────────────────────────────────────────────────

    def critic_losses(self, rows: Rows, stage: Stage, noise: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        with torch.no_grad():
            with self._mixed():
                following = self._draw(self.next_context(rows), noise)
            targets = target(rows.reward, rows.bootstrap, self.slow(rows.next_seen, following))
        values = self.critic(rows.seen, rows.actions)
        losses = {"td": td_loss(values, targets)}
        if stage == "offline" and self.algorithm.calql.alpha > 0:
            elsewhere = self.critic.of_samples(rows.seen, self._elsewhere(rows, noise))
            losses["calql"] = calibrated_gap(values, elsewhere, rows.floor, self.algorithm.calql.temperature)
        return losses

    def actor_losses(self, rows: Rows, noise: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """`imitation` (L_IL, over the chunks that are worth it) and `value` (L_Q, over all states).

        L_IL is drawn as in supervised training: half of it at the noise from which the policy acts, for there L_Q
        pulls. L_Q is in units of the values' own size (TD3+BC, arXiv 2106.06860), so that η does not hang on rewards.
        """
        scales, drawn = (
            each.to(self.device) for each in self.policy.consistency_head.draw(len(rows.actions), noise)
        )
        with self._mixed():
            context = self.context(rows)
            each = self.policy.consistency_head.loss(context, rows.actions, rows.padded, scales, drawn)
            actions = self._draw(context, noise)
        imitation = (each * rows.worth).sum() / rows.worth.sum().clamp(min=1)
        values = self.critic(rows.seen, actions)
        return {"imitation": imitation, "value": -values.mean() / values.detach().abs().mean().clamp(min=1e-3)}

    def _update_critic(self, rows: Rows, stage: Stage, noise: torch.Generator) -> dict[str, float]:
        losses = self.critic_losses(rows, stage, noise)
        total = losses["td"]
        if "calql" in losses:
            total = total + self.algorithm.calql.alpha * losses["calql"]
        self._step(self.critic_optimiser, total, list(self.critic.parameters()))
        follow(self.slow, self.critic, self.algorithm.target_rate)
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _update_actor(self, rows: Rows, weights: ActorWeights, noise: torch.Generator) -> dict[str, float]:
        self.critic.requires_grad_(False)
        losses = self.actor_losses(rows, noise)
        self.critic.requires_grad_(True)
        total = weights.imitation * losses["imitation"] + weights.value * losses["value"]
        self._step(self.actor_optimiser, total, list(self.actor.values()))
        decay, done = self.algorithm.acting_average, self.progress.actor_updates
        average(self.averaged.values(), self.actor.values(), decay, done)
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _mixed(self) -> torch.autocast:
        """Where bfloat16 is native the policy computes in it, as in supervised training; the critics do not."""
        device = self.device.type
        return torch.autocast(device, torch.bfloat16, enabled=has_bfloat16(device))

    def _step(self, optimiser: torch.optim.Optimizer, loss: Tensor, parameters: list[torch.nn.Parameter]) -> None:
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(parameters, self.algorithm.clip_norm)
        optimiser.step()

    def _draw(self, context: Float[Tensor, "B N W"], noise: torch.Generator) -> Float[Tensor, "B H D"]:
        """π's chunks, each from its own noise; drawn on the CPU, so that a seed means the same on any device."""
        shape = (len(context), self.shape.horizon_steps, self.shape.action_dims)
        return self.policy.consistency_head.act(context, torch.randn(shape, generator=noise).to(self.device))

    @torch.no_grad()
    def _elsewhere(self, rows: Rows, noise: torch.Generator) -> Float[Tensor, "B n H D"]:
        """Uniform chunks, π(s) and π(s′), as many of each."""
        count, size = self.algorithm.calql.samples, len(rows.actions)
        inner = (self.shape.horizon_steps, self.shape.action_dims)
        uniform = (2 * torch.rand((size, count, *inner), generator=noise) - 1).to(self.device)
        drawn = [
            self._draw(context.repeat_interleave(count, dim=0), noise).unflatten(0, (size, count))
            for context in (self.context(rows), self.next_context(rows))
        ]
        return torch.cat([uniform, *drawn], dim=1)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self.device)

    # ── what leaves it ──────────────────────────────────────────────────────────────────────────────────────

    def published(self) -> bytes:
        """The acting weights, which are averaged, as safetensors."""
        return as_bytes(self.averaged)

    def save(self, file: Path) -> None:
        """Everything, so that the same updates follow after a stop."""
        tensors = prefixed(self.actor, "actor.") | prefixed(self.averaged, "averaged.")
        tensors |= prefixed(dict(self.critic.state_dict()), "critic.")
        tensors |= prefixed(dict(self.slow.state_dict()), "slow.")
        tensors |= prefixed(moments(self.actor_optimiser), "actor_moments.")
        tensors |= prefixed(moments(self.critic_optimiser), "critic_moments.")
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        artefact.write_bytes(file, save(on_cpu, {"progress": self.progress.model_dump_json()}))

    def inherit(self, file: Path) -> None:
        """Another run's acting weights and critics; counts and optimisers begin anew. Raises as `restore`.

        Learning goes on from the averaged weights: a young average follows soon, and should not leave what had acted.
        """
        self._take(self._read(file, "begin this run with the policy that the other began with")[1])
        take(self.actor, self.averaged)

    def restore(self, file: Path) -> None:
        """Raises `BadInput` for a checkpoint of another policy, or of another version."""
        progress, tensors = self._read(file)
        self.progress = progress
        self._take(tensors)
        restore_moments(self.actor_optimiser, part(tensors, "actor_moments."))
        restore_moments(self.critic_optimiser, part(tensors, "critic_moments."))

    def _read(self, file: Path, fix: str = "name a new --output") -> tuple[Progress, dict[str, Tensor]]:
        with safe_open(str(file), framework="pt") as stored:
            progress = Progress.model_validate_json((stored.metadata() or {})["progress"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a dict
        if progress.embedding != self.shape.embedding:
            raise BadInput(f"{file} belongs to another policy", fix)
        return progress, tensors

    def _take(self, tensors: dict[str, Tensor]) -> None:
        try:
            take(self.actor, part(tensors, "actor."))
            take(self.averaged, part(tensors, "averaged."))
            self.critic.load_state_dict(part(tensors, "critic."))
            self.slow.load_state_dict(part(tensors, "slow."))
        except (RuntimeError, BadInput) as error:
            raise BadInput(f"the checkpoint is of another version: {error}", "begin the run anew") from error


def copies(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


@torch.no_grad()
def take(into: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """In place. Raises `BadInput` where names or shapes differ, before anything is changed."""
    shapes, offered = ({name: tensor.shape for name, tensor in each.items()} for each in (into, given))
    wrong = [name for name in sorted({*shapes, *offered}) if shapes.get(name) != offered.get(name)]
    if wrong:
        given_one, wanted = (tuple(each.get(wrong[0], ())) for each in (offered, shapes))
        raise BadInput(f"'{wrong[0]}' is of shape {given_one}, not {wanted}")
    for name, tensor in into.items():
        tensor.copy_(given[name])


def as_bytes(weights: Mapping[str, Tensor]) -> bytes:
    """As they are published: safetensors."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})


def take_weights(policy: TandemVLA, data: bytes) -> None:
    """Published weights into an actor's policy. Raises `BadInput` when they do not fit."""
    try:
        take(embedding.learned(policy), load(data))
    except (BadInput, ValueError, SafetensorError) as error:
        raise BadInput(f"the published weights do not fit this policy: {error}") from error
