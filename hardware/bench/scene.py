# pyright: reportAttributeAccessIssue=false
# MuJoCo's compiled module has no stubs.
"""The bench as a MuJoCo model: an SO-101 on a table with things, a printed board, a room round it, light.

MuJoCo's world frame is the robot's base frame ("base": x forward, y left, z up, metres). The table's top is
`TABLE_Z_M` below its origin, where the base's feet stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import mujoco
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hardware.bench import props, room, shapes, so101
from hardware.bench.props import Prop
from hardware.bench.shapes import Shape
from hardware.board import CharucoBoard
from hardware.spatial import Pose, rotation_from_rotvec

TABLE_Z_M = -0.0024
"""Lower side of the SO-101's base in its own frame."""
TABLE_CENTRE_M = (0.34, 0.0)

BOARD_XY_YAW = (0.385, 0.0, math.radians(98))
BOARD_THICK_M = 0.003
BOARD_MARGIN_M = 0.024
BOARD_PX_PER_M = 4000.0

Stands = Mapping[str, tuple[float, float, float]]
"""x_m, y_m, yaw_rad of each thing on the table, in the base frame."""
Foot = tuple[tuple[float, float], tuple[float, float]]
"""Where the arm stands on the table, for the shade round it: centre and half axes, in metres, in the base frame."""

STANDS: Stands = {
    "tea_carton": (0.335, 0.275, math.radians(24)),
    "screw_box": (0.135, -0.215, math.radians(-38)),
    "book": (0.645, -0.14, math.radians(17)),
    "bottle": (0.565, 0.225, math.radians(200)),
    "tin": (0.44, -0.265, math.radians(70)),
    "mug": (0.165, 0.215, math.radians(130)),
    "block_a": (0.295, -0.2, math.radians(12)),
    "block_b": (0.47, 0.2, math.radians(-31)),
}
ARM_FOOT: Foot = ((0.022, 0.0), (0.045, 0.05))
ARM_PREFIX = "arm_"
"""Of every name in the arm's own model."""

NOTES = ((0.70, 0.12, math.radians(-78)), (0.02, 0.33, math.radians(160)))
"""x_m, y_m, yaw_rad of the paper sheets."""
NOTE_M = (0.148, 0.21, 0.0004)

DRAWN_GROUP, TOUCH_GROUP = 2, 3
"""MuJoCo's geom groups: the first is drawn, the second only collides."""


@dataclass(frozen=True, eq=False)
class Scene:
    """The compiled model and what is where in it. `props` are at rest where `T_base_objects` says."""

    model: mujoco.MjModel
    board: CharucoBoard
    T_base_board: Pose
    props: tuple[Prop, ...]
    T_base_objects: dict[str, Pose]
    landmarks: dict[str, Pose] = field(default_factory=dict)
    """T_base_x of what a task has fixed to the table: its goal."""

    def at_rest(self) -> mujoco.MjData:
        """A new state: the arm in its rest pose, everything where it stands."""
        data = mujoco.MjData(self.model)
        mujoco.mj_resetDataKeyframe(self.model, data, self.model.key("rest").id)
        mujoco.mj_forward(self.model, data)
        return data


def build(seed: int, board: CharucoBoard | None = None) -> Scene:
    """Textures and labels follow the seed; where things stand does not."""
    board = board or CharucoBoard()
    rng = np.random.default_rng(seed)
    things = props.all_props(rng)
    T_base_objects = {thing.name: standing(thing, STANDS[thing.name]) for thing in things}
    world = spec(rng, board, things, T_base_objects)
    return Scene(world.compile(), board, board_pose(), things, T_base_objects)


def spec(
    rng: np.random.Generator, board: CharucoBoard, things: tuple[Prop, ...], T_base_objects: dict[str, Pose]
) -> mujoco.MjSpec:
    """The scene as MuJoCo's editable specification; the things on the table are free."""
    world = surroundings(rng, board, things, STANDS, ARM_FOOT)
    for thing in things:
        world.body(thing.name).add_freejoint(name=thing.name)
    arm = so101.spec()
    attach_arm(world, arm)
    paint_so101(world)
    add_rest_key(world, things, T_base_objects)
    return world


def surroundings(
    rng: np.random.Generator, board: CharucoBoard, things: tuple[Prop, ...], stands: Stands, foot: Foot
) -> mujoco.MjSpec:
    """Everything but the arm: light, room, table, board, notes, and the things, fixed where `stands` says."""
    world = mujoco.MjSpec()
    world.modelname = "bench"
    world.compiler.degree = False
    _set_options(world)
    _add_lights(world)
    _add_room(world, rng)
    _add_table(world, rng, things, stands, foot)
    _add_board(world, board)
    for number, at in enumerate(NOTES):
        _add_note(world, rng, f"note_{number}", at)
    for thing in things:
        add_prop(world, thing, standing(thing, stands[thing.name]))
    return world


def attach_arm(world: mujoco.MjSpec, arm: mujoco.MjSpec) -> None:
    """The arm's base frame becomes the world's; its names get the prefix `ARM_PREFIX`."""
    for name in ("timestep", "iterations", "ls_iterations"):
        setattr(arm.option, name, getattr(world.option, name))
    world.attach(arm, frame=world.worldbody.add_frame(), prefix=ARM_PREFIX)


def board_pose() -> Pose:
    """T_base_board: the upper side of the print."""
    x_m, y_m, yaw_rad = BOARD_XY_YAW
    return _upright("board", (x_m, y_m, TABLE_Z_M + BOARD_THICK_M), yaw_rad)


def standing(thing: Prop, at: tuple[float, float, float]) -> Pose:
    """T_base_thing of a prop that stands on the table at (x_m, y_m, yaw_rad)."""
    x_m, y_m, yaw_rad = at
    return _upright(thing.name, (x_m, y_m, TABLE_Z_M + thing.size_m[2] / 2), yaw_rad)


def _upright(name: str, at_m: tuple[float, float, float], yaw_rad: float) -> Pose:
    return Pose.from_parts("base", name, rotation_from_rotvec(np.array([0.0, 0.0, yaw_rad])), at_m)


def _set_options(world: mujoco.MjSpec) -> None:
    world.option.timestep = 0.002
    world.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    world.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    world.option.impratio = 10
    world.stat.extent = 1.0  # so that znear and zfar are metres
    world.stat.center = (*TABLE_CENTRE_M, 0.0)
    world.visual.map.znear, world.visual.map.zfar = 0.03, 12.0
    world.visual.map.shadowclip, world.visual.map.shadowscale = 1.4, 0.6
    world.visual.quality.shadowsize = 3072
    world.visual.quality.offsamples = 4


def _add_lights(world: mujoco.MjSpec) -> None:
    """Ambient light, a ceiling lamp that casts the shadows, a window's soft light from the side."""
    head = world.visual.headlight  # its ambient part does not move with the camera, the others would
    head.ambient, head.diffuse, head.specular = (0.43, 0.43, 0.44), (0, 0, 0), (0, 0, 0)
    directional = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    for name, towards, colour, casts in (
        ("lamp", (-0.32, 0.26, -1.0), (0.47, 0.465, 0.45), True),
        ("window", (0.75, -0.5, -0.62), (0.17, 0.175, 0.185), False),
    ):
        direction = np.array(towards) / np.linalg.norm(towards)
        light = world.worldbody.add_light(name=name, type=directional, castshadow=casts)
        light.pos = np.array([*TABLE_CENTRE_M, 0.0]) - 2.0 * direction
        light.dir = direction
        light.diffuse, light.ambient, light.specular = colour, (0, 0, 0), (0.15, 0.15, 0.15)


def add_picture(world: mujoco.MjSpec, name: str, picture: UInt8[ndarray, "H W 3"], gloss: float) -> str:
    """A material that shows the picture; its name."""
    texture = world.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, nchannel=3)
    texture.height, texture.width = picture.shape[:2]
    texture.data = np.ascontiguousarray(picture).tobytes()
    material = world.add_material(name=name, specular=gloss, shininess=0.4 + 0.4 * gloss)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    return name


def add_drawn(world: mujoco.MjSpec, body: mujoco.MjsBody, name: str, shape: Shape, material: str) -> mujoco.MjsGeom:
    """A surface that is only drawn: no mass, no contact."""
    mesh = world.add_mesh(name=name)
    mesh.uservert, mesh.usernormal = shape.vertices_m.ravel(), shape.normals.ravel()
    mesh.usertexcoord = shape.uv.ravel()
    mesh.userface = mesh.userfacenormal = mesh.userfacetexcoord = shape.faces.ravel()
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    geom = body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=material)
    geom.contype = geom.conaffinity = 0
    geom.group, geom.mass = DRAWN_GROUP, 0.0
    return geom


def _add_room(world: mujoco.MjSpec, rng: np.random.Generator) -> None:
    pictures = (room.floor(rng), *room.walls(rng))
    names = ("floor", "wall_east", "wall_north", "wall_west", "wall_south")
    floor_z_m = TABLE_Z_M - room.TABLE_HEIGHT_M
    for name, shape, picture in zip(names, room.room_shapes(TABLE_CENTRE_M, floor_z_m), pictures, strict=True):
        add_drawn(world, world.worldbody, name, shape, add_picture(world, name, picture, 0.0))
    world.worldbody.add_geom(
        name="floor_touch",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=(0, 0, 0.1),
        pos=(0, 0, floor_z_m),
        group=TOUCH_GROUP,
    )


def _add_table(
    world: mujoco.MjSpec, rng: np.random.Generator, things: tuple[Prop, ...], stands: Stands, foot: Foot
) -> None:
    body = world.worldbody.add_body(name="table", pos=(*TABLE_CENTRE_M, TABLE_Z_M))
    shaded = [(_on_table(stands[thing.name][:2]), thing.footprint_m, stands[thing.name][2]) for thing in things]
    shaded.append((_on_table(foot[0]), foot[1], 0.0))
    surface, below = room.table_shapes()
    top = add_picture(world, "table_top", room.table_top(rng, shaded), 0.08)
    add_drawn(world, body, "table_top", surface, top)
    add_drawn(world, body, "table_frame", below, add_picture(world, "table_frame", room.dark_wood(rng), 0.05))
    x, y, thick = room.TABLE_M
    body.add_geom(
        name="table_touch",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(x / 2, y / 2, thick / 2),
        pos=(0, 0, -thick / 2),
        group=TOUCH_GROUP,
        friction=(0.8, 0.005, 0.0001),
    )


def _on_table(at_m: tuple[float, float] | ndarray) -> tuple[float, float]:
    return float(at_m[0]) - TABLE_CENTRE_M[0], float(at_m[1]) - TABLE_CENTRE_M[1]


def _add_board(world: mujoco.MjSpec, board: CharucoBoard) -> None:
    """A white plate with the print on top; it is fixed to the table, for it carries the frame."""
    T_base_board = board_pose()
    body = world.worldbody.add_body(name="board", pos=T_base_board.translation_m, quat=T_base_board.quat_wxyz)
    width_m, height_m = (side_m + 2 * BOARD_MARGIN_M for side_m in board.size_m)
    faces = shapes.box_faces((width_m, height_m, BOARD_THICK_M))
    down = (0.0, 0.0, -BOARD_THICK_M / 2)
    rim = shapes.joined([face.moved(down) for name, face in faces.items() if name != "top"])
    picture = board.draw(BOARD_PX_PER_M, BOARD_MARGIN_M)
    ink = (34 + picture.astype(np.float32) * (234 - 34) / 255).astype(np.uint8)
    add_drawn(world, body, "board", faces["top"].moved(down), add_picture(world, "board", ink, 0.03))
    add_drawn(world, body, "board_rim", rim, add_picture(world, "board_rim", ink[:8, :8], 0.03))
    body.add_geom(
        name="board_touch",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(width_m / 2, height_m / 2, BOARD_THICK_M / 2),
        pos=down,
        group=TOUCH_GROUP,
    )


def _add_note(world: mujoco.MjSpec, rng: np.random.Generator, name: str, at: tuple[float, float, float]) -> None:
    """A sheet of paper: drawn, too thin to touch."""
    from hardware.bench import prints

    pose = _upright(name, (at[0], at[1], TABLE_Z_M + NOTE_M[2] / 2), at[2])
    body = world.worldbody.add_body(name=name, pos=pose.translation_m, quat=pose.quat_wxyz)
    picture = prints.note(rng, (round(NOTE_M[0] * 2000), round(NOTE_M[1] * 2000)))
    add_drawn(world, body, name, shapes.box_faces(NOTE_M)["top"], add_picture(world, name, picture, 0.0))


def add_prop(world: mujoco.MjSpec, thing: Prop, T_base_obj: Pose) -> mujoco.MjsBody:
    """The prop as a body of the world, fixed there; a free joint on it sets it free."""
    body = world.worldbody.add_body(name=thing.name, pos=T_base_obj.translation_m, quat=T_base_obj.quat_wxyz)
    for number, part in enumerate(thing.parts):
        name = f"{thing.name}_{number}"
        add_drawn(world, body, name, part.shape, add_picture(world, name, part.picture, part.gloss))
    kinds = {
        "box": mujoco.mjtGeom.mjGEOM_BOX,
        "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
        "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    }
    volumes = [_volume_m3(collider) for collider in thing.colliders]
    for collider, volume in zip(thing.colliders, volumes, strict=True):
        half_m = (*collider.half_m, 0.0, 0.0)[:3]
        body.add_geom(
            type=kinds[collider.kind],
            size=half_m,
            pos=collider.at_m,
            quat=(math.cos(collider.yaw_rad / 2), 0, 0, math.sin(collider.yaw_rad / 2)),
            group=TOUCH_GROUP,
            mass=thing.mass_kg * volume / sum(volumes),
            friction=thing.friction,
            condim=4,
        )
    return body


def _volume_m3(collider: props.Collider) -> float:
    half = collider.half_m
    if collider.kind == "box":
        return 8 * half[0] * half[1] * half[2]
    if collider.kind == "cylinder":
        return 2 * math.pi * half[0] ** 2 * half[1]
    return 4 / 3 * math.pi * half[0] ** 3


def paint_so101(world: mujoco.MjSpec) -> None:
    """Printed parts in orange, darker than the wheel's yellow, which would burn out in our light."""
    for material in world.materials:
        if material.name.startswith(ARM_PREFIX) and "sts3215" not in material.name:
            material.rgba = (0.86, 0.5, 0.12, 1)
            material.specular = 0.15


def add_rest_key(world: mujoco.MjSpec, things: tuple[Prop, ...], T_base_objects: dict[str, Pose]) -> None:
    """The keyframe `rest`; joints are in the order in which bodies were added."""
    free = [
        np.concatenate([T_base_objects[t.name].translation_m, T_base_objects[t.name].quat_wxyz]) for t in things
    ]
    world.add_key(name="rest", qpos=np.concatenate([*free, so101.REST_RAD]), ctrl=so101.REST_RAD)
