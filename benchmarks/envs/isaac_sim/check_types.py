"""The worker against Isaac Sim's own types: an environment (or folder of extensions) in, pyright's complaints out.

    python benchmarks/envs/isaac_sim/check_types.py ISAAC_SIM_FOLDER

Extensions lie apart in the wheels and in the application (`exts/NAME`, each with its part of `isaacsim`), which
pyright must be told one by one. Ends with pyright's exit code. Starts nothing of Isaac Sim.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[3]
WORKER = ROOT / "twin" / "sim" / "isaac_sim_worker.py"
FOLDERS = ("exts", "extscache", "extsDeprecated", "extsPhysics", "kit/exts", "kit/extscore")
NEEDED = "isaacsim/core/cloner"
SPARED = "# pyright: reportMissingImports=false, reportAttributeAccessIssue=false\n"


def paths(folder: Path) -> list[str]:
    """What pyright looks through: packages of a virtual environment, extensions below it, or the folder itself."""
    packages = list(folder.glob("lib/python3*/site-packages"))
    homes = [folder, *packages, *(home / "isaacsim" for home in packages)]
    found = [*packages, *(one for home in homes for part in FOLDERS for one in sorted(home.glob(f"{part}/*")))]
    found = [one for one in [folder, *found] if one.is_dir()]
    if not any((one / NEEDED).is_dir() for one in found):
        raise SystemExit(
            f"{folder} has no {NEEDED}: give the environment with the isaacsim wheels or the application"
        )
    return [str(one) for one in found]


def main() -> int:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as made:
        # the worker spares Tandem's own check what is not installed there; here it is, so nothing is spared
        source = WORKER.read_text()
        assert source.startswith(SPARED)
        (Path(made) / WORKER.name).write_text(source.removeprefix(SPARED))
        settings = {
            "include": [WORKER.name],
            "extraPaths": paths(Path(sys.argv[1]).resolve()),
            "pythonVersion": "3.12",
            "typeCheckingMode": "standard",
            "reportMissingModuleSource": False,
        }
        config = Path(made) / "pyrightconfig.json"
        config.write_text(json.dumps(settings))
        return subprocess.run(["pyright", "-p", str(config)], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
