"""A whole guided run on the bench, through all of its processes: an episode, the way back, an episode, the gate."""

import importlib.util

import numpy as np
import pytest

from hardware import artefact
from hardware import cell as cells
from hardware.bench.arm_models import SO101
from hardware.dataset.store import EpisodeStore
from hardware.episode_writer import backward_store
from rl_online.demos import RecordDemos, record
from rl_online.learning.learner import LearnOnline, learn
from rl_online.learning.replay import read_all
from rl_online.learning.run_folder import DEMOS, ONLINE
from rl_online.lines import read_models
from rl_online.real import session as guided
from rl_online.real.coach import SentEpisode
from rl_online.real.config import (
    ACCEPTED,
    BACKWARD,
    EPISODES,
    GATES,
    LEARNER,
    SENT,
    STARTS,
    BroughtBack,
    GateChecks,
    GuideReal,
    PreparedStart,
)  # fmt: skip
from rl_online.real.gate import Gated, digest
from rl_online.real.report import ReportRun, report
from rl_online.starts.regions import Cell
from rl_online.starts.resets import CellScore, ResetPlan
from tests.rl_online.judges import judge
from vla.backbone import Architecture
from vla.policy import GRIPPER
from vla.sft.config import Evaluation, Optimisation, TrainPolicy
from vla.sft.fine_tuning import sft

SMALL = Architecture(width=64, heads=2, readers=1, context_layers=1, token_layers=1)
STEPS = 60
EPISODE_S = 16.0
PLAN = ResetPlan(
    scores=(
        CellScore(
            cell=Cell(part="id", region="right", lower_m=(0.18, -0.12), upper_m=(0.22, -0.07), yaw_rad=(-0.8, 0.8))
        ),
    )
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> GuideReal:
    """A policy that knows its joints alone, and a judge that is never content: episodes end by time."""
    folder = tmp_path_factory.mktemp("guided")
    record(RecordDemos(output=folder / "demos", count=1, cameras=False, poses=False, aim_error=0.0))
    training = TrainPolicy(
        data=(folder / "demos",),
        output=folder / "sft",
        state_names=(*SO101.joints, GRIPPER),
        language=False,
        horizon_steps=10,
        token_weight=0.0,
        threads=1,
        architecture=SMALL,
        optimisation=Optimisation(steps=STEPS),
        evaluation=Evaluation(every_steps=STEPS, patience=0, held_out_share=0.0),
    )
    assert sft(training) == 0
    taught = LearnOnline(
        policy=folder / "sft" / "policy", output=folder / "twin", demos=(folder / "demos",), preset="conrft",
        offline_steps=4, transitions=0, demo_stride=8,
    )  # fmt: skip
    assert learn(taught) == 0
    artefact.write_model(folder / "plan.json", PLAN)
    artefact.write_model(folder / "cell.json", cells.load("bench").but(episode_s=EPISODE_S))
    return GuideReal(
        cell=str(folder / "cell.json"),
        policy=folder / "twin" / "policy",
        inherit=folder / "twin",
        seed_successes=0,
        plan=folder / "plan.json",
        reward=judge(folder / "judge", -3.0, "cam_front"),
        demos=(folder / "demos",),
        output=folder / "real",
        preset="conrft",
        offline_steps=20,
        episodes=2,
        backward_scripted=True,
        recreate=0,
        gate=GateChecks(trials=2, every_episodes=2),
        json_file=folder / "real.json",
    )


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")
def test_the_robot_resets_its_cell_and_new_weights_go_through_the_gate(settings: GuideReal) -> None:
    run = settings.output
    assert guided.real(settings) == 0

    starts, [back] = read_models(run / STARTS, PreparedStart), read_models(run / BACKWARD, BroughtBack)
    assert [line.placed_by for line in starts] == ["scripted", "robot"]
    assert (back.episode, back.by, back.left) == (1, "scripted", "as_wanted")
    assert starts[1].off_mm <= settings.checks.tolerance_mm

    forward = EpisodeStore.open(run / EPISODES).finished()
    [undone] = EpisodeStore.open(backward_store(run / EPISODES)).finished()
    assert [one.manifest.task for one in forward] == ["put the block into the blue tray"] * 2
    assert [{span.source for span in one.manifest.spans} for one in forward] == [{"policy"}] * 2
    assert undone.manifest.task == "take the block out of the blue tray and put it on the table"
    assert {span.source for span in undone.manifest.spans} == {"scripted"}
    assert undone.manifest.success is True

    sent = read_models(run / SENT, SentEpisode)
    assert [(line.key, line.number) for line in sent] == [("robot", 0), ("robot", 1)]
    tried = read_all(run / LEARNER / ONLINE)
    assert len(tried) == sum(line.chunks for line in sent)  # nothing of the way back
    assert len(np.unique(tried.episode)) == 2
    assert settings.inherit is not None
    theirs, shown = (read_all(folder / DEMOS).id for folder in (settings.inherit, run / LEARNER))
    assert set(theirs.tolist()) < set(shown.tolist())

    acting, said = read_models(run / GATES, Gated)
    assert acting.version == -1
    assert said.version >= 1
    assert said.digest != acting.digest  # the learner has learned
    assert sum(one.trials for one in said.outcomes.values()) == settings.gate.trials
    accepted = run / ACCEPTED
    assert accepted.is_file() == said.accepted
    if said.accepted:
        assert digest(accepted.read_bytes()) == said.digest

    assert settings.json_file is not None
    found = guided.RealFigures.model_validate_json(settings.json_file.read_text())
    assert (found.gates_accepted, found.gates_refused) == (int(said.accepted), int(not said.accepted))
    assert (found.resets.by_robot, found.resets.by_person) == (1, 1)
    assert report(ReportRun(run=run)) == 0
    assert "resets by the robot" in (run / "report.html").read_text()
