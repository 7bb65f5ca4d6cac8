"""What a check says: findings, each with its kind, its place, and what `tandem data repair` would do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from hardware import artefact
from hardware.config import Config

Kind = Literal[
    "missing-episode",
    "missing-file",
    "unlisted-file",
    "broken-data",
    "missing-column",
    "wrong-type",
    "wrong-length",
    "not-finite",
    "bad-timestamps",
    "bad-bookkeeping",
    "unknown-task",
    "broken-video",
    "truncated-video",
    "wrong-codec-tag",
    "wrong-size",
    "video-drift",
    "wrong-totals",
    "missing-stats",
    "wrong-stats",
    "interrupted",
    "broken-episode",
    "broken-picture",
    "wrong-checksum",
    "wrong-frames",
    "gap",
    "lost",
]

REPAIR: dict[Kind, str] = {
    "missing-episode": "left out",
    "missing-file": "its episode is left out",
    "unlisted-file": "left out",
    "broken-data": "its episode is left out",
    "missing-column": "its episode is left out",
    "wrong-type": "its episode is left out",
    "wrong-length": "trimmed to what all streams have",
    "not-finite": "its episode is left out",
    "bad-timestamps": "put on the grid of the fps",
    "bad-bookkeeping": "numbered anew",
    "unknown-task": "the episode's own task is taken",
    "broken-video": "its episode is left out",
    "truncated-video": "trimmed to the pictures that decode",
    "wrong-codec-tag": "named as the file is coded",
    "wrong-size": "its episode is left out",
    "video-drift": "put on the grid of the fps",
    "wrong-totals": "counted anew",
    "missing-stats": "computed",
    "wrong-stats": "computed anew",
    "interrupted": "sealed; what was acknowledged is kept",
    "broken-episode": "left out",
    "broken-picture": "left out; the picture before it stands in",
    "wrong-checksum": "its episode is left out",
    "wrong-frames": "aligned anew",
    "gap": "nothing: it was not measured",
    "lost": "nothing: it was not measured",
}


class Finding(Config):
    """One thing that is wrong. A warning does not make the set unusable."""

    kind: Kind
    where: str
    detail: str
    episode: int | None = None
    severity: Literal["error", "warning"] = "error"


class CheckReport(Config):
    """All findings about one dataset or store."""

    path: str
    what: str
    """For example "LeRobot v2.1"."""
    episodes_described: int
    episodes_present: int
    frames_present: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)

    def of(self, kind: Kind) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind == kind]


def show(report: CheckReport, console: Console) -> None:
    """A table with one row per kind and place; equal findings of many episodes share a row."""
    console.print(
        f"{report.path}: {report.what}, {report.episodes_present} of {report.episodes_described} episodes present, "
        f"{report.frames_present} frames"
    )
    if not report.findings:
        console.print("[green]nothing is wrong[/]")
        return
    table = Table("kind", "episodes", "what", "repair", title_justify="left")
    for kind in REPAIR:
        findings = report.of(kind)
        if not findings:
            continue
        colour = "red" if any(f.severity == "error" for f in findings) else "yellow"
        numbers = [finding.episode for finding in findings if finding.episode is not None]
        details = list(dict.fromkeys(f"{f.where}: {f.detail}" if f.where else f.detail for f in findings))
        more = f" (and {len(details) - 3} more)" if len(details) > 3 else ""
        label = f"{len(set(numbers))}: {ranges(numbers)}" if numbers else ""
        table.add_row(f"[{colour}]{kind}[/]", label, "\n".join(details[:3]) + more, REPAIR[kind])
    console.print(table)


def ranges(numbers: Iterable[int]) -> str:
    """[0, 3, 4, 5] → "0, 3–5"."""
    pieces: list[str] = []
    for _, run in groupby(enumerate(sorted(set(numbers))), key=lambda item: item[1] - item[0]):
        members = [number for _, number in run]
        pieces.append(str(members[0]) if len(members) == 1 else f"{members[0]}–{members[-1]}")
    return ", ".join(pieces)


def write_json(file: Path | None, result: Config) -> None:
    if file is not None:
        artefact.write_model(file, result)


def errors(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]
