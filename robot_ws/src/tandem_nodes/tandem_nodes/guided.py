"""The conductor of a guided run (`rl_online.real`): as `conductor`, with starts from a plan and a learned judge."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from sensor_msgs.msg import Image

from hardware.referee import Referee
from rl_online.real_config import GUIDANCE, Guidance
from rl_online.real_referee import GuidedReferee, Over, Person, StandIn, Views
from tandem_nodes import images, parameters, process, qos
from tandem_nodes.conductor import ConductorNode


class GuidedNode(ConductorNode):
    def choose_referee(self) -> Referee:
        run = Path(parameters.text(self, "guidance", "The folder of the guided run."))
        checks = Guidance.model_validate_json((run / GUIDANCE).read_text(encoding="utf-8")).checks
        views = Views()
        for name in self._cell.cameras:
            put = partial(self._image, views, name)
            self.create_subscription(Image, f"{name}/image_raw", put, qos.IMAGES_IN)
        stand_in = self._cell.bench is not None
        places = StandIn(self._cell, checks.stand_in_mm, checks.stand_in_deg) if stand_in else Person()
        return GuidedReferee(run, places, views, self._closing.is_set)

    def conduct(self) -> None:
        try:
            self._conductor.run_all()
        except Over as over:
            self.get_logger().info(str(over))
            self._announce("finished", 0)

    def _image(self, views: Views, camera: str, message: Image) -> None:
        views.put(camera, images.from_message(message))


def main() -> int:
    return process.run(GuidedNode)


if __name__ == "__main__":
    sys.exit(main())
