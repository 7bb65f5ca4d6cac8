"""Forces that were recorded while a thing was lifted or pushed on the cell, in; its mass or friction out.

A recording is a CSV file with a header; other columns are ignored. A lift has `state` (empty, loaded) and `force_n`,
the vertical force at a still wrist, up positive. A push has `force_n`, the horizontal force on the thing, and
`speed_m_s`, the speed of the finger that pushes it. Episode stores hold no forces: a recording comes from a force
sensor, a gauge held in the hand, or the arm's own estimate of the force at its tool.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware.errors import BadInput
from twin import materials
from twin.object_asset import Measured

STATE, FORCE_N, SPEED_M_S = "state", "force_n", "speed_m_s"
STATES = ("empty", "loaded")


def mass(file: Path) -> Measured:
    """From a lift. Raises `BadInput` where the file is none, or shows no weight above its noise."""
    rows = _rows(file, (STATE, FORCE_N))
    strange = sorted({row[STATE] for row in rows} - set(STATES))
    if strange:
        raise BadInput(f"{file}: no {STATE} '{strange[0]}'; have: {', '.join(STATES)}")
    empty_n, loaded_n = (_column(file, [row for row in rows if row[STATE] == state], FORCE_N) for state in STATES)
    return _from(file, materials.mass_from_lift(empty_n, loaded_n))


def friction(file: Path, mass_kg: float) -> Measured:
    """From a push of a thing whose mass is known. Raises `BadInput` where the file is none, or it hardly slid."""
    rows = _rows(file, (FORCE_N, SPEED_M_S))
    push_n, speed_m_s = _column(file, rows, FORCE_N), _column(file, rows, SPEED_M_S)
    return _from(file, materials.friction_from_push(push_n, speed_m_s, mass_kg))


def _from(file: Path, found: Measured) -> Measured:
    return found.but(note=f"{found.note}, {file.name}")


def _rows(file: Path, wanted: tuple[str, ...]) -> list[dict[str, str]]:
    columns = f"a CSV file with the columns {', '.join(wanted)}"
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            rows = list(reader)
            have = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"cannot read the recording {file}: {error}", columns) from error
    if missing := [name for name in wanted if name not in have]:
        raise BadInput(f"{file} lacks {', '.join(missing)}; have: {', '.join(have) or 'nothing'}", columns)
    return rows


def _column(file: Path, rows: list[dict[str, str]], name: str) -> Float[ndarray, " N"]:
    values = []
    for row in rows:
        try:
            value = float(row[name])
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise BadInput(
                f"{file}: '{row[name]}' in {name} is no finite number", "leave out rows without a reading"
            )
        values.append(value)
    return np.array(values, np.float64)
