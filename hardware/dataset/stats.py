"""An episode's columns and sampled pictures in, the statistics that LeRobot keeps per feature out; also over episodes.

min, max, mean, std, count and five quantiles, per column; pictures per channel in 0 … 1, from at most a hundred of them
thinned to about 150 pixels. Quantiles are exact here (LeRobot's come from a histogram of 5,000 bins).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Num, UInt8
from numpy import ndarray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
FEWEST_PICTURES, MOST_PICTURES, PICTURES_POWER = 100, 10_000, 0.75
"""As LeRobot samples: n^0.75 pictures, within these bounds."""
THIN_ABOVE_PX, THIN_TO_PX = 300, 150

Stats = dict[str, ndarray]


def of_column(values: Num[ndarray, "T ..."]) -> Stats:
    """Over time; a column of single numbers gives arrays of one."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    return reduced(rows, len(values))


def of_pictures(pictures: Sequence[UInt8[ndarray, "H W 3"]]) -> Stats:
    """Per channel, shape [3, 1, 1], in 0 … 1."""
    pixels = np.concatenate([thinned(rgb).reshape(-1, 3) for rgb in pictures]).astype(np.float64) / 255
    stats = reduced(pixels, len(pictures))
    return {name: value if name == "count" else value.reshape(3, 1, 1) for name, value in stats.items()}


def reduced(rows: Float[ndarray, "N D"], count: int) -> Stats:
    quantiles = np.quantile(rows, list(QUANTILES.values()), axis=0)
    return {
        "min": rows.min(0),
        "max": rows.max(0),
        "mean": rows.mean(0),
        "std": rows.std(0),
        "count": np.array([count]),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def sample(count: int) -> list[int]:
    """Which pictures of an episode are looked at."""
    wanted = max(min(FEWEST_PICTURES, count), min(int(count**PICTURES_POWER), MOST_PICTURES))
    return np.round(np.linspace(0, count - 1, wanted)).astype(int).tolist()


def sampled(pictures: Iterable[UInt8[ndarray, "H W 3"]], count: int) -> Iterator[UInt8[ndarray, "H W 3"]]:
    wanted = set(sample(count))
    return (thinned(rgb) for number, rgb in enumerate(pictures) if number in wanted)


def thinned(rgb: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "h w 3"]:
    height, width = rgb.shape[:2]
    if max(height, width) < THIN_ABOVE_PX:
        return rgb
    step = (width if width > height else height) // THIN_TO_PX
    return rgb[::step, ::step]


def combined(episodes: Sequence[Stats]) -> Stats:
    """Exact for min, max, mean, std and count; quantiles are the counts' weighted mean, as LeRobot has them."""
    counts = np.array([float(np.asarray(stats["count"]).item()) for stats in episodes])
    weights = counts / counts.sum()

    def weighted(values: Iterable[ndarray]) -> ndarray:
        return np.tensordot(weights, np.stack(list(values)), axes=1)

    mean = weighted(stats["mean"] for stats in episodes)
    variance = weighted(stats["std"] ** 2 + (stats["mean"] - mean) ** 2 for stats in episodes)
    return {
        "min": np.min(np.stack([stats["min"] for stats in episodes]), axis=0),
        "max": np.max(np.stack([stats["max"] for stats in episodes]), axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([int(counts.sum())]),
        **{name: weighted(stats[name] for stats in episodes) for name in QUANTILES},
    }
