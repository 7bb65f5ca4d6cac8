"""A twin's folder → what the page's 3D scene has of it: the Gaussians, and where the cell's cameras are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardware.config import read
from hardware.page import cell_scene
from hardware.page.scene import Mounted, Scene
from hardware.spatial import Pose
from twin import manifest, splat_ply, view
from twin.object_asset import BACKGROUND, ROBOT, RobotAsset
from twin.sim.cameras import FILE, CellCameras, SimCamera

MOST_GAUSSIANS = 150_000
"""A browser on a laptop draws so many without trouble; 32 bytes of each go over the wire."""
FAINTEST = 0.05


def cameras(bundle: Path) -> dict[str, Mounted]:
    """As `tandem twin cameras` has written them; none where it has not."""
    if not (bundle / FILE).is_file():
        return {}
    found = read(CellCameras, bundle / FILE).cameras
    return {
        name: cell_scene.mounted(one.camera, **{"T_base_cam" if one.mount == "base" else "T_tip_cam": _pose(one)})
        for name, one in found.items()
    }


def _pose(camera: SimCamera) -> Pose:
    return Pose("base" if camera.mount == "base" else "tip", "cam", np.array(camera.T_mount_cam))


def add_splat(scene: Scene, bundle: Path) -> str:
    """Returns what a person must know: why there is none. The scene without the arm is taken where there is one."""
    if not (bundle / ROBOT).is_file() and manifest.read_twin(bundle).frames.world != "base":
        return "the twin does not say where the arm stands: tandem twin align"
    T_world_base = (
        read(RobotAsset, bundle / ROBOT).pose if (bundle / ROBOT).is_file() else Pose.identity("world", "base")
    )
    file = bundle / BACKGROUND
    splat = splat_ply.read(file if file.is_file() else bundle / manifest.SCENE)
    seen = splat.opacities * np.sort(splat.scales_m, 1)[:, 1:].prod(1)
    solid = np.flatnonzero(splat.opacities >= FAINTEST)
    kept = np.sort(solid[np.argsort(-seen[solid])[:MOST_GAUSSIANS]])
    drawn = splat.select(kept)
    scene.add_splat(
        T_world_base.inverse(), drawn.means_m, view.covariances(drawn), view.base_colours(drawn), drawn.opacities
    )
    left_out = len(solid) - len(kept)
    return f"the smallest {left_out:,} Gaussians of the twin are left out" if left_out else ""
