"""What `tandem twin build` may be told: the scan, where the bundle goes, and every stage's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from hardware.config import Config
from twin.alignment import AlignmentConfig
from twin.capture import CaptureConfig
from twin.mesh import MeshConfig
from twin.sfm import SfmConfig
from twin.training_config import TrainingConfig


class BuildTwin(Config):
    """Photos, a phone video, a nerfstudio transforms.json or a COLMAP model → a digital twin."""

    scan: tyro.conf.Positional[Path]
    """Folder of photos, a video file, a transforms.json, or a folder with a COLMAP model (poses are then kept)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Bundle folder. Finished stages are kept in its `work` folder; the same command goes on after a stop."""
    capture: CaptureConfig = CaptureConfig()
    sfm: SfmConfig = SfmConfig()
    alignment: AlignmentConfig = AlignmentConfig()
    training: TrainingConfig = TrainingConfig()
    mesh: MeshConfig = MeshConfig()
    nerfstudio: Path | None = None
    """Train with `splatfacto` of this separate nerfstudio environment (its folder) instead of the built-in trainer."""
