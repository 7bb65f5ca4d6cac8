"""`tandem vla eval`: a policy's folder in, its successes in an environment out, with Wilson's intervals.

In-process environments answer to `vla.environments.environment`; outside benchmarks are started as programs and ask
the policy over its websocket. The same command goes on after a stop, trial by trial, where `--json` is given.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import tempfile
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field, NonNegativeInt, PositiveInt
from rich.console import Console
from rich.table import Table

from hardware import artefact
from hardware.bench.plant_config import TaskName
from hardware.config import Config
from hardware.errors import BadInput
from hardware.progress import progress
from vla import policy_file
from vla.adapters import adapter_folder
from vla.adapters import folder as folders
from vla.environments import environment, peer
from vla.intervals import wilson
from vla.policy import Interface, Policy
from vla.served_tandem import ServedTandem

log = logging.getLogger(__name__)

FIRST_TASK: TaskName = "pick_place"
"""Of a twin, where none is named."""
Outcomes = dict[str, list[int]]
"""Task → 1 or 0 for each of its trials, in their order."""


class EvaluatePolicy(Config):
    """How often does a policy succeed? One table, a line for each task."""

    policy: tyro.conf.Positional[Path]
    """A folder of `tandem vla sft`, or a LeRobot checkpoint."""
    env: str = "bench"
    """bench, twin, metaworld, libero, or module:function of an environment of your own."""
    bundle: Path | None = None
    """Of env twin: a twin bundle with contact."""
    task: TaskName | Path | None = None
    """Of env twin: one of the bench's (None: pick_place), or a file that describes your own (`tandem rl task`)."""
    peer_command: str | None = None
    """In place of --env: a program that asks the policy itself; it is given --port, --json, --trials and --tasks."""
    tasks: tuple[str, ...] = ()
    """Empty: all that the environment has."""
    trials: PositiveInt = 50
    """Of each task."""
    seed: NonNegativeInt = 0
    """Of the starts, in-process only: a benchmark has its own."""
    device: str = "cpu"
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = Field(default=None)
    """The result, trial by trial; what is in it already is not run again."""


def run(config: EvaluatePolicy) -> int:
    file = config.json_file
    if file is not None:
        evaluate(config, file)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        evaluate(config, Path(folder) / "eval.json")
    return 0


def evaluate(config: EvaluatePolicy, file: Path) -> Outcomes:
    """Leaves the result in `file`. Raises `BadInput` for a file of another policy or environment."""
    require_twin(config)
    about = identity(config)
    outcomes = read(file, about)
    policy = folders.open_policy(config.policy, config.device)
    if config.peer_command is not None or config.env in peer.PEERS:
        outcomes = by_peer(config, policy, file)
    else:
        in_process(config, policy, outcomes, file, about)
    write(file, about, outcomes)
    Console().print(table(outcomes, config))
    return outcomes


def in_process(
    config: EvaluatePolicy, policy: Policy, outcomes: Outcomes, file: Path, about: dict[str, object]
) -> None:
    """Every trial that `outcomes` lacks; the file is written after each."""
    place = opened(config, policy.interface)
    try:
        tasks = chosen(config.tasks, place.tasks)
        left = sum(max(0, config.trials - len(outcomes.get(task, []))) for task in tasks)
        with progress(f"trials in {config.env}", left) as advance:
            for task in tasks:
                row = outcomes.setdefault(task, [])
                while len(row) < config.trials:
                    row.append(int(place.trial(task, len(row), lambda seen: policy.chunk([seen])[0])))
                    write(file, about, outcomes)
                    advance(f"{task}: {sum(row)} of {len(row)}")
    finally:
        place.close()


def require_twin(config: EvaluatePolicy) -> None:
    """Raises `BadInput` where a twin lacks its bundle, and where something else was given one, or its task."""
    is_twin = config.env == environment.TWIN and config.peer_command is None
    if is_twin != (config.bundle is not None) or (config.task is not None and not is_twin):
        raise BadInput(
            f"--env {config.env} with --bundle {config.bundle} and --task {config.task}",
            "--env twin --bundle TWIN [--task FILE]; other environments have --tasks",
        )


def opened(config: EvaluatePolicy, interface: Interface) -> environment.Environment:
    """Raises `BadInput` for a policy that does not fit."""
    opener = environment.find(config.env)
    if config.bundle is None:
        return opener(interface, config.seed)
    return opener(interface, config.seed, bundle=config.bundle, task=config.task or FIRST_TASK)


def by_peer(config: EvaluatePolicy, policy: Policy, file: Path) -> Outcomes:
    """The program keeps its own file, beside ours, to go on with."""
    command = words(config.peer_command) if config.peer_command is not None else peer.command_of(config.env)
    kept = peers_file(file)
    peer.run(command, ServedTandem(policy), config.policy, kept, config.tasks, config.trials)
    return parsed(kept)


def peers_file(file: Path) -> Path:
    return file.with_suffix(".peer.json")


def words(command: str) -> list[str]:
    """As a shell splits them."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise BadInput(f"'{command}' is no command: {error}", "close its quotation marks") from error


def chosen(wanted: tuple[str, ...], have: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [task for task in wanted if task not in have]
    if unknown:
        raise BadInput(f"no task '{unknown[0]}'; have: {', '.join(have)}")
    return wanted or have


# ── the file ────────────────────────────────────────────────────────────────────────────────────────────────


def identity(config: EvaluatePolicy) -> dict[str, object]:
    """What a result belongs to: weights and settings, not their path; environment; seed."""
    digest = adapter_folder.digest(adapter_folder.weights(config.policy))
    for settings in (policy_file.CONFIG, "config.json"):
        if (config.policy / settings).exists():
            digest.update((config.policy / settings).read_bytes())
    return {"policy": digest.hexdigest(), "env": place_of(config), "seed": config.seed}


def place_of(config: EvaluatePolicy) -> str:
    """A twin with what its task's file says, which may be changed by hand."""
    if config.bundle is None:
        return config.peer_command or config.env
    task = config.task or FIRST_TASK
    said = f", as of {hashlib.sha256(task.read_bytes()).hexdigest()[:12]}" if isinstance(task, Path) else ""
    return f"{config.env} {config.bundle}: {task}{said}"


def read(file: Path, about: dict[str, object]) -> Outcomes:
    """Empty where there is no file yet; it is then begun, so that it cannot be taken for another policy's, and what a
    peer left beside a former one is removed."""
    if not file.exists():
        peers_file(file).unlink(missing_ok=True)
        write(file, about, {})
        return {}
    before = content(file)
    changed = [key for key in about if before.get(key) != about[key]]
    if changed:
        raise BadInput(f"{file} is of another {' and '.join(changed)}", "give another file, or remove it")
    return parsed(file)


def content(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {file}: {error}") from error
    if not isinstance(found, dict):
        raise BadInput(f"{file} is no evaluation")
    return found


def parsed(file: Path) -> Outcomes:
    """Also of a peer that counts only: its trials are then put successes first."""
    try:
        tasks = content(file)["tasks"]
        return {
            task: list(
                map(int, row.get("outcomes", [1] * row["successes"] + [0] * (row["trials"] - row["successes"])))
            )
            for task, row in tasks.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{file} is no evaluation: {error!r}") from error


def write(file: Path, about: dict[str, object], outcomes: Outcomes) -> None:
    tasks: dict[str, object] = {}
    for task, row in outcomes.items():
        if row:
            low, high = wilson(sum(row), len(row))
            tasks[task] = {
                "successes": sum(row),
                "trials": len(row),
                "wilson_95": [float(low), float(high)],
                "outcomes": row,
            }
    artefact.write_text(file, json.dumps(about | {"tasks": tasks}, indent=2) + "\n")


def table(outcomes: Outcomes, config: EvaluatePolicy) -> Table:
    where = place_of(config)
    made = Table("task", "successes", "rate", "95 % interval", title=f"{config.policy} in {where} (simulated)")
    rows = list(outcomes.items())
    if len(rows) > 1:
        rows.append(("all", [outcome for _, row in rows for outcome in row]))
    for task, row in rows:
        if row:
            low, high = wilson(sum(row), len(row))
            made.add_row(task, f"{sum(row)}/{len(row)}", f"{sum(row) / len(row):.0%}", f"{low:.0%} – {high:.0%}")
    return made
