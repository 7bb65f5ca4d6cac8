"""What the frozen backbone makes of observations, once: cached contexts for heads and critics. And its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from hardware.dataset.frame_grid import SOURCES
from hardware.episode import Source
from rl_online.learning.presets import Algorithm
from rl_online.learning.process_reward import of_success
from rl_online.learning.replay import ReplayShape, Transitions, new_ids
from rl_online.learning.returns import to_the_end, worth_imitating
from rl_online.learning.rollout import Rollout
from vla.demonstrations import Demonstration
from vla.policy import ObservationBatch
from vla.policy_file import weights
from vla.tandem_vla import POOLED_SLOTS, TandemVLA, pooled
from vla.windows import missed

HEADS = ("consistency_head.", "token_head.")
"""What may go on learning without a change of the contexts."""
BATCH = 64


def replay_shape(policy: TandemVLA) -> ReplayShape:
    architecture, interface = policy.config.architecture, policy.interface
    return ReplayShape(
        slots=architecture.slots,
        width=architecture.width,
        state_dims=len(interface.state_names),
        horizon_steps=interface.horizon_steps,
        action_dims=interface.action_dims,
        embedding=digest(policy),
    )


def digest(policy: TandemVLA) -> str:
    """Of the backbone's weights and the normalisation."""
    total = hashlib.sha256(policy.config.model_dump_json(include={"normalisation", "interface"}).encode())
    for name, tensor in sorted(weights(policy).items()):
        if not name.startswith(HEADS):
            total.update(name.encode())
            total.update(tensor.cpu().numpy().tobytes())
    return total.hexdigest()[:16]


@torch.no_grad()
def cache(
    policy: TandemVLA, observations: Sequence[ObservationBatch]
) -> tuple[Float[ndarray, "B N W"], Float[ndarray, "B S"]]:
    """(context, normalised state) of observations, in batches."""
    contexts, states = [], []
    for begin in range(0, len(observations), BATCH):
        inputs = policy.inputs(stacked(observations[begin : begin + BATCH]))
        contexts.append(policy.context(inputs).float().cpu().numpy())
        states.append(inputs.state.float().cpu().numpy())
    return np.concatenate(contexts), np.concatenate(states)


def stacked(observations: Sequence[ObservationBatch]) -> ObservationBatch:
    first = observations[0]
    return ObservationBatch(
        np.concatenate([each.state for each in observations]),
        {camera: np.concatenate([each.images[camera] for each in observations]) for camera in first.images},
        tuple(text for each in observations for text in each.instructions),
    )


def seen(context: Float[Tensor, "B N W"], state: Float[Tensor, "B S"]) -> Float[Tensor, "B E"]:
    """What the critic looks at: the pooled context beside the state itself."""
    return torch.cat([pooled(context), state], dim=1)


def seen_dims(shape: ReplayShape) -> int:
    return POOLED_SLOTS * shape.width + shape.state_dims


def of_rollout(rollout: Rollout, policy: TandemVLA, source: Source, gamma: float, episode: int) -> Transitions:
    """An episode that was run (with `keep`) as rows for the replay; `source` is who chose what nobody corrected."""
    assert rollout.last is not None
    contexts, states = cache(policy, [*(chunk.observed for chunk in rollout.chunks), rollout.last])
    returns = to_the_end(rollout.rewards, gamma, rollout.timed_out)
    at = np.cumsum([0, *(chunk.executed for chunk in rollout.chunks)])[:-1]
    count = len(rollout.chunks)
    return Transitions(
        id=new_ids(count),
        context=contexts[:-1],
        next_context=contexts[1:],
        state=states[:-1],
        next_state=states[1:],
        actions=policy.actions.normalise(np.stack([chunk.actions for chunk in rollout.chunks]).astype(np.float32)),
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
    policy: TandemVLA,
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
    horizon, rewards = policy.interface.horizon_steps, algorithm.rewards
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
    contexts, states = cache(policy, observations_of(demonstration, policy, looked_at))
    first, then = places[: len(begins)], places[len(begins) :]
    steps = begins[:, None] + np.arange(horizon)
    held = np.minimum(steps, total - 1)
    inside = steps < total
    return Transitions(
        id=np.array([stable_id(f"{key}/{begin}") for begin in begins.tolist()]),
        context=contexts[first],
        next_context=contexts[then],
        state=states[first],
        next_state=states[then],
        actions=policy.actions.normalise(demonstration.actions[held].astype(np.float32)),
        rewards=np.where(inside, earned[held], 0).astype(np.float32),
        terminated=steps == total - 1,
        executed=executed,
        floor=returns[begins].astype(np.float32),
        source=np.full(len(begins), SOURCES.index(source)),
        episode=np.full(len(begins), stable_id(key)),
        success=np.ones(len(begins), np.int64),
        imitate=~missed(demonstration.state, demonstration.actions, policy.interface)[begins],
    )


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
