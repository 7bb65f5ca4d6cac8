"""Appends transitions and prints each acknowledged id, until somebody kills it: a process of `test_replay`."""

import sys
from pathlib import Path

from rl_online.learning.replay import Mixture, Replay

sys.path.insert(0, str(Path(__file__).parents[1]))
from transitions import SHAPE, some

folder = Path(sys.argv[1])
mixture = Mixture(Replay(folder / "demos", SHAPE), Replay(folder / "online", SHAPE))
seed = int(sys.argv[2])
while True:
    seed += 1
    rows = some(3, seed, "human" if seed % 2 else "policy")
    mixture.add(rows)
    for one in rows.id.tolist():
        print(one, seed % 2, flush=True)
