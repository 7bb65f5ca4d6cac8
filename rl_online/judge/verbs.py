"""`tandem rl reward collect|train|check`: one verb with three of its own."""

from __future__ import annotations

from typing import Annotated

import tyro

from hardware.config import Config
from rl_online.judge.check import CheckReward, check
from rl_online.judge.collect import CollectReward, collect
from rl_online.judge.train import TrainReward, train


class JudgeSuccess(Config):
    """A learned judge of success: collect labelled moments, train on them, check on new episodes."""

    what: Annotated[
        Annotated[CollectReward, tyro.conf.subcommand("collect", prefix_name=False)]
        | Annotated[TrainReward, tyro.conf.subcommand("train", prefix_name=False)]
        | Annotated[CheckReward, tyro.conf.subcommand("check", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]


def reward(config: JudgeSuccess) -> int:
    """The verb."""
    if isinstance(config.what, CollectReward):
        return collect(config.what)
    return train(config.what) if isinstance(config.what, TrainReward) else check(config.what)
