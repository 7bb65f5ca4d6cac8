"""A policy that is stuck is brought on to the goal, and only the way on is shown; one that is not is left alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.arm_models import ARMS
from hardware.bench.tasks.start import TaskStart
from hardware.errors import BadInput
from rl_online.actor import ActOnline, open_supervisor
from rl_online.demos import RecordDemos, record
from rl_online.expansion.corrections import PATIENCE_S, CorrectionGenerator, Corrector, NothingToCorrect, Way
from rl_online.expansion.expand import ExpandDemos, open_ways, paths_of
from rl_online.expansion.generators import Part
from rl_online.expansion.tries import run
from rl_online.learning.env import ChunkEnv
from rl_online.learning.presets import Rewards
from rl_online.learning.returns import worth_imitating
from rl_online.learning.rollout import Rollout, run_episodes
from rl_online.worlds.open_world import WorldChoice, open_world
from rl_online.worlds.world import Moment
from tests.rl_online.slider import SliderWorld, interface
from vla.policy import Interface, ObservationBatch

COLUMNS = (*ARMS["so101"].joints, "gripper")
FACE = Interface(
    cameras=(), state_names=COLUMNS, action_names=COLUMNS, rate_hz=20.0, horizon_steps=8, language=False
)

START = TaskStart(x_m=0.2, y_m=-0.1, yaw_rad=0.1)


class ShutsItsJaws:
    """Where it stands, on nothing, and stays so."""

    def act(self, observations: ObservationBatch, seed: int = 0) -> Float[ndarray, "B T D"]:
        held = observations.state.astype(np.float64).copy()
        held[:, -1] = 0.0
        return np.repeat(held[:, None], FACE.horizon_steps, axis=1)


@pytest.mark.slow
def test_the_way_on_from_shut_jaws_is_shown_and_what_came_before_is_not(tmp_path: Path):
    """The bench's plant decides."""
    record(RecordDemos(output=tmp_path / "demos", count=2, cameras=False, aim_error=0.0))
    config = ExpandDemos(demos=tmp_path / "demos", output=tmp_path / "wide", cameras=False)
    world = open_world(WorldChoice(camera_px=8))
    ways = open_ways("so101", world, paths_of(tmp_path / "demos", "so101", "block"))
    stuck = CorrectionGenerator(ways, ShutsItsJaws(), ChunkEnv(world, FACE, Rewards(), 1.0), 20.0)
    world.reset([START], [0])
    episode, _ = run(world, stuck, np.random.default_rng(0), config)
    assert world.moment().progress[0] > 0.95  # the block lies in the tray; a jaw may touch it yet
    assert episode.states[0][5] < 0.1  # what is shown begins with shut jaws, as the policy left them
    opened = next(number for number, action in enumerate(episode.actions) if action[-1] > 0.3)
    assert opened > 5  # it goes up before it opens them

    world.reset([START], [0])
    now = world.moment()
    lifted = now.Ts_base_object.copy()
    lifted[0, 2, 3] += 0.03
    parts = stuck.parts(now, np.random.default_rng(0))
    assert not next(parts).is_shown
    with pytest.raises(NothingToCorrect):
        parts.send(replace(now, Ts_base_object=lifted))
    world.close()


@pytest.mark.slow
def test_one_that_is_stuck_beside_an_actor_is_brought_to_the_goal_by_a_bent_demonstration(tmp_path: Path):
    """Two at once in the bench's plants: one is looked at. What was corrected is what is learned from."""
    record(RecordDemos(output=tmp_path / "demos", count=2, cameras=False, aim_error=0.0))
    world = open_world(WorldChoice(camera_px=8), 2)
    ways = open_ways("so101", world, paths_of(tmp_path / "demos", "so101", "block"))
    env = ChunkEnv(world, FACE, Rewards(), 0.98)
    looks = Corrector(world, ways, env.execute_steps, share=1.0, seed=0)
    begin, seen = looks.begin, []

    def begin_one(env_number: int) -> None:
        seen.append(env_number)
        looks.share = 1.0 - env_number
        begin(env_number)

    looks.begin = begin_one  # type: ignore[method-assign]
    done: dict[int, Rollout] = {}
    run_episodes(
        env, ShutsItsJaws(), [START, START], 0, lambda one: done.update({one.number: one}), supervisor=looks
    )
    env.close()
    assert seen == [0, 1]
    assert done[0].success
    assert not done[1].success
    assert not done[1].corrected.any()
    first = int(done[0].corrected.argmax())
    per_chunk_s = env.execute_steps / world.rate_hz
    assert PATIENCE_S[0] <= first * per_chunk_s <= PATIENCE_S[1] + 3.0
    assert done[0].corrected[first:].all()
    imitated = worth_imitating(done[0].success, done[0].corrected)
    assert imitated.tolist() == done[0].corrected.tolist()


def test_a_twin_without_demonstrations_to_bend_has_nobody_who_helps(tmp_path: Path):
    env = ChunkEnv(SliderWorld(), interface(), Rewards(), 0.98)
    assert open_supervisor(ActOnline(run=tmp_path), env, 0) is None
    with pytest.raises(BadInput, match="nobody does"):
        open_supervisor(ActOnline(run=tmp_path, ways=tmp_path), env, 0)
    with pytest.raises(BadInput, match="without demonstrations to bend"):
        open_supervisor(ActOnline(run=tmp_path, helped=0.5), env, 0)


def test_a_way_holds_its_last_row_and_asks_what_came_of_each_part():
    def parts():
        now = yield Part(np.arange(3.0)[:, None])
        yield Part(10 + now.gripper_open[:1, None])

    way = Way(parts())
    here = Moment(np.zeros((1, 5)), np.full(1, 0.5), np.eye(4)[None], np.zeros(1, bool), np.zeros(1))
    assert way.chunk(here, 4, 2)[:, 0].tolist() == [0, 1, 2, 2]
    assert way.chunk(here, 4, 2)[:, 0].tolist() == [2, 2, 2, 2]
    assert way.chunk(here, 4, 2)[:, 0].tolist() == [10.5] * 4
    assert way.chunk(here, 4, 2) is None
