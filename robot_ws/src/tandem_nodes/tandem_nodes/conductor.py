"""Conducts episodes (`hardware.conducting`); announces each stage on the latched topic `episode`."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import String

from hardware import config, referee
from hardware.announcement import Announcement, Stage
from hardware.conducting import Conductor
from hardware.episode_request import EpisodeRequest, Requests
from hardware.page.ghost import Guide
from hardware.referee import Referee
from tandem_nodes import announcements, hearers, parameters, process, qos
from tandem_nodes.arm_lifecycle import ArmLifecycle

REQUESTS = "episode_request"
ACKNOWLEDGED = Duration(seconds=2)  # the next stage must not overtake this one


class ConductorNode(Node):
    """Its own thread conducts; the spinning thread only delivers answers."""

    def __init__(self, end: Callable[[int], None]) -> None:
        super().__init__("conductor")
        self._end = end
        self._cell = parameters.read_cell(self)
        run = Path(parameters.text(self, "run", "The folder of logs and results."))
        episodes = parameters.number(self, "episodes", "How many to run; 0: until it is stopped.", 0)
        self._seed = parameters.number(self, "seed", "Of the first episode's start.", 0)
        pace = parameters.text(self, "pace", "clock or person: who begins episodes.", "clock")
        self._hearers = parameters.text(self, "hearers", "Nodes that must hear the first announcement.").split()
        self._closing = threading.Event()
        self._referee = self.choose_referee()
        self._requests = Requests()
        self._arm = ArmLifecycle(self)
        self._announced = self.create_publisher(String, announcements.TOPIC, qos.LATCHED)
        self.create_subscription(String, REQUESTS, self._asked, qos.NEWEST)
        self._conductor = Conductor(
            run, episodes, self._seed, pace == "person", self._cell.episode_s,
            self._referee, self._requests, self._arm.reach, self._announce, self._closing,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._conduct, name="conduct")
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._referee.close()

    def choose_referee(self) -> Referee:
        guide = parameters.text(self, "guide", "The file of which starts come next; empty: there is none.")
        starts = config.read(Guide, Path(guide)).starts if guide else ()
        return referee.choose(self._cell, starts, self._seed)

    def conduct(self) -> None:
        self._conductor.run_all()

    def _conduct(self) -> None:
        try:
            hearers.wait_for(self, self._announced, self._hearers, self._closing)
            self.conduct()
            self._end(0)
        except Exception as error:
            self.get_logger().error(f"{type(error).__name__}: {error}")
            self._end(1)

    def _asked(self, message: String) -> None:
        self._requests.put(EpisodeRequest.model_validate_json(message.data))

    def _announce(
        self, stage: Stage, episode: int, success: bool | None = None, discarded: bool = False, **changed: object
    ) -> int:
        """Returns when. `changed`: other fields of the announcement."""
        now_ns, task = time.monotonic_ns(), self._cell.task
        said = Announcement(
            stage=stage, episode=episode, task=task, since_ns=now_ns, success=success, is_discarded=discarded
        ).but(**changed)
        self._announced.publish(announcements.to_message(said))
        self._announced.wait_for_all_acked(ACKNOWLEDGED)
        return now_ns


def main() -> int:
    return process.run(ConductorNode)


if __name__ == "__main__":
    sys.exit(main())
