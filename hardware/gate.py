"""A measured quality against its limit, with what to do when it fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from hardware.config import Config
from hardware.errors import GateFailed


class Gate(Config):
    """`value relation limit` must hold. `advice` tells a person what would make it pass."""

    name: str
    value: float
    relation: Literal[">=", "<="]
    limit: float
    unit: str = ""
    advice: str = ""
    blocking: bool = True
    """A blocking gate stops the work; another only warns."""

    @property
    def passed(self) -> bool:
        return self.value >= self.limit if self.relation == ">=" else self.value <= self.limit

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        verdict = "ok" if self.passed else ("FAILED" if self.blocking else "warning")
        return f"{self.name}: {self.value:.4g}{unit} (must be {self.relation} {self.limit:.4g}{unit}) {verdict}"


def check(gates: Iterable[Gate]) -> None:
    """Raises `GateFailed` that lists every blocking gate that failed, with its advice."""
    failed = [gate for gate in gates if gate.blocking and not gate.passed]
    if failed:
        advice = " ".join(dict.fromkeys(gate.advice for gate in failed if gate.advice))
        raise GateFailed("; ".join(map(str, failed)), advice)
