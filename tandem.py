"""The front door: `tandem <room> <verb> [flags]`."""

from __future__ import annotations

import importlib
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
import yaml
from pydantic import BaseModel
from rich.console import Console
from rich.logging import RichHandler

from hardware.errors import BadInput, TandemError


@dataclass(frozen=True)
class Command:
    """Where a verb lives: `module` holds the config class and the function that takes it. Imported when called."""

    module: str
    config: str
    function: str
    summary: str


COMMANDS: dict[str, dict[str, Command]] = {
    "twin": {
        "build": Command("twin.build", "BuildTwin", "build", "photos, video or posed images → a twin bundle"),
        "info": Command("twin.bundle", "ShowInfo", "show", "what a bundle holds and how good it is"),
        "view": Command("twin.view", "ViewTwin", "view", "splats, cameras and mesh in the browser"),
        "render": Command("twin.render", "RenderTwin", "render", "pictures or a video along a camera path"),
        "export": Command("twin.export.bundle", "ExportTwin", "export", "to nerfstudio, ply or spz"),
        "eval": Command("twin.evaluate", "EvaluateTwin", "evaluate", "against held-out photos and known poses"),
    },
    "bench": {
        "scan": Command("hardware.bench.scan", "ScanBench", "scan", "film the simulated cell with a virtual phone"),
        "demo": Command("twin.demo", "RunDemo", "demo", "bench scan → twin → comparison with the truth"),
    },
}
