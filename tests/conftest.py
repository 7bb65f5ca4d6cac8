"""Executes the jaxtyping annotations of every module of ours, and keeps heavy libraries within two threads.

Hypothesis measures no time here: on a busy machine its deadline of 200 ms fails tests that are right.
"""

import os
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "2")

import hypothesis
import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]
ROOMS = ("hardware", "calibration", "twin", "vla", "rl_online")


def typed_modules() -> list[str]:
    """All leaf modules but Numba's: its compiler takes the bare function, which the hook would wrap."""
    files = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    plain = [
        file for file in files if file.name != "__init__.py" and "njit" not in file.read_text(encoding="utf-8")
    ]
    return [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in plain]


install_import_hook(typed_modules(), "beartype.beartype")
hypothesis.settings.register_profile("tandem", deadline=None)
hypothesis.settings.load_profile("tandem")

ALONE = (
    "robot_ws/",
    "hardware/arms/",
    "hardware/cameras/",
    "hardware/bench/test_plant_server",
    "hardware/bench/test_link",
    "hardware/execution/test_deadline",
    "hardware/page/test_server",
    "hardware/test_supervisor",
    "hardware/test_up",
    "rl_online/learning/test_learner",
    "vla/test_client",
    "vla/test_serve",
)
"""Folders and files whose tests measure time or run processes at their own pace: nothing runs beside them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).as_posix().startswith(ALONE):
            item.add_marker(pytest.mark.alone)
