"""Executes the jaxtyping annotations of every module of ours, and keeps heavy libraries within two threads."""

import os
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "2")

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
