"""`tandem data repair`: a damaged store or LeRobot dataset in, a new one with all that is sound out.

The source is only read. What had to be given up is told, episode by episode.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from hardware.config import Config
from hardware.dataset import check_lerobot, check_store, examine_lerobot
from hardware.dataset.convert import write
from hardware.dataset.dataset_kind import new_dataset, open_any
from hardware.dataset.episode_copy import copy_episode
from hardware.dataset.examine_lerobot import Examined
from hardware.dataset.finding import ranges, write_json
from hardware.dataset.lerobot_episode import Written, describe, whole_fps
from hardware.dataset.lerobot_layout import LerobotFolder
from hardware.dataset.store import EpisodeStore
from hardware.dataset.video import Encoder
from hardware.errors import BadInput

FEWEST_FRAMES = 2
SAME_RATE = 0.01
"""Two rates within 1 % are one."""


class RepairData(Config):
    """Writes a new dataset with everything that is sound: LeRobot sets become v3.0, stores stay stores."""

    dataset: tyro.conf.Positional[Path]
    output: tyro.conf.Positional[Path]
    """A folder that does not exist yet."""
    encoder: Encoder = Encoder()
    """Only for clips that cannot be copied."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the result here."""


class Loss(Config):
    """What one episode lost."""

    episode: int
    frames: int
    """-1: unknown, because its metadata could not be read."""
    why: str


class Repaired(Config):
    """What `repair` did: what it wrote, what it mended, what is lost."""

    written: Written
    mended: dict[str, int]
    """Findings by kind."""
    lost: tuple[Loss, ...]
    notes: tuple[str, ...] = ()


def run(config: RepairData) -> int:
    result = repair(config.dataset, config.output, config.encoder)
    console = Console()
    for kind, count in result.mended.items():
        console.print(f"  {kind}: {count}")
    for why in dict.fromkeys(loss.why for loss in result.lost):
        same_why = [loss for loss in result.lost if loss.why == why]
        frames = "everything" if same_why[0].frames < 0 else f"{sum(loss.frames for loss in same_why)} frames"
        console.print(f"[yellow]lost from episode {ranges(loss.episode for loss in same_why)}: {frames}. {why}[/]")
    for note in result.notes:
        console.print(note)
    console.print(describe(result.written))
    write_json(config.json_file, result)
    return 0


def repair(source: Path, output: Path, encoder: Encoder) -> Repaired:
    found = open_any(source)
    if isinstance(found, EpisodeStore):
        return repair_store(found, output)
    return repair_lerobot(found, output, encoder)


def repair_lerobot(folder: LerobotFolder, output: Path, encoder: Encoder) -> Repaired:
    with new_dataset(output, folder.root) as staged, tempfile.TemporaryDirectory() as scratch:
        examined = list(examine_lerobot.examine_all(folder, Path(scratch), decode_all=True))
        kept = [one for one in examined if one.usable >= FEWEST_FRAMES]
        fps, notes = agreed_fps(folder, kept)
        found = check_lerobot.report(folder, examined, decode_all=False).findings
        result = write(folder, kept, staged, encoder, whole_fps(fps, folder.root), str(output))
        mended = Counter(finding.kind for finding in found)
        return Repaired(written=result, mended=dict(mended), lost=losses(examined), notes=notes)


def losses(examined: list[Examined]) -> tuple[Loss, ...]:
    """What each episode gives up; one of fewer than two frames goes whole."""
    lost = []
    for one in examined:
        frames = one.entry.length - (one.usable if one.usable >= FEWEST_FRAMES else 0)
        if frames > 0:
            lost.append(Loss(episode=one.entry.number, frames=frames, why=reasons(one)))
    return tuple(lost)


def reasons(one: Examined) -> str:
    return "; ".join(dict.fromkeys(f"{f.where}: {f.detail}" if f.where else f.detail for f in one.findings))


def agreed_fps(folder: LerobotFolder, kept: list[Examined]) -> tuple[float, tuple[str, ...]]:
    """The metadata's fps, unless the rows' and the pictures' stamps of most episodes agree on another."""
    said = folder.info.fps
    rates = [
        one.data_fps for one in kept if one.data_fps and (not one.video_fps or same(one.data_fps, one.video_fps))
    ]
    others = [rate for rate in rates if not same(rate, said)]
    if len(others) * 2 <= len(kept) or not all(same(rate, others[0]) for rate in others):
        return said, ()
    fps = float(round(others[0]))
    return fps, (f"fps is {fps:g}, as rows and pictures are stamped; the metadata said {said:g}",)


def same(one: float, other: float) -> bool:
    return abs(one / other - 1) < SAME_RATE


def repair_store(store: EpisodeStore, output: Path) -> Repaired:
    examined = check_store.examine_all(store, decode_all=True)
    lost: list[Loss] = []
    frames = episodes = 0
    with new_dataset(output, store.folder) as staged:
        target = EpisodeStore.create(staged)
        for one in examined:
            number = int(one.folder.name)
            if one.episode is None or not one.readable:
                why = "; ".join(f.detail for f in one.findings) or "nothing in it was acknowledged"
                lost.append(Loss(episode=number, frames=one.frames if one.episode else -1, why=why))
                continue
            wrong_frames = any(finding.kind == "wrong-frames" for finding in one.findings)
            without = one.broken or ({"": set()} if wrong_frames else None)
            new = copy_episode(one.episode, target, without)
            frames, episodes = frames + len(new), episodes + 1
            pictures = sum(map(len, one.broken.values()))
            if pictures:
                short = max(0, one.frames - len(new))
                lost.append(Loss(episode=number, frames=short, why=f"{pictures} damaged pictures are left out"))
        if not episodes:
            raise BadInput(f"nothing in {store.folder} can be kept")
    mended = Counter(finding.kind for one in examined for finding in one.findings)
    return Repaired(
        written=Written(output=str(output), episodes=episodes, frames=frames), mended=dict(mended), lost=tuple(lost)
    )
