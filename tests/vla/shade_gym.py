"""A LeRobot environment in which a picture's shade says what to do: for `lerobot-eval` in tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig

PX, STEPS = 64, 8


class Shade(gym.Env):
    """Success is to be asked for eight actions of two finite numbers."""

    metadata = {"render_fps": 10, "render_modes": ["rgb_array"]}
    task_description = task = "pick the cube"
    render_mode = "rgb_array"
    _max_episode_steps = STEPS

    def __init__(self, **_: object) -> None:
        picture = gym.spaces.Box(0, 255, (PX, PX, 3), np.uint8)
        numbers = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.observation_space = gym.spaces.Dict(
            {"pixels": gym.spaces.Dict({"front": picture}), "agent_pos": numbers}
        )
        self.action_space = gym.spaces.Box(-1e6, 1e6, (2,), np.float32)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self._steps = 0
        return self._seen(), {"is_success": False}

    def step(self, action: np.ndarray):
        self._steps += 1
        done = self._steps == STEPS
        good = bool(np.isfinite(action).all()) and action.shape == (2,)
        return self._seen(), 0.0, done, False, {"is_success": done and good}

    def render(self) -> np.ndarray:
        return np.full((PX, PX, 3), 40 + 10 * self._steps, np.uint8)

    def _seen(self) -> dict:
        return {"pixels": {"front": self.render()}, "agent_pos": np.array([self._steps, 0.5])}


gym.register("gym_shade/shade", Shade)


@EnvConfig.register_subclass("shade")
@dataclass
class ShadeEnv(EnvConfig):
    task: str | None = "shade"
    fps: int = 10
    features: dict[str, PolicyFeature] = field(
        default_factory=lambda: {
            "action": PolicyFeature(type=FeatureType.ACTION, shape=(2,)),
            "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(2,)),
            "pixels/front": PolicyFeature(type=FeatureType.VISUAL, shape=(PX, PX, 3)),
        }
    )
    features_map: dict[str, str] = field(
        default_factory=lambda: {
            "action": "action",
            "agent_pos": "observation.state",
            "pixels/front": "observation.images.front",
        }
    )

    @property
    def gym_kwargs(self) -> dict:
        return {}
