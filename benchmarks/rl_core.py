"""How fast the loop's parts are: transitions per second of N environments, split into physics, render, policy and
learner, for a policy that is told poses and for one that sees; and the replay's appends and draws.

    .venv/bin/python benchmarks/rl_core.py [--quick] [--threads N] [--json FILE] [--bundle TWIN]

Without a bundle the environments are the bench's plant. A transition is half a chunk, five control steps (0.25 s),
decided on after one look: the state, and with pictures both cameras. The learner is a process of its own: what it takes
for a transition is said beside what the actor does, and the slower of both is the pace of the loop. Times are the
processor's, so that a busy machine does not spoil them: with one thread and a core to itself a second of it is a
second. The replay's are the clock's, for they wait for the disk.
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
sys.path.insert(1, str(Path(__file__).parents[1] / "tests" / "rl_online"))

from transitions import some

from benchmarks import machine
from rl_online.learning.agent import Agent
from rl_online.learning.env import ChunkEnv
from rl_online.learning.presets import PRESETS, Rewards
from rl_online.learning.replay import Mixture, Replay
from rl_online.worlds.open_world import WorldChoice, open_world
from rl_online.worlds.world import pose_columns
from vla import fast_tokens
from vla.backbone import Architecture
from vla.normalise import DatasetQuantiles, Quantiles
from vla.policy import GRIPPER, Interface
from vla.tandem_vla import TandemConfig, TandemVLA

HORIZON, RATE_HZ = 10, 20.0


def policy(
    joints: tuple[str, ...],
    object_name: str,
    cameras: tuple[str, ...] = (),
    architecture: Architecture = Architecture(),  # noqa: B008
) -> TandemVLA:
    """Untrained; told poses unless it sees. What costs time is the same as when it is trained."""
    names = (*joints, GRIPPER)
    interface = Interface(
        cameras=cameras,
        state_names=names if cameras else (*names, *pose_columns(object_name)),
        action_names=names,
        rate_hz=RATE_HZ,
        horizon_steps=HORIZON,
        language=False,
    )

    def unit(dims: int) -> Quantiles:
        return Quantiles(low=(-1.0,) * dims, high=(1.0,) * dims)

    quantiles = DatasetQuantiles(state=unit(len(interface.state_names)), action=unit(len(names)))
    config = TandemConfig(interface=interface, normalisation={"arm": quantiles}, architecture=architecture)
    chunks = np.random.default_rng(0).uniform(-1, 1, (64, HORIZON, len(names))).astype(np.float32)
    return TandemVLA(config, fast_tokens.fit(chunks, vocabulary=128), 0).eval()


def environments(counts: list[int], chunks: int, bundle: Path | None, sees: bool) -> list[dict[str, float]]:
    """Transitions a processor second of N environments, and what one takes: physics, render, policy."""
    rows = []
    for count in counts:
        world = open_world(WorldChoice(bundle=bundle), count)
        acting = policy(world.joint_names, world.sheet.object_name, world.camera_names if sees else ())
        env = ChunkEnv(world, acting.interface, Rewards(), 0.98)
        rng = np.random.default_rng(0)
        env.reset([world.sheet.parts[0][1].draw(rng) for _ in range(count)])
        physics_s = render_s = policy_s = 0.0
        for number in range(chunks + 1):
            began = time.process_time()
            seen = env.observe()
            looked = time.process_time()
            actions = acting.act(seen, number)
            decided = time.process_time()
            env.run(actions)
            if number:  # the first warms up
                render_s += looked - began
                policy_s += decided - looked
                physics_s += time.process_time() - decided
        done = count * chunks
        rows.append(
            {
                "envs": count,
                "pictures": len(acting.interface.cameras),
                "transitions_per_s": done / (physics_s + render_s + policy_s),
                "physics_ms": 1e3 * physics_s / done,
                "render_ms": 1e3 * render_s / done,
                "policy_ms": 1e3 * policy_s / done,
            }
        )
        env.close()
        rate, kind = rows[-1]["transitions_per_s"], "seeing" if sees else "told poses"
        print(f"{count} environments, {kind}: {rate:.1f} transitions per CPU-second", flush=True)
    return rows


def learner(updates: int, cameras: tuple[str, ...] = ()) -> dict[str, float]:
    """Milliseconds of one update (batch 64), offline with the Cal-QL term and online; and of a transition's share."""
    algorithm = PRESETS["twinrl"]
    agent = Agent(policy(("a", "b", "c", "d", "e"), "block", cameras), algorithm)
    batch, found = some(64, shape=agent.shape), {}
    for stage in ("offline", "online"):
        agent.update(batch, stage)
        began = time.process_time()
        for _ in range(updates):
            agent.update(batch, stage)
        found[f"{stage}_ms"] = 1e3 * (time.process_time() - began) / updates
    return found | {"transition_ms": algorithm.updates_per_transition * found["online_ms"]}


def replay(appends: int, draws: int) -> dict[str, float]:
    """Milliseconds until ten chunks are acknowledged, and to draw 64 from both halves."""
    agent = Agent(policy(("a", "b", "c", "d", "e"), "block"), PRESETS["twinrl"])
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        mixture = Mixture(Replay(Path(folder) / "demos", agent.shape), Replay(Path(folder) / "online", agent.shape))
        mixture.demos.add(some(200, shape=agent.shape))
        parts = [some(10, shape=agent.shape) for _ in range(appends)]
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
    parser.add_argument("--threads", type=int, default=1, help="of the policy and the learner")
    parser.add_argument("--bundle", type=Path, help="a twin bundle with contact, in place of the bench's plant")
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    counts, chunks, updates = ([1, 2], 2, 2) if flags.quick else ([1, 2, 4, 8, 16], 6, 10)
    before = machine.describe()
    rows = [row for sees in (False, True) for row in environments(counts, chunks, flags.bundle, sees)]
    learning = {"told poses": learner(updates), "seeing": learner(updates, ("cam_front", "cam_wrist"))}
    for row in rows:
        row["learner_ms"] = learning["seeing" if row["pictures"] else "told poses"]["transition_ms"]
    found = {
        "machine": before | {"threads": flags.threads, "load_1min_after": machine.describe()["load_1min"]},
        "environments": rows,
        "learner": learning,
        "replay": replay(5 if flags.quick else 200, 20 if flags.quick else 500),
    }
    console = Console()
    console.print(machine.line())
    heads = ("physics ms", "render ms", "policy ms", "learner ms")
    table = Table("envs", "pictures", "per CPU-s", *heads, title=f"one transition = {HORIZON // 2} control steps")
    for row in found["environments"]:
        table.add_row(
            f"{row['envs']:.0f}",
            f"{row['pictures']:.0f}",
            f"{row['transitions_per_s']:.1f}",
            *(f"{row[head.replace(' ', '_')]:.1f}" for head in heads),
        )
    console.print(table)
    for name in ("learner", "replay"):
        console.print(name, json.loads(json.dumps(found[name]), parse_float=lambda text: round(float(text), 2)))
    if flags.json:
        flags.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
