"""What a policy can be tried in: numbered trials of named tasks, each the same whenever it is run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from hardware.errors import BadInput
from hardware.messages import ActionChunk, Observation

Ask = Callable[[Observation], ActionChunk]


@runtime_checkable
class Environment(Protocol):
    """In this process. Trial k of a task starts from the same state for every policy."""

    @property
    def tasks(self) -> tuple[str, ...]: ...

    def trial(self, task: str, number: int, ask: Ask) -> bool:
        """Runs one episode, asking for a chunk whenever the one before is used up; True: success."""
        ...

    def close(self) -> None: ...


OpenEnvironment = Callable[..., Environment]
"""(what the policy reads and commands, seed) → the environment; the twin's is also given `bundle` and `task`. Raises
`BadInput` when policy and environment do not fit."""

TWIN = "twin"
"""Its environment is told of a bundle and a task, too."""
ENVIRONMENTS = {"bench": "vla.environments.bench:open_bench", TWIN: "rl_online.mining.trials:open_trials"}
"""Name → module:function. Any other `module:function` may be given; it is imported when it is used, so rooms above
this one (and a user's own code) can be tried in without being imported by it.
"""


def find(name: str) -> OpenEnvironment:
    """Raises `BadInput` that lists the choices."""
    place = ENVIRONMENTS.get(name, name)
    module, colon, function = place.partition(":")
    if not colon:
        raise BadInput(
            f"no environment '{name}'; have: {', '.join(ENVIRONMENTS)}, metaworld, libero, module:function"
        )
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"cannot import the environment {place}: {error}") from error
