"""Success by the truth: not at the start, not nearly, but when the thing is where it belongs."""

from collections.abc import Callable

import mujoco
import numpy as np
import pytest

from hardware.bench.plant import Plant
from hardware.bench.plant_config import PlantConfig, TaskName
from hardware.bench.scene import TABLE_Z_M
from hardware.bench.tasks import peg_insertion, wiping
from hardware.bench.tasks.start import StartRegion, TaskStart
from hardware.bench.tasks.task import on_table
from hardware.spatial import Pose


@pytest.fixture(scope="module")
def plants() -> Callable[[TaskName], Plant]:
    made: dict[str, Plant] = {}

    def plant(task: TaskName) -> Plant:
        if task not in made:
            made[task] = Plant(PlantConfig(task=task, cameras={}))
        made[task].reset()
        return made[task]

    return plant


def put(plant: Plant, pose: Pose) -> None:
    """The task's object there, and half a second to settle."""
    joint = plant.cell.model.joint(plant.cell.task.object_name)
    at, speed_at = joint.qposadr[0], joint.dofadr[0]
    plant._data.qpos[at : at + 7] = np.concatenate([pose.translation_m, pose.quat_wxyz])
    plant._data.qvel[speed_at : speed_at + 6] = 0.0
    plant.advance(0.5)


def test_a_block_in_the_tray_is_done_and_one_beside_it_is_not(
    plants: Callable[[TaskName], Plant],
) -> None:
    plant = plants("pick_place")
    goal = plant.cell.task.layout.goal
    assert not plant.success()
    put(plant, on_table("block", goal, 0.022))
    assert plant.success()
    assert plant.progress() == 1.0
    put(plant, on_table("block", goal.but(x_m=goal.x_m + 0.07), 0.018))
    assert not plant.success()
    assert 0.6 < plant.progress() < 1.0  # 7 cm of 30 cm away


def test_a_block_still_in_the_gripper_is_not_done(plants: Callable[[TaskName], Plant]) -> None:
    """The same place, but the arm touches it."""
    plant = plants("pick_place")
    put(plant, on_table("block", plant.cell.task.layout.goal, 0.022))
    assert plant.success()
    task = plant.cell.task
    task._arm_geoms = ~task._block_geoms  # whatever touches the block counts as the arm
    try:
        assert not plant.success()
    finally:
        task.bind(plant.cell.model)


def test_a_peg_is_in_when_it_stands_on_the_sockets_bottom(plants: Callable[[TaskName], Plant]) -> None:
    plant = plants("peg_insertion")
    goal = plant.cell.task.layout.goal
    put(plant, on_table("peg", goal, 0.036))
    assert plant.success()
    above = peg_insertion.SOCKET_HEIGHT_M + 0.036
    put(plant, on_table("peg", goal.but(yaw_rad=goal.yaw_rad + 0.6), above))  # turned: it stays on the rim
    assert not plant.success()
    assert plant.progress() < 0.51


def test_the_sockets_hole_takes_the_peg_with_the_room_it_says(plants: Callable[[TaskName], Plant]) -> None:
    """1.5 mm off the middle it still falls in (2 mm of room); 4 mm off it does not."""
    plant = plants("peg_insertion")
    goal = plant.cell.task.layout.goal
    for off_m, falls in ((0.0015, True), (0.004, False)):
        x_m = goal.x_m + off_m * np.cos(goal.yaw_rad)
        y_m = goal.y_m + off_m * np.sin(goal.yaw_rad)
        put(plant, on_table("peg", goal.but(x_m=x_m, y_m=y_m), peg_insertion.SOCKET_HEIGHT_M + 0.036))
        assert plant.success() == falls


def test_only_a_pressed_and_moving_sponge_wipes(plants: Callable[[TaskName], Plant]) -> None:
    plant = plants("wiping")
    goal = plant.cell.task.layout.goal
    put(plant, on_table("sponge", goal, wiping.SPONGE_M[2] / 2))
    assert plant.progress() < 0.02  # it lies there
    drag(plant, goal, height_m=0.01)
    assert plant.progress() < 0.02  # it passes above
    drag(plant, goal, height_m=0.0)
    assert 0.4 < plant.progress() < 0.9  # one stroke of a 6 cm sponge over a stain of 8 cm


def drag(plant: Plant, goal: TaskStart, height_m: float) -> None:
    """The sponge along x over the stain's middle by force of hand, at 0.1 m/s."""
    task, data = plant.cell.task, plant._data
    joint = plant.cell.model.joint("sponge")
    at, speed_at = joint.qposadr[0], joint.dofadr[0]
    turn = on_table("sponge", goal, 0.0).rotation
    for part in np.linspace(-0.06, 0.06, 61):
        centre = turn @ [part, 0.0, 0.0] + [goal.x_m, goal.y_m, TABLE_Z_M + wiping.SPONGE_M[2] / 2 + height_m]
        quat = on_table("sponge", goal, 0.0).quat_wxyz
        data.qpos[at : at + 7] = np.concatenate([centre, quat])
        data.qvel[speed_at : speed_at + 6] = [0.1, 0, 0, 0, 0, 0]
        data.time = 0.0  # a step at which the task looks
        mujoco.mj_forward(plant.cell.model, data)
        task.advance(data)


def test_the_dirt_that_is_left_is_drawn_marked_and_remembered(plants: Callable[[TaskName], Plant]) -> None:
    plant = plants("wiping")
    task = plant.cell.task
    whole = task.decals()
    area = sum(4 * decal.half_m[0] * decal.half_m[1] for decal in whole)
    assert area == pytest.approx(task._stain.sum() * wiping.CELL_M**2)
    state = plant.state()
    drag(plant, task.layout.goal, height_m=0.0)
    assert sum(decal.half_m[0] for decal in task.decals()) < 0.6 * sum(decal.half_m[0] for decal in whole)
    assert "dirt" in plant.truth()
    plant.restore(state)
    assert task.decals() == whole
    task.recall(np.zeros_like(task.memory()))
    assert plant.success()
    assert "dirt" not in plant.truth()
    plant.reset()
    assert plant.progress() == 0.0


def test_a_region_upside_down_is_refused() -> None:
    with pytest.raises(ValueError, match="below its upper end"):
        StartRegion(name="x", lower_m=(0.2, 0.0), upper_m=(0.1, 0.1), yaw_rad=(0.0, 1.0))
