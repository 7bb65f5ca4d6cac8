"""`tandem data check`: what is wrong with a store or a LeRobot dataset. Reads only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from hardware.config import Config
from hardware.dataset import check_lerobot, check_store
from hardware.dataset.dataset_kind import open_any
from hardware.dataset.finding import CheckReport, show, write_json
from hardware.dataset.store import EpisodeStore


class CheckData(Config):
    """Looks for missing and cut-off files, wrong codec tags, bad timestamps, wrong statistics. Exit code 1: some."""

    dataset: tyro.conf.Positional[Path]
    """An episode store, or a LeRobot dataset (v2.0, v2.1, v3)."""
    decode_all: bool = False
    """Decode every picture, not only the last of each clip."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the findings here."""


def run(config: CheckData) -> int:
    report = check(config.dataset, decode_all=config.decode_all)
    show(report, Console())
    write_json(config.json_file, report)
    return 0 if report.sound else 1


def check(path: Path, *, decode_all: bool = False) -> CheckReport:
    found = open_any(path)
    if isinstance(found, EpisodeStore):
        return check_store.check(found, decode_all=decode_all)
    return check_lerobot.check(found, decode_all=decode_all)
