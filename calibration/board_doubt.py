"""Pictures in which a described board was not found in; why not, in words a person can act on, out.

Only boards of markers say why: their numbers are read one by one, whatever the pattern is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from calibration.boards import FEWEST_CORNERS, marker_ids
from hardware.board import MARKERS_IN_DICTIONARY, Board, Chessboard

MOST_PICTURES = 6
"""So many are asked; trying all dictionaries takes a second for each."""


def reason(board: Board, pictures: Iterable[UInt8[ndarray, "H W 3"]]) -> str | None:
    """What most of the pictures (the first few) say; None where they say nothing."""
    if isinstance(board, Chessboard):
        return None
    said = Counter(why for rgb, _ in zip(pictures, range(MOST_PICTURES), strict=False) if (why := of(board, rgb)))
    return said.most_common(1)[0][0] if said else None


def of(board: Board, rgb: UInt8[ndarray, "H W 3"]) -> str | None:
    assert not isinstance(board, Chessboard)
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    ids = marker_ids(board.dictionary, grey)
    if not ids:
        return of_another_dictionary(board.dictionary, grey)
    twice = sorted(number for number, count in Counter(ids).items() if count > 1)
    if twice:
        return (
            f"markers are seen twice in one picture ({_listed(twice)}): two boards, or one and its mirror image; "
            "leave one in view"
        )
    known = set(board.markers)
    foreign = sorted(set(ids) - known)
    if foreign:
        return (
            f"markers are seen that the described board lacks ({_listed(foreign)}; it has {min(known)} to "
            f"{max(known)}): another board, or the numbers of its squares are wrong"
        )
    if len(ids) >= FEWEST_CORNERS:
        return (
            f"{len(ids)} of its {len(known)} markers are seen, but not in the pattern described: are the numbers of "
            "its squares right, and legacy_pattern?"
        )
    return None


def of_another_dictionary(named: str, grey: UInt8[ndarray, "H W"]) -> str | None:
    counts = {other: len(marker_ids(other, grey)) for other in MARKERS_IN_DICTIONARY if other != named}
    best = max(counts, key=lambda name: counts[name])
    if counts[best] < FEWEST_CORNERS:
        return None
    return f"no marker of {named} is seen, but {counts[best]} of {best}: another --board.dictionary"


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:4])) + (" …" if len(numbers) > 4 else "")
