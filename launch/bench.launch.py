"""`ros2 launch launch/bench.launch.py`: the simulated cell, from the same node graph as `tandem up bench`."""

from launch.actions import ExecuteProcess
from launch_ros.actions import Node

from hardware.node_graph import NodeSpec, launch_graph
from launch import LaunchDescription


def action(spec: NodeSpec) -> Node | ExecuteProcess:
    if not spec.package:
        return ExecuteProcess(cmd=["python3", *spec.command], name=spec.name, output="screen")
    return Node(
        package=spec.package,
        executable=spec.module,
        name=spec.name,
        namespace=spec.namespace,
        parameters=[spec.parameters],
        respawn=spec.is_restarted,
        output="screen",
    )


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([action(spec) for spec in launch_graph("bench")])
