"""A policy of LeRobot's (ACT, Diffusion, SmolVLA, π0) behind `vla.policy.Policy`: its checkpoint in, chunks out.

LeRobot's own processors normalise, tokenise and denormalise; here arrays become its batches and back. The policies
that draw noise take it from the call's seed, the same for each row, so that a row's chunk does not depend on the
others (Diffusion's does: its scheduler draws for the whole batch).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from hardware.errors import BadInput
from hardware.messages import ActionChunk, Observation
from vla.lerobot_folder import ACTION, PICTURES, STATE
from vla.lerobot_plugin.lerobot_batch import PADDED, TASK, as_pixels
from vla.policy import Batch, Interface, Losses, ObservationBatch, as_chunks, stack

if TYPE_CHECKING:
    from vla.adapters.lora import Adapters

LerobotBatch = dict[str, Any]
Process = Callable[[Any], Any]


class LerobotPolicy(nn.Module):
    """`policy` with the pipelines before and after it, as `lerobot.policies.make_pre_post_processors` gives them."""

    def __init__(self, policy: nn.Module, preprocess: Process, postprocess: Process, interface: Interface) -> None:
        """`policy` is a `PreTrainedPolicy`, or what has its `name`, `config` and methods."""
        super().__init__()
        self.policy: Any = policy
        self._preprocess, self._postprocess = preprocess, postprocess
        self._interface = interface
        self.adapters: Adapters | None = None
        """None: it has none, and its own weights are what learns."""

    @property
    def interface(self) -> Interface:
        return self._interface

    @property
    def kind(self) -> str:
        """`act`, `diffusion`, `smolvla`, `pi0`, …"""
        return str(self.policy.name)

    def chunk(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        actions = self.act(stack(observations, self.interface))
        return as_chunks(actions, self.interface, [observation.stamp_ns for observation in observations])

    @torch.no_grad()
    def act(self, observations: ObservationBatch, seed: int = 0) -> Float[ndarray, "B T D"]:
        """Physical units, as LeRobot's postprocessor gives them."""
        self.policy.reset()
        batch = self._preprocess(self._seen(observations))
        noise = self._noise(len(observations), seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # Diffusion's scheduler draws at each of its steps, too
            chunk = self.policy.predict_action_chunk(self._with_history(batch), **noise)
        actions = self._postprocess(chunk.flatten(0, 1)).unflatten(0, chunk.shape[:2])
        if actions.shape[1:] != (self.interface.horizon_steps, self.interface.action_dims):
            raise BadInput(f"the policy's chunk is {tuple(actions.shape[1:])}, its interface says otherwise")
        return actions.float().cpu().numpy()

    def embed(self, observations: ObservationBatch) -> Float[Tensor, "B E"]:
        batch = self._with_history(self._preprocess(self._seen(observations)))
        if self.kind not in EMBEDDINGS:
            raise BadInput(f"'{self.kind}' has no embedding here; have: {', '.join(EMBEDDINGS)}")
        return EMBEDDINGS[self.kind](self.policy, batch)

    def loss(self, batch: Batch, seed: int) -> Losses:
        """LeRobot's own imitation loss."""
        if getattr(self.policy.config, "n_obs_steps", 1) > 1:
            raise BadInput(
                f"'{self.kind}' learns from {self.policy.config.n_obs_steps} moments at once, a batch has one",
                "train it by lerobot-train",
            )
        seen = self._seen(batch.observations)
        seen[ACTION] = torch.from_numpy(np.ascontiguousarray(batch.actions, np.float32))
        seen[PADDED] = torch.from_numpy(batch.padded)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            total, parts = self.policy.forward(self._preprocess(seen))
        numbers = {name: float(value) for name, value in (parts or {}).items() if isinstance(value, int | float)}
        return Losses(total, numbers | {"total": float(total.detach())})

    def _seen(self, observations: ObservationBatch) -> LerobotBatch:
        missing = [camera for camera in self.interface.cameras if camera not in observations.images]
        if missing:
            raise BadInput(f"no pictures of {', '.join(missing)}; have: {', '.join(observations.images) or 'none'}")
        batch: LerobotBatch = {
            PICTURES + camera: as_pixels(observations.images[camera]) for camera in self.interface.cameras
        }
        if self.interface.state_names:
            batch[STATE] = torch.from_numpy(np.ascontiguousarray(observations.state, np.float32))
        if self.interface.language and not observations.instructions:
            raise BadInput("the policy follows instructions, and there is none", "say what to do")
        batch[TASK] = list(observations.instructions) or [""] * len(observations)
        return batch

    def _with_history(self, batch: LerobotBatch) -> LerobotBatch:
        """Who looks at several moments sees the present one several times, as at an episode's first step."""
        steps = getattr(self.policy.config, "n_obs_steps", 1)
        if self.kind != "diffusion":
            return batch
        keys = [STATE] + [PICTURES + camera for camera in self.interface.cameras]
        return batch | {key: torch.stack([batch[key]] * steps, dim=1) for key in keys if key in batch}

    def _noise(self, rows: int, seed: int) -> dict[str, Tensor]:
        shape = noise_shape(self.policy.config, self.interface)
        if shape is None:
            return {}
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return {"noise": noise.expand(rows, -1, -1).to(self.policy.config.device)}


def noise_shape(config: Any, interface: Interface) -> tuple[int, int] | None:
    """Of one row's noise; None: the policy draws none."""
    if config.type == "diffusion":
        return config.horizon, interface.action_dims
    if config.type in ("smolvla", "pi0"):
        return config.chunk_size, config.max_action_dim
    return None


def _encoded_by_act(policy: Any, batch: LerobotBatch) -> Float[Tensor, "B E"]:
    """The mean of the transformer encoder's outputs."""
    caught: list[Tensor] = []
    hook = policy.model.encoder.register_forward_hook(lambda _, __, output: caught.append(output))
    try:
        policy.eval()
        pictures = [batch[key] for key in policy.config.image_features]
        policy.model(dict(batch) | ({"observation.images": pictures} if pictures else {}))
    finally:
        hook.remove()
    return caught[0].mean(dim=0)


def _encoded_by_diffusion(policy: Any, batch: LerobotBatch) -> Float[Tensor, "B E"]:
    """What conditions the denoiser."""
    pictures = [batch[key] for key in policy.config.image_features]
    seen = dict(batch) | ({"observation.images": torch.stack(pictures, dim=-4)} if pictures else {})
    return policy.diffusion._prepare_global_conditioning(seen)


def _encoded_by_flow(policy: Any, batch: LerobotBatch) -> Float[Tensor, "B E"]:
    """The mean of the prefix's embeddings: pictures, instruction and, for SmolVLA, the state."""
    words, word_mask = batch["observation.language.tokens"], batch["observation.language.attention_mask"]
    if policy.name == "smolvla":
        pictures, masks = policy.prepare_images(batch)
        state = policy.prepare_state(batch)
        embedded, padding, _ = policy.model.embed_prefix(pictures, masks, words, word_mask, state=state)
    else:
        pictures, masks = policy._preprocess_images(batch)
        embedded, padding, _ = policy.model.embed_prefix(pictures, masks, words, word_mask)
    real = padding[:, :, None].to(embedded.dtype)
    return ((embedded * real).sum(dim=1) / real.sum(dim=1)).float()


EMBEDDINGS: Mapping[str, Callable[[Any, LerobotBatch], Tensor]] = {
    "act": _encoded_by_act,
    "diffusion": _encoded_by_diffusion,
    "smolvla": _encoded_by_flow,
    "pi0": _encoded_by_flow,
}
