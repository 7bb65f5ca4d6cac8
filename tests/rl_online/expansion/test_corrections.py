"""A policy that is stuck is brought on to the goal, and only the way on is shown; one that is not is left alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float
from numpy import ndarray

from hardware.bench.arm_models import ARMS, TIP
from hardware.bench.tasks.start import TaskStart
from hardware.kinematics import Kinematics, kinematic_model
from rl_online.demos import RecordDemos, record
from rl_online.expansion.corrections import CorrectionGenerator, NothingToCorrect
from rl_online.expansion.expand import ExpandDemos, given_paths
from rl_online.expansion.generators import WarpGenerator
from rl_online.expansion.tries import run
from rl_online.learning.env import ChunkEnv
from rl_online.learning.presets import Rewards
from rl_online.worlds.open_world import WorldChoice, open_world
from vla.policy import Interface, ObservationBatch

COLUMNS = (*ARMS["so101"].joints, "gripper")
FACE = Interface(
    cameras=(), state_names=COLUMNS, action_names=COLUMNS, rate_hz=20.0, horizon_steps=8, language=False
)


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
    ways = WarpGenerator(
        given_paths(config, "block"), "block", Kinematics(kinematic_model(ARMS["so101"]), TIP), ARMS["so101"], 20.0
    )
    stuck = CorrectionGenerator(ways, ShutsItsJaws(), ChunkEnv(world, FACE, Rewards(), 1.0), 20.0)
    world.reset([TaskStart(x_m=0.2, y_m=-0.1, yaw_rad=0.1)], [0])
    episode, _ = run(world, stuck, np.random.default_rng(0), config)
    assert world.moment().progress[0] > 0.95  # the block lies in the tray; a jaw may touch it yet
    assert episode.states[0][5] < 0.1  # what is shown begins with shut jaws, as the policy left them
    opened = next(number for number, action in enumerate(episode.actions) if action[-1] > 0.3)
    assert opened > 5  # it goes up before it opens them

    world.reset([TaskStart(x_m=0.2, y_m=-0.1, yaw_rad=0.1)], [0])
    now = world.moment()
    lifted = now.Ts_base_object.copy()
    lifted[0, 2, 3] += 0.03
    parts = stuck.parts(now, np.random.default_rng(0))
    assert not next(parts).is_shown
    with pytest.raises(NothingToCorrect):
        parts.send(replace(now, Ts_base_object=lifted))
    world.close()
