"""A task of the bench by name, or one of one's own by file, in; what a twin has to be told of it out.

A twin knows shapes and contact, no task: where its object may start, where it has to go, and when it is there.
`tandem rl task` writes such a file from demonstrations; it is JSON (or YAML), to be read and changed by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from hardware import artefact
from hardware.bench.arm_models import ARMS, ArmName
from hardware.bench.plant_config import TaskName
from hardware.bench.tasks import peg_insertion, pick_place
from hardware.bench.tasks.catalogue import open_task
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config, read
from hardware.errors import BadInput
from rl_online.starts.regions import PartName, Region
from rl_online.worlds import bench
from rl_online.worlds.outcome import Outcome, outcome_of
from rl_online.worlds.world import TaskSheet
from vla.policy import GRIPPER

OWN = "task.json"
"""In a run's folder."""
TaskChoice = TaskName | Path
"""One of the bench's, or a file that describes one's own in a twin."""


class Delivery(Config):
    """How a planned motion brings the object to its goal."""

    lift_m: float = 0.004
    """Higher than it stood at the start by so much when it is let go."""
    turns: NonNegativeInt = 0
    """In a whole turn, that look the same to the goal; 0: any."""
    rim_m: NonNegativeFloat = 0.0
    """Height of what stands round the goal: the object comes from above it."""


class TwinTask(Config):
    """One object that has to go to one place, in the arm's base frame."""

    instruction: str = Field(min_length=1)
    object_name: str = Field(min_length=1)
    """In the twin."""
    time_limit_s: PositiveFloat
    id: tuple[Region, ...] = Field(min_length=1)
    """Where the object started in the demonstrations."""
    ood: tuple[Region, ...] = ()
    """Where it may start, too."""
    goal: TaskStart
    outcome: Outcome
    delivery: Delivery | None = Delivery()
    """None: no motion can be planned for it, demonstrations can be bent."""
    note: str = ""
    """Where it comes from, for whoever reads the file."""

    @property
    def parts(self) -> tuple[tuple[PartName, Region], ...]:
        """The start regions, as the grid takes them."""
        regions: dict[PartName, tuple[Region, ...]] = {"id": self.id, "ood": self.ood}
        return tuple((part, region) for part, several in regions.items() for region in several)

    @property
    def sheet(self) -> TaskSheet:
        return TaskSheet(self.instruction, self.object_name, self.time_limit_s, self.parts, self.goal)


DELIVERIES: dict[TaskName, Delivery] = {
    "pick_place": Delivery(lift_m=pick_place.FLOOR_M + 0.004, turns=0, rim_m=pick_place.RIM_M),
    "peg_insertion": Delivery(lift_m=0.001, turns=4, rim_m=peg_insertion.SOCKET_HEIGHT_M),
}


def task_in_twin(task: TaskChoice, arm: ArmName) -> TwinTask:
    """Raises `BadInput` for a bench's task whose outcome poses do not show, and for a file that is none."""
    if isinstance(task, Path):
        if not task.is_file():
            raise BadInput(
                f"no task '{task}': neither a file nor one of {', '.join(get_args(TaskName))}",
                "tandem rl task TWIN DEMOS -o task.json describes your own",
            )
        return read(TwinTask, task)
    known = open_task(task, arm)
    of_part: dict[PartName, list[Region]] = {"id": [], "ood": []}
    for part, region in bench.parts(known.layout):
        of_part[part].append(region)
    return TwinTask(
        instruction=known.instruction,
        object_name=known.object_name,
        time_limit_s=known.time_limit_s,
        id=tuple(of_part["id"]),
        ood=tuple(of_part["ood"]),
        goal=known.layout.goal,
        outcome=outcome_of(task),
        delivery=DELIVERIES.get(task),
    )


def delivery_of(task: TaskChoice, arm: ArmName) -> Delivery:
    """Raises `BadInput` for a task that does not end with an object at a place."""
    found = task_in_twin(task, arm).delivery if isinstance(task, Path) else DELIVERIES.get(task)
    if found is None:
        raise BadInput(
            f"the task '{task}' has no pose to bring its object to; have: {', '.join(DELIVERIES)}",
            "--generator warp; or give the task's file a delivery",
        )
    return found


def of_the_bench(task: TaskChoice) -> TaskName:
    """Raises `BadInput` for a task of one's own: the bench's plant has no such thing on its table."""
    if isinstance(task, Path):
        raise BadInput(
            f"'{task}' is a task in a twin; the bench's plant has {', '.join(get_args(TaskName))}",
            "what runs in a twin takes --world.bundle TWIN; tandem rl demos runs on the bench alone",
        )
    return task


def keep(task: TaskChoice, run: Path) -> None:
    """Leaves a copy of one's own task in the run that is made by it. Raises `BadInput` where it has been changed."""
    if not isinstance(task, Path):
        return
    now, file = task_in_twin(task, "so101"), run / OWN
    if not file.is_file():
        artefact.write_model(file, now)
    elif read(TwinTask, file) != now:
        raise BadInput(
            f"{run} was begun with the task as {file} has it; {task} has been changed since", "a new folder"
        )


def goal_of(task: TaskChoice, arm: ArmName, run: Path) -> TaskStart:
    """Of a run, as it was when that began."""
    return read(TwinTask, run / OWN).goal if isinstance(task, Path) else open_task(task, arm).layout.goal


def arm_of(names: Sequence[str]) -> ArmName:
    """Whose actions these are, joints and then the gripper. Raises `BadInput` for an arm that is not known."""
    joints = {name for name in names if name != GRIPPER}
    for arm in get_args(ArmName):
        if set(ARMS[arm].joints) == joints:
            return arm
    raise BadInput(f"no arm has the joints {', '.join(sorted(joints))}; have: {', '.join(get_args(ArmName))}")
