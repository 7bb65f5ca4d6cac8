"""colcon's build of the nodes. Tandem itself is installed beside it (`pip install tandem-vla`)."""

from setuptools import find_packages, setup

NODES = (
    "arm",
    "camera",
    "conductor",
    "executor",
    "gui",
    "guided",
    "intervention",
    "policy",
    "recorder",
    "reset_guide",
)

setup(
    name="tandem_nodes",
    version="0.1.0",
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/tandem_nodes"]),
        ("share/tandem_nodes", ["package.xml"]),
        ("share/tandem_nodes/config", ["config/fastdds.xml"]),
    ],
    zip_safe=True,
    license="Apache-2.0",
    entry_points={"console_scripts": [f"{node} = tandem_nodes.{node}:main" for node in NODES]},
)
