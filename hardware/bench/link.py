"""A client of the plant server: commands out, readings, pictures and (for scripts and evaluation) the truth in.

Readings and pictures come through shared memory, so that reading them costs no message. One link is one connection;
calls from several threads are safe. Every call raises `DeviceLost` once the plant does not answer; `reconnect` then
tries again, as often as one likes.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hardware.bench import wire
from hardware.bench.newest import NewestBlock
from hardware.bench.tasks.start import Distribution, TaskStart
from hardware.camera_model import CameraModel
from hardware.messages import NANOSECONDS_PER_SECOND
from hardware.ports import CameraImage, DeviceLost, JointReading
from hardware.spatial import Pose

REPLY_S = 2.0
"""The longest that a reply may take; a reset of a big scene takes some 0.1 s."""
SILENT_S = 0.5
"""A plant that has published no reading for so long is lost."""
LATE_S = 0.012
"""From this age of a reading on, the link looks whether the plant's process is still there."""
MOST_DESCRIPTORS = 8


@dataclass(frozen=True, eq=False)
class PlantInfo:
    """What the server says about itself."""

    names: tuple[str, ...]
    home_rad: Float[ndarray, " J"]
    lower_rad: Float[ndarray, " J"]
    upper_rad: Float[ndarray, " J"]
    arm_model: str
    task: str
    instruction: str
    time_limit_s: float
    speed: float
    cameras: dict[str, tuple[CameraModel, float]]
    """Camera name → (its pinhole, frames per second)."""


class PlantLink:
    """Connects when made; waits up to `wait_s` for a plant that is still starting. Raises `DeviceLost`."""

    def __init__(self, name: str = "bench", wait_s: float = 5.0) -> None:
        self.address = wire.address_of(name)
        self._lock = threading.Lock()  # around a request and its reply
        self._memory = threading.Lock()  # around the shared blocks, so that a reading never waits for a reply
        self._socket: socket.socket | None = None
        self._blocks: dict[str, NewestBlock] = {}
        self._is_closed = False
        self.info = self.reconnect(wait_s)

    def reconnect(self, wait_s: float = 0.0) -> PlantInfo:
        """Leaves the old connection and makes a new one. Raises `DeviceLost` when there is no plant by then."""
        end_s = time.monotonic() + wait_s
        while True:
            try:
                with self._lock:
                    self._drop()
                    self.info = self._connect()
                return self.info
            except (OSError, wire.BadMessage) as error:
                if time.monotonic() >= end_s:
                    raise self._lost(error) from error
                time.sleep(0.05)

    def command(self, q_rad: Float[ndarray, " J"], gripper_open: float | None = None) -> Float[ndarray, " J"]:
        """Gives the servos new goals; returns what was really sent. `ValueError` as `Plant.command`."""
        reply = self._ask("command", q_rad=q_rad.tolist(), gripper_open=gripper_open)
        return np.array(reply["q_rad"])

    def command_gripper(self, gripper_open: float) -> float:
        return float(self._ask("command_gripper", gripper_open=gripper_open)["gripper_open"])

    def hold(self) -> None:
        self._ask("hold")

    def reading(self) -> tuple[JointReading, float]:
        """The newest reading and the gripper's opening."""
        joints, found = len(self.info.names), self._newest("state", after=0)
        if found is None:
            raise self._lost("it has not published a reading yet")
        _, stamp_ns, payload = found
        age_s = (time.monotonic_ns() - stamp_ns) / NANOSECONDS_PER_SECOND
        if age_s > SILENT_S:
            raise self._lost(f"its newest reading is older than {SILENT_S} s")
        if age_s > LATE_S and self._has_hung_up():
            raise self._lost("it has ended")
        values = payload.view(np.float64)
        q_rad, dq_rad_s, effort_nm = values[: 3 * joints].reshape(3, joints)
        return JointReading(stamp_ns, self.info.names, q_rad, dq_rad_s, effort_nm), float(values[3 * joints])

    def image(self, camera: str, after: int = 0) -> tuple[int, CameraImage] | None:
        """(number, picture) of the newest picture if its number is above `after`. Numbers count from 1."""
        found = self._newest(camera, after)
        if found is None:
            self._require_alive()
            return None
        model, _ = self.info.cameras[camera]
        number, stamp_ns, payload = found
        return number, CameraImage(stamp_ns, payload.reshape(model.height_px, model.width_px, 3))

    def reset(self, start: TaskStart | None = None, seed: int | None = None) -> TaskStart:
        """A new episode: arm at home at once, object at the start. Returns the start (drawn when None)."""
        return self._start("reset", start, seed)

    def place(self, start: TaskStart | None = None, seed: int | None = None) -> TaskStart:
        """A new episode with the arm where it is: only the things are put at their start, as a person would."""
        return self._start("place", start, seed)

    def draw_start(self, distribution: Distribution, seed: int) -> TaskStart:
        """A start of the task, without going there."""
        return TaskStart(**self._ask("draw_start", distribution=distribution, seed=seed)["start"])

    def success(self) -> bool:
        """By the truth, for evaluation only."""
        return bool(self._ask("success")["success"])

    def progress(self) -> float:
        """By the truth, for evaluation only."""
        return float(self._ask("success")["progress"])

    def truth(self) -> dict[str, Pose]:
        """T_base_x of objects and landmarks, for evaluation and scripts only."""
        poses = self._ask("truth")["poses"]
        return {name: Pose("base", name, np.array(matrix)) for name, matrix in poses.items()}

    def close(self) -> None:
        """Leaves the plant running. Safe to call twice."""
        with self._lock:
            self._is_closed = True
            self._drop()

    def __enter__(self) -> PlantLink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, what: str, start: TaskStart | None, seed: int | None) -> TaskStart:
        reply = self._ask(what, start=None if start is None else start.model_dump(), seed=seed)
        return TaskStart(**reply["start"])

    def _connect(self) -> PlantInfo:
        if self._is_closed:
            raise ConnectionResetError("this link was closed")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(REPLY_S)
            connection.connect(str(self.address))
            connection.sendall(wire.pack({"do": "hello"}))
            marker, descriptors, _, _ = socket.recv_fds(connection, 1, MOST_DESCRIPTORS)
            if not marker:
                raise ConnectionResetError("the plant has closed the connection")
            hello = wire.receive(connection)
        except BaseException:
            connection.close()
            raise
        with self._memory:
            for descriptor, (name, payload_bytes) in zip(descriptors, hello["blocks"], strict=True):
                self._blocks[name] = NewestBlock(descriptor, payload_bytes)
            self._socket = connection
        return _info(hello)

    def _ask(self, what: str, **values: Any) -> dict[str, Any]:
        with self._lock:
            if self._socket is None:
                raise self._lost("the connection was lost before")
            try:
                self._socket.sendall(wire.pack({"do": what, **values}))
                reply = wire.receive(self._socket)
            except (OSError, wire.BadMessage) as error:
                self._drop_socket()
                raise self._lost(error) from error
        if "refused" in reply:
            raise ValueError(reply["refused"])
        return reply

    def _newest(self, name: str, after: int) -> tuple[int, int, UInt8[ndarray, " P"]] | None:
        """(number, stamp_ns, payload) of a block, if its number is above `after`."""
        with self._memory:
            if self._socket is None:
                raise self._lost("the connection was lost before")
            if name not in self._blocks:
                cameras = ", ".join(sorted(self._blocks.keys() - {"state"}))
                raise KeyError(f"the plant has no camera '{name}'; have: {cameras}")
            block = self._blocks[name]
            return block.read() if block.number > after else None

    def _require_alive(self) -> None:
        """A dead plant's pictures simply stop, so its readings tell."""
        self.reading()

    def _has_hung_up(self) -> bool:
        connection = self._socket
        if connection is None:
            return True
        poll = select.poll()
        poll.register(connection, select.POLLHUP)
        return bool(poll.poll(0))

    def _drop(self) -> None:
        self._drop_socket()
        with self._memory:
            while self._blocks:
                with contextlib.suppress(OSError, BufferError):
                    self._blocks.popitem()[1].close()

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _lost(self, why: object) -> DeviceLost:
        return DeviceLost(
            f"the plant at {self.address} does not answer: {why}",
            "start it: python -m hardware.bench.plant_server",
        )


def _info(hello: dict[str, Any]) -> PlantInfo:
    return PlantInfo(
        names=tuple(hello["names"]),
        home_rad=np.array(hello["home_rad"]),
        lower_rad=np.array(hello["lower_rad"]),
        upper_rad=np.array(hello["upper_rad"]),
        arm_model=hello["arm_model"],
        task=hello["task"],
        instruction=hello["instruction"],
        time_limit_s=hello["time_limit_s"],
        speed=hello["speed"],
        cameras={
            name: (CameraModel.model_validate(model), rate_hz)
            for name, (model, rate_hz) in hello["cameras"].items()
        },
    )
