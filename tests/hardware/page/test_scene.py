"""The 3D scene as viser has it: what a frame says is where things are drawn."""

import asyncio
import base64
import contextlib
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import viser
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from hardware import cell as cells
from hardware.bench import reset_guide
from hardware.bench.arm_models import SO101
from hardware.bench.plant_config import PlantConfig
from hardware.page import cell_scene
from hardware.page.drawn_arm import DrawnArm
from hardware.page.ghost import Guide
from hardware.page.scene import FOLLOWED, WISHED, Scene
from hardware.page.scene_frame import SceneFrame

HOME = SO101.home_rad


@pytest.fixture(scope="module")
def guide() -> Guide:
    return reset_guide.guide(PlantConfig(), 0, 2)


@pytest.fixture
def scene(guide: Guide) -> Iterator[Scene]:
    ours = cell_scene.of(cells.load("bench"), guide, {})
    with contextlib.closing(ours):
        yield ours


def chunk(turn_rad: float) -> tuple[tuple[float, ...], ...]:
    return tuple((step * turn_rad, *HOME[1:]) for step in range(5))


def test_the_arm_and_its_camera_stand_as_the_joints_say(scene: Scene) -> None:
    turned = (0.7, *HOME[1:])
    scene.show(SceneFrame(q_rad=turned, gripper_open=0.5))
    arm = DrawnArm(SO101, SO101.joints)
    arm.move(turned, 0.5)
    for link, T_base_link in arm.Ts_base_link().items():
        assert scene._links[link].position == pytest.approx(T_base_link.translation_m)
    assert scene._frusta["cam_wrist"].position == pytest.approx(arm.T_base_cam().translation_m)


def test_chunks_are_drawn_as_the_tools_way_and_gone_when_they_are_over(scene: Scene) -> None:
    scene.show(SceneFrame(q_rad=HOME, chunks_rad=(chunk(0.1), chunk(-0.1)), is_followed=True))
    before, newest = scene._paths
    assert before.visible
    assert newest.visible
    assert before.points.shape == (4, 2, 3)
    assert before.points[-1, 1, 1] == pytest.approx(-newest.points[-1, 1, 1], abs=2e-3)
    assert tuple(newest.colors) == FOLLOWED
    scene.show(SceneFrame(q_rad=HOME, chunks_rad=(chunk(0.1),)))
    assert (before.visible, newest.visible) == (False, True)
    assert tuple(newest.colors) == WISHED  # a person drives: it is what the policy would do
    scene.show(SceneFrame(q_rad=HOME))
    assert (before.visible, newest.visible) == (False, False)


def test_ghost_object_and_pictures_are_where_the_guide_has_them(scene: Scene, guide: Guide) -> None:
    rgb = np.full((24, 32, 3), (200, 40, 40), np.uint8)
    jpeg = base64.b64encode(cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()).decode()
    start = guide.starts[0]
    scene.show(SceneFrame(wanted=start, jpegs={"cam_front": jpeg, "of_another_cell": jpeg}))
    wanted, seen = scene._boxes["wanted"], scene._boxes["seen"]
    assert wanted is not None
    assert seen is not None
    assert (wanted.visible, seen.visible) == (True, False)
    assert wanted.position == pytest.approx([start.x_m, start.y_m, guide.centre_z_m])
    image = scene._frusta["cam_front"].image
    assert image is not None
    assert np.abs(image.astype(int) - rgb).max() < 12
    assert scene._frusta["cam_front"].position == pytest.approx(guide.T_base_eye.translation_m)


def test_visers_client_of_the_same_version_gets_the_scene(scene: Scene) -> None:
    async def look() -> bytes:
        protocol = Subprotocol(f"viser-v{viser.__version__}")
        async with connect(scene.address, subprotocols=[protocol], max_size=None, proxy=None) as socket:
            return bytes(await asyncio.wait_for(socket.recv(decode=False), 30))

    assert len(asyncio.run(look())) > 1000
    assert scene.address.startswith("ws://127.")


def test_a_cell_whose_arm_has_no_model_shows_what_is_known() -> None:
    cell = cells.load("ros2_control")
    with contextlib.closing(cell_scene.of(cell, None, {})) as scene:
        scene.show(SceneFrame(q_rad=(0.0,) * len(cell.limits.names), chunks_rad=()))
        assert scene._links == {}
