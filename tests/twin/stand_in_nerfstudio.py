"""A small `ns-train` and `ns-export`: the files and flags of nerfstudio 1.1, without its learning.

`ns-train` reads the data set, moves its world as a data parser that normalises would, and keeps what it did beside
its config. `ns-export` writes, in that moved world, the splat that it finds in $STAND_IN_SPLAT.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import plyfile

from hardware.spatial import rotation_from_rotvec
from twin import splat_ply
from twin.splat_motion import moved

ROTATION, SHIFT, SCALE = rotation_from_rotvec(np.array([0.3, -0.8, 0.5])), np.array([0.4, -0.2, 1.5]), 0.37
"""x → SCALE · (ROTATION x + SHIFT)."""


def flags(words: list[str]) -> dict[str, str]:
    named = [index for index, word in enumerate(words) if word.startswith("--")]
    return {words[index].removeprefix("--"): words[index + 1] for index in named}


def train(words: list[str]) -> None:
    assert words[0] == "splatfacto"
    assert "nerfstudio-data" in words
    given = flags(words)
    data = Path(given["data"])
    meta = json.loads((data / "transforms.json").read_text())
    assert all((data / frame["file_path"]).is_file() for frame in meta["frames"])
    assert not set(meta["train_filenames"]) & set(meta["val_filenames"])
    assert len(plyfile.PlyData.read(str(data / meta["ply_file_path"]))["vertex"].data) > 0
    assert given["orientation-method"] == given["center-method"] == "none"
    assert given["vis"] == "tensorboard"  # the viewer would keep the process alive
    run = Path(given["output-dir"]) / given["experiment-name"] / "splatfacto" / given["timestamp"]
    run.mkdir(parents=True, exist_ok=True)
    for step in range(0, int(given["max-num-iterations"]), 10):
        print(f"{step} ({100 * step / int(given['max-num-iterations']):.2f}%)        12.3 ms      2 m, 3 s")
    if os.environ.get("STAND_IN_FAILS"):
        sys.exit("RuntimeError: CUDA out of memory")
    rows = np.concatenate([ROTATION, SHIFT[:, None]], 1).tolist()
    (run / "dataparser_transforms.json").write_text(json.dumps({"transform": rows, "scale": SCALE}))
    (run / "config.yml").write_text("!!python/object:nerfstudio.engine.trainer.TrainerConfig\n")


def export(words: list[str]) -> None:
    assert words[0] == "gaussian-splat"
    given = flags(words)
    assert Path(given["load-config"]).is_file()
    splat = splat_ply.read(Path(os.environ["STAND_IN_SPLAT"]))
    output = Path(given["output-dir"])
    output.mkdir(parents=True, exist_ok=True)
    splat_ply.write(output / "splat.ply", moved(splat, ROTATION, SCALE * SHIFT, SCALE))


if __name__ == "__main__":
    {"ns-train": train, "ns-export": export}[sys.argv[1]](sys.argv[2:])
