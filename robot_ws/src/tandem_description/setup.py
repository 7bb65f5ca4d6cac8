"""colcon's build of the description. The arm models themselves stay in their wheels: nothing is copied."""

from setuptools import find_packages, setup

setup(
    name="tandem_description",
    version="0.1.0",
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/tandem_description"]),
        ("share/tandem_description", ["package.xml"]),
        ("share/tandem_description/config", ["config/cell.rviz"]),
    ],
    zip_safe=True,
    license="Apache-2.0",
    entry_points={"console_scripts": ["robot_description = tandem_description.robot_description:main"]},
)
