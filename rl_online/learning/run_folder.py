"""What lies in the run folder of a learner."""

SETTINGS, CHECKPOINT, FIGURES = "run.json", "agent.safetensors", "learn.json"
POLICY = "policy"
DEMOS, ONLINE, SEEDS = "demos", "online", "seeds"
"""Replays: what was shown; what was tried; what was tried in the run that this one inherits from."""
