"""Between `running` and `judged` everything is recorded under the label of who acted; outside it nothing is."""

from pathlib import Path

import numpy as np

from hardware import cell
from hardware.announcement import Announcement
from hardware.arm_loop import JointCommand
from hardware.dataset.manifest import SeenObject
from hardware.dataset.store import EpisodeStore
from hardware.episode_writer import EpisodeWriter, backward_store
from hardware.ports import CameraImage, JointReading

CELL = cell.load("bench")
NAMES = CELL.limits.names
STEP_NS = 10_000_000


def record(writer: EpisodeWriter, steps: int, sources: list[str], start_ns: int = 0) -> int:
    """A second hand of the cell: joints and commands at 100 Hz, pictures at 10 Hz."""
    for step in range(1, steps + 1):
        now_ns = start_ns + step * STEP_NS
        writer.joints(JointReading(now_ns, NAMES, np.full(5, step * 0.01)), 0.5)
        source = sources[(step - 1) * len(sources) // steps]
        writer.sent(JointCommand(now_ns, NAMES, np.full(5, step * 0.01), None, 0.5, source))
        if step % 10 == 1:
            for camera in CELL.cameras:
                writer.image(camera, CameraImage(now_ns, np.full((8, 8, 3), step % 256, np.uint8)))
    return now_ns


def test_a_correction_is_a_span_of_its_source_and_a_hold_belongs_to_who_was_in_control(tmp_path: Path) -> None:
    chosen = CELL.but(policy={"kind": "server"})
    writer = EpisodeWriter(chosen, tmp_path / "e")
    now_ns = record(writer, 20, ["policy"])
    assert not writer.is_recording
    writer.announced(Announcement(stage="running", task="put it there", since_ns=now_ns))
    now_ns = record(writer, 300, ["policy", "human", "hold"], now_ns)
    writer.announced(Announcement(stage="judged", success=True))
    record(writer, 20, ["policy"], now_ns)
    [episode] = EpisodeStore.open(tmp_path / "e").episodes()
    assert episode.manifest.task == "put it there"
    assert episode.manifest.success is True
    assert [span.source for span in episode.manifest.spans] == ["policy", "human"]
    assert 55 <= len(episode) <= 61  # three seconds at 20 Hz
    assert writer.written == 1


def test_an_episode_that_is_cut_short_is_kept_without_a_label(tmp_path: Path) -> None:
    writer = EpisodeWriter(CELL, tmp_path / "e")
    writer.announced(Announcement(stage="running"))
    record(writer, 100, ["scripted"])
    writer.close()
    [episode] = EpisodeStore.open(tmp_path / "e").episodes()
    assert episode.manifest.success is None
    assert len(episode) > 15


def test_who_moved_the_arm_before_the_episode_has_no_part_in_it(tmp_path: Path) -> None:
    """A person jogs, then starts an episode: until the script commands, the arm only holds."""
    writer = EpisodeWriter(CELL, tmp_path / "e")
    now_ns = record(writer, 20, ["human"])
    writer.announced(Announcement(stage="running", since_ns=now_ns))
    late_ns = now_ns - STEP_NS // 2  # measured before, delivered after
    writer.sent(JointCommand(late_ns, NAMES, np.zeros(5), None, 0.5, "human"))
    writer.joints(JointReading(late_ns, NAMES, np.full(5, 9.0)), 0.5)
    record(writer, 200, ["hold", "scripted"], now_ns)
    writer.announced(Announcement(stage="judged"))
    [episode] = EpisodeStore.open(tmp_path / "e").episodes()
    assert [span.source for span in episode.manifest.spans] == ["scripted"]
    assert episode.q_rad.max() < 9.0


def test_a_discarded_episode_is_gone(tmp_path: Path) -> None:
    writer = EpisodeWriter(CELL, tmp_path / "e")
    writer.announced(Announcement(stage="running"))
    record(writer, 20, ["scripted"])
    writer.announced(Announcement(stage="judged", is_discarded=True))
    assert EpisodeStore.open(tmp_path / "e").folders() == []
    assert writer.written == 0


def test_an_episode_that_undoes_the_task_lies_in_a_store_of_its_own_under_who_made_its_chunks(
    tmp_path: Path,
) -> None:
    """The executor says `policy` of whatever a server answers; a script behind the server is none."""
    store, writer = tmp_path / "e", EpisodeWriter(CELL.but(policy={"kind": "server"}), tmp_path / "e")
    writer.announced(Announcement(stage="running", task="put it there", episode=1))
    now_ns = record(writer, 100, ["policy"])
    writer.announced(Announcement(stage="judged", success=True, episode=1))
    undone = Announcement(stage="running", task="take it back", episode=2, since_ns=now_ns, backward_by="scripted")
    writer.announced(undone)
    now_ns = record(writer, 150, ["policy", "human", "policy"], now_ns)
    writer.announced(undone.but(stage="judged", success=True))
    writer.announced(Announcement(stage="running", task="put it there", episode=2, since_ns=now_ns))
    record(writer, 100, ["policy"], now_ns)
    writer.close()
    forward, backward = (EpisodeStore.open(path).episodes() for path in (store, backward_store(store)))
    assert [one.manifest.task for one in forward] == ["put it there"] * 2
    assert [[span.source for span in one.manifest.spans] for one in forward] == [["policy"]] * 2
    [one] = backward
    assert (one.manifest.task, one.manifest.success) == ("take it back", True)
    assert [span.source for span in one.manifest.spans] == ["scripted", "human", "scripted"]


def test_where_the_object_was_seen_just_before_an_episode_is_kept_with_it(tmp_path: Path) -> None:
    """What was seen long before, or while the arm moved it, is not."""
    writer = EpisodeWriter(CELL, tmp_path / "e")
    there, elsewhere = (SeenObject(x_m=x_m, y_m=0.1, z_m=0.02, yaw_rad=0.3) for x_m in (0.2, 0.25))
    second_ns = 1_000_000_000
    for number, (seen_ns, begins_ns) in enumerate(
        ((1 * second_ns, 4 * second_ns), (4 * second_ns, 60 * second_ns))
    ):
        writer.seen(seen_ns, there)
        writer.announced(Announcement(stage="running", task="put it there", since_ns=begins_ns))
        writer.seen(begins_ns + second_ns, elsewhere)
        record(writer, 20, ["policy"], begins_ns + number)
        writer.announced(Announcement(stage="judged", success=True))
    first, second = EpisodeStore.open(tmp_path / "e").episodes()
    assert first.manifest.object_seen == there
    assert second.manifest.object_seen is None
