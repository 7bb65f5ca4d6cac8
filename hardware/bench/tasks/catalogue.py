"""The bench's tasks by name."""

from __future__ import annotations

from collections.abc import Callable

from hardware.bench.arm_models import ArmName
from hardware.bench.tasks.peg_insertion import PegInsertion
from hardware.bench.tasks.pick_place import PickPlace
from hardware.bench.tasks.task import Task
from hardware.bench.tasks.wiping import Wiping
from hardware.errors import BadInput

TASKS: dict[str, Callable[[ArmName], Task]] = {
    PickPlace.name: PickPlace,
    PegInsertion.name: PegInsertion,
    Wiping.name: Wiping,
}


def open_task(name: str, arm: ArmName) -> Task:
    """Raises `BadInput` when there is no such task, or not for that arm."""
    if name not in TASKS:
        raise BadInput(f"no task '{name}' on the bench; have: {', '.join(TASKS)}")
    return TASKS[name](arm)
