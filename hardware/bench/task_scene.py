# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""A task of the bench in, the scene that a phone films before it out: the live cell's things, each at its start.

The SO-101 lies in its rest pose, and where a start is, is the live cell's first: `Plant.reset()` with the same seed.
"""

from __future__ import annotations

import math

import mujoco
import numpy as np

from hardware.bench import props, scene, so101
from hardware.bench.plant_config import TaskName
from hardware.bench.scene import Scene
from hardware.bench.tasks.catalogue import open_task
from hardware.bench.tasks.task import Decal, Task, on_table
from hardware.bench.workcell import CLEARED
from hardware.board import CharucoBoard
from hardware.spatial import Pose

ARM = "so101"


def build(seed: int, task_name: TaskName) -> Scene:
    """Textures, labels and the start follow the seed, as in the live cell of the same seed."""
    task, board = open_task(task_name, ARM), CharucoBoard()
    rng = np.random.default_rng(seed)
    decor = props.all_props(rng)
    stands = {**scene.STANDS, **CLEARED[ARM]}
    world = scene.surroundings(rng, board, decor, stands, scene.ARM_FOOT)
    T_base_objects = {thing.name: scene.standing(thing, stands[thing.name]) for thing in decor}
    things = task.props(np.random.default_rng([seed, 1]))
    for thing, pose in zip(things, starts(task, things, seed), strict=True):
        T_base_objects[thing.name] = pose
        scene.add_prop(world, thing, pose)
    for thing in (*decor, *things):
        world.body(thing.name).add_freejoint(name=thing.name)
    task.add_fixtures(world)
    task.begin()
    for number, decal in enumerate(task.decals()):
        _add_decal(world, f"decal_{number}", decal)
    scene.attach_arm(world, so101.spec())
    scene.paint_so101(world)
    scene.add_rest_key(world, (*decor, *things), T_base_objects)
    return Scene(
        world.compile(), board, scene.board_pose(), (*decor, *things), T_base_objects, landmarks=task.landmarks()
    )


def starts(task: Task, things: tuple[props.Prop, ...], seed: int) -> list[Pose]:
    """T_base_thing of each: the first at the seed's start, others at the goal, as the live cell puts them."""
    first = task.layout.draw("id", np.random.default_rng([seed, seed]))
    at = [first, *[task.layout.goal] * (len(things) - 1)]
    return [on_table(thing.name, start, thing.size_m[2] / 2) for thing, start in zip(things, at, strict=True)]


def _add_decal(world: mujoco.MjSpec, name: str, decal: Decal) -> None:
    """Drawn, too thin to touch."""
    geom = world.worldbody.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, rgba=decal.rgba)
    geom.pos, geom.size = decal.centre_m, (*decal.half_m, 1e-4)
    geom.quat = (math.cos(decal.yaw_rad / 2), 0.0, 0.0, math.sin(decal.yaw_rad / 2))
    geom.contype = geom.conaffinity = 0
    geom.group, geom.mass = scene.DRAWN_GROUP, 0.0
