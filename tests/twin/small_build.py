"""A whole bundle in a few seconds: photos of the small twin with their poses, built without structure from motion."""

from pathlib import Path

import small_twin

from twin.build import build
from twin.build_config import BuildTwin
from twin.export.bundle import to_nerfstudio
from twin.mesh import MeshConfig
from twin.training_config import TrainingConfig

TRAINING = TrainingConfig(steps=300, max_gaussians=4000, score_every=100)
MESH = MeshConfig(long_side_px=160, voxel_m=0.012)


def scan(folder: Path, photos: int = 16) -> Path:
    """A nerfstudio data set of the small twin."""
    to_nerfstudio(small_twin.write(folder / "source", count=photos), folder / "scan")
    return folder / "scan"


def config(photos: Path, output: Path) -> BuildTwin:
    return BuildTwin(scan=photos, output=output, training=TRAINING, mesh=MESH)


def bundle(folder: Path) -> Path:
    build(config(scan(folder), folder / "twin"))
    return folder / "twin"
