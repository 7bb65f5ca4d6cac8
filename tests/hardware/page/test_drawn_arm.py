"""The arm as the 3D scene draws it: where its parts are, against the arm's kinematics."""

import numpy as np
import pytest

from hardware import kinematics
from hardware.bench.arm_models import PANDA, SO101, ArmModel
from hardware.page.drawn_arm import DrawnArm
from hardware.spatial import Pose


@pytest.mark.parametrize(
    ("arm", "known"), [(SO101, kinematics.so101_kinematics), (PANDA, kinematics.panda_kinematics)]
)
def test_the_tip_is_where_the_kinematics_say_and_meshes_reach_it(arm: ArmModel, known) -> None:
    drawn, solved = DrawnArm(arm, arm.joints), known()
    rng = np.random.default_rng(0)
    for _ in range(5):
        q_rad = rng.uniform(solved.lower_rad, solved.upper_rad)
        drawn.move(q_rad.tolist(), 1.0)
        T_base_tip = drawn.T_base_tip()
        assert np.abs(T_base_tip.matrix - solved.T_base_tip(q_rad).matrix).max() < 1e-9
        Ts_base_link = drawn.Ts_base_link()
        away_m = [
            np.linalg.norm(Ts_base_link[mesh.link].apply(mesh.vertices_m) - T_base_tip.translation_m, axis=1).min()
            for mesh in drawn.meshes()
        ]
        assert min(away_m) < 0.06  # the jaws' ends


def test_the_path_of_a_chunk_is_the_tips() -> None:
    drawn = DrawnArm(SO101, SO101.joints)
    rows = np.linspace(SO101.home_rad, np.array(SO101.home_rad) + 0.2, 4)
    path_m = drawn.path_m(rows.tolist())
    drawn.move(rows[2].tolist())
    assert path_m.shape == (4, 3)
    assert path_m[2] == pytest.approx(drawn.T_base_tip().translation_m)
    assert drawn.path_m([]).shape == (0, 3)


def test_the_jaw_of_an_so101_swings_open() -> None:
    drawn = DrawnArm(SO101, SO101.joints)
    [jaw] = [mesh for mesh in drawn.meshes() if mesh.link.startswith("moving_jaw")]

    def end_m(gripper_open: float) -> np.ndarray:
        drawn.move(SO101.home_rad, gripper_open)
        T_tip_jaw = drawn.T_base_tip().inverse() @ drawn.Ts_base_link()[jaw.link]
        return T_tip_jaw.apply(jaw.vertices_m)[foremost]

    drawn.move(SO101.home_rad, 0.0)
    foremost = int(
        np.argmax((drawn.T_base_tip().inverse() @ drawn.Ts_base_link()[jaw.link]).apply(jaw.vertices_m)[:, 2])
    )
    closed_m, opened_m = end_m(0.0), end_m(1.0)
    assert abs(closed_m[0]) < 0.03
    assert np.linalg.norm(opened_m - closed_m) > 0.07


def test_both_fingers_of_a_2f85_stay_parallel_as_they_open() -> None:
    drawn = DrawnArm(PANDA, PANDA.joints)

    def fingers(gripper_open: float) -> list[Pose]:
        drawn.move(PANDA.home_rad, gripper_open)
        Ts_base_link, T_tip_base = drawn.Ts_base_link(), drawn.T_base_tip().inverse()
        return [T_tip_base @ Ts_base_link[f"{side}_pad"] for side in ("left", "right")]

    (left, right), (opened_left, opened_right) = fingers(0.0), fingers(1.0)
    for closed, opened in ((left, opened_left), (right, opened_right)):
        assert np.abs(closed.rotation - opened.rotation).max() < 1e-6
    between_m = np.linalg.norm(left.translation_m - right.translation_m)
    assert np.linalg.norm(opened_left.translation_m - opened_right.translation_m) - between_m == pytest.approx(
        0.085, abs=0.01
    )
