"""A judge of success that says what it is told: of every picture the same."""

from pathlib import Path

import numpy as np

from rl_online.judge.model import RewardManifest, RewardModel, RewardView

PX = 32


def judge(folder: Path, bias: float, camera: str = "cam") -> Path:
    """Above 0 it takes everything for a success, below nothing."""
    nothing = {"frames": 0, "frame_precision": 0, "frame_recall": 0, "episodes": 0, "true_successes": 0}
    nothing |= {"false_successes": 0, "missed": 0, "false_share": 0, "false_interval": (0, 1)}
    view = RewardView(cameras=(camera,), image_px=PX)
    values = {"task": "t", "view": view, "threshold": 0.5, "consecutive": 2, "wanted_precision": 0.9}
    values |= {"held_out": nothing, "learned_episodes": 1, "mined_frames": 0, "data": "", "seed": 0}
    RewardModel(RewardManifest.model_validate(values), np.zeros(view.dims, np.float32), bias).save(folder)
    return folder
