"""Recorded chunks in, how far each player jumped and jerked at their seams out; measured on the commands alone.

jump            how far the first command that a new chunk changed is from what it would have been without that chunk
velocity jump   the largest change of velocity from one command to the next
jerk            the largest, and the root mean square, third difference
All but the first over the commands from a chunk's arrival to the next one's, of the worst joint. Error is the root mean
square distance to the demonstration that the chunks are noisy copies of: smoothness that only lagged would show there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy import ndarray

from benchmarks import recorded_chunks
from benchmarks.peers.chunk_players import CONTROL_HZ, PLAYERS
from benchmarks.recorded_chunks import Recording
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.progress import progress

MEASURES = ("jump_rad", "velocity_jump_rad_s", "jerk_rad_s3", "jerk_rms_rad_s3")
MS, DT_S = 1_000_000, 1 / CONTROL_HZ
PERIOD_NS = round(NANOSECONDS_PER_SECOND / CONTROL_HZ)
SAME_RAD = 1e-12
COLOURS = ("#1b6ef3", "#e4572e", "#767676", "#b79f00")


def measure(recordings: Sequence[Recording], delays_ms: Sequence[int]) -> list[dict]:
    rows = []
    with progress("seams", len(delays_ms) * len(PLAYERS)) as advance:
        for delay_ms in delays_ms:
            for player in PLAYERS:
                parts = [seams_of(player, recording, delay_ms) for recording in recordings]
                rows.append(summary(delay_ms, player.name, parts))
                advance("")
    return rows


def summary(delay_ms: int, player: str, parts: list[tuple[dict[str, list[float]], float | None]]) -> dict:
    row: dict = {"delay_ms": delay_ms, "player": player, "seams": sum(len(part["jump_rad"]) for part, _ in parts)}
    for name in MEASURES:
        values = np.concatenate([part[name] for part, _ in parts])
        row |= {f"{name}_mean": float(values.mean()), f"{name}_max": float(values.max())}
    errors = [error for _, error in parts if error is not None]
    return row | {"error_rad": float(np.sqrt(np.mean(np.square(errors)))) if errors else None}


def seams_of(player: Callable, recording: Recording, delay_ms: int) -> tuple[dict[str, list[float]], float | None]:
    """Of each seam but the first, which begins at rest; and the error."""
    arrivals = [
        (observed_ns + delay_ms * MS - begins_ns(recording)) / PERIOD_NS for observed_ns in recording.observed_ns
    ]
    steps = int(arrivals[-1])
    commands = play(player, recording, delay_ms, len(recording.chunks), steps)
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for seam in range(1, len(arrivals) - 1):
        first, last = int(np.ceil(arrivals[seam])), int(np.ceil(arrivals[seam + 1]))
        without = play(player, recording, delay_ms, seam, first + 10)
        changed = np.abs(commands[first - 1 : first + 10] - without[first - 1 :]).max(axis=1)
        differs = np.flatnonzero(changed > SAME_RAD)
        window = commands[max(first - 4, 0) : last]
        jerk = np.abs(np.diff(window, n=3, axis=0)) / DT_S**3
        found["jump_rad"].append(float(changed[differs[0]]) if differs.size else 0.0)
        found["velocity_jump_rad_s"].append(float(np.abs(np.diff(window, n=2, axis=0)).max()) / DT_S)
        found["jerk_rad_s3"].append(float(jerk.max()))
        found["jerk_rms_rad_s3"].append(float(np.sqrt((jerk**2).mean(axis=0)).max()))
    if recording.truth is None:
        return found, None
    after = int(np.ceil(arrivals[1]))
    due_s = (np.arange(steps) + 1)[after:] * DT_S
    return found, float(np.sqrt(np.mean((commands[after:] - recording.truth(due_s)) ** 2)))


def begins_ns(recording: Recording) -> int:
    return recording.observed_ns[0]


def play(player: Callable, recording: Recording, delay_ms: int, count: int, steps: int) -> ndarray:
    """[T, D]: the commands when only the first `count` chunks arrive."""
    now_ns = begins_ns(recording)
    actor = player(recording.names, recording.begin, now_ns)
    waiting = list(zip(recording.chunks[:count], recording.observed_ns, strict=False))
    commands = np.empty((steps, len(recording.names)))
    for step in range(steps):
        now_ns += PERIOD_NS
        while waiting and waiting[0][1] + delay_ms * MS <= now_ns:
            chunk, observed_ns = waiting.pop(0)
            actor.arrived(chunk, observed_ns, observed_ns + delay_ms * MS)
        commands[step] = actor.step(now_ns)
    return commands


def draw(loops: list[dict], seams: list[dict], recording: Recording, file: Path) -> None:
    delays = sorted({row["delay_ms"] for row in seams})
    figure, axes = plt.subplots(2, 3, figsize=(15, 8), layout="constrained")
    for axis, name, label in zip(
        axes.flat,
        MEASURES,
        ("jump, rad", "velocity jump, rad/s", "peak jerk, rad/s³", "RMS jerk, rad/s³"),
        strict=False,
    ):
        for player, colour in zip(PLAYERS, COLOURS, strict=True):
            rows = [row for row in seams if row["player"] == player.name]
            axis.plot(delays, [row[f"{name}_mean"] for row in rows], "o-", color=colour, label=player.name)
            axis.plot(delays, [row[f"{name}_max"] for row in rows], ":", color=colour)
        axis.set(xscale="log", yscale="log", xlabel="delay, ms", title=f"{label} (mean; dotted: worst)")
        axis.set_xticks(delays, [str(delay) for delay in delays])
        axis.minorticks_off()
    axes.flat[0].legend(fontsize=8)
    draw_motion(axes.flat[4], recording)
    for loop, colour in zip(loops, COLOURS[1::-1], strict=True):
        late = np.sort(np.maximum(loop["late_ms"], 1e-3))
        axes.flat[5].plot(late, 1 - np.arange(len(late)) / len(late), color=colour, label=f"{loop['scheduler']}")
        axes.flat[5].axvline(loop["asked_p99_ms"], color=colour, linestyle=":")
    axes.flat[5].axhline(0.01, color="#aaaaaa", linewidth=0.8)
    axes.flat[5].set(
        xscale="log", yscale="log", xlabel="later than, ms", title="share of control steps (dotted: asked p99)"
    )
    axes.flat[5].legend(fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)
    plt.close(figure)


def draw_motion(axis, recording: Recording, delay_ms: int = 200) -> None:
    """One joint over a second and a half, as each player commands it."""
    span = slice(300, 450)
    steps = min(span.stop, round(recorded_chunks.EVERY_S * len(recording.chunks) * CONTROL_HZ))
    for player, colour in zip(PLAYERS[:3], COLOURS, strict=False):
        commands = play(player, recording, delay_ms, len(recording.chunks), steps)[span, 0]
        axis.plot(
            np.arange(span.start, span.start + len(commands)) * DT_S, commands, color=colour, label=player.name
        )
    axis.set(xlabel="s", title=f"one joint, rad, {delay_ms} ms delay")
