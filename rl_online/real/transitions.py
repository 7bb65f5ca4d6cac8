"""A recorded episode of a cell in, rows for the replay out: chunks of H steps cut from it, each with who acted.

A chunk never spans a change of who acts: it is cut short there, as by a person who takes over. Ids are hashes of the
store, the episode and the frame, so that an episode that is offered again after a kill is in the replay once.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hardware.dataset.frame_grid import SOURCES
from hardware.dataset.stored_episode import StoredEpisode
from hardware.episode import Source
from hardware.errors import BadInput
from rl_online.learning import embedding
from rl_online.learning.presets import Algorithm
from rl_online.learning.replay import CORRECTING, Transitions
from rl_online.learning.returns import to_the_end, worth_imitating
from vla.policy import ObservationBatch
from vla.tandem_vla import TandemVLA


def of_episode(
    stored: StoredEpisode,
    reference: TandemVLA,
    algorithm: Algorithm,
    key: str,
    stride: int,
    source: Source | None = None,
) -> Transitions | None:
    """None: too short to hold a chunk. `source` relabels all frames; the episode's own labels otherwise.

    `reference` is the policy that the run began with.

    An episode without a verdict was cut off: nothing in it terminates, and what it would have returned is not known.
    """
    total, horizon = len(stored), reference.interface.horizon_steps
    if total < 2:
        return None
    who = stored.index.source if source is None else np.full(total, SOURCES.index(source))
    success = stored.manifest.success
    rewards = np.full(total, algorithm.rewards.step)
    terminated = np.zeros(total, bool)
    if success:
        rewards[-1], terminated[-1] = algorithm.rewards.success, True
    floor = to_the_end(rewards.tolist(), algorithm.gamma, timed_out=not success)
    begins = np.arange(0, total - 1, stride)
    executed = np.minimum(horizon, until_change(who)[begins])
    after = np.minimum(begins + executed, total - 1)
    wanted, place = np.unique(np.concatenate([begins, after]), return_inverse=True)
    looks = embedding.look(reference, [observation(stored, int(frame), reference) for frame in wanted])
    here, there = place[: len(begins)], place[len(begins) :]
    steps = begins[:, None] + np.arange(horizon)
    inside = steps < (begins + executed)[:, None]
    held = np.minimum(steps, (begins + executed - 1)[:, None])
    actions = columns(
        stored.sent[stored.index.sent_row], stored.manifest.action_names, reference.interface.action_names
    )
    return Transitions(
        id=np.array([embedding.stable_id(f"{key}/{stored.number}/{begin}") for begin in begins.tolist()]),
        **embedding.pairs(looks[here], looks[there]),
        actions=reference.actions.normalise(actions[held].astype(np.float32)),
        rewards=np.where(inside, rewards[held], 0.0).astype(np.float32),
        terminated=inside & terminated[held],
        executed=executed,
        floor=(floor[begins] if success is not None else np.full(len(begins), -np.inf)).astype(np.float32),
        source=who[begins].astype(np.int64),
        episode=np.full(len(begins), embedding.stable_id(f"{key}/{stored.number}")),
        success=np.full(len(begins), -1 if success is None else int(success)),
        imitate=worth_imitating(success is True, np.isin(who, CORRECTING))[begins],
    )


def until_change(who: ndarray) -> Int[ndarray, " T"]:
    """How many frames from each one on, itself included, the same source acts."""
    left = np.ones(len(who), np.int64)
    for frame in range(len(who) - 2, -1, -1):
        if who[frame] == who[frame + 1]:
            left[frame] = left[frame + 1] + 1
    return left


def observation(stored: StoredEpisode, frame: int, policy: TandemVLA) -> ObservationBatch:
    """One frame, as the policy is shown it."""
    interface, manifest = policy.interface, stored.manifest
    state = stored.q_rad[stored.index.joint_row[frame]][None]
    missing = [camera for camera in interface.cameras if camera not in manifest.cameras]
    if missing:
        have = ", ".join(manifest.cameras) or "none"
        raise BadInput(f"episode {stored.number} has no pictures of '{missing[0]}'; has: {have}")
    rows = {name: int(stored.index.picture_row[frame, manifest.cameras.index(name)]) for name in interface.cameras}
    return ObservationBatch(
        columns(state, manifest.joint_names, interface.state_names).astype(np.float32),
        {name: stored.cameras[name].picture(row)[None] for name, row in rows.items()},
        (manifest.task,) if interface.language else (),
    )


def columns(values: Float[ndarray, "T D"], have: tuple[str, ...], wanted: tuple[str, ...]) -> Float[ndarray, "T W"]:
    """By name. Raises `BadInput` for one that was not recorded."""
    missing = [name for name in wanted if name not in have]
    if missing:
        raise BadInput(f"the policy has '{missing[0]}', the recording only: {', '.join(have)}")
    return values[:, [have.index(name) for name in wanted]]
