"""Runs the policy behind `tandem vla serve` in MetaWorld, over its websocket; writes successes and trials by task.

python evaluate.py --port 8765 --json result.json --tasks reach-v3 --trials 50
"""

from __future__ import annotations

import sys
from pathlib import Path

from scenes import ACTION_NAMES, INSTRUCTIONS, STATE_NAMES, Scene

sys.path.insert(0, str(Path(__file__).parents[1]))

import policy_trials

LONGEST_STEPS = 150
"""Of `scenes.REPEAT` simulator steps each; MetaWorld itself allows 250."""

if __name__ == "__main__":
    policy_trials.run(__doc__, Scene, tuple(INSTRUCTIONS), STATE_NAMES, len(ACTION_NAMES), lambda _: LONGEST_STEPS)
