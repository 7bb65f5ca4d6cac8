"""Runs episodes: reset, record and run, judge, stop; announces each stage on the latched topic `episode`.

Paced by the clock, one episode follows another and the referee ends it. Paced by a person, each begins when they ask
for it and ends with their verdict; between episodes they may move the arm. Results go to `episodes.jsonl` of the run
folder, one line each; after a crash it goes on behind the last line.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import String

from hardware import announcement, referee
from hardware.announcement import Announcement, EpisodeResult, Stage
from hardware.episode_request import VERDICTS, EpisodeRequest, Requests, What
from tandem_nodes import announcements, parameters, process, qos
from tandem_nodes.arm_lifecycle import ArmLifecycle

JUDGE_S = 0.05
REQUESTS = "episode_request"
LONGEST_PERSON_S = 600.0
LOOK_AFTER_ARM_S = 0.5
ACKNOWLEDGED = Duration(seconds=2)  # the next stage must not overtake this one


class ConductorNode(Node):
    """Its own thread conducts; the spinning thread only delivers answers."""

    def __init__(self, end: Callable[[int], None]) -> None:
        super().__init__("conductor")
        self._end = end
        self._cell = parameters.read_cell(self)
        self._run = Path(parameters.text(self, "run", "The folder of logs and results."))
        self._episodes = parameters.number(self, "episodes", "How many to run; 0: until it is stopped.", 0)
        self._seed = parameters.number(self, "seed", "Of the first episode's start.", 0)
        self._by_person = (
            parameters.text(self, "pace", "clock or person: who begins episodes.", "clock") == "person"
        )
        self._referee = referee.choose(self._cell)
        self._requests = Requests()
        self._arm = ArmLifecycle(self)
        self._announced = self.create_publisher(String, announcements.TOPIC, qos.LATCHED)
        self.create_subscription(String, REQUESTS, self._asked, qos.NEWEST)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._conduct, name="conduct")
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._referee.close()

    def _conduct(self) -> None:
        try:
            done = len(announcement.results(self._run))
            while not self._closing.is_set() and (self._episodes == 0 or done < self._episodes):
                if self._by_person and not self._is_started(done):
                    break
                if (result := self._episode(done)) is not None:
                    announcement.add_result(self._run, result)
                done += 1
            self._announce("finished", done)
            self._end(0)
        except Exception as error:
            self.get_logger().error(f"{type(error).__name__}: {error}")
            self._end(1)

    def _episode(self, episode: int) -> EpisodeResult | None:
        """None when it was cut short by the end of the run."""
        self._announce("resetting", episode)
        self._arm.reach("inactive")
        self._referee.reset(self._seed + episode)
        self._arm.reach("active")
        began_ns = looked_ns = self._announce("running", episode)
        success: bool | None = None
        asked: What | None = None
        longest_s = LONGEST_PERSON_S if self._by_person else self._cell.episode_s
        while not success and _since_s(began_ns) < longest_s:
            asked = self._requests.wait(JUDGE_S)
            if self._closing.is_set():
                return None
            if asked in VERDICTS:
                success = VERDICTS[asked]
                break
            success = None if self._by_person else self._referee.has_succeeded()
            if _since_s(looked_ns) > LOOK_AFTER_ARM_S:
                looked_ns = time.monotonic_ns()
                self._arm.reach("active")  # it may have come back from a crash
        discarded = asked == "discard"
        lasted_s = (self._announce("judged", episode, success, discarded) - began_ns) * 1e-9
        if discarded:
            return None
        return EpisodeResult(episode=episode, success=success, duration_s=lasted_s, began_ns=began_ns)

    def _is_started(self, episode: int) -> bool:
        """The arm is free to move until a person asks for the next episode; False when the run ends before."""
        self._arm.reach("active")
        self._announce("free", episode)
        self._requests.take()
        while not self._closing.is_set():
            if self._requests.wait(LOOK_AFTER_ARM_S) == "start":
                return True
            self._arm.reach("active")
        return False

    def _asked(self, message: String) -> None:
        self._requests.put(EpisodeRequest.model_validate_json(message.data))

    def _announce(self, stage: Stage, episode: int, success: bool | None = None, discarded: bool = False) -> int:
        """Returns when."""
        now_ns, task = time.monotonic_ns(), self._cell.task
        said = Announcement(
            stage=stage, episode=episode, task=task, since_ns=now_ns, success=success, is_discarded=discarded
        )
        self._announced.publish(announcements.to_message(said))
        self._announced.wait_for_all_acked(ACKNOWLEDGED)
        return now_ns


def _since_s(stamp_ns: int) -> float:
    return (time.monotonic_ns() - stamp_ns) * 1e-9


def main() -> int:
    return process.run(ConductorNode)


if __name__ == "__main__":
    sys.exit(main())
