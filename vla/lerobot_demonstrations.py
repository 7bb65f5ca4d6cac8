"""A local LeRobot v3 dataset as demonstrations. Nothing is fetched from a hub."""

from __future__ import annotations

import functools
import importlib
import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.errors import BadInput
from vla.demonstrations import Demonstration, Layout

if TYPE_CHECKING:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

log = logging.getLogger(__name__)

STATE, ACTION, PICTURES = "observation.state", "action", "observation.images."
INFO = Path("meta") / "info.json"


def is_lerobot(folder: Path) -> bool:
    return (folder / INFO).is_file()


class LerobotDemonstrations:
    """Reads through `lerobot.datasets`. Row numbers of an episode come from the dataset's own metadata."""

    def __init__(self, name: str, layout: Layout, stored: LeRobotDataset) -> None:
        self.name, self.layout, self._stored = name, layout, stored
        self._decoding = threading.Lock()  # LeRobot keeps one open decoder a file, for whoever asks
        columns = [STATE, ACTION] if layout.state_names else [ACTION]
        table: Any = stored.hf_dataset.with_format("numpy").select_columns(columns)
        rows = table[:]
        for column in columns:
            if len(rows[column]) and not np.isfinite(np.asarray(rows[column], np.float32)).any():
                raise BadInput(f"the data files of '{name}' have no '{column}'", "copy the dataset again")
        self._actions = matrix(rows[ACTION], len(layout.action_names))
        self._state = matrix(rows[STATE], len(layout.state_names)) if layout.state_names else None

    @classmethod
    def open(cls, folder: Path, name: str) -> LerobotDemonstrations:
        """Raises `BadInput` when the needed keys are missing or the format is another one."""
        layout = layout_of(folder)
        from lerobot.datasets.lerobot_dataset import LeRobotDataset  # seconds to import

        try:
            stored = LeRobotDataset(f"local/{name}", root=folder, video_backend=decoder())
        except (OSError, ValueError, KeyError) as error:
            raise BadInput(f"{folder} cannot be read as a LeRobot dataset: {error}", "copy it again") from error
        return cls(name, layout, stored)

    def __len__(self) -> int:
        return self._stored.num_episodes

    def __getitem__(self, episode: int, /) -> Demonstration:
        about = self._about(episode)
        rows = slice(int(about["dataset_from_index"]), int(about["dataset_to_index"]))
        actions = self._actions[rows]
        state = np.zeros((len(actions), 0), np.float32) if self._state is None else self._state[rows]
        tasks = about["tasks"]
        return Demonstration(
            tasks[0] if tasks else "", state, actions, lambda camera: self.pictures(episode, camera)
        )

    def pictures(self, episode: int, camera: str) -> UInt8[ndarray, "T H W 3"]:
        """Of a video or of stored images."""
        if camera not in self.layout.cameras:
            raise BadInput(f"no camera '{camera}' in '{self.name}'; have: {', '.join(self.layout.cameras)}")
        key, about = PICTURES + camera, self._about(episode)
        first, last = int(about["dataset_from_index"]), int(about["dataset_to_index"])
        if key not in self._stored.meta.video_keys:
            stored: Any = self._stored
            with self._decoding:
                frames = [stored[row][key].permute(1, 2, 0).numpy() for row in range(first, last)]
            return np.stack([np.rint(frame * 255).astype(np.uint8) for frame in frames])
        from lerobot.datasets.video_utils import decode_video_frames

        start_s = float(about[f"videos/{key}/from_timestamp"])
        stamps_s = [start_s + step / self._stored.fps for step in range(last - first)]
        file = self._stored.root / self._stored.meta.get_video_file_path(episode, key)
        with self._decoding:
            frames = decode_video_frames(file, stamps_s, 0.5 / self._stored.fps, decoder(), return_uint8=True)
        return np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy())

    def _about(self, episode: int) -> Mapping[str, Any]:
        episodes: Any = self._stored.meta.episodes
        return episodes[episode]


@functools.cache
def decoder() -> str:
    """LeRobot's choice, found once: it would try again, and print why not, for every episode."""
    try:
        importlib.import_module("torchcodec")
    except (ImportError, OSError, RuntimeError) as error:
        log.debug("videos are read by PyAV: torchcodec cannot be loaded: %s", error)
        return "pyav"
    return "torchcodec"


def layout_of(folder: Path) -> Layout:
    """From `info.json` alone, so that what is missing is said before anything heavy is loaded."""
    try:
        info = json.loads((folder / INFO).read_text(encoding="utf-8"))
        version, features, rate_hz = str(info["codebase_version"]), info["features"], float(info["fps"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder / INFO} is no LeRobot description: {error!r}", "copy the dataset again") from error
    if not version.startswith("v3."):
        raise BadInput(
            f"{folder} is a LeRobot dataset {version}, v3 is needed", "convert it with LeRobot's own tool"
        )
    if ACTION not in features:
        raise BadInput(f"{folder} has no '{ACTION}'; have: {', '.join(features)}", "record actions as well")
    cameras = tuple(key.removeprefix(PICTURES) for key in features if key.startswith(PICTURES))
    if not cameras and STATE not in features:
        raise BadInput(f"{folder} has neither '{STATE}' nor '{PICTURES}…'; have: {', '.join(features)}")
    return Layout(
        cameras=cameras,
        state_names=names_of(features, STATE) if STATE in features else (),
        action_names=names_of(features, ACTION),
        rate_hz=rate_hz,
    )


def names_of(features: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Column names without LeRobot's `.pos`; numbered where the dataset has none."""
    names, dims = features[key].get("names"), int(features[key]["shape"][0])
    if isinstance(names, Mapping):
        names = [name for group in names.values() for name in group]
    if not names or len(names) != dims:
        return tuple(f"{key.rsplit('.', 1)[-1]}_{number}" for number in range(dims))
    return tuple(str(name).removesuffix(".pos") for name in names)


def matrix(rows: Any, columns: int) -> Float[ndarray, "N D"]:
    return np.asarray(rows, np.float32).reshape(-1, columns)
