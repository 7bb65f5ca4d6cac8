"""What a page may say to the robot: one JSON object per message, at most 2 KiB, checked key by key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from hardware.config import Config
from hardware.page.jog import Mode
from hardware.page.notes import LONGEST

LARGEST_BYTES = 2048
Deflection = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=0, lt=2**53)]
Metres = Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]
Point = tuple[Metres, Metres]


class Beat(Config):
    """A heartbeat: what is held down now (nothing, most of the time), and the newest pulse that was seen."""

    do: Literal["beat"] = "beat"
    seq: Number
    time_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """The page's own clock; for whoever reads a log, nothing is decided by it."""
    echo: Number
    """Of the newest pulse that had arrived …"""
    since_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """… so long ago."""
    mode: Mode = "joint"
    axes: Annotated[dict[str, Deflection], Field(max_length=16)] = {}
    gripper: Deflection = 0.0
    speed: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    undo: bool = False
    """The way that the arm came is gone back while this is held; it wins over all else that is."""

    follow: bool = False
    """The arm follows the leader arm while this is held, where there is one."""

    @property
    def is_held(self) -> bool:
        return self.undo or self.follow or self.gripper != 0 or any(self.axes.values())


class Sit(Config):
    """Asks for the seat; leaves it; hands it over; keeps it."""

    do: Literal["sit"] = "sit"
    how: Literal["ask", "leave", "hand_over", "keep"] = "ask"
    to: Number = 0


class TakeOver(Config):
    do: Literal["take_over"] = "take_over"


class GiveBack(Config):
    do: Literal["give_back"] = "give_back"


class EmergencyStop(Config):
    """Anybody may; only the one in the seat releases it."""

    do: Literal["emergency_stop"] = "emergency_stop"
    active: bool


class AskEpisode(Config):
    """Begin an episode, leave its start out, or end the one that runs."""

    do: Literal["episode"] = "episode"
    what: Literal["start", "skip", "unreachable", "stop", "success", "failure", "discard"]


class Note(Config):
    """What a person wants to remember about a recorded episode; empty takes the note away."""

    do: Literal["note"] = "note"
    episode: Number
    text: Annotated[str, Field(max_length=LONGEST)]


class Export(Config):
    """Publish what is recorded as a LeRobot dataset."""

    do: Literal["export"] = "export"


class Draw(Config):
    """A drawn workspace polygon, or a box round an object, in the twin's world; kept beside the twin."""

    do: Literal["draw"] = "draw"
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    polygon_m: Annotated[tuple[Point, ...], Field(max_length=24)] = ()
    box: Annotated[tuple[Metres, ...], Field(max_length=7)] = ()
    """cx cy cz sx sy sz yaw_deg."""


Message = Beat | Sit | TakeOver | GiveBack | EmergencyStop | AskEpisode | Note | Export | Draw
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="do")])


def read(text: str | bytes) -> Message:
    """Raises `ValueError` with what is wrong."""
    try:
        return _MESSAGE.validate_json(text)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        raise ValueError(wrong) from error
