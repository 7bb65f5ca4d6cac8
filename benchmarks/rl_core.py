"""How fast the loop's parts are: transitions per second of N environments, split into physics, policy and learner; the
replay's appends and draws; and the yield of warped demonstrations.

    .venv/bin/python benchmarks/rl_core.py [--quick] [--json FILE] [--bundle TWIN]

Without a bundle the environments are the bench's plant. A transition is one chunk of ten control steps (0.5 s).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from rl_online.agent import Agent
from rl_online.env import ChunkEnv
from rl_online.open_world import WorldChoice, open_world
from rl_online.presets import PRESETS, Rewards
from rl_online.replay import Mixture, Replay, Transitions, new_ids
from rl_online.world import pose_columns
from vla import fast_tokens
from vla.backbone import Architecture
from vla.normalise import DatasetQuantiles, Quantiles
from vla.policy import GRIPPER, Interface
from vla.tandem_vla import TandemConfig, TandemVLA

HORIZON, RATE_HZ = 10, 20.0


def policy(joints: tuple[str, ...], object_name: str, architecture: Architecture | None = None) -> TandemVLA:
    """Untrained, of the default size, told poses: what costs time is the same as when it is trained."""
    names = (*joints, GRIPPER)
    interface = Interface(
        cameras=(),
        state_names=(*names, *pose_columns(object_name)),
        action_names=names,
        rate_hz=RATE_HZ,
        horizon_steps=HORIZON,
        language=False,
    )

    def unit(dims: int) -> Quantiles:
        return Quantiles(low=(-1.0,) * dims, high=(1.0,) * dims)

    quantiles = DatasetQuantiles(state=unit(len(interface.state_names)), action=unit(len(names)))
    config = TandemConfig(
        interface=interface, normalisation={"arm": quantiles}, architecture=architecture or Architecture()
    )
    chunks = np.random.default_rng(0).uniform(-1, 1, (64, HORIZON, len(names))).astype(np.float32)
    return TandemVLA(config, fast_tokens.fit(chunks, vocabulary=128), 0).eval()


def environments(counts: list[int], chunks: int, bundle: Path | None) -> list[dict[str, float]]:
    """Transitions/s of N environments, and what one takes in physics and in the policy."""
    rows = []
    for count in counts:
        world = open_world(WorldChoice(bundle=bundle), count)
        acting = policy(world.joint_names, world.sheet.object_name)
        env = ChunkEnv(world, acting.interface, Rewards(), 0.98)
        rng = np.random.default_rng(0)
        env.reset([world.sheet.parts[0][1].draw(rng) for _ in range(count)])
        physics_s = policy_s = 0.0
        for number in range(chunks + 1):
            began = time.perf_counter()
            actions = acting.act(env.observe(), number)
            decided = time.perf_counter()
            env.run(actions)
            if number:  # the first warms up
                policy_s += decided - began
                physics_s += time.perf_counter() - decided
        done = count * chunks
        rows.append(
            {
                "envs": count,
                "transitions_per_s": done / (physics_s + policy_s),
                "physics_ms": 1e3 * physics_s / done,
                "policy_ms": 1e3 * policy_s / done,
            }
        )
        env.close()
        print(f"{count} environments: {rows[-1]['transitions_per_s']:.1f} transitions/s", flush=True)
    return rows


def made_up(agent: Agent, count: int) -> Transitions:
    rng, shape = np.random.default_rng(0), agent.shape

    def normal(*row: int) -> np.ndarray:
        return rng.standard_normal((count, *row)).astype(np.float32)

    return Transitions(
        id=new_ids(count),
        context=normal(shape.slots, shape.width),
        next_context=normal(shape.slots, shape.width),
        state=normal(shape.state_dims),
        next_state=normal(shape.state_dims),
        actions=normal(HORIZON, shape.action_dims).clip(-1, 1),
        rewards=np.full((count, HORIZON), -0.05, np.float32),
        terminated=np.zeros((count, HORIZON), bool),
        executed=np.full(count, HORIZON),
        floor=np.full(count, -2.5, np.float32),
        source=np.zeros(count, np.int64),
        episode=np.arange(count),
        success=np.zeros(count, np.int64),
    )


def learner(updates: int) -> dict[str, float]:
    """Milliseconds of one update (batch 64), offline with the Cal-QL term and online."""
    agent = Agent(policy(("a", "b", "c", "d", "e"), "block"), PRESETS["twinrl"])
    batch, found = made_up(agent, 64), {}
    for stage in ("offline", "online"):
        agent.update(batch, stage)
        began = time.perf_counter()
        for _ in range(updates):
            agent.update(batch, stage)
        found[f"{stage}_ms"] = 1e3 * (time.perf_counter() - began) / updates
    return found


def replay(appends: int, draws: int) -> dict[str, float]:
    """Milliseconds until ten chunks are acknowledged, and to draw 64 from both halves."""
    agent = Agent(policy(("a", "b", "c", "d", "e"), "block"), PRESETS["twinrl"])
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        mixture = Mixture(Replay(Path(folder) / "demos", agent.shape), Replay(Path(folder) / "online", agent.shape))
        mixture.demos.add(made_up(agent, 200))
        parts = [made_up(agent, 10) for _ in range(appends)]
        began = time.perf_counter()
        for part in parts:
            mixture.add(part)
        added = time.perf_counter()
        for _ in range(draws):
            mixture.sample(64, rng)
        drawn = time.perf_counter()
        mixture.close()
    return {"append_10_ms": 1e3 * (added - began) / appends, "sample_64_ms": 1e3 * (drawn - added) / draws}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--bundle", type=Path, help="a twin bundle with contact, in place of the bench's plant")
    flags = parser.parse_args()
    torch.set_num_threads(2)
    counts, chunks = ([1, 2], 3) if flags.quick else ([1, 2, 4, 8, 16], 20)
    found = {
        "machine": machine.describe(),
        "environments": environments(counts, chunks, flags.bundle),
        "learner": learner(2 if flags.quick else 50),
        "replay": replay(5 if flags.quick else 200, 20 if flags.quick else 500),
    }
    console = Console()
    console.print(machine.line())
    table = Table("envs", "transitions/s", "physics ms", "policy ms", title="one transition = 10 control steps")
    for row in found["environments"]:
        table.add_row(
            f"{row['envs']:.0f}",
            f"{row['transitions_per_s']:.1f}",
            f"{row['physics_ms']:.1f}",
            f"{row['policy_ms']:.2f}",
        )
    console.print(table)
    for name in ("learner", "replay"):
        console.print(name, {key: round(value, 2) for key, value in found[name].items()})
    if flags.json:
        flags.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
