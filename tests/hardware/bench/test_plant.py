"""The simulated cell: the same under a seed, delayed as told, and seen by its cameras where the truth says."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from hardware.bench.arm_models import ARMS
from hardware.bench.live_camera import LiveCameraView, camera_model
from hardware.bench.plant import Plant
from hardware.bench.plant_config import LiveCamera, PlantConfig, PlantPhysics
from hardware.bench.tasks.start import Distribution, TaskStart
from hardware.bench.workcell import camera_name
from hardware.errors import BadInput
from hardware.spatial import Pose

START = TaskStart(x_m=0.2, y_m=-0.1, yaw_rad=0.3)
QUIET = LiveCamera(noise=0.0)


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    cell = Plant(PlantConfig(cameras={"cam_front": QUIET, "cam_wrist": QUIET}))
    yield cell
    cell.close()


def wave(plant: Plant, seconds: float) -> np.ndarray:
    """Drives the arm along a fixed wave and returns all measured angles."""
    home = np.array(plant.cell.arm.home_rad)
    seen = []
    for tick in range(round(seconds / 0.01)):
        plant.command(home + 0.2 * np.sin(0.05 * tick + np.arange(len(home))), 0.5)
        plant.advance(0.01)
        seen.append(plant.reading().q_rad)
    return np.array(seen)


def test_the_same_start_and_commands_give_the_same_motion(plant: Plant) -> None:
    plant.reset(START)
    first = wave(plant, 0.8), plant.truth()["block"].matrix
    plant.reset(START)
    second = wave(plant, 0.8), plant.truth()["block"].matrix
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_a_restored_state_goes_on_as_the_stored_one_did(plant: Plant) -> None:
    """Also with commands that were still on their way."""
    plant.reset(START)
    wave(plant, 0.3)
    plant.command(np.array(plant.cell.arm.home_rad) + 0.3, 0.0)
    state = plant.state()
    plant.advance(0.4)
    then = plant.reading(), plant.gripper(), plant.truth()["block"].matrix
    wave(plant, 0.2)
    plant.restore(state)
    plant.advance(0.4)
    now = plant.reading(), plant.gripper(), plant.truth()["block"].matrix
    assert now[0].stamp_ns == then[0].stamp_ns
    np.testing.assert_array_equal(now[0].q_rad, then[0].q_rad)
    np.testing.assert_array_equal(now[2], then[2])
    assert now[1] == then[1]


def test_a_command_is_rounded_to_encoder_steps_and_kept_in_range(plant: Plant) -> None:
    plant.reset(START)
    step = 2 * np.pi / 4096
    sent = plant.command(np.array([0.1, 9.0, -9.0, 0.0, 0.0]))
    assert sent[0] == pytest.approx(65 * step)  # 0.1 / 0.001534 = 65.2
    assert sent[1] == plant.upper_rad[1]
    assert sent[2] == plant.lower_rad[2]
    assert plant.command_gripper(1.7) == 1.0


@pytest.mark.parametrize("wrong", [[0.0] * 4, [0.0] * 6, [0.0, 0.0, float("nan"), 0.0, 0.0]])
def test_a_command_that_is_not_five_finite_angles_changes_nothing(plant: Plant, wrong: list[float]) -> None:
    plant.reset(START)
    before = plant.reading().q_rad
    with pytest.raises(ValueError, match="5 finite angles"):
        plant.command(np.array(wrong))
    plant.advance(0.3)
    np.testing.assert_allclose(plant.reading().q_rad, before, atol=2e-3)


def test_the_arm_answers_a_command_after_the_delay() -> None:
    """120 ms of delay: nothing moves before, and 60 ms later it has."""
    cell = Plant(PlantConfig(physics=PlantPhysics(command_delay_s=0.12)))
    cell.reset(START)
    home = cell.reading().q_rad
    cell.command(home + np.array([0.2, 0, 0, 0, 0]))
    cell.advance(0.118)
    assert abs(cell.reading().q_rad[0] - home[0]) < 1e-9
    cell.advance(0.06)
    assert cell.reading().q_rad[0] - home[0] > 0.02


def test_holding_keeps_the_arm_where_it_is(plant: Plant) -> None:
    plant.reset(START)
    plant.command(np.array(plant.cell.arm.home_rad) + 0.4, 1.0)
    plant.advance(0.15)
    plant.hold()
    here = plant.reading().q_rad
    plant.advance(1.0)
    np.testing.assert_allclose(plant.reading().q_rad, here, atol=0.12)  # it was moving at up to 4 rad/s
    there = plant.reading().q_rad
    plant.advance(1.0)
    np.testing.assert_allclose(plant.reading().q_rad, there, atol=2e-3)


def test_the_object_stands_where_it_was_put_and_the_arm_is_at_home(plant: Plant) -> None:
    start = plant.reset(START)
    assert start == START
    block = plant.truth()["block"]
    assert np.abs(block.translation_m[:2] - [0.2, -0.1]).max() < 2e-4
    assert np.arctan2(block.rotation[1, 0], block.rotation[0, 0]) == pytest.approx(0.3, abs=1e-3)
    np.testing.assert_allclose(plant.reading().q_rad, ARMS["so101"].home_rad, atol=3e-3)
    assert plant.gripper() > 0.99
    assert not plant.success()


def test_placing_moves_only_the_things(plant: Plant) -> None:
    plant.reset(START)
    wave(plant, 0.3)
    before = plant.reading().q_rad
    plant.place(TaskStart(x_m=0.22, y_m=-0.06, yaw_rad=0.0))
    np.testing.assert_array_equal(plant.reading().q_rad, before)
    np.testing.assert_allclose(plant.truth()["block"].translation_m[:2], [0.22, -0.06], atol=1e-6)


def test_starts_follow_the_seed_and_lie_in_their_regions(plant: Plant) -> None:
    layout = plant.cell.task.layout
    for distribution, other in (("id", "ood"), ("ood", "id")):
        starts = [plant.draw_start(distribution, seed) for seed in range(40)]
        assert starts[3] == plant.draw_start(distribution, 3)
        assert len({start.x_m for start in starts}) == 40
        assert all(any(region.contains(start) for region in layout.starts[distribution]) for start in starts)
        assert not any(region.contains(start) for region in layout.starts[other] for start in starts)


@pytest.mark.parametrize("starts", ["id", "ood"])
def test_a_reset_draws_from_the_regions_of_its_configuration(starts: Distribution) -> None:
    cell = Plant(PlantConfig(starts=starts, cameras={}))
    assert cell.reset(seed=3) == cell.draw_start(starts, 3)
    cell.close()


def test_a_picture_comes_after_the_latency_with_the_stamp_of_its_exposure(plant: Plant) -> None:
    plant.reset(START)
    plant.advance(0.5)
    image = plant.image("cam_front")
    assert image is not None
    age_s = (plant.now_ns - image.stamp_ns) * 1e-9
    assert 0.035 <= age_s <= 0.035 + 1 / 30 + 0.003
    assert image.rgb.shape == (480, 640, 3)


def test_a_camera_that_has_just_begun_has_no_picture() -> None:
    cell = Plant(PlantConfig())
    cell.advance(0.01)
    assert cell.image("cam_front") is None


@pytest.mark.parametrize("camera", ["cam_front", "cam_wrist"])
def test_the_camera_sees_the_block_where_the_truth_projects_it(plant: Plant, camera: str) -> None:
    """The pixels that the green block changes have their middle where its centre projects to."""
    plant.reset(TaskStart(x_m=0.21, y_m=-0.02, yaw_rad=0.4))
    plant.command(np.array([0.0, -0.9, 0.6, 1.4, 0.0]))
    plant.advance(0.6)
    with_block = plant.glance(camera).astype(int)
    centre = plant.truth()["block"].translation_m
    pose = camera_pose(plant, camera)
    plant.place(TaskStart(x_m=0.6, y_m=0.5, yaw_rad=0.0))  # out of sight
    changed = np.abs(with_block - plant.glance(camera).astype(int)).max(2) > 12
    assert 300 < changed.sum() < 60000
    rows, columns = np.nonzero(changed)
    pixel, inside = camera_model(camera, QUIET).project(pose.inverse().apply(centre))
    assert inside
    assert np.hypot(columns.mean() + 0.5 - pixel[0], rows.mean() + 0.5 - pixel[1]) < 0.15 * np.sqrt(changed.sum())


def camera_pose(plant: Plant, camera: str) -> Pose:
    """T_base_cam in the optical frame, from MuJoCo's data."""
    placed = plant._data.camera(camera_name(camera, plant.cell.arm))
    rotation = placed.xmat.reshape(3, 3) @ np.diag([1.0, -1.0, -1.0])
    return Pose.from_parts("base", "cam", rotation, placed.xpos)


def test_laying_what_moves_over_a_stored_background_gives_the_same_picture(plant: Plant) -> None:
    plant.reset(START)
    wave(plant, 0.5)
    view = LiveCameraView(plant.cell, "cam_front", QUIET, seed=0)
    try:
        exposure = plant._expose(7)
        layered = view.rgb(exposure)
        view._is_fixed = False
        whole = view.rgb(exposure)
    finally:
        view.close()
    assert (np.abs(layered.astype(int) - whole.astype(int)).max(2) > 2).mean() < 1e-4


def test_noise_differs_from_picture_to_picture_and_repeats_with_the_seed(plant: Plant) -> None:
    plant.reset(START)
    view = LiveCameraView(plant.cell, "cam_wrist", LiveCamera(noise=2.0), seed=4)
    try:
        one, other, again = (view.rgb(plant._expose(number)).astype(float) for number in (1, 2, 1))
    finally:
        view.close()
    np.testing.assert_array_equal(one, again)
    assert (one - other).std() == pytest.approx(2 * np.sqrt(2), rel=0.15)


def test_the_physics_runs_ten_times_faster_than_time(plant: Plant) -> None:
    """Measured on an idle core: about 100 times with the SO-101. CPU time, so that other work does not count."""
    plant.reset(START)
    began = time.process_time()
    wave(plant, 2.0)
    assert time.process_time() - began < 0.2 * 2.0


def test_the_twins_board_lies_in_the_cell(plant: Plant) -> None:
    """The live cell has the filmed cell's board in the filmed place, so a scan's frame is the cell's."""
    from hardware.bench.scene import board_pose

    board = plant._data.body("board")
    np.testing.assert_allclose(board.xpos, board_pose().translation_m, atol=1e-9)


def test_an_unknown_task_or_arm_is_refused() -> None:
    with pytest.raises(ValueError, match="pick_place"):
        PlantConfig(task="juggling")  # type: ignore[arg-type]
    from hardware.bench.tasks.catalogue import open_task

    with pytest.raises(BadInput, match="have: pick_place"):
        open_task("juggling", "so101")
