"""A simulator of a twin as a world: starts are set in the table's plane, cells that are not named hold still."""

from collections.abc import Sequence

import numpy as np
import pytest

from hardware.bench.tasks.start import TaskStart
from hardware.errors import BadInput
from hardware.spatial import Pose
from rl_online.worlds.outcome import Outcome
from rl_online.worlds.twin import TwinWorld
from rl_online.worlds.world import World
from tests.rl_online.slider import SHEET
from twin.sim.protocol import SimState, Simulator, Start

ANYWHERE_NEAR = Outcome(half_m=0.034, height_m=0.03)
SCANNED = Pose.from_parts("base", "block", np.eye(3), (0.3, 0.1, 0.02))


class SliderSim:
    """A joint that moves half way to its target in a step, and a block that stays where it was put."""

    engine, control_hz, camera_names = "slider", 10.0, ()
    joint_names, object_names = ("slide",), ("block",)

    def __init__(self, n_envs: int) -> None:
        self.n_envs = n_envs
        self.q, self.blocks = np.zeros((n_envs, 1)), np.tile(SCANNED.matrix, (n_envs, 1, 1))

    def reset(self, starts: Sequence[Start], envs: Sequence[int] | None = None) -> SimState:
        for start, env in zip(starts, range(self.n_envs) if envs is None else envs, strict=True):
            self.q[env] = 0.0
            self.blocks[env] = start.objects.get("block", SCANNED).matrix
        return self.state()

    def step(self, action: np.ndarray) -> SimState:
        self.q = self.q + (action[:, :1] - self.q) / 2
        return self.state()

    def state(self) -> SimState:
        tools = np.tile(np.eye(4), (self.n_envs, 1, 1))
        tools[:, 2, 3] = 0.2
        return SimState(
            time_s=np.zeros(self.n_envs),
            q_rad=self.q.copy(),
            dq_rad_s=np.zeros_like(self.q),
            gripper_open=np.ones(self.n_envs),
            Ts_base_tool=tools,
            Ts_base_object={"block": self.blocks.copy()},
            touching=np.zeros(self.n_envs, bool),
            penetration_m=np.zeros(self.n_envs),
        )

    def render(self, camera: str, width_px: int, height_px: int, envs: Sequence[int] | None = None) -> np.ndarray:
        raise AssertionError("it has no camera")

    def close(self) -> None:
        pass


def world(n_envs: int = 2) -> TwinWorld:
    simulator = SliderSim(n_envs)
    assert isinstance(simulator, Simulator)
    return TwinWorld(simulator, SHEET, ANYWHERE_NEAR)


def test_a_twin_is_a_world():
    assert isinstance(world(), World)


def test_a_start_turns_and_moves_the_object_and_keeps_its_height():
    made = world()
    made.reset([TaskStart(x_m=0.1, y_m=-0.2, yaw_rad=np.pi / 2)], [1])
    poses = made.moment().Ts_base_object
    assert poses[1, :3, 3].tolist() == pytest.approx([0.1, -0.2, 0.02])
    assert poses[1, :3, 0].tolist() == pytest.approx([0.0, 1.0, 0.0], abs=1e-12)
    assert np.allclose(poses[0], SCANNED.matrix)


def test_a_cell_that_is_not_named_holds_its_target():
    made = world()
    made.step(np.array([[0.8, 1.0]]), [1])
    assert made.moment().q_rad[:, 0].tolist() == pytest.approx([0.0, 0.4])
    made.step(np.array([[0.4, 1.0]]), [0])
    assert made.moment().q_rad[:, 0].tolist() == pytest.approx([0.2, 0.6])


def test_success_and_progress_are_measured_from_the_goal():
    made = world()
    made.reset([TaskStart(x_m=0.5, y_m=0.01, yaw_rad=0.0), TaskStart(x_m=0.35, y_m=0.0, yaw_rad=0.0)], [0, 1])
    now = made.moment()
    assert now.success.tolist() == [True, False]
    assert now.progress.tolist() == pytest.approx([1.0, 0.5])


def test_a_twin_without_the_tasks_object_says_what_it_has():
    other = SliderSim(1)
    other.object_names = ("mug",)
    with pytest.raises(BadInput, match=r"no object 'block'; have: mug"):
        TwinWorld(other, SHEET, ANYWHERE_NEAR)
