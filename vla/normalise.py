"""Physical values ↔ about ±1, by the quantiles of the data that a policy learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from hardware.config import Config
from hardware.errors import BadInput

LOW, HIGH = 0.01, 0.99
"""FAST's quantiles (arXiv 2501.09747): outliers must not squeeze the rest."""
NARROW = 1e-6
"""A column whose quantiles are closer than this share of its whole range is scaled by that range instead."""


class Quantiles(Config):
    """Per column: the values that become −1 and +1."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def dims(self) -> int:
        return len(self.low)


class DatasetQuantiles(Config):
    """One dataset's, which is to say one arm's."""

    state: Quantiles
    action: Quantiles


class Normaliser:
    """`normalise` and `denormalise` are inverse to each other for finite values, outside ±1 too.

    Each row of a batch may belong to another dataset: two arms' joints then share one policy.
    """

    def __init__(self, columns: Mapping[str, Quantiles]) -> None:
        if not columns:
            raise BadInput("no dataset to take quantiles from")
        if len({quantiles.dims for quantiles in columns.values()}) > 1:
            dims = ", ".join(f"{name}: {quantiles.dims}" for name, quantiles in columns.items())
            raise BadInput(f"the datasets have different numbers of columns ({dims})", "train one policy for each")
        self.names = tuple(columns)
        low = np.array([quantiles.low for quantiles in columns.values()], np.float64)
        high = np.array([quantiles.high for quantiles in columns.values()], np.float64)
        self._centre, self._half = (low + high) / 2, (high - low) / 2

    def normalise(self, values: Float[ndarray, "B *T D"], datasets: Sequence[str] = ()) -> Float[ndarray, "B *T D"]:
        """q01 → −1, q99 → +1; float32. `datasets` names each row's; empty: all rows are of the first."""
        centre, half = self._rows(values, datasets)
        return ((values - centre) / half).astype(np.float32)

    def denormalise(
        self, values: Float[ndarray, "B *T D"], datasets: Sequence[str] = ()
    ) -> Float[ndarray, "B *T D"]:
        centre, half = self._rows(values, datasets)
        return (values * half + centre).astype(np.float32)

    def _rows(self, values: Shaped[ndarray, "B *T D"], datasets: Sequence[str]) -> tuple[ndarray, ndarray]:
        if values.shape[-1] != self._centre.shape[1]:
            raise BadInput(f"{values.shape[-1]} columns, but the quantiles are of {self._centre.shape[1]}")
        unknown = sorted(set(datasets) - set(self.names))
        if unknown:
            raise BadInput(f"no dataset '{unknown[0]}' in the policy; have: {', '.join(self.names)}")
        rows = [self.names.index(name) for name in datasets] or [0] * len(values)
        shape = (len(values), *[1] * (values.ndim - 2), values.shape[-1])
        return self._centre[rows].reshape(shape), self._half[rows].reshape(shape)


class OneRange(Normaliser):
    """For a policy that has one range for whatever it acts on, as LeRobot's have: datasets' names are not heeded."""

    def __init__(self, quantiles: Quantiles) -> None:
        super().__init__({"all": quantiles})

    def _rows(self, values: Shaped[ndarray, "B *T D"], datasets: Sequence[str]) -> tuple[ndarray, ndarray]:
        return super()._rows(values, ())


def quantiles(values: Float[ndarray, "N D"], names: Sequence[str] = ()) -> Quantiles:
    """Of all rows. A column that hardly ever moves is scaled by its whole range; one that never does, by 1.

    Raises `BadInput` for a value that is not finite.
    """
    if len(values) == 0:
        raise BadInput("no rows to take quantiles from")
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        name = names[column] if len(names) > column else f"column {column}"
        raise BadInput(f"row {row} of '{name}' is {values[row, column]}", "remove the episode, or record it again")
    values = values.astype(np.float64)
    low, high = np.quantile(values, [LOW, HIGH], axis=0)
    least, most = values.min(axis=0), values.max(axis=0)
    narrow = high - low <= NARROW * np.maximum(most - least, np.abs(most))
    low, high = np.where(narrow, least, low), np.where(narrow, most, high)
    still = high - low <= NARROW * np.maximum(np.abs(high), 1e-3)
    middle = (low + high) / 2
    low, high = np.where(still, middle - 1, low), np.where(still, middle + 1, high)
    return Quantiles(low=tuple(low.tolist()), high=tuple(high.tolist()))
