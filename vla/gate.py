"""`tandem vla gate OLD NEW`: two evaluations in, a verdict out: has the new policy lost an old task?"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field
from rich.console import Console
from rich.table import Table

from hardware import artefact
from hardware.config import Config
from hardware.errors import BadInput
from vla import outcomes
from vla.intervals import CONFIDENCE, newcombe
from vla.outcomes import Outcome, Outcomes

log = logging.getLogger(__name__)

ALL = "all old tasks"
REFUSED = 1
"""The exit code of a refusal."""


class GatePolicy(Config):
    """Refuses (exit code 1) a new policy that succeeds less often than the old one, beyond the interval of the
    difference, on any task of the old one or on all of them together."""

    old: tyro.conf.Positional[Path]
    """What `tandem vla eval --json` wrote for the old policy; or the policy, with --evaluator."""
    new: tyro.conf.Positional[Path]
    """The same for the new one."""
    evaluator: str = ""
    """Command that measures a policy's folder: 'tandem vla eval {policy} … --tasks {tasks} --json {json}'."""
    tasks: tuple[str, ...] = ()
    """Which tasks must not be lost. Empty: all that the old evaluation has."""
    confidence: float = Field(default=CONFIDENCE, gt=0, lt=1)
    margin: float = Field(default=0.0, ge=0, lt=1)
    """A loss of success rate that is accepted: 0.05 lets five points go."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """The verdicts as JSON."""


class Verdict(Config):
    """Of one task."""

    task: str
    old: tuple[int, int]
    """(successes, trials)"""
    new: tuple[int, int]
    low: float
    """Of the interval of rate(new) − rate(old)."""
    high: float
    lost: bool
    unseen_loss: float
    """The largest loss that so few trials would have let pass."""


def gate(config: GatePolicy) -> int:
    """0: nothing is lost that the trials could show. 1: refused."""
    old = evaluation(config, config.old, config.tasks)
    new = evaluation(config, config.new, config.tasks or tuple(old))
    require_one_place(config)
    verdicts = compare(old, new, config.tasks, config.confidence, config.margin)
    Console().print(table(verdicts, config))
    lost = [verdict.task for verdict in verdicts if verdict.lost]
    if config.json_file:
        report = {"refused": bool(lost), "lost": lost, "verdicts": [verdict.model_dump() for verdict in verdicts]}
        artefact.write_text(config.json_file, json.dumps(report, indent=2) + "\n")
    if lost:
        log.error("refused: the new policy has lost %s", ", ".join(lost))
        return REFUSED
    worst = max(verdicts, key=lambda verdict: verdict.unseen_loss)
    log.info("accepted; on '%s' a loss of %.0f points would have passed", worst.task, 100 * worst.unseen_loss)
    return 0


def require_one_place(config: GatePolicy) -> None:
    """Raises `BadInput` for files of `tandem vla eval` in two environments: tasks may have one name there."""
    old, new = (outcomes.place(given) for given in (config.old, config.new))
    if old is not None and new is not None and old != new:
        raise BadInput(f"{config.old} was measured in {old}, {config.new} in {new}", "measure both in one place")


def evaluation(config: GatePolicy, given: Path, tasks: Sequence[str]) -> Outcomes:
    """A file is read; a policy's folder is measured first, into a file beside it, which holds until the policy or the
    evaluator changes."""
    if not given.is_dir():
        return outcomes.read(given)
    if not config.evaluator:
        raise BadInput(
            f"{given} is a policy, and no evaluator is given", "--evaluator 'tandem vla eval {policy} …'"
        )
    evaluator, file = outcomes.by_command(config.evaluator), given.with_name(f"{given.name}.eval.json")
    forget_others(file, key_of(given, config.evaluator))
    return outcomes.measured(evaluator, given, tasks, file)


def forget_others(file: Path, key: str) -> None:
    """An evaluation that is not `key`'s is removed, a half one too: trials of two policies must not be mixed."""
    said = file.with_suffix(".key")
    if said.is_file() and said.read_text(encoding="utf-8") == key:
        return
    for old in (file, outcomes.unfinished(file)):
        if old.exists():
            log.info("%s is of another policy or evaluator: measuring anew", old)
            old.unlink()
    artefact.write_text(said, key)


def key_of(policy: Path, evaluator: str) -> str:
    """Of the command, and of all that the policy's folder holds; of adapters' base too."""
    from vla.adapters import adapter_folder  # it imports torch, which two files of numbers do not need

    files = sorted(file for file in policy.rglob("*") if file.is_file())
    base = adapter_folder.weights(policy)[:1] if adapter_folder.is_one(policy) else []
    names = "\n".join(str(file.relative_to(policy)) for file in files)
    contents = adapter_folder.digest([*files, *base]).hexdigest()
    return hashlib.sha256(f"{evaluator}\n{names}\n{contents}".encode()).hexdigest()


def compare(
    old: Outcomes,
    new: Outcomes,
    tasks: Sequence[str] = (),
    confidence: float = CONFIDENCE,
    margin: float = 0.0,
) -> list[Verdict]:
    """By task, then of all together, where a small loss on each adds up. Raises `BadInput` for one not measured."""
    wanted = tuple(tasks) or tuple(old)
    for name, found in (("old", old), ("new", new)):
        missing = [task for task in wanted if task not in found]
        if missing:
            raise BadInput(
                f"the {name} evaluation lacks {', '.join(missing)}; has: {', '.join(found)}", "evaluate them too"
            )
    pairs = [(task, old[task], new[task]) for task in wanted]
    if len(pairs) > 1:
        pairs.append((ALL, summed([old[task] for task in wanted]), summed([new[task] for task in wanted])))
    return [verdict(task, before, after, confidence, margin) for task, before, after in pairs]


def verdict(task: str, old: Outcome, new: Outcome, confidence: float, margin: float) -> Verdict:
    """Lost: the whole interval of the difference lies below −margin."""
    low, high = newcombe(new.successes, new.trials, old.successes, old.trials, confidence)
    passing = [
        won
        for won in range(new.trials + 1)
        if newcombe(won, new.trials, old.successes, old.trials, confidence)[1] >= -margin
    ]
    return Verdict(
        task=task,
        old=(old.successes, old.trials),
        new=(new.successes, new.trials),
        low=float(low),
        high=float(high),
        lost=bool(high < -margin),
        unseen_loss=max(0.0, old.successes / old.trials - passing[0] / new.trials),
    )


def summed(parts: Sequence[Outcome]) -> Outcome:
    return Outcome(successes=sum(part.successes for part in parts), trials=sum(part.trials for part in parts))


def table(verdicts: Sequence[Verdict], config: GatePolicy) -> Table:
    made = Table(title=f"new − old, {config.confidence:.0%} intervals (Newcombe)")
    for head in ("task", "old", "new", "difference, points", "verdict"):
        made.add_column(head)
    for each in verdicts:
        change = 100 * (each.new[0] / each.new[1] - each.old[0] / each.old[1])
        made.add_row(
            each.task,
            f"{each.old[0]}/{each.old[1]}",
            f"{each.new[0]}/{each.new[1]}",
            f"{change:+.0f}  ({100 * each.low:+.0f} … {100 * each.high:+.0f})",
            "LOST" if each.lost else "kept",
        )
    return made
