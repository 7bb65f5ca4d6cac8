"""What `benchmarks/twinrl.py` found, as a person reads it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.twinrl_pieces import Counts

PARTS = ("id", "ood")
OF_ROUNDS = ("robot", "buffer", "resets", "process", "lerobot")


def show(found: dict[str, Any], console: Console) -> None:
    if "sft" in found:
        table = Table("twin demos (ID, OOD)", "ID", "OOD", "paper ID/OOD %", title="SFT, simulated plant")
        for cell, row in found["sft"].items():
            paper = "/".join(map(str, row["paper_percent"] or "–"))
            table.add_row(f"({cell.replace('_', ', ')})", row["id"]["words"], row["ood"]["words"], paper)
        console.print(table)
    if "map" in found:
        for name in ("r", "mmrv"):
            value = found["map"][name]
            words = [f"{value[key]:.2f}" if value[key] is not None else "–" for key in ("value", "low", "high")]
            console.print(f"failure map, twin against plant: {name} {words[0]} ({words[1]} … {words[2]})")
    if "twin" in found:
        for told in ("before", "after"):
            words = ", ".join(f"{part} {found['twin'][told][part]['words']}" for part in PARTS)
            console.print(f"RL in the twin from ({found['twin']['cell'].replace('_', ', ')}), {told}: {words}")
    if "deadlock" in found:
        row = found["deadlock"]
        after = Counts.model_validate(row["ood_after"]).words
        console.print(
            f"deadlock: {row['successes']} successes in {row['episodes']} OOD episodes, {row['robot_steps']} steps; "
            f"OOD after: {after}"
        )
    for stage in OF_ROUNDS:
        for name, row in found.get(stage, {}).items():
            last = row["rounds"][-1]
            parts = ", ".join(f"{part} {Counts.model_validate(last[part]).words}" for part in PARTS)
            console.print(
                f"{stage} {name}: {last['robot_steps']} steps, {parts}; to 90 %: {row['robot_steps_to_90']}"
            )
