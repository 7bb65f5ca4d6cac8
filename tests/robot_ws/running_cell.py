"""A bench cell as true processes, for tests that kill parts of it or drive it."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hardware import artefact, ros_environment
from hardware import cell as cells
from hardware.bench.arm_models import SO101
from hardware.bench.link import PlantLink
from hardware.cell import CellConfig
from hardware.node_graph import Occasion, graph
from hardware.ports import DeviceLost
from hardware.supervisor import Supervisor
from vla import replay

AT_REST_RAD_S = 0.05
MOVES_RAD_S = 0.35
FOLLOW_S = 120.0
SILENT_S = 10.0
"""A plant that does not answer for so long is gone."""
SWING_RAD, SWING_HZ = 0.4, 0.25
"""Of the base's joint: 0.63 rad/s at its fastest."""


class RunningCell:
    """Supervised in a thread of its own; the arm's speed is watched at the plant all the time, unless nobody asks."""

    def __init__(
        self, folder: Path, sockets: Path, cell: CellConfig, occasion: Occasion, *, watches: bool = True
    ) -> None:
        self.folder, self.cell = folder, cell
        self.failure: BaseException | None = None
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._speeds: list[tuple[int, float]] = []
        artefact.write_model(occasion.cell_file, cell)
        self._specs = graph(cell, occasion)
        self._logs, self._sockets = folder / "logs", sockets
        self._threads = [threading.Thread(target=self._supervise)]
        if watches:
            self._threads.append(threading.Thread(target=self._watch))
        for thread in self._threads:
            thread.start()

    @property
    def pids(self) -> dict[str, int | None]:
        return {spec.name: self.supervisor.pid(spec.name) for spec in self._specs}

    def kill(self, name: str) -> int:
        """When."""
        pid = self.supervisor.pid(name)
        assert pid is not None
        now_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        return now_ns

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + FOLLOW_S
        while not condition():
            if self.failure is not None:
                raise AssertionError(f"the cell failed: {self.failure}") from self.failure
            if time.monotonic() > until:
                raise AssertionError(f"not within {FOLLOW_S:.0f} s: {what}")
            time.sleep(0.02)

    def wait_moving(self) -> None:
        """Until the arm swings through the middle of its way."""

        self.wait(self._moves, "the arm moves")

    def moves_within(self, seconds: float) -> bool:
        """Whether the arm swings within that time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._moves():
                return True
            time.sleep(0.01)
        return False

    def _moves(self) -> bool:
        newest = self._speeds[-5:]
        return len(newest) == 5 and all(speed > MOVES_RAD_S for _, speed in newest)

    def last_moving_s(self, since_ns: int, watched_s: float) -> float:
        """How long after `since_ns` the arm still moved, of all that was seen within `watched_s`."""
        self.wait(lambda: self._speeds[-1][0] > since_ns + watched_s * 1e9, "the plant goes on")
        moving = [
            stamp
            for stamp, speed in self._speeds
            if 0 <= stamp - since_ns < watched_s * 1e9 and speed > AT_REST_RAD_S
        ]
        return (max(moving) - since_ns) * 1e-9 if moving else 0.0

    def fastest_rad_s(self, since_ns: int) -> float:
        """Of any joint."""
        return max(speed for stamp, speed in self._speeds if stamp >= since_ns)

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _supervise(self) -> None:
        environment = ros_environment.environment(self._logs)
        self.supervisor = Supervisor(self._specs, self._logs, self._sockets, environment, max_restarts=20)
        try:
            self.supervisor.start()
            self._ready.set()
            while not self._closing.is_set():
                self.supervisor.poll(0.05)
        except BaseException as failure:
            self.failure = failure
        finally:
            self._ready.set()
            self.supervisor.stop()

    def _watch(self) -> None:
        self._ready.wait()
        if self.failure is not None:
            return
        with PlantLink(self.cell.plant_name) as link:
            while not self._closing.is_set():
                try:
                    reading, _ = link.reading()
                except DeviceLost:  # on a busy machine the plant may be silent for half a second
                    link.reconnect(wait_s=SILENT_S)
                    continue
                assert reading.dq_rad_s is not None
                self._speeds.append((reading.stamp_ns, float(np.abs(reading.dq_rad_s).max())))
                time.sleep(0.004)


def bench(sockets: Path, policy: dict[str, object], width_px: int = 160) -> CellConfig:
    """With small pictures, and a plant of its own."""
    chosen = cells.load("bench")
    cameras = {
        name: {"kind": "bench", "width_px": width_px, "height_px": width_px * 3 // 4} for name in chosen.cameras
    }
    return chosen.but(policy=policy, cameras=cameras, episode_s=600.0, bench={"socket": sockets / "plant"})


def swinging(folder: Path, sockets: Path) -> RunningCell:
    """Moved by a replayed recording, and recorded in `folder / "episodes"`."""
    cell = bench(sockets, {"kind": "server", "port": free_port()})
    replay.write(folder / "swing.npz", swing())
    serves = ("--replay", str(folder / "swing.npz"))
    occasion = Occasion(folder / "cell.json", folder, episodes=1, store=folder / "episodes", serves=serves)
    return RunningCell(folder, sockets, cell, occasion)


def swing() -> replay.Recording:
    """Ten minutes of the base's joint going to and fro."""
    times_s = np.arange(600 * 20) / 20
    actions = np.tile([*SO101.home_rad, 1.0], (len(times_s), 1))
    actions[:, 0] += SWING_RAD * np.sin(2 * np.pi * SWING_HZ * times_s)
    return replay.Recording(actions, (*SO101.joints, cells.GRIPPER), 20.0)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
