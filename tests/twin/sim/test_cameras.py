import numpy as np
import pytest
import small_twin

from calibration import result
from calibration.result import HandEyeResult, IntrinsicsResult, StoredPose
from hardware.bench.arm_models import PANDA, SO101
from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from hardware.spatial import Pose
from twin.sim import cameras
from twin.sim.cameras import PlaceCameras, place

LENS = CameraModel(width_px=640, height_px=480, fx_px=500.0, fy_px=500.0, cx_px=320.0, cy_px=240.0)


def write_results(folder, mounting, with_lens=False):
    parent = "tool" if mounting == "eye_in_hand" else "base"
    answer = Pose.from_parts(parent, "cam", np.eye(3), (0.1, 0.2, 0.3))
    board = StoredPose.of(Pose.identity("base", "board"))
    hand_eye = HandEyeResult(
        made=result.now(),
        mounting=mounting,
        answer=StoredPose.of(answer),
        board_pose=board,
        held_out_mm=1.0,
        held_out_deg=0.1,
        spread_mm=0.5,
        rms_px=0.3,
        deviation_mm=0.2,
        deviation_deg=0.05,
        camera=LENS if with_lens else None,
    )
    lens = IntrinsicsResult(
        made=result.now(), camera=LENS, rms_px=0.2, held_out_rms_px=0.3, focal_deviation_px=0.5, coverage=0.9
    )
    result.write(folder / "hand_eye.json", hand_eye)
    result.write(folder / "lens.json", lens)
    return folder / "hand_eye.json", folder / "lens.json"


def test_a_calibrated_camera_replaces_the_scans(armed, tmp_path):
    import shutil

    from twin.sim.scene import read

    bundle = tmp_path / "twin"
    shutil.copytree(armed, bundle)
    hand_eye, lens = write_results(tmp_path, "eye_in_hand")
    place(PlaceCameras(bundle=bundle, camera=(f"cam_wrist={hand_eye},{lens}",)))
    hand_eye, _ = write_results(tmp_path, "eye_to_hand", with_lens=True)
    place(PlaceCameras(bundle=bundle, camera=(f"cam_front={hand_eye}",)))
    found = read(bundle).cameras
    assert list(found) == ["cam_wrist", "cam_front"]
    assert (found["cam_wrist"].mount, found["cam_front"].mount) == ("tool", "base")
    assert found["cam_wrist"].pose.translation_m == pytest.approx([0.1, 0.2, 0.3])
    assert found["cam_wrist"].camera == LENS


def test_files_that_are_no_cameras_place_are_refused(armless, tmp_path):
    hand_eye, lens = write_results(tmp_path, "eye_in_hand")
    for words, said in (
        ("cam_wrist", "'cam_wrist' is no camera's place"),
        (f"cam_wrist={lens}", "not a camera's place"),
        (f"cam_wrist={hand_eye}", "what lens"),
        (f"cam_wrist={hand_eye},{hand_eye}", "not intrinsics"),
        (f"cam_wrist={hand_eye},{lens},{lens}", "is no camera's place"),
        (f"cam_wrist={tmp_path / 'none.json'}", "cannot read"),
    ):
        with pytest.raises(BadInput, match=said):
            place(PlaceCameras(bundle=armless, camera=(words,)))
    with pytest.raises(ValueError, match="at least 1 item"):  # an empty file would take the scan's view away
        PlaceCameras(bundle=armless, camera=())


def test_the_scans_view_looks_at_the_table():
    seen = cameras.scan_view(small_twin.cameras(), Pose.identity("world", "base"))
    pixel, inside = seen.camera.project(seen.pose.inverse().apply(np.array([[0.0, 0.0, 0.03]])))
    assert inside.all()
    assert pixel[0] == pytest.approx([79.0, 61.5], abs=12)


@pytest.mark.parametrize("arm", [SO101, PANDA])
def test_the_wrist_camera_sees_where_the_jaws_meet(arm):
    camera = cameras.wrist(arm)
    tip_in_camera = camera.pose.inverse().apply(np.zeros((1, 3)))
    assert 0.05 < tip_in_camera[0, 2] < 0.3
    assert camera.camera.project(tip_in_camera)[1].all()


def test_a_resized_picture_is_the_whole_picture_squeezed():
    small = cameras.resized(LENS, 128, 128)
    point = np.array([[0.2, -0.1, 1.0]])
    assert small.project(point)[0] == pytest.approx(LENS.project(point)[0] * [128 / 640, 128 / 480])
