"""TandemVLA, the built-in policy: frozen pretrained encoders, a small transformer, two voices on one backbone."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn

from hardware.config import Config
from hardware.errors import BadInput
from hardware.messages import ActionChunk, Observation
from vla import minilm
from vla.backbone import KNOWN_SLOTS, Architecture, Backbone, Seen
from vla.consistency_head import LIMIT, ConsistencyHead
from vla.encoders import INSTRUCTION_DIMS, ImageEncoder, feature_size, resized
from vla.fast_tokens import Decoded, FastTokens
from vla.normalise import DatasetQuantiles, Normaliser
from vla.policy import GRIPPER, Batch, Interface, Losses, ObservationBatch, Samples, as_chunks, stack
from vla.token_head import Spoken, TokenHead, sampling, surest_whole_chunk

log = logging.getLogger(__name__)

Voice = Literal["consistency", "tokens"]

VERSION = 2
AIM_BETA = 0.05
"""An aim this far off, in half ranges, is punished by its size, a nearer one by its square."""
SPARE_TOKENS = 2
"""A sampled chunk may be this many times as long as the longest demonstrated one."""


class TandemConfig(Config):
    """Everything but the weights and the tokenizer."""

    version: int = VERSION
    interface: Interface
    normalisation: dict[str, DatasetQuantiles] = Field(min_length=1)
    """By dataset; the first one's holds for observations that do not say theirs."""
    architecture: Architecture = Architecture()
    voice: Voice = "consistency"
    """Which head acts."""
    token_weight: NonNegativeFloat = 0.1
    token_share: float = Field(default=1.0, gt=0, le=1)
    """Of each training batch's windows, those whose tokens are learned, too: tokens are half of a step's time."""
    consistency_weight: NonNegativeFloat = 1.0
    aim_weight: NonNegativeFloat = 1.0
    """0 leaves a head untrained, and costs no time."""
    unfrozen_encoder: bool = False
    """True: the image encoder is trained too, and stored with the policy."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch as the network takes it: normalised tensors on its device."""

    features: Float[Tensor, "B C F"]
    instruction: Float[Tensor, "B 384"]
    state: Float[Tensor, "B S"]
    position: Float[Tensor, "B D"]
    """Where the arm is measured to be, as an action would command it; 0 for what the state does not say."""


class TandemVLA(nn.Module):
    """A `TokenPolicy`. Its weights are made from `seed`; `vla.policy_file` stores and loads it."""

    def __init__(self, config: TandemConfig, fast: FastTokens, seed: int = 0) -> None:
        super().__init__()
        interface, architecture = config.interface, config.architecture
        if (fast.horizon_steps, fast.action_dims) != (interface.horizon_steps, interface.action_dims):
            raise BadInput(
                f"the tokens are of chunks of {fast.horizon_steps} × {fast.action_dims}, the policy's are "
                f"{interface.horizon_steps} × {interface.action_dims}",
                "fit the tokens on the same data",
            )
        self.config, self.fast = config, fast
        self.states = Normaliser({name: each.state for name, each in config.normalisation.items()})
        self.actions = Normaliser({name: each.action for name, each in config.normalisation.items()})
        values = interface.horizon_steps * interface.action_dims
        most_tokens = min(values, SPARE_TOKENS * fast.longest_tokens) + 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.backbone = Backbone(architecture, len(interface.cameras), len(interface.state_names))
            self.token_head = TokenHead(architecture, fast.vocabulary, most_tokens)
            self.consistency_head = ConsistencyHead(architecture, interface.horizon_steps, interface.action_dims)
            self.encoder = ImageEncoder(architecture.image_px).requires_grad_(config.unfrozen_encoder)

    @property
    def interface(self) -> Interface:
        return self.config.interface

    @property
    def device(self) -> torch.device:
        return self.token_head.places.device

    # ── acting ──────────────────────────────────────────────────────────────────────────────────────────────

    def forward(
        self,
        features: Float[Tensor, "B C F"],
        instruction: Float[Tensor, "B 384"],
        state: Float[Tensor, "B S"],
        position: Float[Tensor, "B D"],
        noise: Float[Tensor, "B T D"],
    ) -> Float[Tensor, "B T D"]:
        """The consistency head's chunk, normalised: pure tensors, for `torch.compile` and for learners."""
        return self.consistency_head.act(self.backbone(features, instruction, state, position).context, noise)

    def chunk(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        """One chunk for each observation, starting at its stamp."""
        actions = self.act(stack(observations, self.interface))
        return as_chunks(actions, self.interface, [observation.stamp_ns for observation in observations])

    @torch.inference_mode()
    def act(self, observations: ObservationBatch, seed: int = 0) -> Float[ndarray, "B T D"]:
        """Physical units. A row's chunk depends on that row and the seed only, not on the rest of the batch."""
        return self.act_as(self.config.voice, observations, seed)

    @torch.inference_mode()
    def act_as(self, voice: Voice, observations: ObservationBatch, seed: int = 0) -> Float[ndarray, "B T D"]:
        """`act` with a head of one's choice, to compare them."""
        context = self.context(self.inputs(observations))
        values = self._consistent(context, seed)
        if voice == "tokens":
            spoken = self._said_surely(context)
            values = np.where(spoken.valid[:, None, None], spoken.values.clip(-LIMIT, LIMIT), values)
        return self.actions.denormalise(values, observations.datasets)

    def _consistent(self, context: Tensor, seed: int) -> Float[ndarray, "B T D"]:
        shape = (self.interface.horizon_steps, self.interface.action_dims)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)
        return self.consistency_head.act(context, noise.expand(len(context), -1, -1)).float().cpu().numpy()

    def _said_surely(self, context: Tensor) -> Decoded:
        choose = surest_whole_chunk(
            torch.from_numpy(self.fast.symbols_per_token), self.interface.horizon_steps * self.interface.action_dims
        )
        spoken = self.token_head.speak(context, choose, 1.0)
        decoded = self.fast.decode(self.cut(spoken.tokens))
        if not decoded.valid.all():
            log.warning("the token head did not end a chunk in time; the consistency head acts in its place")
        return decoded

    # ── tokens ──────────────────────────────────────────────────────────────────────────────────────────────

    @torch.no_grad()
    def sample(self, observations: ObservationBatch, n: int, temperature: float, seed: int) -> Samples:
        """n chunks per observation, as tokens; the backbone runs once for each observation."""
        context = self.context(self.inputs(observations))
        spoken: Spoken = self.token_head.speak(
            context.repeat_interleave(n, dim=0), sampling(temperature, seed), temperature
        )
        rows = len(context)
        return Samples(
            tokens=spoken.tokens.unflatten(0, (rows, n)),
            log_probabilities=spoken.log_probabilities.unflatten(0, (rows, n)),
            mask=spoken.mask.unflatten(0, (rows, n)),
        )

    def log_probabilities(
        self, observations: ObservationBatch, tokens: Int[Tensor, "B n L"], temperature: float
    ) -> Float[Tensor, "B n L"]:
        """Of given tokens (as `sample` lays them out), teacher-forced, with gradients; 0 on padding."""
        context = self.context(self.inputs(observations)).repeat_interleave(tokens.shape[1], dim=0)
        flat = tokens.to(self.device).flatten(0, 1)
        chosen, _ = self.token_head.log_probabilities(context, flat, temperature)
        return chosen.unflatten(0, tokens.shape[:2])

    def tokenise(self, actions: Float[ndarray, "B T D"], datasets: Sequence[str] = ()) -> list[list[int]]:
        """Physical chunks → tokens without marks."""
        return self.fast.encode(self.actions.normalise(actions, datasets))

    def detokenise(
        self, tokens: Sequence[Sequence[int]], datasets: Sequence[str] = ()
    ) -> tuple[Float[ndarray, "B T D"], Bool[ndarray, " B"]]:
        """Tokens without marks → physical chunks, and which of them are valid."""
        decoded = self.fast.decode(tokens)
        return self.actions.denormalise(decoded.values, datasets), decoded.valid

    def cut(self, tokens: Int[Tensor, "R L"]) -> list[list[int]]:
        """Rows of tokens up to their end marks, which are left out. A row that never ended stays whole."""
        return [
            row[: row.index(self.token_head.end)] if self.token_head.end in row else row for row in tokens.tolist()
        ]

    def padded(self, tokens: Sequence[Sequence[int]]) -> Int[Tensor, "B L"]:
        """Rows of tokens with end marks up to the longest, on the device; what is beyond the head's room is cut."""
        longest = min(max(map(len, tokens)) + 1, self.token_head.most_tokens)
        rows = [[*ids, *[self.token_head.end] * longest][:longest] for ids in tokens]
        return torch.tensor(rows, device=self.device)

    # ── what it sees ────────────────────────────────────────────────────────────────────────────────────────

    def inputs(self, observations: ObservationBatch) -> Inputs:
        """Normalised tensors. Pictures are encoded here, unless their features came with the observations."""
        state = self.states.normalise(observations.state, observations.datasets)
        if not np.isfinite(state).all():
            raise BadInput("the observed state has a value that is not finite", "check the joint readings")
        return Inputs(
            features=self._features(observations),
            instruction=self._instruction(observations),
            state=torch.from_numpy(state).to(self.device),
            position=torch.from_numpy(self._position(observations)).to(self.device),
        )

    def context(self, inputs: Inputs) -> Float[Tensor, "B N W"]:
        """What both heads, and critics, look at."""
        return self._seen(inputs).context

    def _seen(self, inputs: Inputs) -> Seen:
        return self.backbone(inputs.features, inputs.instruction, inputs.state, inputs.position)

    def _position(self, observations: ObservationBatch) -> Float[ndarray, "B D"]:
        """Joints alone: a gripper that holds something is not where it was sent to."""
        interface, rows = self.interface, len(observations)
        counted = [
            (place, interface.state_names.index(name))
            for place, name in enumerate(interface.action_names)
            if interface.space == "joint_pos_rad" and name != GRIPPER and name in interface.state_names
        ]
        if not counted:
            return np.zeros((rows, interface.action_dims), np.float32)
        actions, columns = map(list, zip(*counted, strict=True))
        measured = np.zeros((rows, interface.action_dims))
        measured[:, actions] = observations.state[:, columns]
        known = np.zeros(interface.action_dims, np.float32)
        known[actions] = 1
        return self.actions.normalise(measured, observations.datasets) * known

    def embed(self, observations: ObservationBatch) -> Float[Tensor, "B E"]:
        """The readers' mean beside what scene, state and instruction became: 4 widths."""
        return pooled(self.context(self.inputs(observations)))

    def _features(self, observations: ObservationBatch) -> Float[Tensor, "B C F"]:
        if observations.features is not None:
            return observations.features.to(self.device).float()
        rows, cameras = len(observations), self.interface.cameras
        if not cameras:
            return torch.zeros(rows, 0, feature_size(self.encoder.image_px), device=self.device)
        missing = [camera for camera in cameras if camera not in observations.images]
        if missing:
            raise BadInput(f"no pictures of {', '.join(missing)}; have: {', '.join(observations.images) or 'none'}")
        pictures = [as_tensor(observations.images[camera]) for camera in cameras]
        small = torch.cat([resized(picture, self.encoder.image_px) for picture in pictures]).to(self.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.encoder.frozen):
            features = self.encoder(small)
        return features.float().unflatten(0, (len(cameras), rows)).transpose(0, 1)

    def _instruction(self, observations: ObservationBatch) -> Float[Tensor, "B 384"]:
        if not self.interface.language:
            return torch.zeros(len(observations), INSTRUCTION_DIMS, device=self.device)
        if observations.instruction_features is not None:
            return observations.instruction_features.to(self.device)
        if not observations.instructions or not all(text.strip() for text in observations.instructions):
            raise BadInput("the policy follows instructions, and there is none", "say what to do")
        return torch.from_numpy(minilm.embed(observations.instructions)).to(self.device)

    # ── learning ────────────────────────────────────────────────────────────────────────────────────────────

    def loss(self, batch: Batch, seed: int) -> Losses:
        """token_weight · cross-entropy + consistency_weight · L_BC + aim_weight · L_aim, means over the batch.

        In training the cross-entropy is of the batch's first `token_share` alone.
        """
        actions = self._demonstrated(batch)
        seen = self._seen(self.inputs(batch.observations))
        context = seen.context
        parts: dict[str, Tensor] = {}
        if self.config.token_weight > 0:
            rows = math.ceil((self.config.token_share if self.training else 1) * len(actions))
            spoken = self.padded(self.fast.encode(actions[:rows]))
            parts["token"] = self.token_head.loss(context[:rows], spoken).mean()
        if self.config.consistency_weight > 0:
            parts["consistency"] = self._consistency_loss(context, actions, batch.padded, seed).mean()
        if self.config.aim_weight > 0 and batch.keyframes is not None and self.interface.state_names:
            parts["aim"] = self._aim_loss(seen, batch.keyframes, batch.observations.datasets)
        weights = {
            "token": self.config.token_weight,
            "consistency": self.config.consistency_weight,
            "aim": self.config.aim_weight,
        }
        total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return Losses(total, detached(parts | {"total": total}))

    def consistency_loss(self, batch: Batch, seed: int) -> Float[Tensor, ""]:
        """L_BC alone: keeps the consistency head true to a backbone that something else moves, as RFT does."""
        actions, context = self._demonstrated(batch), self.context(self.inputs(batch.observations))
        return self._consistency_loss(context, actions, batch.padded, seed).mean()

    def _demonstrated(self, batch: Batch) -> Float[ndarray, "B T D"]:
        actions = self.actions.normalise(batch.actions, batch.observations.datasets)
        if not np.isfinite(actions).all():
            raise BadInput("an action has a value that is not finite", "remove the episode, or record it again")
        return actions

    def _consistency_loss(
        self, context: Tensor, actions: ndarray, padded: ndarray, seed: int
    ) -> Float[Tensor, " B"]:
        scales, noise = self.consistency_head.draw(len(actions), torch.Generator().manual_seed(seed))
        tensors = (torch.from_numpy(actions), torch.from_numpy(padded), scales, noise)
        return self.consistency_head.loss(context, *(tensor.to(self.device) for tensor in tensors))

    def _aim_loss(self, seen: Seen, keyframes: Float[ndarray, "B S"], datasets: Sequence[str]) -> Tensor:
        """Mean distance of the aim from the state at the next keyframe, each in its normalised units."""
        real = torch.from_numpy(self.states.normalise(keyframes, datasets)).to(self.device)
        return F.smooth_l1_loss(seen.aim.float(), real, beta=AIM_BETA)


POOLED_SLOTS = 4


def pooled(context: Float[Tensor, "B N W"]) -> Float[Tensor, "B E"]:
    """The readers' mean and the slots of scene, state and instruction, side by side."""
    readers = context[:, :-KNOWN_SLOTS].mean(dim=1)
    scene, _, state, instruction, _ = context[:, -KNOWN_SLOTS:].unbind(dim=1)
    return torch.cat([readers, scene, state, instruction], dim=1)


def as_tensor(images: ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images))


def detached(parts: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in parts.items()}
