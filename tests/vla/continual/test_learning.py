"""Stages of tasks: who learns from what, what is measured when, and a stop costs nothing that was finished."""

import json
from pathlib import Path

import dot_task
import numpy as np
import pytest
import small_policy
from dot_task import LAYOUT

from hardware.errors import BadInput, TandemError
from vla import outcomes, policy_file
from vla.continual import learning
from vla.continual.config import LearnContinually, Teaching
from vla.continual.joined import Joined, Part
from vla.continual.open_loop_evaluator import OpenLoopEvaluator
from vla.demonstrations import ArrayDemonstrations
from vla.outcomes import Outcome
from vla.rft.config import Grpo, RftEvaluation, RftSchedule
from vla.sft.config import Evaluation, Optimisation

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAMES = ("red", "green", "blue", "white")


def config(out: Path, **changes: object) -> LearnContinually:
    """Two base tasks of three demonstrations, then two of two, with a replay of one."""
    schedule = Optimisation(steps=1, batch=4, warmup_steps=0)
    values = {
        "base": ("red", "green"),
        "then": ("blue", "white"),
        "output": out,
        "method": "sft",
        "base_demos": 3,
        "demos": 2,
        "replay": 1,
        "threads": 1,
        "device": "cpu",
        "sft": Teaching(
            horizon_steps=4,
            architecture=small_policy.SMALL,
            fast_vocabulary=128,
            cached_variants=1,
            evaluation=Evaluation(every_steps=1, most_windows=4, held_out_share=0.0),
        ),
        "base_schedule": schedule,
        "stage_schedule": schedule,
        "rft_schedule": RftSchedule(steps=1, batch=2),
        "rft_evaluation": RftEvaluation(every_steps=1, most_windows=4, held_out_share=0.0),
        "grpo": Grpo(group=2),
    }
    return LearnContinually.model_validate(values | changes)


def datasets() -> list[ArrayDemonstrations]:
    return [dot_task.demonstrations(4, name, seed=number) for number, name in enumerate(NAMES)]


class Fading:
    """An evaluator: of 10 trials, 8 succeed on a new task and one less after each later stage."""

    def __init__(self, stop_before: int = 99) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.stop_before = stop_before

    def __call__(self, policy: Path, tasks, file: Path) -> None:
        if len(self.asked) == self.stop_before:
            raise TandemError("the robot was switched off")
        assert policy_file.load_policy(policy).interface.horizon_steps == 4
        self.asked.append((policy.parts[-3], tuple(tasks)))
        stage = len(tasks) - 2
        born = [0, 0, 1, 2]
        outcomes.write(
            file, {task: Outcome(successes=8 - (stage - born[k]), trials=10) for k, task in enumerate(tasks)}
        )


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[LearnContinually, learning.Measured, Fading]:
    """A whole run that was stopped once, before its last evaluation."""
    told = config(tmp_path_factory.mktemp("continual"))
    with pytest.raises(TandemError, match="switched off"):
        learning.run(told, datasets(), Fading(stop_before=2))
    after = Fading()
    return told, learning.run(told, datasets(), after), after


def test_each_stage_is_measured_on_all_tasks_so_far(learned) -> None:
    told, measured, _ = learned
    assert measured.learned_at == (0, 0, 1, 2)
    np.testing.assert_array_equal(measured.trials, [[10, 10, 0, 0], [10, 10, 10, 0], [10, 10, 10, 10]])
    np.testing.assert_array_equal(measured.successes, [[8, 8, 0, 0], [7, 7, 8, 0], [6, 6, 7, 8]])
    learning.report(told, measured)
    summary = json.loads((told.output / "continual.json").read_text())
    assert summary["scores"]["fwt"] == pytest.approx(0.8)
    assert summary["scores"]["nbt"] == pytest.approx((0.15 + 0.15 + 0.1) / 3)
    assert summary["scores"]["auc"] == pytest.approx((0.7 + 0.7 + 0.75 + 0.8) / 4)
    low, high = summary["intervals_95"]["auc"]
    assert low < summary["scores"]["auc"] < high
    page = (told.output / "report.html").read_text(encoding="utf-8")
    assert "60% of 10" in page
    assert "data:image/png" in page


def test_stages_that_were_finished_are_not_run_again(learned) -> None:
    _, _, after = learned
    assert after.asked == [("stage-02", NAMES)]


def test_a_stage_goes_on_from_the_one_before(learned) -> None:
    told, _, _ = learned
    base, last = (policy_file.load_policy(told.output / f"stage-0{n}" / "sft" / "policy") for n in (0, 2))
    assert base.config.normalisation == last.config.normalisation
    assert list(base.config.normalisation) == ["tasks"]
    assert base.fast.stored == last.fast.stored
    run = json.loads((told.output / "stage-02" / "sft" / "run.json").read_text())
    assert run["config"]["start_from"].endswith("stage-01/sft/policy")


def test_a_stage_learns_from_its_task_and_replays_the_earlier_ones(tmp_path) -> None:
    told, tasks = config(tmp_path), datasets()
    assert len(learning.material(told, tasks, 0)) == 2 * 3
    third = learning.material(told, tasks, 2)
    assert len(third) == 2 + 3 * 1
    own = [tasks[3][0], tasks[3][1], tasks[0][0], tasks[1][0], tasks[2][0]]
    assert all(third[number] is episode for number, episode in enumerate(own))
    assert len(learning.material(config(tmp_path, replay=0), tasks, 2)) == 2


def test_rewards_follow_in_each_stage_from_a_base_policy(taught: Path, tmp_path) -> None:
    told = config(tmp_path, method="rft", base_policy=taught, then=("blue",))
    evaluator = Fading()
    learning.run(told, datasets()[:3], evaluator)
    assert [stage for stage, _ in evaluator.asked] == ["stage-00", "stage-01"]
    assert not (tmp_path / "stage-00" / "sft").exists(), "the base policy is there"
    run = json.loads((tmp_path / "stage-01" / "rft" / "run.json").read_text())
    assert run["config"]["policy"].endswith("stage-01/sft/policy")
    before = json.loads((tmp_path / "stage-01" / "sft" / "run.json").read_text())
    assert before["config"]["start_from"].endswith("stage-00/rft/policy")


def test_open_loop_counts_episodes_that_no_stage_learned_from(taught: Path, tmp_path) -> None:
    """The limit between the errors of two unseen episodes lets one of them through."""
    part = Part(dot_task.demonstrations(4, "red", seed=8), 2, 2)
    policy = policy_file.load_policy(taught / "policy")
    errors = sorted(OpenLoopEvaluator({}, 1.0, "dots").error(policy, part, number) for number in (2, 3))
    assert 0 < errors[0] < errors[1]
    evaluator = OpenLoopEvaluator({"red": part}, sum(errors) / 2, "dots")
    evaluator(taught / "policy", ["red"], tmp_path / "eval.json")
    assert outcomes.read(tmp_path / "eval.json") == {"red": Outcome(successes=1, trials=2)}


def test_what_cannot_be_learned_or_measured_is_refused(tmp_path) -> None:
    with pytest.raises(BadInput, match="'red' has 4 episodes, 9 are needed"):
        learning.run(config(tmp_path / "a", base_demos=9), datasets(), Fading())
    slow = [*datasets()[:3], ArrayDemonstrations("white", LAYOUT.but(rate_hz=20.0), datasets()[3].episodes)]
    wrong = {
        "no action 'thumb'": (datasets(), {"gripper": ("x", "thumb")}),
        "20\\.0": (slow, {}),
        "longer than any episode": (datasets(), {"sft": config(tmp_path).sft.but(horizon_steps=99)}),
        "holds no TandemVLA policy": (datasets(), {"base_policy": tmp_path / "none"}),
    }
    for said, (tasks, changes) in wrong.items():
        with pytest.raises(BadInput, match=said):
            learning.run(config(tmp_path / "a", **changes), tasks, Fading())
    assert not (tmp_path / "a").exists(), "nothing is begun"
    with pytest.raises(BadInput, match="no episode of red, green is left"):
        learning.evaluator_of(config(tmp_path / "b", base_demos=4), datasets())
    with pytest.raises(ValueError, match="two tasks have the same name"):
        config(tmp_path / "c", then=("elsewhere/red",))
    base = dot_task.demonstrations(3, "fast")
    fast = ArrayDemonstrations("fast", base.layout.but(rate_hz=20.0), base.episodes)
    with pytest.raises(BadInput, match=r"20\.0 Hz"):
        Joined("tasks", [Part(base, 0, 1), Part(fast, 0, 1)])
