"""Who may take over from the policy: a person with a gamepad, SpaceMouse or leader arm, or the bench's stand-in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hardware.cell import CellConfig
from hardware.cell_devices import BenchArm
from hardware.errors import BadInput
from hardware.joy_jog import Pad, Wish
from hardware.persons import at_gamepad, with_leader, with_spacemouse
from hardware.ports import JointReading


class WhoIntervenes(Protocol):
    """One thread. `source` is the label of the frames that result."""

    @property
    def source(self) -> str: ...

    def hear(self, pad: Pad) -> None: ...

    def begin(self) -> None:
        """A new episode."""
        ...

    def wish(self, now_ns: int, reading: JointReading, gripper_open: float | None) -> Wish | None:
        """None: the policy may act."""
        ...

    def close(self) -> None: ...


class ScriptedStandIn:
    """Reads the truth, so its frames are labelled `scripted`, never `human`."""

    source = "scripted"

    def __init__(self, cell: CellConfig) -> None:
        from hardware.bench.intervener import Intervener
        from hardware.bench.link import PlantLink

        if cell.bench is None or not isinstance(cell.arm, BenchArm):
            raise BadInput("a scripted intervener reads the truth, which only the bench has", "--intervention joy")
        self._intervener = Intervener(cell.bench.task, cell.arm.model)
        self._link = PlantLink(cell.plant_name)
        self._speed = cell.bench.speed

    def hear(self, pad: Pad) -> None:
        """It has no gamepad."""

    def begin(self) -> None:
        self._intervener.forget()

    def close(self) -> None:
        self._link.close()

    def wish(self, now_ns: int, reading: JointReading, gripper_open: float | None) -> Wish | None:
        cell_ns, opening = round(now_ns * self._speed), gripper_open or 0.0
        wanted = self._intervener.watch(cell_ns, reading, opening, self._link.truth())
        return None if wanted is None else Wish(wanted.q_rad, wanted.gripper_open)


def choose(kind: str, cell: CellConfig) -> WhoIntervenes:
    kinds: dict[str, Callable[[CellConfig], WhoIntervenes]] = {
        "joy": at_gamepad,
        "leader": with_leader,
        "spacemouse": with_spacemouse,
        "scripted": ScriptedStandIn,
    }
    if kind not in kinds:
        raise BadInput(f"no intervention '{kind}'; have: {', '.join(kinds)}")
    return kinds[kind](cell)
