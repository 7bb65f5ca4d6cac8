"""What every chunk policy offers, and the batched arrays that go in: observations in, chunks of actions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from hardware.config import Config
from hardware.errors import BadInput
from hardware.messages import ActionChunk, ActionSpace, Observation
from vla.normalise import Normaliser

GRIPPER = "gripper"
"""The state column of `Observation.gripper_open`, and the last action's name; all other columns are joints."""


class Interface(Config):
    """What a policy reads and what it commands. Fixed when it is trained; a cell must match it by name."""

    cameras: tuple[str, ...] = Field(min_length=0, max_length=3)
    state_names: tuple[str, ...]
    """Columns of the proprioception: joint names (radians), then `gripper` where there is a gripper."""
    action_names: tuple[str, ...] = Field(min_length=1)
    space: ActionSpace = "joint_pos_rad"
    rate_hz: PositiveFloat
    horizon_steps: PositiveInt
    """H: the steps of one chunk."""
    language: bool = True
    """False: the instruction is not read."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Interface:
        for what in ("cameras", "state_names", "action_names"):
            names = getattr(self, what)
            if len(set(names)) != len(names):
                raise ValueError(f"{what} repeat: {', '.join(names)}")
        return self

    @property
    def action_dims(self) -> int:
        return len(self.action_names)

    @property
    def replan_steps(self) -> int:
        """Steps of a chunk that are done before the next one: half of it, as cells and rollouts have it."""
        return max(1, self.horizon_steps // 2)


@dataclass(frozen=True, eq=False)
class ObservationBatch:
    """B observations as arrays, in the order of an `Interface`."""

    state: Float[ndarray, "B S"]
    """Physical units, not normalised."""
    images: Mapping[str, UInt8[ndarray, "B H W 3"]] = field(default_factory=dict)
    """Camera → rgb. May be empty when `features` is given."""
    instructions: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    """Whose normalisation holds for each row; empty: the policy's own default."""
    features: Float[Tensor, "B C F"] | None = None
    """Frozen-encoder features computed before (`vla.encoders`), in the interface's camera order: images unread."""
    instruction_features: Float[Tensor, "B E"] | None = None

    def __post_init__(self) -> None:
        rows = len(self.state)
        for what in ("instructions", "datasets"):
            if len(getattr(self, what)) not in (0, rows):
                raise ValueError(f"{len(getattr(self, what))} {what} for {rows} observations")

    def __len__(self) -> int:
        return len(self.state)


@dataclass(frozen=True, eq=False)
class Batch:
    """Observations with the chunk that the demonstrator did, in physical units."""

    observations: ObservationBatch
    actions: Float[ndarray, "B T D"]
    padded: Bool[ndarray, "B T"]
    """True after the episode's end, where `actions` only holds still."""
    keyframes: Float[ndarray, "B S"] | None = None
    """The state, in physical units, at the next keyframe of each row's episode, where that is known."""

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True, eq=False)
class Samples:
    """n sampled chunks per observation, as tokens."""

    tokens: Int[Tensor, "B n L"]
    """Without the begin mark. After the end mark only padding."""
    log_probabilities: Float[Tensor, "B n L"]
    """Of each token under the tempered distribution it was drawn from; 0 on padding."""
    mask: Bool[Tensor, "B n L"]
    """True on the tokens that were drawn, the end mark included."""


@dataclass(frozen=True, eq=False)
class Losses:
    """`total` is what is differentiated; `parts` is for the log."""

    total: Float[Tensor, ""]
    parts: Mapping[str, float]


@runtime_checkable
class Policy(Protocol):
    """A policy that acts in chunks. Deterministic: the same call gives the same answer on the same machine."""

    @property
    def interface(self) -> Interface: ...

    def chunk(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        """One chunk for each observation, starting at its stamp. Raises `BadInput` on what it cannot read."""
        ...

    def act(self, observations: ObservationBatch, seed: int = 0) -> Float[ndarray, "B T D"]:
        """The same on arrays, in physical units: for simulators, learners and servers."""
        ...

    def embed(self, observations: ObservationBatch) -> Float[Tensor, "B E"]:
        """One vector per observation for critics and classifiers; carries gradients where gradients are on."""
        ...

    def loss(self, batch: Batch, seed: int) -> Losses:
        """Imitation loss. `seed` draws the noise, so that a resumed run goes on exactly."""
        ...


@runtime_checkable
class TokenPolicy(Policy, Protocol):
    """A policy that also speaks in tokens: what LifeLong-RFT needs."""

    @property
    def actions(self) -> Normaliser:
        """Physical actions ↔ about ±1, in which chunks are compared. Takes the datasets' names that `act` takes."""
        ...

    def cut(self, tokens: Int[Tensor, "R L"]) -> list[list[int]]:
        """Rows of `Samples.tokens` up to their end marks, which are left out; one that never ended stays whole."""
        ...

    def sample(self, observations: ObservationBatch, n: int, temperature: float, seed: int) -> Samples:
        """n chunks per observation, drawn on-policy with a KV cache. Without gradients."""
        ...

    def log_probabilities(
        self, observations: ObservationBatch, tokens: Int[Tensor, "B n L"], temperature: float
    ) -> Float[Tensor, "B n L"]:
        """Of given tokens, teacher-forced, with gradients; 0 on padding. Equal to what `sample` returned."""
        ...

    def tokenise(self, actions: Float[ndarray, "B T D"], datasets: Sequence[str] = ()) -> list[list[int]]:
        """Physical chunks → tokens, without begin and end marks."""
        ...

    def detokenise(
        self, tokens: Sequence[Sequence[int]], datasets: Sequence[str] = ()
    ) -> tuple[Float[ndarray, "B T D"], Bool[ndarray, " B"]]:
        """Tokens (cut at the end mark) → physical chunks, and whether each decodes to exactly H×D coefficients."""
        ...


def stack(observations: Sequence[Observation], interface: Interface) -> ObservationBatch:
    """Moments of the cell as arrays in the interface's order. Raises `BadInput` that names what is missing."""
    if not observations:
        raise BadInput("no observation to act on")
    state = np.stack([_state(observation, interface) for observation in observations])
    images = {camera: _images(observations, camera) for camera in interface.cameras}
    instructions = tuple(observation.instruction for observation in observations)
    if interface.language and not all(text.strip() for text in instructions):
        raise BadInput("the observation has no instruction", "say what to do: instruction='pick up the cube'")
    return ObservationBatch(state, images, instructions)


def _state(observation: Observation, interface: Interface) -> Float[ndarray, " S"]:
    have = dict(zip(observation.joint_names, observation.q_rad.tolist(), strict=True))
    if observation.gripper_open is not None:
        have.setdefault(GRIPPER, observation.gripper_open)
    missing = [name for name in interface.state_names if name not in have]
    if missing:
        raise BadInput(
            f"the policy reads {', '.join(missing)}, which the observation lacks; have: {', '.join(have)}"
        )
    return np.array([have[name] for name in interface.state_names], np.float32)


def _images(observations: Sequence[Observation], camera: str) -> UInt8[ndarray, "B H W 3"]:
    for observation in observations:
        if camera not in observation.images:
            raise BadInput(
                f"the policy looks through '{camera}', which the observation lacks; "
                f"have: {', '.join(observation.images) or 'no camera'}",
                "name the cell's cameras as at training",
            )
    pictures = [observation.images[camera] for observation in observations]
    if len({picture.shape for picture in pictures}) > 1:
        raise BadInput(f"pictures of '{camera}' differ in size within one batch")
    return np.stack(pictures)


def as_chunks(
    actions: Float[ndarray, "B T D"], interface: Interface, starts_ns: Sequence[int]
) -> list[ActionChunk]:
    """Arrays of actions as messages."""
    return [
        ActionChunk(
            start_ns, interface.rate_hz, interface.space, interface.action_names, actions[row].astype(float)
        )
        for row, start_ns in enumerate(starts_ns)
    ]
