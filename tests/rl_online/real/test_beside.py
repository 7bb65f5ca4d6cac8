"""What watches over a guided run: pre-flight, the gate of new weights, failures that join the plan."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware import artefact
from hardware.bench.arm_models import SO101
from hardware.bench.demonstrator import Demonstrator
from hardware.bench.plant import Plant
from hardware.bench.plant_config import PlantConfig
from hardware.bench.tasks.start import TaskStart
from hardware.messages import NANOSECONDS_PER_SECOND
from rl_online.learning.env import ChunkEnv
from rl_online.learning.presets import Rewards
from rl_online.lines import add_line, read_models
from rl_online.real.config import ACCEPTED, GATES, SETTLED, GateChecks
from rl_online.real.gate import Gated, Settled, WeightGate, fixed_starts, is_due, is_settled
from rl_online.real.preflight import DEEPEST_M, Preflight, open_preflight
from rl_online.real.recreate import Recreated, grown, recreate
from rl_online.starts.regions import Fineness, grid
from rl_online.starts.resets import CellScore, ResetPlan
from rl_online.worlds.open_world import WorldChoice
from tests.rl_online.slider import ID, OOD, SliderWorld, interface

HOME = np.array([*SO101.home_rad, 1.0])
PLAN = ResetPlan(
    scores=tuple(
        CellScore(cell=cell, rollouts=10, successes=10 if cell.part == "id" else 0)
        for cell in grid([("id", ID), ("ood", OOD)], Fineness(cell_m=0.2))
    )
)


@pytest.fixture(scope="module")
def bench() -> Preflight:
    return open_preflight(WorldChoice())


def test_a_chunk_into_the_table_is_refused_and_one_above_it_is_not(bench: Preflight) -> None:
    above = HOME + np.linspace(0, 1, 8)[:, None] * np.array([0.3, 0, 0, 0, 0, 0])
    assert bench.collision(HOME[:-1], above) is None
    down = HOME + np.linspace(0, 1, 8)[:, None] * np.array([0, 1.6, 0.3, 0, 0, 0])
    found = bench.collision(HOME[:-1], down)
    assert found is not None
    assert found.depth_m > DEEPEST_M
    assert f"step {found.step}" in str(found)


def test_what_a_demonstrator_does_is_let_through(bench: Preflight) -> None:
    plant, demonstrator = Plant(PlantConfig(cameras={})), Demonstrator("pick_place", "so101")
    plant.reset(seed=3)
    refused, asked = 0, 0
    for step in range(18):
        now_ns = round(step * 0.4 * NANOSECONDS_PER_SECOND)
        chunk = demonstrator.chunk(now_ns, plant.reading(), plant.gripper(), plant.truth())
        refused += bench.collision(plant.reading().q_rad, chunk.values[:8]) is not None
        asked += 1
        for row in chunk.values[:8]:
            plant.command(row[:-1], float(row[-1]))
            plant.advance(0.05)
    assert refused == 0
    assert asked == 18


class Follows:
    """Pushes to the goal, or stands still: what its 'weights' say."""

    def __init__(self) -> None:
        self.reach = 0.0

    def act(self, observations: object, seed: int = 0) -> np.ndarray:
        rows = len(observations.state)  # type: ignore[attr-defined]
        return np.tile([self.reach, 1.0], (rows, 4, 1)).astype(np.float32)


@pytest.fixture
def gated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightGate:
    policy: Any = Follows()

    def take(of: Follows, weights: bytes) -> None:
        of.reach = float(weights)

    monkeypatch.setattr("rl_online.real.gate.take_weights", take)
    env = ChunkEnv(SliderWorld(1), interface(), Rewards(), 0.98)
    gate = WeightGate.__new__(WeightGate)
    gate._run, gate._policy, gate._env, gate._seed = tmp_path, policy, env, 0
    gate._checks = GateChecks(trials=8)
    gate.starts = fixed_starts(PLAN, 8, 0)
    return gate


def test_weights_that_lose_stay_away_from_the_robot_and_better_ones_go(gated: WeightGate, tmp_path: Path) -> None:
    good, bad = b"0.5", b"0.0"
    refused = gated.judge(3, bad, good, 4)
    assert not refused.accepted
    assert "lost" in refused.why
    assert not (tmp_path / ACCEPTED).exists()
    accepted = gated.judge(5, good, bad, 8)
    assert accepted.accepted
    assert (tmp_path / ACCEPTED).read_bytes() == good
    lines = read_models(tmp_path / GATES, Gated)
    assert [line.version for line in lines] == [
        -1,
        3,
        5,
    ]  # the first line: what acted before; 'bad' is known by then


def test_the_gate_is_due_every_few_episodes_and_settled_when_asked_or_nothing_is_new(tmp_path: Path) -> None:
    assert not is_due(tmp_path, 4, episodes=3)
    assert is_settled(tmp_path, 4, episodes=3)
    assert is_due(tmp_path, 4, episodes=5)
    assert not is_settled(tmp_path, 4, episodes=5)
    artefact.write_model(tmp_path / SETTLED, Settled(after_episodes=5))  # the learner had nothing newer
    assert is_settled(tmp_path, 4, episodes=5)
    assert not is_settled(tmp_path, 4, episodes=6)
    said = Gated(version=2, digest="d", after_episodes=6, outcomes={}, accepted=True, why="")
    add_line(tmp_path / GATES, said.but(version=-1))  # of the weights that act: no question
    assert is_due(tmp_path, 4, episodes=6)
    add_line(tmp_path / GATES, said)
    assert not is_due(tmp_path, 4, episodes=9)
    assert is_settled(tmp_path, 4, episodes=9)
    assert is_due(tmp_path, 4, episodes=10)


def test_the_gates_starts_are_of_both_kinds_and_always_the_same() -> None:
    once, again = fixed_starts(PLAN, 6, 3), fixed_starts(PLAN, 6, 3)
    assert once == again
    assert [name for name, _ in once] == ["id", "target"] * 3
    assert all((ID if name == "id" else OOD).contains(start) for name, start in once)


def test_a_failure_is_replayed_in_the_twin_and_joins_the_grid() -> None:
    env, start = ChunkEnv(SliderWorld(1), interface(), Rewards(), 0.98), TaskStart(x_m=0.3, y_m=0.0, yaw_rad=0)
    idle = Follows()
    moved = recreate(env, idle, 7, start, np.tile([0.5, 1.0], (12, 1)), rollouts=3, seed=0)
    assert moved.replay_succeeded  # the twin does not know this failure
    stood = recreate(env, idle, 8, start, np.tile([0.0, 1.0], (12, 1)), rollouts=3, seed=0)
    assert not stood.replay_succeeded
    assert (stood.rollouts, stood.successes) == (3, 0)


def test_a_start_outside_the_grid_gets_a_cell_of_its_own() -> None:
    outside = Recreated(
        episode=1, start=TaskStart(x_m=0.25, y_m=0.3, yaw_rad=0), replay_succeeded=False, rollouts=4, successes=0
    )
    inside = outside.model_copy(update={"start": TaskStart(x_m=0.35, y_m=0.05, yaw_rad=0), "successes": 3})
    plan = grown(PLAN, [outside, inside, outside])
    assert len(plan.scores) == len(PLAN.scores) + 1
    new = plan.scores[-1]
    assert (new.cell.region, new.rollouts, new.successes) == ("recreated", 8, 0)
    assert sum(score.rollouts for score in plan.scores) == sum(score.rollouts for score in PLAN.scores) + 12
    assert sum(score.successes for score in plan.scores[:-1]) == sum(score.successes for score in PLAN.scores) + 3
