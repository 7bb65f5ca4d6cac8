"""`tandem vla continual`: tasks one after another in, a policy that knows them all and what it forgot out."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hardware import artefact
from hardware.errors import BadInput
from vla import outcomes, policy_file
from vla.continual import report as continual_report
from vla.continual.config import LearnContinually
from vla.continual.joined import Joined, Part
from vla.continual.open_loop_evaluator import OpenLoopEvaluator
from vla.continual.scores import intervals, scores
from vla.continued import policy_folder
from vla.demonstrations import Demonstrations
from vla.outcomes import Evaluator
from vla.rft import reinforcement
from vla.rft.config import ReinforcePolicy
from vla.rft.process_rewards import gripper_columns
from vla.run_folder import POLICY, REPORT, WORK, git_hash, require_output, write_run
from vla.sft import fine_tuning
from vla.sft.config import TrainPolicy

log = logging.getLogger(__name__)

TASKS = "tasks"
"""What the joined demonstrations are called: one set of ranges for all tasks."""
EVALUATION, SCORES = "eval.json", "continual.json"


@dataclass(frozen=True, eq=False)
class Measured:
    """After stage q on task k. What was not measured has no trial."""

    tasks: tuple[str, ...]
    learned_at: tuple[int, ...]
    """The stage that taught each task."""
    successes: Int[ndarray, "Q K"]
    trials: Int[ndarray, "Q K"]

    @property
    def rates(self) -> Float[ndarray, "Q K"]:
        return np.where(self.trials > 0, self.successes / np.maximum(self.trials, 1), np.nan)


def learn(config: LearnContinually) -> int:
    """Leaves a folder for each stage, `policy/` after the last, `continual.json` and `report.html`."""
    datasets = fine_tuning.opened((*config.base, *config.then))
    measured = run(config, datasets, evaluator_of(config, datasets))
    report(config, measured)
    return 0


def evaluator_of(config: LearnContinually, datasets: Sequence[Demonstrations]) -> Evaluator:
    if config.evaluator != "open-loop":
        return outcomes.by_command(config.evaluator)
    learned = [config.base_demos] * len(config.base) + [config.demos] * len(config.then)
    unseen = {
        dataset.name: Part(dataset, count, len(dataset) - count)
        for dataset, count in zip(datasets, learned, strict=True)
        if len(dataset) > count
    }
    if len(unseen) < len(datasets):
        used_up = [dataset.name for dataset in datasets if dataset.name not in unseen]
        raise BadInput(
            f"no episode of {', '.join(used_up)} is left to evaluate on",
            "learn from fewer (--base-demos, --demos), or give a command that evaluates: --evaluator",
        )
    return OpenLoopEvaluator(unseen, config.error_limit, TASKS)


def run(config: LearnContinually, datasets: Sequence[Demonstrations], evaluator: Evaluator) -> Measured:
    """All stages. One whose evaluation is there is not run again."""
    require_output(config)
    require_usable(config, datasets)
    write_run(config, None)
    names = tuple(dataset.name for dataset in datasets)
    base, later = len(config.base), len(config.then)
    learned_at = (0,) * base + tuple(range(1, later + 1))
    successes = np.zeros((later + 1, len(names)), int)
    trials = np.zeros_like(successes)
    policy: Path | None = None
    for stage in range(later + 1):
        folder = config.output / f"stage-{stage:02}"
        known = names[: base + stage]
        log.info("stage %d of %d: %s", stage, later, ", ".join(known if stage == 0 else known[-1:]))
        policy = taught(config, datasets, stage, policy, folder)
        found = outcomes.measured(evaluator, policy, known, folder / EVALUATION)
        successes[stage, : len(known)] = [found[name].successes for name in known]
        trials[stage, : len(known)] = [found[name].trials for name in known]
        write_scores(config.output / SCORES, Measured(names, learned_at, successes, trials), stage)
    return Measured(names, learned_at, successes, trials)


def require_usable(config: LearnContinually, datasets: Sequence[Demonstrations]) -> None:
    """Every stage's demonstrations are there and fit, before the first one learns for an hour."""
    stages = [material(config, datasets, stage) for stage in range(len(config.then) + 1)]
    if config.base_policy is None:
        teaching = supervised_config(config, 0, None, config.output)
        interface, source = fine_tuning.interface_of(teaching, stages[:1]), "the base"
    else:
        interface = policy_file.read_config(policy_folder(config.base_policy)).interface
        source = str(config.base_policy)
    for stage in stages:
        reinforcement.require_usable(interface, [stage], source)
    gripper_columns(interface.action_names, config.gripper)


def taught(
    config: LearnContinually, datasets: Sequence[Demonstrations], stage: int, before: Path | None, folder: Path
) -> Path:
    """The policy of a stage; at once, where the stage has been evaluated before."""
    last = folder / ("rft" if config.method == "rft" else "sft") / POLICY
    if stage == 0 and config.method == "sft" and config.base_policy is not None:
        return policy_folder(config.base_policy)
    if (folder / EVALUATION).is_file() and last.is_dir():
        return last
    demonstrations = [material(config, datasets, stage)]
    features = config.features or config.output / WORK
    if stage == 0 and config.base_policy is not None:
        supervised = policy_folder(config.base_policy)
    else:
        teaching = supervised_config(config, stage, before, folder / "sft")
        started = fine_tuning.start(teaching, demonstrations, features)
        started.finish()
        fine_tuning.write_report(started)
        supervised = folder / "sft" / POLICY
    if config.method == "rft":
        reinforced = reinforcement.start(
            reinforced_config(config, supervised, folder / "rft"), demonstrations, features
        )
        reinforced.finish()
        reinforcement.write_report(reinforced)
    return last


def material(config: LearnContinually, datasets: Sequence[Demonstrations], stage: int) -> Joined:
    """Of stage 0 the whole base; later, the new task's demonstrations and the first of each earlier one's."""
    base = len(config.base)
    if stage == 0:
        return Joined(TASKS, [Part(dataset, 0, config.base_demos) for dataset in datasets[:base]])
    new = base + stage - 1
    parts = [Part(datasets[new], 0, config.demos)]
    if config.replay:
        parts += [Part(dataset, 0, config.replay) for dataset in datasets[:new]]
    return Joined(TASKS, parts)


def supervised_config(config: LearnContinually, stage: int, before: Path | None, output: Path) -> TrainPolicy:
    return TrainPolicy.model_validate(
        config.sft.model_dump()
        | shared(config)
        | {
            "data": (*config.base, *config.then)[: len(config.base) + stage],
            "output": output,
            "start_from": before,
            "optimisation": config.stage_schedule if stage else config.base_schedule,
        }
    )


def reinforced_config(config: LearnContinually, policy: Path, output: Path) -> ReinforcePolicy:
    return ReinforcePolicy.model_validate(
        shared(config)
        | {
            "policy": policy,
            "data": (*config.base, *config.then),
            "output": output,
            "rewards": config.rewards,
            "gripper": config.gripper,
            "grpo": config.grpo,
            "cached_variants": config.sft.cached_variants,
            "augmentation": config.sft.augmentation,
            "optimisation": config.rft_schedule,
            "evaluation": config.rft_evaluation,
        }
    )


def shared(config: LearnContinually) -> dict[str, object]:
    names = ("seed", "device", "threads", "checkpoint_every_s")
    return {name: getattr(config, name) for name in names}


def write_scores(file: Path, measured: Measured, stage: int) -> dict:
    """Of the stages up to `stage`; tasks that come later are left out."""
    known = [task for task, first in enumerate(measured.learned_at) if first <= stage]
    learned_at = [measured.learned_at[task] for task in known]
    counts = measured.successes[: stage + 1, known], measured.trials[: stage + 1, known]
    found, bounds = scores(measured.rates[: stage + 1, known], learned_at), intervals(*counts, learned_at)
    summary = {
        "tasks": [measured.tasks[task] for task in known],
        "learned_at": learned_at,
        "successes": counts[0].tolist(),
        "trials": counts[1].tolist(),
        "scores": {name: getattr(found, name) for name in bounds},
        "intervals_95": bounds,
        "git": git_hash(),
    }
    artefact.write_text(file, json.dumps(summary, indent=2) + "\n")
    return summary


def report(config: LearnContinually, measured: Measured) -> None:
    summary = write_scores(config.output / SCORES, measured, len(config.then))
    if config.json_file:
        artefact.write_text(config.json_file, json.dumps(summary, indent=2) + "\n")
    facts = [
        ("method", config.method + ("" if config.replay else ", no replay")),
        ("demonstrations", f"{config.base_demos} of a base task, {config.demos} of a later one"),
        ("replayed", f"{config.replay} of each earlier task"),
        ("rewards left out", ", ".join(config.rewards.without) or "none"),
        (
            "success is",
            "an open-loop error below the limit" if config.evaluator == "open-loop" else config.evaluator,
        ),
        ("git", summary["git"] or "unknown"),
    ]
    continual_report.write(config.output / REPORT, facts, measured.tasks, measured.rates, measured.trials, summary)
    for name, value in summary["scores"].items():
        low, high = summary["intervals_95"][name]
        log.info("%s %.3f (95 %%: %.3f … %.3f)", name.upper(), value, low, high)
