"""What a guided run asks of its policy and of its guide, before anything is written."""

from pathlib import Path

import numpy as np
import pytest

from hardware import artefact
from hardware import cell as cells
from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from hardware.page.ghost import Guide
from rl_online.real import session
from rl_online.real.config import GuideReal
from tests.vla import small_policy
from vla import fast_tokens
from vla.normalise import DatasetQuantiles, Quantiles
from vla.policy_file import save_policy
from vla.tandem_vla import TandemConfig, TandemVLA

JOINTS = cells.load("so101").action_names
POSE = ("block_x", "block_y")


def config(folder: Path, **changes: object) -> GuideReal:
    named = {name: folder / name for name in ("policy", "plan", "reward")}
    values = {"cell": "so101", "demos": (folder / "demos",), "output": folder / "real"}
    return GuideReal.model_validate(named | values | changes)


def saved(folder: Path, state_names: tuple[str, ...]) -> Path:
    interface = small_policy.interface(state_names=state_names, action_names=JOINTS)
    state, action = (
        Quantiles(low=(-1.0,) * len(names), high=(1.0,) * len(names)) for names in (state_names, JOINTS)
    )
    known = {"arm": DatasetQuantiles(state=state, action=action)}
    small = TandemConfig(interface=interface, normalisation=known, architecture=small_policy.SMALL)
    chunks = np.random.default_rng(0).uniform(-1, 1, (50, small_policy.H, len(JOINTS))).astype(np.float32)
    save_policy(TandemVLA(small, fast_tokens.fit(chunks, vocabulary=128)), folder)
    return folder


def test_a_policy_that_reads_what_no_cell_tells_is_refused_with_the_way_to_train_another(tmp_path: Path) -> None:
    told = saved(tmp_path / "policy", (*JOINTS, *POSE))
    seeing = saved(tmp_path / "seeing", JOINTS)
    for wrong in (config(tmp_path), config(tmp_path, policy=seeing, backward_policy=told)):
        with pytest.raises(BadInput, match="reads block_x, block_y; the cell tells shoulder_pan") as bad:
            session.cell_of(wrong)
        assert bad.value.fix == f"train with --state-names {' '.join(JOINTS)}"
    assert session.cell_of(config(tmp_path, policy=seeing)).policy.kind == "server"


def test_a_real_cells_guide_says_what_the_object_looks_like(tmp_path: Path) -> None:
    cell, shown = cells.load("so101"), tuple((level, 80, 20) for level in range(100, 110))
    guide = Guide(
        object_name="block", size_m=(0.03, 0.03, 0.03), centre_z_m=0.015, camera="cam_front",
        intrinsics=CameraModel(width_px=64, height_px=48, fx_px=60, fy_px=60, cx_px=32, cy_px=24),
        T_base_cam=np.eye(4).tolist(), starts=({"x_m": 0.2, "y_m": 0.0, "yaw_rad": 0.0},), colours=shown,
    )  # fmt: skip
    artefact.write_model(tmp_path / "guide.json", guide)
    found, colours = session.seen_by(config(tmp_path, guide=tmp_path / "guide.json"), cell)
    assert (found, colours.rgb) == (guide, shown)
    artefact.write_model(tmp_path / "blind.json", guide.but(colours=()))
    with pytest.raises(BadInput, match="is no bench"):
        session.seen_by(config(tmp_path, guide=tmp_path / "blind.json"), cell)
