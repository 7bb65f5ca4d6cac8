"""Puts uv into FOLDER/bin by this Python's pip, without touching the system. Needs Python >= 3.11 with pip."""

import subprocess
import sys
from pathlib import Path


def main(folder: Path) -> int:
    if sys.version_info < (3, 11):
        print(f"Python {sys.version.split()[0]} is too old: make PYTHON=/path/to/python3.12", file=sys.stderr)
        return 1
    python = folder / "bin" / "python"
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, stdout=subprocess.DEVNULL)
        pip = [str(python), "-m", "pip"]
    except subprocess.CalledProcessError:  # Debian without python3-venv: pip can still install into a folder
        pip = [sys.executable, "-m", "pip"]
    command = [*pip, "install", "--quiet", "--disable-pip-version-check", "uv>=0.8"]
    if pip[0] == sys.executable:
        command += ["--prefix", str(folder.resolve())]
    done = subprocess.run(command, check=False)
    uv = folder / "bin" / "uv"
    if not uv.exists():  # Debian's pip puts a --prefix install under local/
        for found in folder.glob("local/bin/uv"):
            uv.parent.mkdir(parents=True, exist_ok=True)
            uv.symlink_to(found.resolve())
    if done.returncode or not uv.exists():
        print(
            "uv could not be installed: python3 -m pip install uv, and put it at .tools/bin/uv",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
