"""A bundle whose block the SO-101 can reach, or without a robot a brick for the pusher."""

from pathlib import Path

import small_contact

from twin.export import mjcf

BLOCK_M = (0.03, 0.03, 0.03)
BLOCK_AT_M = (-0.3 + 0.2, 0.2 + 0.02)
"""Before the arm, which stands at (−0.3, 0.2)."""


def write(folder: Path, robot: bool = True) -> Path:
    small_contact.write(folder, robot=robot)
    if robot:
        at = (*BLOCK_AT_M, small_contact.Z + BLOCK_M[2] / 2)
        small_contact.add(folder, "block", at, BLOCK_M, contact=True)
    mjcf.write(folder)
    return folder
