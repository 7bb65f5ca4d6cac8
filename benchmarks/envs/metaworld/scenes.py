"""MetaWorld's tasks as a pixel policy meets them: a picture, the hand and the gripper in; a move of the hand out.

Nothing of the simulator's state reaches the policy: neither an object's place nor the goal's.
"""

from __future__ import annotations

import os
import re

os.environ.setdefault("MUJOCO_GL", "egl")

import mujoco
import numpy as np
from metaworld import env_dict, policies

PX, CAMERA = 128, "corner2"
CAMERA_PLACE_M = (0.75, 0.075, 0.7)
"""Nearer than MetaWorld's own, as the LeRobot project has it: objects are some pixels larger."""
REPEAT = 2
"""Simulator steps (of 1/80 s) for one action."""
RATE_HZ = 80 / REPEAT
METRES = 0.01 * REPEAT
"""What the hand's target moves by one action of 1."""
STATE_NAMES = ("hand_x", "hand_y", "hand_z", "gripper")
ACTION_NAMES = ("hand_dx", "hand_dy", "hand_dz", "gripper")
DEMONSTRATION_SEED, TRIAL_SEED = 0, 1_000_000
"""Starts of demonstrations and of trials never meet."""

INSTRUCTIONS = {
    "reach-v3": "reach the red ball",
    "push-v3": "push the puck to the goal",
    "pick-place-v3": "pick up the puck and hold it at the goal",
    "door-open-v3": "open the door",
    "drawer-open-v3": "open the drawer",
    "drawer-close-v3": "close the drawer",
    "button-press-topdown-v3": "press the button from above",
    "peg-insert-side-v3": "insert the peg into the hole from the side",
    "window-open-v3": "open the window",
    "window-close-v3": "close the window",
}
"""MetaWorld's MT10. Other tasks are told by their names."""


class Scene:
    """One task. A start is a function of its number."""

    def __init__(self, task: str) -> None:
        if task not in env_dict.ALL_V3_ENVIRONMENTS:
            raise SystemExit(f"no task '{task}'; have: {', '.join(env_dict.ALL_V3_ENVIRONMENTS)}")
        self.task = task
        self.instruction = INSTRUCTIONS.get(task, re.sub(r"-v\d$", "", task).replace("-", " "))
        self.env = env_dict.ALL_V3_ENVIRONMENTS[task]()
        self.env._partially_observable = False  # the experts read the goal
        del self.env.sawyer_observation_space  # its bounds were made without
        self.env._freeze_rand_vec = False
        self.env.seeded_rand_vec = True
        self.env._set_task_called = True
        model = self.env.model
        model.vis.quality.offsamples = 0
        model.camera(CAMERA).pos[:] = CAMERA_PLACE_M
        self._renderer = mujoco.Renderer(model, PX, PX)
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._full = np.zeros(0)

    def reset(self, seed: int) -> None:
        self.env.seed(seed)
        self._full, _ = self.env.reset()

    def start(self, trial: int) -> None:
        """Of a policy's trial; demonstrations never start so."""
        self.reset(TRIAL_SEED + trial)

    def state(self) -> np.ndarray:
        """The hand's place [m] and how far the gripper is open (0 closed … 1 open)."""
        return self._full[:4].astype(np.float32)

    def picture(self) -> np.ndarray:
        """uint8 [PX, PX, 3]."""
        self._renderer.update_scene(self.env.data, CAMERA)
        return self._renderer.render()[::-1, ::-1].copy()  # the camera hangs upside down

    def pictures(self) -> dict[str, np.ndarray]:
        return {"front": self.picture()}

    def act(self, action: np.ndarray) -> bool:
        """One action: metres that the hand's target moves, then the gripper, 0 closed … 1 open. True: success."""
        command = np.clip(np.append(action[:3] / METRES, 1 - 2 * action[3]), -1, 1).astype(np.float32)
        success = False
        for _ in range(REPEAT):
            self._full, _, _, _, info = self.env.step(command)
            success = success or bool(info["success"])
        return success

    def expert(self):
        """MetaWorld's scripted expert: a function that gives the action for the present moment."""
        policy = expert_class(self.task)()

        def act() -> np.ndarray:
            command = np.clip(policy.get_action(self._full), -1, 1)
            return np.append(command[:3] * METRES, (1 - command[3]) / 2).astype(np.float32)

        return act

    def close(self) -> None:
        self._renderer.close()
        self.env.close()


def expert_class(task: str) -> type:
    """`button-press-v3` → `SawyerButtonPressV3Policy`, but for one that is named otherwise."""
    words = {"peg-insert-side-v3": "peg-insertion-side-v3"}.get(task, task)
    return getattr(policies, "Sawyer" + "".join(part.capitalize() for part in words.split("-")) + "Policy")
