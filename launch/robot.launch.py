"""`ros2 launch launch/robot.launch.py cell:=my_cell.yaml`: a real cell, from the same node graph as `tandem up`."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from hardware.node_graph import NodeSpec, launch_graph
from launch import LaunchContext, LaunchDescription


def action(spec: NodeSpec) -> Node:
    return Node(
        package=spec.package,
        executable=spec.module,
        name=spec.name,
        namespace=spec.namespace,
        parameters=[spec.parameters],
        respawn=spec.is_restarted,
        output="screen",
    )


def actions(context: LaunchContext) -> list[Node]:
    return [action(spec) for spec in launch_graph(LaunchConfiguration("cell").perform(context))]


def generate_launch_description() -> LaunchDescription:
    cell = DeclareLaunchArgument(
        "cell", default_value="so101", description="A cell's name or the path of its file."
    )
    return LaunchDescription([cell, OpaqueFunction(function=actions)])
