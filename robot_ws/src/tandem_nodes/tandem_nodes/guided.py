"""The conductor of a guided run (`rl_online.real`): as `conductor`, with starts from a plan and a learned judge.

Between two episodes it may let the robot undo the task: an episode too, announced as a backward one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from sensor_msgs.msg import Image, JointState

from hardware.announcement import Stage
from hardware.referee import Referee
from rl_online.real.backward import BackwardEpisode
from rl_online.real.views import LazyReferee, Over, Views
from tandem_nodes import images, joints, parameters, process, qos
from tandem_nodes.conductor import ConductorNode


class GuidedNode(ConductorNode):
    """What judges is loaded by the thread that conducts, at the first reset: it takes seconds."""

    def choose_referee(self) -> Referee:
        run, views = Path(parameters.text(self, "guidance", "The folder of the guided run.")), Views()
        for name in self._cell.cameras:
            put = partial(self._image, views, name)
            self.create_subscription(Image, f"{name}/image_raw", put, qos.IMAGES_IN)
        self.create_subscription(JointState, "joint_states", partial(self._joints, views), qos.NEWEST)
        return LazyReferee(self._cell, run, views, self._closing.is_set, self._undo)

    def conduct(self) -> None:
        try:
            super().conduct()
        except Over as over:
            self.get_logger().info(str(over))
            self._announce("finished", 0)

    def _undo(
        self, episode: int, by: Literal["policy", "scripted"], task: str, is_over: Callable[[], bool]
    ) -> None:
        def announce(stage: Stage, success: bool | None) -> int:
            return self._announce(stage, episode, success, backward_by=by, task=task)

        BackwardEpisode(self._arm.reach, announce, self._closing, self._cell.episode_s).run(is_over)
        self._announce("resetting", episode)

    def _joints(self, views: Views, message: JointState) -> None:
        reading, opening = joints.reading(message)
        views.posture = reading.q_rad if opening is None else np.append(reading.q_rad, opening)

    def _image(self, views: Views, camera: str, message: Image) -> None:
        views.put(camera, images.from_message(message))


def main() -> int:
    return process.run(GuidedNode)


if __name__ == "__main__":
    sys.exit(main())
