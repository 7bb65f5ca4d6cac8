"""A node's parameters, declared with their descriptions, and the cell file that they name."""

from __future__ import annotations

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from hardware import cell
from hardware.cell import CellConfig


def text(node: Node, name: str, description: str, default: str = "") -> str:
    """Read once, at the start: a cell does not change while it runs."""
    descriptor = ParameterDescriptor(description=description, read_only=True)
    return str(node.declare_parameter(name, default, descriptor).value)


def number(node: Node, name: str, description: str, default: int) -> int:
    descriptor = ParameterDescriptor(description=description, read_only=True)
    return int(node.declare_parameter(name, default, descriptor).value or 0)


def read_cell(node: Node) -> CellConfig:
    name = text(node, "cell", "The cell's name, or the path of its YAML file.", "bench")
    return cell.load(name)
