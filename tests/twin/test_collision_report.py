"""The report finds what moves, what is in the robot, and what is inflated; a sound bundle passes."""

import numpy as np
import pytest
import small_contact
import small_objects

from hardware import artefact, gate
from hardware.config import read
from hardware.errors import GateFailed
from hardware.spatial import Pose
from twin import collision_report, object_asset
from twin.export import mjcf
from twin.object_asset import ObjectAsset


def changed(folder, name, **changes):
    file = object_asset.folder(folder, name) / object_asset.ASSET
    artefact.write_model(file, read(ObjectAsset, file).but(**changes))
    mjcf.write(folder)
    return collision_report.measure(folder)


def test_what_stands_on_the_table_drifts_less_than_a_millimetre(tmp_path):
    folder = small_contact.write(tmp_path / "twin")
    mjcf.write(folder)
    report = collision_report.measure(folder)
    gate.check(report.gates)
    for row in report.objects:
        assert row.drift_mm < 0.5
        assert row.turn_deg < 0.5
        assert row.robot_penetration_mm is None
        assert row.convex_count == 1


def test_what_hangs_in_the_air_falls(tmp_path):
    folder = small_contact.write(tmp_path / "twin")
    pose = Pose.from_parts("world", "brick", np.eye(3), (0.1, 0.05, small_objects.TABLE_Z_M + 0.025 + 0.03))
    report = changed(folder, "brick", T_world_obj=object_asset.rows(pose))
    row = next(row for row in report.objects if row.name == "brick")
    assert row.drift_mm == pytest.approx(30, abs=1)
    with pytest.raises(GateFailed, match="resting drift"):
        gate.check(report.gates)


def test_what_stands_in_the_robot_is_found(tmp_path):
    folder = small_contact.write(tmp_path / "twin", robot=True)
    mjcf.write(folder)
    clear = collision_report.measure(folder)
    assert [row.robot_penetration_mm for row in clear.objects] == [0.0, 0.0]
    pose = Pose.from_parts("world", "brick", np.eye(3), (-0.28, 0.2, small_objects.TABLE_Z_M + 0.025))
    report = changed(folder, "brick", T_world_obj=object_asset.rows(pose))
    assert {row.name: (row.robot_penetration_mm or 0) > 1 for row in report.objects} == {
        "brick": True,
        "wedge": False,
    }
    failed = [row.name for row in report.gates if not row.passed]
    assert "penetration with the robot" in failed


@pytest.mark.parametrize("quality", ["inflation", "holes"])
def test_a_shape_off_the_splat_fails_its_gate_by_name(tmp_path, quality):
    folder = small_contact.write(tmp_path / "twin")
    report = changed(folder, "wedge", **{f"{quality}_mm": 4.6})
    (failed,) = [row for row in report.gates if not row.passed]
    assert failed.name == f"collision {quality}"
    assert "'wedge' is the worst" in failed.advice


def test_a_shape_that_fills_a_hollow_fails_the_gate_that_says_so(tmp_path):
    folder = small_contact.write(tmp_path / "twin")
    report = changed(folder, "wedge", seen_into_mm=28.0, unseen_share=0.1)
    (failed,) = [row for row in report.gates if not row.passed]
    assert failed.name == "sight into the collision shape"
    assert "fills a hollow" in failed.advice
    assert next(row for row in report.objects if row.name == "wedge").seen_into_mm == 28.0
