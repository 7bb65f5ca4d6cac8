"""Runs the policy behind `tandem vla serve` in LIBERO, over its websocket; writes successes and trials by task.

    python evaluate.py --port 8765 --json result.json --tasks libero_object/0 libero_spatial/3 --trials 50

A task is a suite (also LIBERO-PRO's) and a number; without --tasks: the 40 of spatial, object, goal and 10. Trial k
starts from the benchmark's own initial state k. Cameras are called `image` and `image2` (the wrist's), as in LeRobot's
LIBERO datasets, whose pictures are OpenGL's turned by 180°: upright and mirrored.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")

import mujoco
import numpy as np
from libero.libero import benchmark
from libero.libero.envs.env_wrapper import ControlEnv

sys.path.insert(0, str(Path(__file__).parents[1]))

import policy_trials

PX = 128
CAMERAS = {"image": "agentview", "image2": "robot0_eye_in_hand"}
STATE_NAMES = ("hand_x", "hand_y", "hand_z", "hand_rx", "hand_ry", "hand_rz", "finger_left", "finger_right")
"""Place [m], rotation as a vector [rad], the fingers' places [m]."""
ACTION_DIMS = 7
"""Move, rotation and gripper (−1 opens), each −1 … 1, of robosuite's OSC_POSE at 20 Hz."""
SETTLING = (np.array([0, 0, 0, 0, 0, 0, -1.0]), 10)
"""What is done before a trial, so that objects have come to rest, and how often."""
LONGEST_STEPS = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
"""As openpi's evaluation has them; 520 for suites that it does not know."""
SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
TASKS_OF_A_SUITE = 10


class Scene:
    """One task, drawn by MuJoCo's own renderer when it is asked to: robosuite's draws at every step, with shadows."""

    def __init__(self, name: str) -> None:
        suite, number = parsed(name)
        made = benchmark.get_benchmark_dict()[suite]()
        if number >= made.n_tasks:
            raise SystemExit(f"'{suite}' has {made.n_tasks} tasks, the first is {suite}/0")
        self.instruction: str = made.get_task(number).language
        self._starts = made.get_task_init_states(number)
        self._env = ControlEnv(
            bddl_file_name=made.get_task_bddl_file_path(number),
            has_offscreen_renderer=False,
            use_camera_obs=False,
            hard_reset=False,
            ignore_done=True,
        )
        self._env.reset()
        self._seen: dict[str, np.ndarray] = {}
        model = self._env.sim.model._model
        model.vis.quality.offsamples = 0
        self._renderer = mujoco.Renderer(model, PX, PX)
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._drawn = mujoco.MjvOption()
        self._drawn.geomgroup[0] = 0  # robosuite's collision shapes

    def start(self, trial: int) -> None:
        self._env.reset()
        self._seen = self._env.set_init_state(self._starts[trial % len(self._starts)])
        action, times = SETTLING
        for _ in range(times):
            self.act(action)

    def state(self) -> np.ndarray:
        hand = self._seen["robot0_eef_pos"], rotation_vector(self._seen["robot0_eef_quat"])
        return np.concatenate([*hand, self._seen["robot0_gripper_qpos"]]).astype(np.float32)

    def pictures(self) -> dict[str, np.ndarray]:
        data = self._env.sim.data._data
        drawn = {}
        for name, camera in CAMERAS.items():
            self._renderer.update_scene(data, camera, self._drawn)
            drawn[name] = self._renderer.render()[:, ::-1].copy()  # it has turned the rows itself
        return drawn

    def act(self, action: np.ndarray) -> bool:
        self._seen, _, done, _ = self._env.step(np.clip(action, -1, 1))
        return bool(done)

    def close(self) -> None:
        self._renderer.close()
        self._env.close()


def parsed(name: str) -> tuple[str, int]:
    suite, _, number = name.partition("/")
    if suite not in benchmark.get_benchmark_dict() or not number.isdigit():
        raise SystemExit(f"no task '{name}'; write suite/number, of: {', '.join(benchmark.get_benchmark_dict())}")
    return suite, int(number)


def rotation_vector(quat_xyzw: np.ndarray) -> np.ndarray:
    """[rad], robosuite's: the angle is 0 … 2π."""
    axis, w = quat_xyzw[:3], float(np.clip(quat_xyzw[3], -1, 1))
    length = np.sqrt(1 - w * w)
    return np.zeros(3) if length < 1e-6 else axis * (2 * np.arccos(w) / length)


def longest_steps(name: str) -> int:
    return LONGEST_STEPS.get(parsed(name)[0], max(LONGEST_STEPS.values()))


if __name__ == "__main__":
    tasks = [f"{suite}/{number}" for suite in SUITES for number in range(TASKS_OF_A_SUITE)]
    policy_trials.run(__doc__, Scene, tasks, STATE_NAMES, ACTION_DIMS, longest_steps)
