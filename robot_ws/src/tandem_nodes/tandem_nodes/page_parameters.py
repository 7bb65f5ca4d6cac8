"""The page's own parameters: where it is served, which folders it shows, and what draws its 3D scene."""

from __future__ import annotations

import sys
from pathlib import Path

from rclpy.node import Node

from hardware.page.config import ServePage
from hardware.page.shown_folders import Folders
from tandem_nodes import parameters

SCORE = "score"
"""The topic where any node may say how likely success is, 0 … 1: a reward classifier, say."""


def served(node: Node) -> ServePage:
    host = parameters.text(node, "host", "Where to listen.", "127.0.0.1")
    port = parameters.number(node, "port", "0 picks a free one.", 8090)
    token_file = parameters.text(node, "token_file", "Needed where `host` is not this machine alone.")
    return ServePage(host=host, port=port, token_file=Path(token_file) if token_file else None)


def folders(node: Node, guide: str) -> Folders:
    """`guide`: the file, or empty."""
    store = parameters.text(node, "store", "The folder of recorded episodes; empty: nothing is recorded.")
    failure_map = parameters.text(node, "failure_map", "A picture of where the policy fails; empty: none.")
    twin = parameters.text(node, "twin", "The folder of the cell's twin; empty: there is none.")
    return Folders(
        store=Path(store) if store else None,
        guide=Path(guide) if guide else None,
        failure_map=Path(failure_map) if failure_map else None,
        twin=Path(twin) if twin else None,
    )


def scene(node: Node, shown: Folders) -> tuple[str, ...]:
    """How the process that draws it is started; after the cell has been read."""
    words = [sys.executable, "-m", "tandem_nodes.page_scene", str(node.get_parameter("cell").value)]
    for flag, path in (("--guide", shown.guide), ("--twin", shown.twin)):
        words += [flag, str(path)] if path is not None else []
    return tuple(words)
