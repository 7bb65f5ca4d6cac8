"""Both launch files load under ROS's own `launch`, and name the processes that `tandem up` starts."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hardware import cell, node_graph

LAUNCH = Path(__file__).parents[2] / "launch"


@pytest.fixture
def ros_launch() -> ModuleType:
    """ROS's `launch`, not this repository's folder of that name; there is none on PyPI."""
    if importlib.util.find_spec("launch_ros") is None:
        pytest.skip("launch and launch_ros are not installed: they come with /opt/ros/jazzy, not from PyPI")
    import launch

    return launch


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_launch", LAUNCH / f"{name}.launch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what launch itself imports
@pytest.mark.parametrize(("name", "started"), [("bench", "bench"), ("robot", "so101")])
def test_a_launch_file_starts_the_graph(name: str, started: str, ros_launch: ModuleType) -> None:
    context = ros_launch.LaunchContext()
    entities = load(name).generate_launch_description().entities
    found = []
    for entity in entities:
        if type(entity).__name__ in ("DeclareLaunchArgument", "OpaqueFunction"):
            found += entity.execute(context) or []
        else:
            found.append(entity)
    assert len(found) == len(node_graph.launch_graph(started))
    assert "launch" in sys.modules


@pytest.mark.parametrize("file", sorted(LAUNCH.glob("*.launch.py")), ids=lambda file: file.name)
def test_a_launch_file_is_thin(file: Path) -> None:
    assert len(file.read_text().splitlines()) < 40


@pytest.mark.parametrize("name", cell.shipped())
def test_every_cell_has_a_graph_of_nodes_that_are_there(name: str) -> None:
    package = LAUNCH.parent / "robot_ws" / "src" / node_graph.PACKAGE / node_graph.PACKAGE
    specs = node_graph.launch_graph(name)
    assert {"arm", "executor", "policy", "conductor"} <= {spec.name for spec in specs}
    for spec in specs:
        if spec.package:
            assert (package / f"{spec.module}.py").is_file()
            assert spec.parameters["cell"]


def test_the_recorder_and_the_server_come_when_asked_for(tmp_path: Path) -> None:
    chosen = cell.load("bench").but(policy={"kind": "server"})
    occasion = node_graph.Occasion(tmp_path / "cell.json", tmp_path, store=tmp_path / "e", serves=("--replay", "x"))
    names = [spec.name for spec in node_graph.graph(chosen, occasion)]
    assert names[:2] == ["plant", "server"]
    assert "recorder" in names
