"""The stages of episodes, paced by the clock and by a person, with a referee that is told what to say."""

import threading
import time
from pathlib import Path

from hardware import announcement
from hardware.conducting import Conductor
from hardware.episode_request import EpisodeRequest, Requests


class ToldReferee:
    """Sees success after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks, self.seeds = looks, list[int]()

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)

    def has_succeeded(self) -> bool | None:
        self.looks -= 1
        return self.looks < 0

    def close(self) -> None:
        pass


class Rig:
    def __init__(self, run: Path, episodes: int, by_person: bool, episode_s: float = 1.0, looks: int = 0) -> None:
        self.stages, self.reached = list[tuple[str, int]](), list[str]()
        self.requests, self.closing, self.referee = Requests(), threading.Event(), ToldReferee(looks)
        self.conductor = Conductor(
            run, episodes, 5, by_person, episode_s, self.referee,
            self.requests, self.reached.append, self.announce, self.closing,
        )  # fmt: skip

    def announce(self, stage: str, episode: int, success: bool | None = None, discarded: bool = False) -> int:
        self.stages.append((stage, episode))
        return time.monotonic_ns()


def test_by_the_clock_episodes_follow_one_another_and_go_on_after_a_crash(tmp_path: Path) -> None:
    Rig(tmp_path, 1, by_person=False).conductor.run_all()
    again = Rig(tmp_path, 2, by_person=False)
    again.conductor.run_all()
    assert again.referee.seeds == [6]
    assert again.stages == [("resetting", 1), ("running", 1), ("judged", 1), ("finished", 2)]
    assert again.reached[:2] == ["inactive", "active"]
    assert [result.success for result in announcement.results(tmp_path)] == [True, True]


def test_an_episode_without_success_ends_in_time(tmp_path: Path) -> None:
    Rig(tmp_path, 1, by_person=False, episode_s=0.2, looks=100).conductor.run_all()
    (result,) = announcement.results(tmp_path)
    assert result.success is False
    assert 0.2 <= result.duration_s < 1


def test_a_person_starts_judges_and_discards(tmp_path: Path) -> None:
    rig = Rig(tmp_path, 2, by_person=True)
    thread = threading.Thread(target=rig.conductor.run_all)
    thread.start()
    for stage, request in [("free", "start"), ("running", "failure"), ("free", "start"), ("running", "discard")]:
        count = sum(said == stage for said, _ in rig.stages)
        deadline_s = time.monotonic() + 10
        while not (rig.stages and rig.stages[-1][0] == stage and count) and time.monotonic() < deadline_s:
            time.sleep(0.01)
            count = sum(said == stage for said, _ in rig.stages)
        time.sleep(0.1)
        rig.requests.put(EpisodeRequest.model_validate({"what": request}))
        time.sleep(0.2)
    thread.join(10)
    assert not thread.is_alive()
    assert [stage for stage, _ in rig.stages] == [
        *("free", "resetting", "running", "judged"), *("free", "resetting", "running", "judged"), "finished",
    ]  # fmt: skip
    (kept,) = announcement.results(tmp_path)
    assert (kept.episode, kept.success) == (0, False)


def test_a_start_that_is_left_out_has_no_result_and_the_next_one_comes(tmp_path: Path) -> None:
    rig = Rig(tmp_path, 2, by_person=True)
    thread = threading.Thread(target=rig.conductor.run_all)
    thread.start()
    for stage, request in [(("free", 0), "skip"), (("free", 1), "start"), (("running", 1), "success")]:
        deadline_s = time.monotonic() + 10
        while (not rig.stages or rig.stages[-1] != stage) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        time.sleep(0.1)
        rig.requests.put(EpisodeRequest.model_validate({"what": request}))
    thread.join(10)
    assert not thread.is_alive()
    assert rig.referee.seeds == [6]
    assert [result.episode for result in announcement.results(tmp_path)] == [1]
