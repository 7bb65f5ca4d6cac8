"""Scans with poses: nerfstudio's and COLMAP's conventions are met, and what is missing is named."""

import json
import math
from pathlib import Path

import numpy as np
import pictures
import plyfile
import pycolmap
import pytest
import small_twin

from hardware.camera_model import CameraModel
from hardware.errors import BadInput
from twin import photo
from twin.camera_path import looking
from twin.posed_scan import colmap_camera, matching, read_cloud, read_colmap, read_nerfstudio, resized

INTRINSICS = {"w": 160, "h": 120, "fl_x": 150.0, "fl_y": 151.0, "cx": 79.0, "cy": 61.5, "k1": 0.01}
EYE = np.array([1.0, 2.0, 0.5])


def gl_matrix(eye: np.ndarray = EYE) -> list[list[float]]:
    """OpenGL: columns are right, up, backward, position. Looks from `eye` at the origin, z up."""
    backward = eye / np.linalg.norm(eye)
    right = np.cross([0, 0, 1.0], backward)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([right, np.cross(backward, right), backward, eye])
    return matrix.tolist()


def dataset(folder: Path, count: int = 3, **changes) -> Path:
    names = [f"images/{number:03d}.jpg" for number in range(count)]
    for name in names:
        pictures.save(folder / name, pictures.detail(160, 120))
    frames = [{"file_path": name, "transform_matrix": gl_matrix()} for name in names]
    values = {"camera_model": "OPENCV", **INTRINSICS, "frames": frames} | changes
    plain = {key: value for key, value in values.items() if value is not None}
    (folder / "transforms.json").write_text(json.dumps(plain))
    return folder


def test_a_nerfstudio_camera_looks_where_opengl_says(tmp_path: Path):
    given = read_nerfstudio(dataset(tmp_path))
    pose, camera = given.posed.views[0].pose, given.posed.cameras["camera0"]
    np.testing.assert_allclose(pose.matrix, looking(EYE, np.zeros(3), np.array([0, 0, 1.0])), atol=1e-12)
    # The origin is straight ahead: it falls on the principal point, and a point above it higher up (smaller row).
    pixels, inside = camera.project(pose.inverse().apply(np.array([[0.0, 0, 0], [0, 0, 0.1]])))
    np.testing.assert_allclose(pixels[0], [79.0, 61.5], atol=1e-9)
    assert pixels[1, 1] < 61.5
    assert inside.all()
    assert not given.posed.metric
    assert given.points is None


def test_the_file_itself_can_be_given_and_every_eighth_view_is_held_out(tmp_path: Path):
    given = read_nerfstudio(dataset(tmp_path, 17) / "transforms.json")
    assert [number for number, view in enumerate(given.posed.views) if view.held_out] == [0, 8, 16]
    assert given.root == tmp_path
    assert len(given.posed.cameras) == 1


def test_the_angle_of_older_files_gives_the_focal_length(tmp_path: Path):
    # 90° across 160 pixels: 80 / tan 45° = 80.
    given = read_nerfstudio(
        dataset(tmp_path, fl_x=None, fl_y=None, cx=None, cy=None, k1=None, camera_angle_x=math.pi / 2)
    )
    camera = given.posed.cameras["camera0"]
    assert (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px) == pytest.approx((80, 80, 80, 60))


def test_the_size_comes_from_the_picture_where_the_file_has_none(tmp_path: Path):
    camera = read_nerfstudio(dataset(tmp_path, w=None, h=None)).posed.cameras["camera0"]
    assert (camera.width_px, camera.height_px) == (160, 120)


def test_frames_may_have_cameras_of_their_own(tmp_path: Path):
    folder = dataset(tmp_path)
    values = json.loads((folder / "transforms.json").read_text())
    values["frames"][1]["fl_x"] = 200.0
    (folder / "transforms.json").write_text(json.dumps(values))
    posed = read_nerfstudio(folder).posed
    assert [view.camera for view in posed.views] == ["camera0", "camera1", "camera0"]
    assert posed.cameras["camera1"].fx_px == 200


def cloud(file: Path, **columns) -> Path:
    table = np.zeros(4, list(columns.items()))
    for name in columns:
        table[name] = np.arange(4)
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")]).write(str(file))
    return file


def test_a_point_cloud_beside_the_poses_is_used(tmp_path: Path):
    cloud(tmp_path / "points.ply", x="f4", y="f4", z="f4", red="u1", green="u1", blue="u1")
    points = read_nerfstudio(dataset(tmp_path, ply_file_path="points.ply")).points
    np.testing.assert_array_equal(points.xyz[3], [3, 3, 3])
    np.testing.assert_array_equal(points.rgb[2], [2, 2, 2])
    assert read_cloud(cloud(tmp_path / "bare.ply", x="f4", y="f4", z="f4")).rgb.tolist() == [[128] * 3] * 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": []}, r"transforms\.json has no list 'frames'"),
        ({"frames": None}, r"transforms\.json has no list 'frames'"),
        ({"frames": ["images/000.jpg"]}, r"transforms\.json has no list 'frames'"),
        ({"camera_model": "OPENCV_FISHEYE"}, "'OPENCV_FISHEYE' is not perspective"),
        ({"fl_x": None, "fl_y": None}, "has no focal length"),
        ({"fl_x": -3.0}, "wrong intrinsics"),
        ({"cx": "middle"}, "wrong intrinsics"),
        ({"w": "wide"}, "wrong intrinsics"),
        ({"ply_file_path": "images/000.jpg"}, r"000\.jpg is not a point cloud"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(BadInput, match=message):
        read_nerfstudio(dataset(tmp_path, **changes))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "transform_matrix"),
        ([[1, 0], [0, 1]], "transform_matrix"),
        ([["a"] * 4] * 4, "transform_matrix is not a matrix"),
        ((np.eye(4) * 2).tolist(), "transform_matrix"),
        (np.diag([1.0, 1, -1, 1]).tolist(), "transform_matrix"),
        (np.full((4, 4), math.nan).tolist(), "transform_matrix"),
    ],
)
def test_a_pose_that_is_none_is_named(tmp_path: Path, rows, message: str):
    frame = {"file_path": "images/001.jpg", "transform_matrix": rows}
    with pytest.raises(BadInput, match=rf"001\.jpg.*{message}"):
        read_nerfstudio(dataset(tmp_path, frames=[frame]))


def test_missing_images_are_counted_and_named(tmp_path: Path):
    folder = dataset(tmp_path, 5)
    for number in (1, 2, 3, 4):
        (folder / f"images/00{number}.jpg").unlink()
    with pytest.raises(
        BadInput, match=r"names 4 of 5 images that are missing: images/001\.jpg, .*003\.jpg …\n.*relative"
    ):
        read_nerfstudio(folder)


def colmap_scan(folder: Path, count: int = 4, text: bool = False) -> tuple[Path, list[np.ndarray]]:
    """A model that pycolmap itself wrote; returns the true T_cam_world too."""
    model, truths = pycolmap.Reconstruction(), []
    camera = pycolmap.Camera(
        model="OPENCV", width=160, height=120, params=[150, 151, 79, 61.5, 0.01, 0, 0, 0], camera_id=1
    )
    model.add_camera_with_trivial_rig(camera)
    for number, view in enumerate(small_twin.cameras(count).views, start=1):
        name = f"{number:02d}.jpg"
        pictures.save(folder / "images" / name, pictures.detail(160, 120))
        truths.append(view.pose.inverse().matrix)
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(truths[-1][:3, :3]), truths[-1][:3, 3])
        model.add_image_with_trivial_frame(pycolmap.Image(name=name, camera_id=1, image_id=number), pose)
    for xyz in np.random.default_rng(0).normal(size=(5, 3)):
        model.add_point3D(xyz, pycolmap.Track(), np.array([10, 20, 30], np.uint8))
    sparse = folder / "sparse" / "0"
    sparse.mkdir(parents=True)
    model.write_text(str(sparse)) if text else model.write_binary(str(sparse))
    return folder, truths


@pytest.mark.parametrize("text", [True, False])
def test_a_colmap_model_is_read_as_colmap_means_it(tmp_path: Path, text: bool):
    scan, truths = colmap_scan(tmp_path, text=text)
    given = read_colmap(scan)
    assert given.root == scan / "images"
    assert [view.image for view in given.posed.views] == ["01.jpg", "02.jpg", "03.jpg", "04.jpg"]
    for view, truth in zip(given.posed.views, truths, strict=True):
        np.testing.assert_allclose(view.pose.inverse().matrix, truth, atol=1e-9)
    camera = given.posed.cameras["camera1"]
    assert (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, camera.k1) == (150, 151, 79, 61.5, 0.01)
    assert given.points.rgb.tolist() == [[10, 20, 30]] * 5


def test_a_model_without_its_photos_is_named(tmp_path: Path):
    scan, _ = colmap_scan(tmp_path)
    (scan / "images" / "03.jpg").unlink()
    with pytest.raises(
        BadInput, match=r"poses 4 photos; .*images has 3 of them, not 03\.jpg\n.*put the photos into"
    ):
        read_colmap(scan)


def test_a_broken_model_is_named(tmp_path: Path):
    scan, _ = colmap_scan(tmp_path)
    file = scan / "sparse" / "0" / "images.bin"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(BadInput, match=r"is not a whole COLMAP model"):
        read_colmap(scan)


@pytest.mark.parametrize("kind", ["SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV"])
def test_every_camera_model_projects_as_colmaps(kind: str):
    theirs = pycolmap.Camera.create_from_model_id(1, pycolmap.CameraModelId.__members__[kind], 150.0, 160, 120)
    theirs.params = np.array(theirs.params) + np.linspace(0.001, 0.01, len(theirs.params))
    points = np.array([[0.1, -0.2, 1.0], [-0.3, 0.2, 1.0]])
    np.testing.assert_allclose(colmap_camera(theirs).project(points)[0], theirs.img_from_cam(points), atol=1e-9)


def test_a_fisheye_is_refused():
    fisheye = pycolmap.Camera.create_from_model_id(1, pycolmap.CameraModelId.OPENCV_FISHEYE, 150.0, 160, 120)
    with pytest.raises(BadInput, match="OPENCV_FISHEYE is not supported"):
        colmap_camera(fisheye)


def test_photos_are_turned_as_their_camera_describes_them(tmp_path: Path):
    file = pictures.save(tmp_path / "a.jpg", pictures.detail(160, 120), pictures.exif(orientation=6))
    raw = photo.read(file, upright=False)
    lying = small_twin.CAMERA
    standing = lying.but(width_px=120, height_px=160)
    assert matching(raw, photo.read, file, lying).rgb.shape == (120, 160, 3)
    assert matching(raw, photo.read, file, standing).rgb.shape == (160, 120, 3)
    with pytest.raises(BadInput, match="160×120, but its camera is 100×100"):
        matching(raw, photo.read, file, lying.but(width_px=100, height_px=100))


def test_a_resized_camera_sees_the_same_share_of_the_picture():
    camera: CameraModel = resized(small_twin.CAMERA, 80, 61)
    point = np.array([0.1, 0.2, 1.0])
    share = camera.project(point)[0] / [80, 61]
    np.testing.assert_allclose(share, small_twin.CAMERA.project(point)[0] / [160, 120])
