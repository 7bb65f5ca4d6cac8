"""A trained policy in, the same policy ready for more data out: its chunks, tokens and ranges stay as they were."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from hardware.errors import BadInput
from vla import policy_file
from vla.demonstrations import Demonstrations, with_state
from vla.normalise import DatasetQuantiles
from vla.policy import Interface
from vla.run_folder import POLICY
from vla.sft.config import TrainPolicy
from vla.tandem_vla import TandemVLA

log = logging.getLogger(__name__)


def policy_folder(folder: Path) -> Path:
    """A policy's folder, also when its run's folder is named."""
    inside = folder / POLICY
    return inside if (inside / "config.json").is_file() else folder


def settings(config: TrainPolicy) -> TrainPolicy:
    """With what a policy to start from decides: its chunks, cameras, space, language and architecture."""
    if config.start_from is None:
        return config
    kept = policy_file.read_config(policy_folder(config.start_from))
    return config.but(
        cameras=kept.interface.cameras,
        horizon_steps=kept.interface.horizon_steps,
        space=kept.interface.space,
        language=kept.interface.language,
        architecture=kept.architecture,
        voice=kept.voice,
        token_weight=kept.token_weight,
        token_share=kept.token_share,
        consistency_weight=kept.consistency_weight,
        unfrozen_encoder=kept.unfrozen_encoder,
    )


def policy(folder: Path, interface: Interface, own: Mapping[str, DatasetQuantiles]) -> TandemVLA:
    """To go on learning with. `interface` and `own` are the new data's: what does not fit is refused."""
    started = policy_file.load_policy(policy_folder(folder))
    require_fits(started.interface, interface, str(folder))
    return with_datasets(started, tuple(own))


def as_read(dataset: Demonstrations, trained: Interface) -> Demonstrations:
    """The state's columns that the policy reads, where the data have them among others."""
    named = set(trained.state_names) <= set(dataset.layout.state_names)
    return with_state(dataset, trained.state_names) if named else dataset


def require_fits(trained: Interface, data: Interface, source: str) -> None:
    """The counts of columns, the cameras and the rate must be those of the training; other names are said."""
    for what in ("state_names", "action_names"):
        mine, theirs = getattr(trained, what), getattr(data, what)
        column = what.removesuffix("_names")
        if len(mine) != len(theirs):
            raise BadInput(
                f"{source} has {len(mine)} {column} dims, the data {len(theirs)}: {', '.join(theirs)}",
                "take data of the arm that it was trained for, or train a new policy",
            )
        if mine != theirs:
            log.warning("%s columns: the policy's %s are the data's %s", column, ", ".join(mine), ", ".join(theirs))
    if trained.rate_hz != data.rate_hz:
        raise BadInput(f"{source} acts at {trained.rate_hz} Hz, the data are of {data.rate_hz} Hz")
    if trained.cameras != data.cameras:
        raise BadInput(
            f"{source} looks through {', '.join(trained.cameras) or 'no camera'}, "
            f"the data have {', '.join(data.cameras) or 'none'}"
        )


def with_datasets(policy: TandemVLA, names: Sequence[str]) -> TandemVLA:
    """Datasets that the policy has not seen are read by its first one's quantiles: what an action means must not
    change under a policy that goes on learning."""
    ranges = policy.config.normalisation
    new = [name for name in names if name not in ranges]
    if not new:
        return policy
    first = next(iter(ranges))
    log.info("%s: ranges as in '%s'", ", ".join(f"'{name}'" for name in new), first)
    config = policy.config.but(normalisation=ranges | dict.fromkeys(new, ranges[first]))
    extended = TandemVLA(config, policy.fast)
    extended.load_state_dict(policy.state_dict())
    return extended.to(policy.device).eval()
