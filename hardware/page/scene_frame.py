"""One line of JSON to the process that draws the 3D scene: where everything is now. A desk in, a line's model out."""

from __future__ import annotations

import base64
from typing import Annotated

from pydantic import Field

from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.page.desk import Desk
from hardware.page.guidance import STAGES
from hardware.page.pictures import HEADER, TIERS, Pictures

SMALLEST_TIER = len(TIERS) - 1
Row = tuple[float, ...]


class SceneFrame(Config):
    """Angles in the order of the cell's joints."""

    q_rad: Row = ()
    """Empty: the arm has said nothing yet."""
    gripper_open: float | None = None
    chunks_rad: Annotated[tuple[tuple[Row, ...], ...], Field(max_length=2)] = ()
    """What is still to be driven of the newest two chunks, the older one first."""
    is_followed: bool = False
    """The arm follows the newest chunk; else it only says what the policy would do."""
    wanted: TaskStart | None = None
    """Where the object of the next episode belongs."""
    seen: TaskStart | None = None
    """Where the object is."""
    jpegs: dict[str, str] = {}
    """Base64, of the cameras with a new picture."""


def frame(desk: Desk, now_ns: int, jpegs: dict[str, str]) -> SceneFrame:
    """What the desk knows now."""
    reading, said = desk.reading, desk.announcement
    is_guided = said.stage in STAGES
    return SceneFrame(
        q_rad=() if reading is None else tuple(reading[0].q_rad.round(4).tolist()),
        gripper_open=None if reading is None else reading[1],
        chunks_rad=tuple(tuple(map(tuple, rows.round(4).tolist())) for rows in desk.preview.due_rad(now_ns)),
        is_followed=desk.source in ("policy", "scripted"),
        wanted=desk.guidance.wanted(said.episode) if is_guided else None,
        seen=desk.guidance.seen(now_ns) if is_guided else None,
        jpegs=jpegs,
    )


class NewJpegs:
    """The smallest pictures of cameras that have a new one since they were asked for last."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures, self._given = pictures, dict.fromkeys(pictures.cameras, 0)

    def take(self) -> dict[str, str]:
        found = {}
        for camera, given in self._given.items():
            if self._pictures.number(camera) > given and (made := self._pictures.message(camera, SMALLEST_TIER)):
                self._given[camera], message = made
                found[camera] = base64.b64encode(message[HEADER.size :]).decode()
        return found
