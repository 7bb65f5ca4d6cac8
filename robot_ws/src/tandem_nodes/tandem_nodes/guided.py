"""The conductor of a guided run (`rl_online.real`): as `conductor`, with starts from a plan and a learned judge."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from sensor_msgs.msg import Image

from hardware.referee import Referee
from rl_online.real_views import LazyReferee, Over, Views
from tandem_nodes import images, parameters, process, qos
from tandem_nodes.conductor import ConductorNode


class GuidedNode(ConductorNode):
    """What judges is loaded by the thread that conducts, at the first reset: it takes seconds."""

    def choose_referee(self) -> Referee:
        run, views = Path(parameters.text(self, "guidance", "The folder of the guided run.")), Views()
        for name in self._cell.cameras:
            put = partial(self._image, views, name)
            self.create_subscription(Image, f"{name}/image_raw", put, qos.IMAGES_IN)
        return LazyReferee(self._cell, run, views, self._closing.is_set)

    def conduct(self) -> None:
        try:
            super().conduct()
        except Over as over:
            self.get_logger().info(str(over))
            self._announce("finished", 0)

    def _image(self, views: Views, camera: str, message: Image) -> None:
        views.put(camera, images.from_message(message))


def main() -> int:
    return process.run(GuidedNode)


if __name__ == "__main__":
    sys.exit(main())
