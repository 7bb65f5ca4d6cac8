"""What LoRA saves when π0-FAST is reinforced: weights that learn, memory, the size of a checkpoint.

By the shapes of LeRobot's own network at full size; `--step` takes one update of it, too, with random weights, in one
process of this machine, and measures time and memory (8 GB; minutes on a processor).
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import machine
import numpy as np
import peft
import torch
from lerobot.policies.pi0_fast import modeling_pi0_fast as modeling
from torch import Tensor, nn

from vla import fast_tokens
from vla.adapters.lora import ADAPTED
from vla.adapters.pi0_fast import Pi0FastPolicy, Vocabulary
from vla.normalise import OneRange, Quantiles
from vla.policy import Interface, ObservationBatch
from vla.rft import grpo
from vla.rft.reference import Reference, trained

GIB = 2**30
ADAMW = 2
"""Moments, each as large as what learns."""
HORIZON, ACTIONS, GROUP, PX = 4, 2, 2, 224


class Full(nn.Module):
    """LeRobot's network with what its policy class adds, without the tokenizers that this would download."""

    name, config = "pi0_fast", SimpleNamespace(type="pi0_fast", device="cpu")

    def __init__(self) -> None:
        super().__init__()
        config: Any = SimpleNamespace(paligemma_variant="gemma_2b", dtype="bfloat16", compile_model=False)
        self.model = modeling.PI0FastPytorch(config, paligemma_tokenizer=None)

    def _preprocess_images(self, batch: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        picture = batch["observation.images.front"] * 2 - 1
        return [picture], [torch.ones(len(picture), dtype=torch.bool)]


class Words:
    """What is asked of PaliGemma's tokenizer."""

    vocab_size, bos_token_id = 257_000, 2

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [11, 12]

    def convert_tokens_to_ids(self, word: str) -> int:
        return 13


def filled() -> Full:
    """With random weights. Its own constructor makes all of them twice."""
    with torch.device("meta"):
        network = Full()
    network.to_empty(device="cpu")
    network.model.paligemma_with_expert.paligemma.init_weights()
    return network


def adapt(network: Full, rank: int) -> None:
    settings = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=ADAPTED["pi0_fast"])
    peft.get_peft_model(network, settings)  # pyright: ignore[reportArgumentType] - any module will do


def weighed(rank: int | None) -> dict[str, float]:
    """Bytes of the policy, of what is kept of the reference, of gradients and moments, by shapes alone; rank None: all
    weights learn."""
    with torch.device("meta"):
        network = Full()
        if rank is not None:
            adapt(network, rank)
    learning = trained(network).values()
    learned = sum(weight.nbytes for weight in learning)
    whole = sum(weight.nbytes for weight in network.parameters())
    return {
        "weights_learned": sum(weight.numel() for weight in learning),
        "weights": sum(weight.numel() for weight in network.parameters()),
        "policy_gib": whole / GIB,
        "reference_gib": learned / GIB,
        "gradients_and_moments_gib": (1 + ADAMW) * learned / GIB,
        "checkpoint_mb": (whole if rank is None else learned) / 1e6,
        "total_gib": (whole + (2 + ADAMW) * learned) / GIB,
    }


def one_update(rank: int) -> dict[str, float]:
    """Samples, their reference and one step of AdamW, of one observation with one picture."""
    began = time.perf_counter()
    network = filled()
    adapt(network, rank)
    policy = around(network)
    made = time.perf_counter()
    held = peak_gib()
    reference = Reference(policy)
    optimiser = torch.optim.AdamW(trained(policy).values(), lr=1e-4)
    seen = observation()
    drawn = policy.sample(seen, GROUP, 0.8, seed=0)
    with torch.no_grad():
        log_reference = reference.log_probabilities(seen, drawn.tokens, 0.8)
    log_p = policy.log_probabilities(seen, drawn.tokens, 0.8)
    preferred = torch.tensor([[1.0, 0.0]])
    result = grpo.loss(
        log_p, drawn.log_probabilities, log_reference, drawn.mask, grpo.advantages(preferred), 0.2, 0.001
    )
    result.total.backward()
    optimiser.step()
    return {
        "building_s": made - began,
        "update_s": time.perf_counter() - made,
        "peak_before_gib": held,
        "peak_gib": peak_gib(),
        "kl": float(result.kl.detach()),
    }


def around(network: Full) -> Pi0FastPolicy:
    steps = np.random.default_rng(0).normal(scale=0.2, size=(200, HORIZON, ACTIONS))
    fast = fast_tokens.fit(np.clip(np.cumsum(steps, axis=1), -1, 1).astype(np.float32), vocabulary=96)
    names = ("x", "y")
    interface = Interface(
        cameras=("front",), state_names=names, action_names=names, rate_hz=10, horizon_steps=HORIZON
    )
    ranges = OneRange(Quantiles(low=(-1.0, -1.0), high=(1.0, 1.0)))
    vocabulary = Vocabulary.of(Words(), 128, fast.vocabulary)
    return Pi0FastPolicy(network, spoken_to, lambda chunk: chunk, interface, fast, vocabulary, ranges).eval()


def spoken_to(batch: dict[str, Any]) -> dict[str, Any]:
    words = torch.arange(5, 25).expand(len(batch["observation.images.front"]), -1)
    mask = torch.ones_like(words, dtype=torch.bool)
    return batch | {"observation.language.tokens": words, "observation.language.attention_mask": mask}


def observation() -> ObservationBatch:
    rgb = np.random.default_rng(1).integers(0, 255, (1, PX, PX, 3), np.uint8)
    return ObservationBatch(np.zeros((1, 2), np.float32), {"front": rgb}, ("push",))


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="one rank")
    arguments.add_argument("--ranks", type=int, nargs="+", default=[8, 16, 64])
    arguments.add_argument("--step", action="store_true", help="one update at full size")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--json", type=Path)
    chosen = arguments.parse_args()
    torch.set_num_threads(chosen.threads)
    report: dict[str, Any] = {"machine": machine.describe(), "torch": torch.__version__, "peft": peft.__version__}
    ranks = [16] if chosen.quick else chosen.ranks
    rows = {"all weights": weighed(None)} | {f"LoRA, rank {rank}": weighed(rank) for rank in ranks}
    print(f"{machine.line()}\n\n{'':16}{'learns':>16}{'of':>16}{'GiB in all':>12}{'checkpoint MB':>15}")
    for name, row in rows.items():
        print(
            f"{name:16}{row['weights_learned']:16,}{row['weights']:16,}"
            f"{row['total_gib']:12.1f}{row['checkpoint_mb']:15.1f}"
        )
    report["by_shape"] = rows
    if chosen.step:
        report["update"] = one_update(ranks[0] if chosen.quick else 16)
        print(
            "\none update, rank 16: " + ", ".join(f"{name} {value:.2f}" for name, value in report["update"].items())
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
