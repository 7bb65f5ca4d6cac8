"""Small transitions for the tests of replay, link and learner."""

import numpy as np

from hardware.dataset.frame_grid import SOURCES
from rl_online.learning.replay import ReplayShape, Transitions, new_ids

SHAPE = ReplayShape(percept=6, known=3, seen=4, horizon_steps=2, action_dims=1, embedding="test")


def some(count: int, seed: int = 0, source: str = "policy", shape: ReplayShape = SHAPE) -> Transitions:
    rng = np.random.default_rng(seed)
    steps = (count, shape.horizon_steps)

    def normal(*row: int) -> np.ndarray:
        return rng.standard_normal((count, *row)).astype(np.float32)

    return Transitions(
        id=new_ids(count),
        percept=normal(shape.percept).astype(np.float16),
        next_percept=normal(shape.percept).astype(np.float16),
        known=normal(shape.known),
        next_known=normal(shape.known),
        seen=normal(shape.seen),
        next_seen=normal(shape.seen),
        actions=normal(shape.horizon_steps, shape.action_dims).clip(-1, 1),
        rewards=normal(shape.horizon_steps),
        terminated=np.zeros(steps, bool),
        executed=np.full(count, shape.horizon_steps),
        floor=np.full(count, -1.0, np.float32),
        source=np.full(count, SOURCES.index(source)),
        episode=np.arange(count),
        success=np.full(count, -1),
        imitate=np.zeros(count, bool),
    )
