"""The process that draws the page's 3D scene: `SceneFrame`s, one a line, in; an answer for each, and viser, out.

Its first line says where viser's socket is. Started by the page's server when somebody looks, and ended with its input.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from hardware import cell as cells
from hardware import config
from hardware.errors import TandemError
from hardware.page import cell_scene
from hardware.page.ghost import Guide
from hardware.page.scene import Scene
from hardware.page.scene_frame import SceneFrame

NICE = 5
"""What moves the arm comes first."""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("cell")
    arguments.add_argument("--guide", type=Path)
    arguments.add_argument("--twin", type=Path)
    given = arguments.parse_args()
    os.nice(NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever feeds it ends it
    answers, sys.stdout = sys.stdout, sys.stderr  # viser has things to say
    try:
        guide = config.read(Guide, given.guide) if given.guide else None
        scene, words = with_twin(given.cell, guide, given.twin) if given.twin else alone(given.cell, guide)
    except TandemError as error:
        print(json.dumps({"problem": error.problem}), file=answers, flush=True)
        return error.exit_code
    print(json.dumps({"address": scene.address, "words": words}), file=answers, flush=True)
    serve(scene, answers)
    return 0


def alone(cell: str, guide: Guide | None) -> tuple[Scene, str]:
    """The scene, and what a person should know of it."""
    return cell_scene.of(cells.load(cell), guide, {}), ""


def with_twin(cell: str, guide: Guide | None, twin: Path) -> tuple[Scene, str]:
    from tandem_nodes import twin_scene  # slow to import, and not for every cell

    scene = cell_scene.of(cells.load(cell), guide, twin_scene.cameras(twin))
    return scene, twin_scene.add_splat(scene, twin)


def serve(scene: Scene, answers) -> None:
    for line in sys.stdin:
        scene.show(SceneFrame.model_validate_json(line))
        print("shown", file=answers, flush=True)
    scene.close()


if __name__ == "__main__":
    sys.exit(main())
