"""The gate where it runs, in the coach's own process: weights that fail in the twin stay away from the robot."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load, save

from hardware import announcement, artefact
from hardware.announcement import EpisodeResult
from hardware.spatial import rotvec_from_rotation
from rl_online.demos import RecordDemos, record
from rl_online.learning.agent import Agent
from rl_online.learning.link import LearnerServer
from rl_online.learning.presets import preset
from rl_online.learning.replay import Transitions
from rl_online.lines import read_models
from rl_online.real.config import ACCEPTED, GATES, LEARNER, SETTINGS, GateChecks, GuideReal
from rl_online.real.gate import Gated
from rl_online.starts.regions import Cell
from rl_online.starts.resets import CellScore, ResetPlan
from rl_online.worlds.world import pose_of
from vla.backbone import Architecture
from vla.demonstrations import open_demonstrations
from vla.policy_file import load_policy
from vla.sft.config import Evaluation, Optimisation, TrainPolicy
from vla.sft.fine_tuning import sft

SMALL = Architecture(width=64, heads=2, readers=1, context_layers=1, token_layers=1)
STEPS = 600
HALF_M, HALF_RAD = 0.0005, 0.01
"""Of the one cell of starts: where the one demonstration began."""
DEADLINE_S = 240.0


class Published:
    """A learner's desk with weights to give away."""

    def __init__(self) -> None:
        self.weights: tuple[int, bytes] = (0, b"")
        self.behind = 0
        self.finished = False

    @property
    def version(self) -> int:
        return self.weights[0]

    def newest(self) -> tuple[int, bytes]:
        return self.weights

    def add(self, rows: Transitions) -> int:
        return len(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With policy/, which repeats the one demonstration of demos/; it is told where the block is."""
    made = tmp_path_factory.mktemp("gate")
    record(RecordDemos(output=made / "demos", count=1, cameras=False, aim_error=0.0, noise_rad=0.0))
    config = TrainPolicy(
        data=(made / "demos",),
        output=made / "sft",
        language=False,
        horizon_steps=20,
        token_weight=0.0,
        threads=1,
        architecture=SMALL,
        optimisation=Optimisation(steps=STEPS, learning_rate=2e-3, ema=0.98),
        evaluation=Evaluation(every_steps=STEPS, patience=0, held_out_share=0.0),
    )
    assert sft(config) == 0
    return made


def plan_of(demos: Path) -> ResetPlan:
    shown = open_demonstrations(demos, "demos")
    columns = dict(zip(shown.layout.state_names, shown[0].state[0].tolist(), strict=True))
    T_base_block = pose_of(columns, "block")
    x_m, y_m, _ = T_base_block.translation_m.tolist()
    yaw_rad = float(rotvec_from_rotation(T_base_block.rotation)[2])
    cell = Cell(
        part="id",
        region="shown",
        lower_m=(x_m - HALF_M, y_m - HALF_M),
        upper_m=(x_m + HALF_M, y_m + HALF_M),
        yaw_rad=(yaw_rad - HALF_RAD, yaw_rad + HALF_RAD),
    )
    return ResetPlan(scores=(CellScore(cell=cell),))


@pytest.mark.alone
def test_a_bad_version_is_refused_and_a_good_one_goes_to_the_robot(folder: Path) -> None:
    run, desk = folder / "real", Published()
    good = Agent(load_policy(folder / "sft" / "policy"), preset("conrft")).published()
    bad = save({name: 0 * tensor for name, tensor in load(good).items()})
    artefact.write_model(folder / "plan.json", plan_of(folder / "demos"))
    settings = GuideReal(
        policy=folder / "sft" / "policy",
        plan=folder / "plan.json",
        reward=folder / "judge",
        demos=(folder / "demos",),
        output=run,
        preset="conrft",
        recreate=0,
        gate=GateChecks(trials=4, every_episodes=1),
    )
    (run / LEARNER).mkdir(parents=True)
    artefact.write_model(run / SETTINGS, settings)
    server = LearnerServer(desk, run / LEARNER)
    words = [sys.executable, "-m", "rl_online.real.process", "coach", "--run", str(run)]
    with (folder / "coach.log").open("wb") as log:
        coach = subprocess.Popen(words, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        desk.weights = (1, bad)
        refused = verdict(run, coach, episode=1)
        assert (refused.version, refused.accepted, won(refused)) == (1, False, 0)
        assert not (run / ACCEPTED).exists()
        desk.weights = (2, good)
        accepted = verdict(run, coach, episode=2)
        assert (accepted.version, accepted.accepted, won(accepted)) == (2, True, 4)
        assert (run / ACCEPTED).read_bytes() == good
    finally:
        coach.send_signal(signal.SIGTERM)
        coach.wait(20)
        server.close()


def won(said: Gated) -> int:
    """Of four trials; untried, the one cell counts as demonstrated and as a target."""
    return sum(part.successes for part in said.outcomes.values())


def verdict(run: Path, coach: "subprocess.Popen[bytes]", episode: int) -> Gated:
    """What the gate says after one more episode of the robot."""
    announcement.add_result(run, EpisodeResult(episode=episode, success=True, duration_s=5.0, began_ns=episode))
    until_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < until_s and coach.poll() is None:
        said = [line for line in read_models(run / GATES, Gated) if line.after_episodes == episode]
        if said and said[-1].version >= 0:
            return said[-1]
        time.sleep(0.5)
    raise AssertionError((run.parent / "coach.log").read_text()[-2000:])
