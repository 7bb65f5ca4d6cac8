"""What a policy server can serve: anything with `infer`, found by one table from kind to module.

An observation and an answer are dictionaries of arrays and plain values as in `vla.wire`; the answer has "actions",
one row per step. Whether the policy is a network or a recording is nothing that the server knows.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class ServedPolicy(Protocol):
    """Called from one thread. An exception's text goes to the client that asked; the server lives on."""

    @property
    def metadata(self) -> Mapping[str, object]:
        """Sent to each client as it connects."""
        ...

    def infer(self, observation: dict) -> dict: ...


@runtime_checkable
class BatchedPolicy(ServedPolicy, Protocol):
    """A policy that answers several observations for little more than one. It keeps nothing between calls."""

    @property
    def largest_batch(self) -> int: ...

    def infer_batch(self, observations: Sequence[dict]) -> Sequence[dict]:
        """One answer per observation, in their order."""
        ...


@runtime_checkable
class SessionPolicy(ServedPolicy, Protocol):
    """A policy that remembers: each connection gets its own, fresh."""

    def session(self) -> ServedPolicy: ...


@dataclass(frozen=True)
class Opener:
    """`function(path)` in `module` gives the policy. Imported when served."""

    module: str
    function: str


SERVED: dict[str, Opener] = {
    "policy": Opener("vla.served_tandem", "open_tandem"),
    "replay": Opener("vla.replay", "open_replay"),
}
"""Kind → how it is opened. Each kind is also a field of `vla.serve.ServePolicy` that holds its path."""


def open_policy(kind: str, path: Path) -> ServedPolicy:
    """Raises `BadInput` when the path does not hold such a policy."""
    opener = SERVED[kind]
    return getattr(importlib.import_module(opener.module), opener.function)(path)
