"""What was recorded is listed with its spans, and any frame of it can be looked at; nothing else can."""

import http.client
import io
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware import cell as cells
from hardware.dataset.check_store import check
from hardware.dataset.recording import Recording
from hardware.dataset.store import EpisodeStore
from hardware.page.config import ServePage
from hardware.page.desk import Desk
from hardware.page.episodes import Shelf
from hardware.page.server import PageServer
from hardware.page.shown_folders import Folders, ShownFolders
from tests.hardware.page.test_desk import PaperRobot

STEP_NS = 50_000_000
STEPS = 40


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds: the policy, then a person; the pictures grow brighter by five a step."""
    folder = tmp_path_factory.mktemp("shelf") / "episodes"
    recording = Recording(folder, "put it there", ("cam_front",), ("a", "b"))
    for step in range(1, STEPS + 1):
        now_ns = step * STEP_NS
        recording.image("cam_front", now_ns, np.full((24, 32, 3), 5 * step, np.uint8))
        recording.joint(now_ns, np.zeros(2))
        recording.sent(now_ns, np.zeros(2), "policy" if step <= STEPS // 2 else "human")
    recording.finish(True)
    return folder


def test_an_episode_is_listed_with_its_verdict_and_who_acted(store: Path) -> None:
    [row] = Shelf(store).rows()
    assert (row.number, row.success) == (0, True)
    assert [span.source for span in row.spans] == ["policy", "human"]
    assert row.spans[-1].stop == row.frames
    assert row.seconds == pytest.approx(2.0, abs=0.15)


def test_a_frame_is_the_picture_of_its_moment(store: Path) -> None:
    shelf = Shelf(store)
    shades = []
    for frame in (0, 20):
        jpeg = shelf.jpeg(0, "cam_front", frame)
        assert jpeg is not None
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        shades.append(float(picture.mean()))
    [row] = shelf.rows()
    steps_later = 20 * row.seconds / row.frames / 0.05
    assert shades[1] - shades[0] == pytest.approx(5 * steps_later, abs=12)


def test_what_is_not_there_is_none(store: Path, tmp_path: Path) -> None:
    assert Shelf(store).jpeg(7, "cam_front", 0) is None
    assert Shelf(store).jpeg(0, "cam_front", 10_000) is None
    assert Shelf(None).rows() == Shelf(tmp_path / "none").rows() == []


@pytest.fixture
def server(store: Path, tmp_path: Path) -> Iterator[PageServer]:
    config = ServePage(port=0, token_file=tmp_path / "token")
    ours = PageServer(Desk(cells.load("bench"), PaperRobot()), config, 0, Folders(store=store))
    yield ours
    ours.close()


def test_episodes_are_served_to_those_with_the_token(server: PageServer) -> None:
    token = server.link.partition("token=")[2]
    found = {
        path: get(server, f"{path}?token={token}") for path in ("/episodes.json", "/episode/0/cam_front/3.jpg")
    }
    assert {path: answer.status for path, answer in found.items()} == {
        "/episodes.json": 200,
        "/episode/0/cam_front/3.jpg": 200,
    }
    assert found["/episode/0/cam_front/3.jpg"].headers["Content-Type"] == "image/jpeg"
    assert get(server, "/episodes.json").status == 403
    assert get(server, "/episode/0/cam_front/3.jpg").status == 403
    missing = ("0/cam_front/99999.jpg", "0/other/3.jpg", "../../etc/passwd", "0/cam_front/x.jpg")
    for path in (*(f"/episode/{name}" for name in missing), "/failure_map.png", "/ghost/0.png", "/twin/twin.json"):
        assert get(server, f"{path}?token={token}").status == 404


def test_a_note_stays_with_its_episode_and_goes_when_it_is_emptied(store: Path) -> None:
    shown = ShownFolders(Folders(store=store))
    shown.note(0, " the block slid \n")
    shown.note(8, "there is no such episode")
    assert [row.note for row in Shelf(store).rows()] == ["the block slid"]
    assert check(EpisodeStore.open(store), decode_all=False).findings == ()
    shown.note(0, "")
    assert [row.note for row in Shelf(store).rows()] == [""]


def test_an_export_is_a_dataset_beside_the_store_and_one_file_to_download(store: Path) -> None:
    shown = ShownFolders(Folders(store=store))
    assert shown.export is not None
    assert shown.answer("/dataset.tar") is None
    assert shown.export.begin()
    assert not shown.export.begin()  # one at a time
    until = time.monotonic() + 120
    while shown.export.state == "runs" and time.monotonic() < until:
        time.sleep(0.1)
    assert shown.export.state == "done", shown.export.words
    answer = shown.answer("/dataset.tar")
    assert answer is not None
    with tarfile.open(fileobj=io.BytesIO(answer[1])) as packed:
        assert any(name.endswith("meta/info.json") for name in packed.getnames())


def get(server: PageServer, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(server.address.removeprefix("http://").rstrip("/"), timeout=5)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response
