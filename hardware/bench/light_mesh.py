"""A wheel's CAD meshes → a folder in the user's cache with copies that are light enough to draw many times a second."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from hardware import artefact
from hardware.errors import BadInput

SUFFIXES = (".stl", ".obj")


def light_copy(source: Path, name: str, triangles: int, stays: Callable[[Path], bool]) -> Path:
    """The folder with the same files under the same names; made on first use.

    Meshes for which `stays` is true are copied as they are; no other has more than that many triangles. `name` must
    change with the source and say how many.
    """
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    with FileLock(f"{folder}.lock"):  # processes that start together wait for the one that makes it
        if not folder.is_dir():
            with artefact.staged_folder(folder) as staged:
                copy_meshes(source, staged, triangles, stays)
    return folder


def copy_meshes(source: Path, target: Path, triangles: int, stays: Callable[[Path], bool]) -> None:
    for file in sorted(source.rglob("*")):
        if file.suffix.lower() not in SUFFIXES:
            continue
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if stays(file):
            shutil.copyfile(file, copy)
        else:
            simplify(file, copy, triangles)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/tandem` or `~/.cache/tandem`; a temporary folder of this user where that is not writable."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem"
    try:
        chosen.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=chosen):
            return chosen
    except OSError:
        return Path(tempfile.gettempdir()) / f"tandem-{os.getuid()}"


def simplify(source: Path, target: Path, triangles: int) -> None:
    """Writes the mesh with at most that many triangles (quadric error metric)."""
    import open3d  # slow to import, and needed once per machine

    mesh = open3d.io.read_triangle_mesh(source)
    mesh.merge_close_vertices(1e-6)
    if len(mesh.triangles) > triangles:
        mesh = mesh.simplify_quadric_decimation(triangles)
    if target.suffix.lower() == ".stl":
        mesh.compute_triangle_normals()  # the format wants them
    if not open3d.io.write_triangle_mesh(target, mesh):
        raise BadInput(f"cannot write {target}", "free some space in the cache folder, or set XDG_CACHE_HOME")
