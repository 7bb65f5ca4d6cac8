"""The scripted person beside an actor: lets a policy that gets on alone, brings one that stands still to the end."""

import numpy as np
import pytest

from hardware.bench.intervener import InterveneWhen
from rl_online.demos import draw
from rl_online.learning.env import ChunkEnv
from rl_online.learning.presets import Rewards
from rl_online.learning.rollout import Rollout, run_episodes
from rl_online.worlds.bench import RATE_HZ, BenchWorld
from rl_online.worlds.open_world import WorldChoice, plant_config
from rl_online.worlds.stand_in import StandIn
from vla.policy import GRIPPER, Interface, ObservationBatch

HORIZON = 10


class Still:
    """Asks for the joint positions that it sees."""

    def act(self, observations: ObservationBatch, seed: int = 0) -> np.ndarray:
        return np.repeat(observations.state[:, None], HORIZON, axis=1)


def episodes(share: float) -> list[Rollout]:
    world = BenchWorld(plant_config(WorldChoice()))
    names = (*world.joint_names, GRIPPER)
    interface = Interface(
        cameras=(), state_names=names, action_names=names, rate_hz=world.rate_hz, horizon_steps=HORIZON,
        space="joint_pos_rad", language=False,
    )  # fmt: skip
    env = ChunkEnv(world, interface, Rewards(), 0.98)
    done: list[Rollout] = []
    start = draw(world.sheet.parts, "id", np.random.default_rng(0))
    run_episodes(env, Still(), [start], 0, done.append, supervisor=StandIn(world, share, seed=0))
    env.close()
    return done


@pytest.mark.slow
def test_one_that_stands_still_is_helped_to_the_end_and_the_chunks_say_so():
    [rollout] = episodes(1.0)
    assert rollout.success
    first = int(rollout.corrected.argmax())
    patience = InterveneWhen().patience_s * RATE_HZ / (HORIZON // 2)
    assert patience <= first <= patience + 2
    takeovers = np.flatnonzero(np.diff(rollout.corrected.astype(int)) == 1)
    assert len(takeovers) == 2, "once until it is gripped; when that does not help, to the end"
    assert rollout.corrected[-1]
    helped = np.array([chunk.actions[: HORIZON // 2] for chunk in rollout.chunks])[rollout.corrected]
    jumps = np.abs(helped[1:, 0] - helped[:-1, -1]).max(axis=1)
    assert np.median(jumps) < 0.1, "each correction begins where the one before ended"
