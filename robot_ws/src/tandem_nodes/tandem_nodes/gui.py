"""The page for the browser: what the cell's topics say goes to it, and what a person does there comes back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from rclpy.node import Node

from hardware import config
from hardware.page import arms
from hardware.page.desk import Desk
from hardware.page.ghost import Guide
from hardware.page.guidance import Guidance
from hardware.page.resets import ResetLog
from hardware.page.server import PageServer
from tandem_nodes import parameters, process, stamps
from tandem_nodes.desk_topics import DeskTopics
from tandem_nodes.page_parameters import folders, scene, served
from tandem_nodes.page_robot import PageRobot


class GuiNode(Node):
    """The spinning thread hands messages over; the server's thread answers browsers and publishes commands."""

    def __init__(self, end: Callable[[int], None]) -> None:
        super().__init__("gui")
        cell = parameters.read_cell(self)
        drives = parameters.number(self, "drives", "1: the page may drive the arm; 0: it watches and stops.", 1)
        run = Path(
            parameters.text(self, "run", "The folder that the page's address and the resets are written to.")
        )
        guide = parameters.text(self, "guide", "The file of which starts come next; empty: there is none.")
        self._desk = Desk(
            cell,
            PageRobot(self, cell.joy.dead_man_button),
            arms.kinematics(cell),
            can_drive=bool(drives),
            follows=bool(parameters.number(self, "follows", "1: the page holds the dead-man of a leader arm.", 0)),
            guidance=Guidance(config.read(Guide, Path(guide)) if guide else None, ResetLog(run)),
        )
        shown = folders(self, guide)
        self._server = PageServer(self._desk, served(self), stamps.offset_ns(), shown, scene(self, shown))
        self._topics = DeskTopics(self, cell, self._desk, self._server)
        (run / "page.txt").write_text(self._server.link + "\n", encoding="utf-8")

    def close(self) -> None:
        self._server.close()


def main() -> int:
    return process.run(GuiNode)


if __name__ == "__main__":
    sys.exit(main())
