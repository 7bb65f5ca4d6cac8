"""The environment that a cell's processes run in: where the nodes are, and a ROS domain that nobody else uses."""

from __future__ import annotations

import importlib.util
import os
import random
import socket
from pathlib import Path

from hardware.errors import BadInput
from hardware.node_graph import PACKAGE

ROOT = Path(__file__).parents[1]
PROFILE = Path("config/fastdds.xml")
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Fast DDS 2, which Jazzy has, reads the first, and Fast DDS 3 the second; each ignores the other's in silence."""
DOMAINS = range(1, 102)
"""Beyond 101 the ports reach those that Linux gives to others."""
FIRST_PORT, PORTS_PER_DOMAIN = 7400, 250
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def package_folder() -> Path:
    """Where `tandem_nodes` is: an installed or sourced one, or the one of this source tree. Raises `BadInput`."""
    found = importlib.util.find_spec(PACKAGE)
    if found is not None and found.submodule_search_locations:
        return Path(found.submodule_search_locations[0]).parent
    folder = ROOT / "robot_ws" / "src" / PACKAGE
    if not folder.is_dir():
        raise BadInput(
            f"the ROS package '{PACKAGE}' is not there", "run from the source tree, or source its install"
        )
    return folder


def profile(folder: Path) -> Path | None:
    """Fast DDS's profile: beside the sources, or in the `share` of an install; None: set by the user's own setup."""
    places = [folder / PROFILE, *(parent / "share" / PACKAGE / PROFILE for parent in folder.parents[:3])]
    return next((place for place in places if place.is_file()), None)


def free_domain() -> int:
    """A ROS domain whose ports nobody has open on this machine."""
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("0.0.0.0", FIRST_PORT + PORTS_PER_DOMAIN * domain))
                return domain
            except OSError:
                continue
    raise BadInput("all ROS domains are in use on this machine", "stop what runs there")


def environment(logs: Path) -> dict[str, str]:
    """Of every process of a cell. Raises `BadInput` without rclpy."""
    if importlib.util.find_spec("rclpy") is None:
        raise BadInput("there is no rclpy", "make setup, or source /opt/ros/jazzy/setup.bash")
    folder = package_folder()
    values = dict(os.environ)
    for name in ONE_THREAD:
        values.setdefault(name, "1")
    values["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), str(ROOT), values.get("PYTHONPATH", ""))))
    values["PYTHONUNBUFFERED"] = "1"
    values["ROS_LOG_DIR"] = str(logs)
    values["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    values["ROS_DOMAIN_ID"] = str(free_domain())
    values["RMW_IMPLEMENTATION"] = "rmw_fastrtps_cpp"
    xml = profile(folder)
    if xml is not None:
        values |= dict.fromkeys(PROFILE_VARIABLES, str(xml))
    return values
