"""colcon builds the ROS workspace as it is, and ament finds the packages and their files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "robot_ws" / "src"
NODES = sorted((SOURCES / "tandem_nodes" / "tandem_nodes").glob("*.py"))

FIND = """
from ament_index_python.packages import get_package_share_directory as share
from pathlib import Path
assert (Path(share("tandem_nodes")) / "config" / "fastdds.xml").is_file()
assert (Path(share("tandem_description")) / "config" / "cell.rviz").is_file()
from tandem_nodes import arm
print(arm.__file__)
"""


@pytest.mark.slow
def test_colcon_builds_and_ament_finds(tmp_path: Path) -> None:
    pytest.importorskip("colcon_core", reason="colcon is not installed (uv sync --group dev)")
    colcon = [sys.executable, "-m", "colcon", "--log-base", str(tmp_path / "log"), "build"]
    folders = ["--build-base", str(tmp_path / "build"), "--install-base", str(tmp_path / "install")]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(
        [*colcon, *folders, "--base-paths", str(SOURCES)],
        check=True,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=250,
    )
    setup = tmp_path / "install" / "setup.sh"
    code = f". {setup} && exec {sys.executable} -c '{FIND}'"
    found = subprocess.run(
        ["bash", "-c", code], check=True, cwd=tmp_path, capture_output=True, text=True, env=environment
    ).stdout
    assert str(tmp_path / "install") in found
    executables = {file.name for file in (tmp_path / "install" / "tandem_nodes" / "lib" / "tandem_nodes").iterdir()}
    assert {"arm", "camera", "executor", "policy", "recorder", "intervention", "conductor"} <= executables


@pytest.mark.parametrize("file", NODES, ids=lambda file: file.stem)
def test_a_node_is_thin(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) < 100


def test_the_sources_hold_no_build() -> None:
    assert not [path for path in SOURCES.rglob("*") if path.name in ("build", "install", "log")]
