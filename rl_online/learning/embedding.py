"""What is frozen of a policy makes of observations once what a replay keeps; and which part of it goes on learning.

Pictures are not looked at twice: encoders and keypoints stay as supervised training left them. All that follows them
learns, so that a policy can change its mind about where it is bound for: a head alone learned half as much from the
same demonstrations. The critic looks at contexts of the policy that the run began with, which do not move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float16, Int
from numpy import ndarray
from torch import Tensor, nn

from hardware.dataset.frame_grid import SOURCES
from hardware.episode import Source
from rl_online.learning.presets import Algorithm
from rl_online.learning.process_reward import of_success
from rl_online.learning.replay import ReplayShape, Transitions, new_ids
from rl_online.learning.returns import to_the_end, worth_imitating
from rl_online.learning.rollout import Rollout
from vla.demonstrations import Demonstration
from vla.encoders import INSTRUCTION_DIMS
from vla.policy import ObservationBatch
from vla.policy_file import weights
from vla.tandem_vla import POOLED_SLOTS, TandemVLA, pooled
from vla.windows import missed

LEARNED = ("consistency_head.", "backbone.")
FIXED = ("backbone.keypoints.",)
"""Parameters of a policy by the beginnings of their names: what RL goes on training, but for what percepts hang on."""
BATCH = 64


@dataclass(frozen=True, eq=False)
class Looks:
    """Observations as a replay keeps them."""

    percept: Float16[ndarray, "B P"]
    """What the frozen part of the backbone made of the pictures (`Backbone.perceive`); one zero without cameras."""
    known: Float[ndarray, "B K"]
    """Measured position, state and, where the policy follows any, instruction: normalised, side by side."""
    seen: Float[ndarray, "B E"]
    """What the critic looks at: the pooled context of the policy that the run began with, beside the state."""

    def __getitem__(self, rows: Int[ndarray, " N"] | slice) -> Looks:
        return Looks(self.percept[rows], self.known[rows], self.seen[rows])


def replay_shape(policy: TandemVLA) -> ReplayShape:
    interface = policy.interface
    state = len(interface.state_names)
    return ReplayShape(
        percept=max(policy.backbone.percept_dims, 1),
        known=interface.action_dims + state + (INSTRUCTION_DIMS if interface.language else 0),
        seen=POOLED_SLOTS * policy.config.architecture.width + state,
        horizon_steps=interface.horizon_steps,
        action_dims=interface.action_dims,
        embedding=digest(policy),
    )


def digest(policy: TandemVLA) -> str:
    """Of all that goes into `Looks`: the backbone that the run began with, its encoders, and the normalisation."""
    total = hashlib.sha256(policy.config.model_dump_json(include={"normalisation", "interface"}).encode())
    for name, tensor in sorted(weights(policy).items()):
        if not name.startswith(("consistency_head.", "token_head.")):
            total.update(name.encode())
            total.update(tensor.cpu().numpy().tobytes())
    return total.hexdigest()[:16]


def learned(policy: TandemVLA) -> dict[str, nn.Parameter]:
    """By name: the consistency head and the backbone, but for its keypoints. Encoders stay frozen."""
    return {
        name: parameter
        for name, parameter in policy.named_parameters()
        if name.startswith(LEARNED) and not name.startswith(FIXED)
    }


@torch.no_grad()
def look(reference: TandemVLA, observations: Sequence[ObservationBatch]) -> Looks:
    """In batches. `reference` is the policy that the run began with, whatever acts by now."""
    parts = []
    for begin in range(0, len(observations), BATCH):
        inputs = reference.inputs(stacked(observations[begin : begin + BATCH]))
        percept = reference.backbone.perceive(inputs.features)
        told = (inputs.instruction,) if reference.interface.language else ()
        known = torch.cat([inputs.position, inputs.state, *told], dim=1)
        seen = torch.cat([pooled(context_of(reference, percept, known)), inputs.state], dim=1)
        kept = percept if percept.shape[1] else percept.new_zeros(len(percept), 1)
        parts.append((kept.half().cpu().numpy(), known.float().cpu().numpy(), seen.float().cpu().numpy()))
    return Looks(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def context_of(
    policy: TandemVLA, percept: Float[Tensor, "B P"], known: Float[Tensor, "B K"]
) -> Float[Tensor, "B N W"]:
    """What the policy's backbone makes of `Looks` by now, with gradients."""
    dims, state = policy.interface.action_dims, len(policy.interface.state_names)
    position, now, told = known.split([dims, state, known.shape[1] - dims - state], dim=1)
    instruction = told if policy.interface.language else known.new_zeros(len(known), INSTRUCTION_DIMS)
    return policy.backbone.think(percept, instruction, now, position).context


def stacked(observations: Sequence[ObservationBatch]) -> ObservationBatch:
    first = observations[0]
    return ObservationBatch(
        np.concatenate([each.state for each in observations]),
        {camera: np.concatenate([each.images[camera] for each in observations]) for camera in first.images},
        tuple(text for each in observations for text in each.instructions),
    )


def pairs(now: Looks, then: Looks) -> dict[str, ndarray]:
    """As a replay's columns."""
    return {
        "percept": now.percept, "next_percept": then.percept, "known": now.known, "next_known": then.known,
        "seen": now.seen, "next_seen": then.seen,
    }  # fmt: skip


def of_rollout(rollout: Rollout, reference: TandemVLA, source: Source, gamma: float, episode: int) -> Transitions:
    """An episode that was run (with `keep`) as rows for the replay; `source` is who chose what nobody corrected."""
    assert rollout.last is not None
    looks = look(reference, [*(chunk.observed for chunk in rollout.chunks), rollout.last])
    returns = to_the_end(rollout.rewards, gamma, rollout.timed_out)
    at = np.cumsum([0, *(chunk.executed for chunk in rollout.chunks)])[:-1]
    count = len(rollout.chunks)
    return Transitions(
        id=new_ids(count),
        **pairs(looks[:-1], looks[1:]),
        actions=reference.actions.normalise(
            np.stack([chunk.actions for chunk in rollout.chunks]).astype(np.float32)
        ),
        rewards=np.stack([chunk.rewards for chunk in rollout.chunks]).astype(np.float32),
        terminated=np.stack([chunk.terminated for chunk in rollout.chunks]),
        executed=np.array([chunk.executed for chunk in rollout.chunks]),
        floor=returns[at].astype(np.float32),
        source=np.where(rollout.corrected, SOURCES.index("scripted"), SOURCES.index(source)),
        episode=np.full(count, episode),
        success=np.full(count, int(rollout.success)),
        imitate=worth_imitating(rollout.success, rollout.corrected),
    )


def of_demonstration(
    demonstration: Demonstration,
    reference: TandemVLA,
    algorithm: Algorithm,
    source: Source,
    key: str,
    stride: int,
    progress: Float[ndarray, " T"] | None = None,
) -> Transitions:
    """A successful demonstration as rows: chunks that begin every `stride` steps, success on its last step.

    `progress`: how far the task was at each step, where that is paid for.

    Chunks that begin in a try that closed on nothing are not to be imitated.

    `key` names it for ever: the same demonstration gives the same ids, so filling a replay may be cut off and repeated.
    """
    horizon, rewards = reference.interface.horizon_steps, algorithm.rewards
    total = len(demonstration)
    earned = np.full(total, rewards.step, np.float32)
    earned[-1] = rewards.success
    if progress is not None:
        earned += of_success(progress, rewards.progress, algorithm.gamma).astype(np.float32)
    returns = to_the_end(earned.tolist(), algorithm.gamma, timed_out=False)
    begins = np.arange(0, total, stride)
    executed = np.minimum(horizon, total - begins)
    after = np.minimum(begins + executed, total - 1)
    looked_at, places = np.unique(np.concatenate([begins, after]), return_inverse=True)
    looks = look(reference, observations_of(demonstration, reference, looked_at))
    first, then = places[: len(begins)], places[len(begins) :]
    steps = begins[:, None] + np.arange(horizon)
    held = np.minimum(steps, total - 1)
    inside = steps < total
    return Transitions(
        id=demonstrated_ids(key, total, stride),
        **pairs(looks[first], looks[then]),
        actions=reference.actions.normalise(demonstration.actions[held].astype(np.float32)),
        rewards=np.where(inside, earned[held], 0).astype(np.float32),
        terminated=steps == total - 1,
        executed=executed,
        floor=returns[begins].astype(np.float32),
        source=np.full(len(begins), SOURCES.index(source)),
        episode=np.full(len(begins), stable_id(key)),
        success=np.ones(len(begins), np.int64),
        imitate=~missed(demonstration.state, demonstration.actions, reference.interface)[begins],
    )


def demonstrated_ids(key: str, steps: int, stride: int) -> Int[ndarray, " B"]:
    """Of the chunks that begin every `stride` steps of a demonstration."""
    return np.array([stable_id(f"{key}/{begin}") for begin in range(0, steps, stride)])


def observations_of(
    demonstration: Demonstration, policy: TandemVLA, steps: Int[ndarray, " N"]
) -> list[ObservationBatch]:
    """Its frames at `steps`, as the policy is shown them."""
    cameras = {camera: demonstration.pictures(camera) for camera in policy.interface.cameras}
    text = (demonstration.instruction,) if policy.interface.language else ()
    return [
        ObservationBatch(
            demonstration.state[step : step + 1],
            {name: rgb[step : step + 1] for name, rgb in cameras.items()},
            text,
        )
        for step in steps.tolist()
    ]


def fingerprint(demonstration: Demonstration) -> str:
    """Of what was seen and done: the same wherever the folder lies, another for every other demonstration."""
    total = hashlib.sha256(np.ascontiguousarray(demonstration.state).tobytes())
    total.update(np.ascontiguousarray(demonstration.actions).tobytes())
    return total.hexdigest()[:16]


def stable_id(key: str) -> int:
    """63 bits of the key's hash."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) >> 1
