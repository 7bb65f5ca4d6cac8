"""How long a chunk takes: TandemVLA with either voice, with LeRobot's policies beside it, on this machine.

Weights are random: time does not depend on them, but for the token head, whose chunks are as long as those of the
smooth motions that its tokens were fitted on. One observation at a time, two 128 × 128 cameras, from uint8 pictures
to physical actions. `--large` adds SmolVLA and π0-FAST at their published sizes (12 GB of memory, minutes). Training
throughput beside `lerobot-train` is in `benchmarks/metaworld.py`, on the same data. The processor time (of all
threads) is what a busy machine changes least.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine, policy_peers
from vla import encoders, fast_tokens
from vla.normalise import DatasetQuantiles, Quantiles
from vla.policy import Interface, ObservationBatch
from vla.tandem_vla import TandemConfig, TandemVLA, Voice

CAMERAS, PX, STATE, ACTIONS, HORIZON = ("front", "wrist"), 128, 6, 6, 16
ASKED_MS = 25.0
"""Median of the consistency head with two cameras on two cores."""
THREADS = 2


def motions(count: int, rng: np.random.Generator) -> np.ndarray:
    """Minimum-jerk moves between random poses, cut into chunks: what demonstrations look like, normalised."""
    share = np.linspace(0, 1, 3 * HORIZON)
    blend = (10 * share**3 - 15 * share**4 + 6 * share**5)[:, None]
    start, end = rng.uniform(-1, 1, (2, count, 1, ACTIONS))
    paths = start + blend * (end - start)
    firsts = rng.integers(0, 2 * HORIZON, count)
    return np.stack([path[first : first + HORIZON] for path, first in zip(paths, firsts, strict=True)]).astype(
        np.float32
    )


def tandem_vla(voice: Voice) -> TandemVLA:
    names = tuple(f"joint_{number}" for number in range(ACTIONS))
    whole = Quantiles(low=(-1.0,) * ACTIONS, high=(1.0,) * ACTIONS)
    interface = Interface(cameras=CAMERAS, state_names=names, action_names=names, rate_hz=10, horizon_steps=HORIZON)
    config = TandemConfig(
        interface=interface, normalisation={"arm": DatasetQuantiles(state=whole, action=whole)}, voice=voice
    )
    return TandemVLA(config, fast_tokens.fit(motions(2000, np.random.default_rng(0)))).eval()


def observations(count: int) -> ObservationBatch:
    rng = np.random.default_rng(1)
    images = {camera: rng.integers(0, 255, (count, PX, PX, 3), np.uint8) for camera in CAMERAS}
    state = rng.uniform(-1, 1, (count, STATE)).astype(np.float32)
    return ObservationBatch(state, images, ("pick up the cube",) * count)


def spoken_tokens(policy: TandemVLA) -> int:
    """Of a demonstrated chunk, on average."""
    return round(float(np.mean([len(ids) for ids in policy.fast.encode(motions(500, np.random.default_rng(2)))])))


def speaking(policy: TandemVLA) -> Callable[[], object]:
    """A whole demonstrated chunk's worth of tokens: random weights would speak until they are cut off."""
    length, seen = spoken_tokens(policy), observations(1)

    def speak() -> object:
        with torch.inference_mode():
            context = policy.context(policy.inputs(seen))
            greedy = lambda logits, said: logits[:, : policy.fast.vocabulary].argmax(dim=-1)  # noqa: E731
            return policy.token_head.speak(context, greedy, 1.0, length + 1)

    return speak


def timed(rows: dict[str, Callable[[], object]], rounds: int, warm_up: int = 3) -> dict[str, dict[str, float]]:
    """All in turn, round by round, so that a busy moment meets everyone."""
    taken: dict[str, list[float]] = {name: [] for name in rows}
    worked: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(warm_up):
        for call in rows.values():
            call()
    for _ in range(rounds):
        for name, call in rows.items():
            began, worked_before = time.perf_counter(), time.process_time()
            call()
            taken[name].append(1e3 * (time.perf_counter() - began))
            worked[name].append(1e3 * (time.process_time() - worked_before))
    return {
        name: {
            "p50_ms": float(np.percentile(times, 50)),
            "p99_ms": float(np.percentile(times, 99)),
            "least_ms": min(times),
            "least_cpu_ms": min(worked[name]),
            "chunks_per_s": 1e3 * len(times) / sum(times),
        }
        for name, times in taken.items()
    }


def large(seen: ObservationBatch, tokens: int) -> dict[str, dict[str, float]]:
    """One after the other, each alone in memory."""
    makers: dict[str, Callable[[], tuple[torch.nn.Module, Callable[[], object]]]] = {
        "LeRobot SmolVLA": lambda: policy_peers.smolvla(seen, HORIZON, ACTIONS),
        "LeRobot π0-FAST": lambda: policy_peers.pi0_fast(seen, tokens),
    }
    results: dict[str, dict[str, float]] = {}
    for name, make in makers.items():
        network, chunk = make()
        billions = sum(parameter.numel() for parameter in network.parameters()) / 1e9
        results |= timed({f"{name}, {billions:.2f} B": chunk}, rounds=5, warm_up=1)
        del network, chunk
    return results


ENCODING = """
import sys, time
import numpy as np, torch
from hardware.allocation import keep_freed_memory
from vla.encoders import ImageEncoder, encode_all
if sys.argv[1] == "keep":
    keep_freed_memory()
torch.set_num_threads(1)
encoder, rgb = ImageEncoder(128), np.random.default_rng(0).integers(0, 255, (64, 128, 128, 3), np.uint8)
taken = []
for _ in range(8):
    began = time.thread_time()
    encode_all(encoder, rgb)
    taken.append(1e3 * (time.thread_time() - began) / len(rgb))
print(min(taken[1:]))
"""


def encoding_ms() -> dict[str, float]:
    """Of one thread's processor time, for each picture of a demonstration; each in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])

    def measured(how: str) -> float:
        words = [sys.executable, "-c", ENCODING, how]
        return float(subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout)

    return {"freed memory kept": measured("keep"), "given back": measured("leave")}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer rounds")
    arguments.add_argument("--large", action="store_true", help="SmolVLA and π0-FAST at full size too")
    arguments.add_argument("--json", type=Path)
    chosen = arguments.parse_args()
    torch.set_num_threads(min(THREADS, len(os.sched_getaffinity(0))))
    policy = tandem_vla("consistency")
    one, many = observations(1), observations(8)
    rows: dict[str, Callable[[], object]] = {
        "TandemVLA, consistency head": lambda: policy.act(one),
        "TandemVLA, token head": speaking(policy),
        "TandemVLA, consistency head, 8 at once": lambda: policy.act(many),
        "of which: two encoder passes": lambda: policy._features(one),
        "LeRobot ACT": policy_peers.act(one, HORIZON, ACTIONS)[1],
    }
    with torch.inference_mode():
        results = timed(rows, 12 if chosen.quick else 200)
        if chosen.large:
            results |= large(one, spoken_tokens(policy))
    parameters = sum(parameter.numel() for parameter in policy.parameters())
    print(f"{machine.line()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"two {PX}² cameras, {HORIZON} × {ACTIONS} actions, TandemVLA of {parameters / 1e6:.1f} M parameters\n")
    print(f"{'':42}{'p50 ms':>9}{'p99 ms':>9}{'least ms':>10}{'least cpu ms':>14}{'calls/s':>9}")
    for name, row in results.items():
        print(
            f"{name:42}{row['p50_ms']:9.1f}{row['p99_ms']:9.1f}{row['least_ms']:10.1f}"
            f"{row['least_cpu_ms']:14.1f}{row['chunks_per_s']:9.1f}"
        )
    asked = results["TandemVLA, consistency head"]["p50_ms"]
    print(f"\nasked: consistency head ≤ {ASKED_MS:.0f} ms p50; measured {asked:.1f} ms")
    encoding = encoding_ms()
    words = ", ".join(f"{how} {each:.1f} ms" for how, each in encoding.items())
    print(f"a picture encoded, one thread's processor time: {words}; bfloat16: {encoders.has_bfloat16('cpu')}")
    if chosen.json:
        report = {
            "machine": machine.describe(),
            "asked_ms": ASKED_MS,
            "results": results,
            "encoding_ms": encoding,
            "native_bfloat16": encoders.has_bfloat16("cpu"),
        }
        chosen.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
