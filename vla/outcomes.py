"""Successes of trials by task: as `tandem vla eval --json` writes them, or as an evaluator measures them."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pydantic
from pydantic import BaseModel, NonNegativeInt, PositiveInt, model_validator

from hardware import artefact
from hardware.errors import BadInput, TandemError

log = logging.getLogger(__name__)

Evaluator = Callable[[Path, Sequence[str], Path], None]
"""(policy's folder, tasks, file) → writes the file: `{"tasks": {task: {"successes": …, "trials": …}}}`."""


class Outcome(BaseModel, frozen=True):
    """Of one task. What else a file says of it is left alone."""

    successes: NonNegativeInt
    trials: PositiveInt

    @model_validator(mode="after")
    def _adds_up(self) -> Outcome:
        if self.successes > self.trials:
            raise ValueError(f"{self.successes} successes of {self.trials} trials")
        return self


Outcomes = Mapping[str, Outcome]


class _File(BaseModel):
    env: str | None = None
    tasks: dict[str, Outcome]


class EvaluationFailed(TandemError):
    """The evaluator's command ended with an error."""


def read(file: Path) -> Outcomes:
    """Raises `BadInput` that says what is wrong with the file."""
    found = _content(file).tasks
    if not found:
        raise BadInput(f"{file} has no tasks", "evaluate at least one")
    return found


def place(file: Path) -> str | None:
    """The environment it was measured in; None where the file does not say, or is a policy's folder."""
    return None if file.is_dir() else _content(file).env


def _content(file: Path) -> _File:
    try:
        return _File.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {file}: {error}") from error
    except (ValueError, pydantic.ValidationError) as error:
        reason = str(error).splitlines()
        raise BadInput(
            f"{file} is no evaluation: {'; '.join(reason[:3])}", "tandem vla eval … --json FILE"
        ) from error


def write(file: Path, outcomes: Outcomes) -> None:
    tasks = {task: outcome.model_dump() for task, outcome in outcomes.items()}
    artefact.write_text(file, json.dumps({"tasks": tasks}, indent=2) + "\n")


def measured(evaluator: Evaluator, policy: Path, tasks: Sequence[str], file: Path) -> Outcomes:
    """Runs the evaluator, unless the file is there with all of the tasks. Raises `BadInput` when one is missing."""
    if file.is_file() and set(tasks) <= set(read(file)):
        return read(file)
    evaluator(policy, tasks, file)
    found = read(file)
    missing = [task for task in tasks if task not in found]
    if missing:
        raise BadInput(f"{file} says nothing of {', '.join(missing)}; has: {', '.join(found)}")
    return found


def unfinished(file: Path) -> Path:
    """Where a command writes what will be `file`."""
    return file.with_suffix(".partial.json")


def by_command(template: str) -> Evaluator:
    """An evaluator that is a program: `{policy}` and `{json}` are filled in, `{tasks}` becomes a word for each task.

    It writes to a file beside the wanted one, which appears when the program ends well: one that was stopped finds
    its own file again and may go on from it.
    """
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise BadInput(f"the evaluator '{template}' is no command: {error}", "close its quotation marks") from error
    lacking = [name for name in ("{policy}", "{json}") if not any(name in word for word in words)]
    if lacking:
        raise BadInput(
            f"the evaluator '{template}' has no {' and no '.join(lacking)}",
            "tandem vla eval {policy} --tasks {tasks} --json {json}",
        )

    def evaluate(policy: Path, tasks: Sequence[str], file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = unfinished(file)
        command = [
            filled.replace("{policy}", str(policy)).replace("{json}", str(partial))
            for word in words
            for filled in (tasks if word == "{tasks}" else [word])
        ]
        log.info("%s", shlex.join(command))
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            alone = f"try it alone: {shlex.join(command)}"
            raise EvaluationFailed(f"the evaluator failed: {error}", alone) from error
        if not partial.is_file():
            raise EvaluationFailed("the evaluator wrote no file", f"it must write {partial}")
        partial.replace(file)

    return evaluate
