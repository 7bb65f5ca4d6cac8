"""A learner on a small policy, until somebody kills it: a process of `test_learner`."""

import sys
from pathlib import Path

from rl_online.learning.learner import LearnOnline, learn

sys.path.insert(0, str(Path(__file__).parents[3]))
folder = Path(sys.argv[1])
config = LearnOnline(
    policy=folder / "policy",
    output=folder / "run",
    demos=(folder / "demos",),
    offline_steps=2,
    transitions=int(sys.argv[2]),
    checkpoint_every_s=0.2,
    publish_every=2,
    idle_timeout_s=60,
)
sys.exit(learn(config))
