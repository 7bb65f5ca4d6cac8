"""`tandem data convert`: a LeRobot dataset v2.0 or v2.1 in, one v3.0 with the episodes that are there out.

Rows are passed on unchanged, video is copied packet by packet (AV1 too), so frames and actions equal the source's.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from hardware.config import Config
from hardware.dataset import lerobot_layout
from hardware.dataset.dataset_kind import new_dataset
from hardware.dataset.examine_lerobot import Examined, examine_all
from hardware.dataset.finding import ranges, write_json
from hardware.dataset.lerobot_episode import Written, describe, new_episode, whole_fps, written
from hardware.dataset.lerobot_layout import LerobotFolder
from hardware.dataset.lerobot_writer import LerobotWriter
from hardware.dataset.video import Encoder
from hardware.errors import BadInput
from hardware.progress import progress


class ConvertData(Config):
    """A LeRobot v2.1 dataset becomes one of v3.0; episodes whose files are missing are left out and named."""

    source: tyro.conf.Positional[Path]
    output: tyro.conf.Positional[Path]
    """A folder that does not exist yet."""
    encoder: Encoder = Encoder()
    """Only for clips that cannot be copied."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the result here."""


class Converted(Config):
    """What `convert` did."""

    written: Written
    missing_episodes: tuple[int, ...]
    source_numbers: tuple[int, ...]
    """The number that each episode of the output had in the source."""


def run(config: ConvertData) -> int:
    """Raises `BadInput` when something other than whole episodes is wrong: `repair` decides what to give up."""
    result = convert(config.source, config.output, config.encoder)
    console = Console()
    if result.missing_episodes:
        numbers = ranges(result.missing_episodes)
        console.print(f"[yellow]{len(result.missing_episodes)} episodes are described but missing: {numbers}[/]")
    console.print(describe(result.written))
    write_json(config.json_file, result)
    return 0


def convert(source: Path, output: Path, encoder: Encoder) -> Converted:
    folder = lerobot_layout.read(source)
    if folder.major == 3:
        raise BadInput(f"{source} is {folder.version} already", "tandem data check, or repair")
    with new_dataset(output, source) as staged, tempfile.TemporaryDirectory() as scratch:
        examined = list(examine_all(folder, Path(scratch), decode_all=False))
        present = [one for one in examined if not one.is_missing]
        refuse_damaged(present)
        result = write(folder, present, staged, encoder, whole_fps(folder.info.fps, source), str(output))
    return Converted(
        written=result,
        missing_episodes=tuple(one.entry.number for one in examined if one.is_missing),
        source_numbers=tuple(one.entry.number for one in present),
    )


def refuse_damaged(present: list[Examined]) -> None:
    wrong = [finding for one in present for finding in one.findings if finding.severity == "error"]
    if wrong:
        first = wrong[0]
        raise BadInput(
            f"{len(wrong)} things are wrong; the first: episode {first.episode}, {first.where}: {first.detail}",
            "tandem data check lists them all; tandem data repair keeps what is sound",
        )


def write(
    folder: LerobotFolder, kept: list[Examined], staged: Path, encoder: Encoder, fps: int, output: str
) -> Written:
    """The usable rows of each episode, in order."""
    writer = LerobotWriter(staged, fps, folder.info.features, folder.info.robot_type, encoder)
    with progress("writing episodes", len(kept)) as advance:
        for one in kept:
            writer.add(new_episode(folder, one.entry, one.clips, one.usable))
            advance(f"episode {one.entry.number}")
    writer.close()
    return written(writer, output)
