"""What a sampled chunk is worth beside the expert's, without an environment (LifeLong-RFT, arXiv 2602.10503).

Three plain functions of one chunk: QACR (tokens agree), CTAR (the motion agrees), FCR (it decodes at all), and their
sum over a whole batch of samples. Nothing here samples or learns, so a learner on the robot may call them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import tyro
from jaxtyping import Bool, Float
from numpy import ndarray
from pydantic import Field, NonNegativeFloat

from hardware.config import Config
from hardware.errors import BadInput

Component = Literal["qacr", "ctar", "fcr"]


class RewardWeights(Config):
    """The paper's values. A component that is left out gives nothing, as in the paper's ablations."""

    alpha: NonNegativeFloat = 5.0
    """How fast the trajectory reward falls with the distance, per half of an action's 1–99 % range."""
    beta: float = Field(default=0.8, ge=0, le=1)
    """Share of the pose in CTAR; the rest is the gripper's."""
    omega: float = Field(default=0.7, ge=0, le=1)
    """Share of QACR beside CTAR."""
    fcr: NonNegativeFloat = 0.1
    """λ, the weight of FCR."""
    without: Annotated[tuple[Component, ...], tyro.conf.arg(prefix_name=False)] = ()
    """Leave rewards out, to see what they are worth: --without ctar."""


@dataclass(frozen=True, eq=False)
class ProcessRewards:
    """Of n chunks for each of B observations."""

    qacr: Float[ndarray, "B n"]
    ctar: Float[ndarray, "B n"]
    fcr: Float[ndarray, "B n"]
    total: Float[ndarray, "B n"]


def qacr(tokens: Sequence[int], expert: Sequence[int], valid: bool) -> float:
    """Quantised action consistency: tokens equal place by place, by the longer of the two sequences."""
    longer = max(len(tokens), len(expert))
    if not valid or longer == 0:
        return 0.0
    return sum(one == other for one, other in zip(tokens, expert, strict=False)) / longer


def ctar(
    actions: Float[ndarray, "T D"],
    expert: Float[ndarray, "T D"],
    valid: bool,
    gripper: Sequence[int] = (),
    alpha: float = 5.0,
    beta: float = 0.8,
) -> float:
    """Continuous trajectory alignment: mean over the steps of β e^(−α d) + (1 − β) [the gripper does the same].

    Normalised actions (±1 is the 1–99 % range; ours, so that α means the same for radians and metres). d is the mean
    absolute distance over the dims that are no gripper. `gripper` are the columns of grippers: each counts as the
    same when both are on one side of the range's middle. Without a gripper the pose has the whole reward, and
    without a pose the gripper (ours): an exact chunk is always worth 1.
    """
    if not valid:
        return 0.0
    is_gripper = np.zeros(actions.shape[1], bool)
    is_gripper[list(gripper)] = True
    distance = np.abs(actions - expert)[:, ~is_gripper]
    same = (actions > 0)[:, is_gripper] == (expert > 0)[:, is_gripper]
    if not is_gripper.any():
        return float(np.exp(-alpha * distance.mean(axis=1)).mean())
    if is_gripper.all():
        return float(same.mean())
    by_step = beta * np.exp(-alpha * distance.mean(axis=1)) + (1 - beta) * same.mean(axis=1)
    return float(by_step.mean())


def fcr(valid: bool) -> float:
    """Format compliance: the tokens decode to exactly H×D coefficients."""
    return float(valid)


def total(qacr: float, ctar: float, fcr: float, weights: RewardWeights) -> float:
    """ω QACR + (1 − ω) CTAR + λ FCR, less what the ablation leaves out."""
    parts = {"qacr": weights.omega * qacr, "ctar": (1 - weights.omega) * ctar, "fcr": weights.fcr * fcr}
    return sum(value for name, value in parts.items() if name not in weights.without)


def score(
    tokens: Sequence[Sequence[int]],
    actions: Float[ndarray, "S T D"],
    valid: Bool[ndarray, " S"],
    expert_tokens: Sequence[Sequence[int]],
    expert_actions: Float[ndarray, "B T D"],
    gripper: Sequence[int],
    weights: RewardWeights,
) -> ProcessRewards:
    """S = B·n samples, those of one observation behind each other. Actions normalised, as `ctar` says.

    `valid` must come from the count of coefficients (`TokenPolicy.detokenise`): the public FAST decoder gives a chunk
    of zeros, without a word, when it fails.
    """
    rows = len(expert_tokens)
    each = len(tokens) // rows
    parts = np.zeros((3, rows, each))
    sums = np.zeros((rows, each))
    for place, (said, chunk, whole) in enumerate(zip(tokens, actions, valid.tolist(), strict=True)):
        row, sample = divmod(place, each)
        values = (
            qacr(said, expert_tokens[row], whole),
            ctar(chunk, expert_actions[row], whole, gripper, weights.alpha, weights.beta),
            fcr(whole),
        )
        parts[:, row, sample] = values
        sums[row, sample] = total(*values, weights)
    return ProcessRewards(parts[0], parts[1], parts[2], sums)


def gripper_columns(action_names: Sequence[str], chosen: Sequence[str] = ()) -> tuple[int, ...]:
    """Columns of the named actions; where none is named, of all whose name says gripper."""
    if not chosen:
        return tuple(column for column, name in enumerate(action_names) if "gripper" in name.lower())
    unknown = [name for name in chosen if name not in action_names]
    if unknown:
        raise BadInput(f"no action '{unknown[0]}' to be the gripper; have: {', '.join(action_names)}")
    return tuple(action_names.index(name) for name in chosen)
