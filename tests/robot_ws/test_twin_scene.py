"""A twin's folder in the page's 3D scene."""

from pathlib import Path

import numpy as np
import pytest
from tandem_nodes import twin_scene

from hardware import artefact
from hardware.spatial import Pose, rotation_from_rotvec
from twin import splat_ply
from twin.object_asset import BACKGROUND, ROBOT, RobotAsset, rows
from twin.splat import Splat

T_WORLD_BASE = Pose.from_parts("world", "base", rotation_from_rotvec(np.array([0.0, 0.0, 0.5])), [0.3, -0.2, 0.02])


class PaperScene:
    def add_splat(self, T_base_world: Pose, means_m, covariances_m2, rgb, opacities) -> None:
        self.T_base_world, self.means_m, self.opacities = T_base_world, means_m, opacities


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Four Gaussians, one of them faint, along x; larger and larger."""
    splat = Splat(
        means_m=np.arange(12, dtype=np.float32).reshape(4, 3),
        quats_wxyz=np.tile(np.array([1, 0, 0, 0], np.float32), (4, 1)),
        scales_m=np.full((4, 3), 0.01, np.float32) * np.arange(1, 5, dtype=np.float32)[:, None],
        opacities=np.array([0.9, 0.01, 0.9, 0.9], np.float32),
        sh=np.zeros((4, 1, 3), np.float32),
    )
    splat_ply.write(tmp_path / BACKGROUND, splat)
    artefact.write_model(tmp_path / ROBOT, RobotAsset(model="so101", T_world_base=rows(T_WORLD_BASE), q_rad={}))
    return tmp_path


def test_its_gaussians_stand_where_the_arm_stands_in_them_and_the_faint_ones_stay_away(bundle: Path) -> None:
    scene = PaperScene()
    assert twin_scene.add_splat(scene, bundle) == ""  # pyright: ignore[reportArgumentType]
    assert scene.T_base_world.matrix == pytest.approx(T_WORLD_BASE.inverse().matrix)
    assert scene.means_m[:, 0].tolist() == [0, 6, 9]


def test_of_too_many_the_largest_are_kept_and_that_is_said(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twin_scene, "MOST_GAUSSIANS", 2)
    scene = PaperScene()
    words = twin_scene.add_splat(scene, bundle)  # pyright: ignore[reportArgumentType]
    assert words == "the smallest 1 Gaussians of the twin are left out"
    assert scene.means_m[:, 0].tolist() == [6, 9]


def test_cameras_that_nobody_has_placed_are_none(bundle: Path) -> None:
    assert twin_scene.cameras(bundle) == {}
