"""Pictures and videos of a twin are whole, show what the cameras saw, and never write over somebody's files."""

import av
import cv2
import numpy as np
import pytest
import small_twin

from hardware.errors import BadInput
from twin.camera_path import framed, orbit
from twin.image_quality import psnr_db
from twin.render import RenderTwin, coloured, render


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return small_twin.write(tmp_path_factory.mktemp("twins") / "table")


def picture(file):
    return cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[..., ::-1]


def frames(file):
    with av.open(str(file)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_held_out_renders_are_what_the_photos_show(bundle, tmp_path):
    assert render(RenderTwin(bundle=bundle, output=tmp_path / "out", path="held-out")) == 0
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["photo_003.png", "photo_007.png"]
    for name in names:
        photo = picture(bundle / "work" / "capture" / "frames" / name.replace(".png", ".jpg"))
        assert psnr_db(picture(tmp_path / "out" / name) / np.float32(255), photo) > 30  # JPEG's loss


def test_an_orbit_is_a_folder_of_numbered_pictures_with_depth(bundle, tmp_path):
    render(RenderTwin(bundle=bundle, output=tmp_path / "out", frames=5, size_px=(96, 64), depth=True))
    files = sorted((tmp_path / "out").glob("*.png"))
    assert [file.name for file in files] == [f"frame_{index:05d}.png" for index in range(5)]
    assert picture(files[0]).shape == (64, 96, 3)
    depth = cv2.imread(str(tmp_path / "out" / "depth" / "frame_00000.png"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16
    T, camera = orbit(small_twin.cameras(9), 5)[0], framed(small_twin.CAMERA, (96, 64), None)
    rays = camera.rays(np.stack(np.meshgrid(np.arange(96), np.arange(64)), -1) + 0.5)
    table_mm = 1000 * -T[2, 3] / (rays @ T[2, :3])  # where each ray meets z = 0, along the optical axis
    seen = depth > 0
    assert 0.2 < seen.mean() < 0.9
    assert np.median(np.abs(depth[seen] - table_mm[seen])) < 15  # 9.7 measured: the balls stand nearer
    assert depth[0, 0] == 0


def test_a_walk_becomes_a_video_of_its_length_size_and_rate(bundle, tmp_path):
    film = tmp_path / "walk.mp4"
    render(RenderTwin(bundle=bundle, output=film, path="walk", frames=12, rate_hz=24, depth=True))
    pictures = frames(film)
    assert len(pictures) == 12
    assert pictures[0].shape == (120, 160, 3)
    with av.open(str(film)) as container:
        assert container.streams.video[0].average_rate == 24
        assert container.streams.video[0].codec_context.name == "h264"
    photo = picture(bundle / "work" / "capture" / "frames" / "photo_000.jpg")
    assert psnr_db(pictures[0] / np.float32(255), photo) > 25  # a walk begins at the first camera; 4:2:0 costs some
    assert len(frames(tmp_path / "walk.depth.mp4")) == 12
    assert sorted(file.name for file in tmp_path.iterdir()) == ["walk.depth.mp4", "walk.mp4"]


def test_near_is_red_far_is_blue_and_nothing_is_black():
    depth = np.array([[0.5, 2.0, 0.0]], np.float32)
    near, far, nothing = coloured(depth, 0.5, 2.0)[0].astype(int)
    assert near[0] > near[2]
    assert far[2] > far[0]
    assert not nothing.any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "circle"}, "have: orbit, walk, held-out"),
        ({"path": "none.json"}, "none.json"),
        ({"output": "film.avi"}, "mp4"),
        ({"output": "film.mp4", "size_px": (95, 64)}, "95 × 64"),
        ({"bundle": "nothing"}, "no twin"),
    ],
)
def test_what_cannot_be_rendered_is_refused_and_leaves_nothing(bundle, tmp_path, monkeypatch, change, words):
    monkeypatch.chdir(tmp_path)
    values = {"bundle": bundle, "output": "out", "frames": 2} | change
    with pytest.raises(BadInput, match=words):
        render(RenderTwin.model_validate(values))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_in_it_is_left_alone(bundle, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="not empty"):
        render(RenderTwin(bundle=bundle, output=tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_twin_without_held_out_views_says_so(tmp_path, bundle):
    from hardware import artefact

    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "scene.ply").symlink_to(bundle / "scene.ply")
    posed = small_twin.cameras(3)
    artefact.write_model(bare / "cameras.json", posed)
    with pytest.raises(BadInput, match="without held-out"):
        render(RenderTwin(bundle=bare, output=tmp_path / "out", path="held-out"))
