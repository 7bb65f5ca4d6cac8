"""`python -m hardware.bench.plant_server`: the simulated cell as a process of its own, in real time.

Any number of `PlantLink`s may come and go; none can stop the plant, and what one of them says wrong cuts off only that
one. Readings and pictures are published in shared memory, everything else is a request with one reply.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from pydantic import Field, PositiveFloat, ValidationError

from hardware import notify, priority
from hardware.bench import wire
from hardware.bench.arm_models import ArmName
from hardware.bench.live_camera import LiveCameraView, camera_model
from hardware.bench.newest import NewestBlock
from hardware.bench.plant import Plant
from hardware.bench.plant_config import CameraName, LiveCamera, PlantConfig, PlantPhysics, TaskName
from hardware.bench.tasks.start import Distribution, TaskStart
from hardware.config import Config
from hardware.errors import BadInput, TandemError
from hardware.messages import NANOSECONDS_PER_SECOND

log = logging.getLogger(__name__)

PERIOD_S = 0.004
"""Between two published readings."""
PHYSICS_PRIORITY, ANSWER_PRIORITY, CAMERA_PRIORITY = 30, 29, 5
"""Below the control loop's: a real arm does not stand still because its cell's computer is busy. The cameras' threads
have one too, since one that is put aside while it holds the interpreter would keep the physics waiting."""
LATE_S = 0.1
"""A plant further behind than this lets the lost time go."""
REPLY_S = 0.2
"""A client that takes no bytes for so long is cut off."""


class ServePlant(Config):
    """Runs the simulated cell until it is told to stop (SIGINT or SIGTERM)."""

    name: str = "bench"
    """What clients call it; or the path of its socket."""
    task: TaskName = "pick_place"
    starts: Distribution = "id"
    arm_model: ArmName = "so101"
    seed: int = Field(default=0, ge=0)
    speed: PositiveFloat = 1.0
    """Seconds of the cell to a second of the clock. Cameras keep their rate by the clock."""
    camera_width_px: int = Field(default=640, ge=64, le=1920)
    camera_height_px: int = Field(default=480, ge=48, le=1080)
    camera_rate_hz: PositiveFloat = 30.0
    camera_latency_s: float = Field(default=0.035, ge=0)
    physics: PlantPhysics = PlantPhysics()

    def plant(self) -> PlantConfig:
        camera = LiveCamera(
            width_px=self.camera_width_px,
            height_px=self.camera_height_px,
            rate_hz=self.camera_rate_hz / self.speed,
            latency_s=self.camera_latency_s * self.speed,
        )
        return PlantConfig(
            task=self.task,
            starts=self.starts,
            arm_model=self.arm_model,
            seed=self.seed,
            physics=self.physics,
            cameras={"cam_front": camera, "cam_wrist": camera},
        )


def serve(config: ServePlant, is_ready: Callable[[Path], None] = lambda address: None) -> int:
    """Returns when asked to stop. `is_ready` is called once clients can connect."""
    listener, address = listen(config.name)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        server = PlantServer(config, listener)
        server.start()
        is_ready(address)
        server.run(stop)
        server.close()
    finally:
        listener.close()
        address.unlink(missing_ok=True)
    return 0


def listen(name: str) -> tuple[socket.socket, Path]:
    """Raises `BadInput` when a plant of that name runs already. A dead one's socket is replaced."""
    address = wire.address_of(name)
    address.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(address))
        except OSError:
            address.unlink(missing_ok=True)
        else:
            raise BadInput(f"a plant listens at {address} already", "stop it, or give this one another --name")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(address))
    listener.listen(16)
    return listener, address


class PlantServer:
    """The plant, its clock, its cameras' threads and its clients' thread. `run` is the physics, in the caller's."""

    def __init__(self, config: ServePlant, listener: socket.socket) -> None:
        self.config = config
        self.plant = Plant(config.plant())
        self.lost_s = 0.0
        """Time that the physics could not keep up with, in all."""
        self._listener = listener
        self._lock = threading.Lock()  # around every use of the plant
        self._stop = threading.Event()
        self._exposed = threading.Condition(self._lock)
        self._state = NewestBlock.create("state", 8 * (3 * len(self.plant.names) + 1))
        self._pictures: dict[CameraName, NewestBlock] = {
            name: NewestBlock.create(name, camera.width_px * camera.height_px * 3)
            for name, camera in self.plant.config.cameras.items()
        }
        self._threads = [threading.Thread(target=self._answer_clients, name="clients", daemon=True)]
        self._threads += [
            threading.Thread(target=self._film, args=(name,), name=name, daemon=True) for name in self._pictures
        ]
        self._exposure_numbers: list[int] = []
        self._opened: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()  # one entry for each camera
        self._drawing = threading.Lock()  # around freeing OpenGL contexts

    def start(self) -> None:
        """The cameras first: making an OpenGL context keeps the interpreter for seconds. Then the clock, then clients.

        Raises `BadInput` when there is no OpenGL.
        """
        clients, *cameras = self._threads
        for camera in cameras:
            camera.start()
            opened = self._opened.get()
            if opened is not None:
                self._stop.set()
                raise opened
        self._anchor = time.monotonic_ns(), self.plant.now_ns
        self.plant.clock = self._stamp
        self._publish()
        clients.start()

    def run(self, stop: threading.Event) -> None:
        """Keeps the cell's time in step with the clock until `stop` is set."""
        priority.hurry(PHYSICS_PRIORITY)
        due_s = time.monotonic()
        while not stop.is_set():
            due_s = max(due_s + PERIOD_S, time.monotonic() - PERIOD_S)
            with self._lock:
                self.plant.advance_to(self._target_ns())
                self._publish()
                self._wake_cameras()
            time.sleep(max(0.0, due_s - time.monotonic()))

    def close(self) -> None:
        self._stop.set()
        with self._exposed:
            self._exposed.notify_all()
        for thread in self._threads:
            thread.join(timeout=5.0)
        self.plant.close()

    def _stamp(self, cell_ns: int) -> int:
        clock_ns, cell_anchor_ns = self._anchor
        return clock_ns + round((cell_ns - cell_anchor_ns) / self.config.speed)

    def _target_ns(self) -> int:
        """The cell's time that it should be now; lets go of what cannot be caught up."""
        clock_ns, cell_ns = self._anchor
        now_ns = time.monotonic_ns()
        target_ns = cell_ns + round((now_ns - clock_ns) * self.config.speed)
        behind_s = (target_ns - self.plant.now_ns) / NANOSECONDS_PER_SECOND / self.config.speed
        if behind_s > LATE_S:
            self.lost_s += behind_s
            self._anchor = now_ns, self.plant.now_ns
            return self.plant.now_ns
        return target_ns

    def _wake_cameras(self) -> None:
        newest = [self.plant.newest_exposure(name) for name in self._pictures]
        numbers = [-1 if exposure is None else exposure.number for exposure in newest]
        if numbers != self._exposure_numbers:
            self._exposure_numbers = numbers
            self._exposed.notify_all()

    def _publish(self) -> None:
        reading = self.plant.reading()
        assert reading.dq_rad_s is not None
        assert reading.effort_nm is not None
        speed = self.config.speed
        values = (reading.q_rad, reading.dq_rad_s * speed, reading.effort_nm, [self.plant.gripper()])
        self._state.write(reading.stamp_ns, np.concatenate(values).view(np.uint8))

    def _film(self, name: CameraName) -> None:
        """A camera's thread: draws each exposure and publishes it when the camera would have it ready."""
        settings = self.plant.config.cameras[name]
        try:
            view = LiveCameraView(self.plant.cell, name, settings, self.config.seed)
            view.rgb(self.plant.still())
        except Exception as error:
            self._opened.put(error)
            return
        self._opened.put(None)
        priority.hurry(CAMERA_PRIORITY)
        last = -1
        while not self._stop.is_set():
            with self._exposed:
                exposure = self.plant.newest_exposure(name)
                while not self._stop.is_set() and (exposure is None or exposure.number == last):
                    self._exposed.wait(0.5)
                    exposure = self.plant.newest_exposure(name)
                if exposure is None:
                    continue
                stamp_ns = self._stamp(exposure.stamp_ns)
            last = exposure.number
            rgb = view.rgb(exposure)
            ready_ns = stamp_ns + round(settings.latency_s / self.config.speed * NANOSECONDS_PER_SECOND)
            time.sleep(max(0.0, (ready_ns - time.monotonic_ns()) / NANOSECONDS_PER_SECOND))
            self._pictures[name].write(stamp_ns, rgb.reshape(-1))
        with self._drawing:
            view.close()

    def _answer_clients(self) -> None:
        priority.hurry(ANSWER_PRIORITY)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._stop.is_set():
                for key, _ in selector.select(timeout=0.2):
                    if key.data is None:
                        self._welcome(selector)
                    elif not self._serve_client(key.fileobj, key.data):  # type: ignore[arg-type]
                        selector.unregister(key.fileobj)
                        key.fileobj.close()  # type: ignore[union-attr]
            for key in list(selector.get_map().values()):
                if key.data is not None:
                    key.fileobj.close()  # type: ignore[union-attr]

    def _welcome(self, selector: selectors.BaseSelector) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            client.settimeout(REPLY_S)
            selector.register(client, selectors.EVENT_READ, wire.Inbox())

    def _serve_client(self, client: socket.socket, inbox: wire.Inbox) -> bool:
        """Answers what has arrived. False: this client has gone or talks nonsense."""
        try:
            data = client.recv(65536)
            if not data:
                return False
            for message in inbox.feed(data):
                if message.get("do") == "hello":
                    self._say_hello(client)
                else:
                    client.sendall(wire.pack(self._reply(message)))
        except (OSError, wire.BadMessage) as error:
            log.warning("a client was cut off: %s", error)
            return False
        return True

    def _say_hello(self, client: socket.socket) -> None:
        blocks = {"state": self._state, **self._pictures}
        socket.send_fds(client, [b"\0"], [block.descriptor for block in blocks.values()])
        plant, task = self.plant, self.plant.cell.task
        hello = {
            "names": plant.names,
            "home_rad": plant.cell.arm.home_rad,
            "lower_rad": plant.lower_rad.tolist(),
            "upper_rad": plant.upper_rad.tolist(),
            "arm_model": plant.cell.arm.name,
            "task": task.name,
            "instruction": task.instruction,
            "time_limit_s": task.time_limit_s,
            "speed": self.config.speed,
            "cameras": {
                name: (camera_model(name, camera).model_dump(), self.config.camera_rate_hz)
                for name, camera in plant.config.cameras.items()
            },
            "blocks": [(name, block.payload_bytes) for name, block in blocks.items()],
        }
        client.sendall(wire.pack(hello))

    def _reply(self, message: dict[str, Any]) -> dict[str, Any]:
        """What the plant says to one request; `refused` with the reason when it cannot be done."""
        asked = message.pop("do", None)
        answer = {
            "command": self._command,
            "command_gripper": self._command_gripper,
            "hold": self._hold,
            "reset": self._reset,
            "place": self._place,
            "draw_start": self._draw_start,
            "success": self._success,
            "truth": self._truth,
        }.get(asked if isinstance(asked, str) else "")
        if answer is None:
            return {"refused": f"no request '{asked}'"}
        try:
            with self._lock:
                return answer(**message)
        except (ValueError, TypeError, KeyError, ValidationError, TandemError) as error:
            return {"refused": f"{asked}: {error}"}

    def _command(self, q_rad: list[float], gripper_open: float | None) -> dict[str, Any]:
        return {"q_rad": self.plant.command(np.array(q_rad, float), gripper_open).tolist()}

    def _command_gripper(self, gripper_open: float) -> dict[str, Any]:
        return {"gripper_open": self.plant.command_gripper(gripper_open)}

    def _hold(self) -> dict[str, Any]:
        self.plant.hold()
        return {}

    def _reset(self, start: dict[str, float] | None, seed: int | None) -> dict[str, Any]:
        return {"start": self.plant.reset(_start(start), seed).model_dump()}

    def _place(self, start: dict[str, float] | None, seed: int | None) -> dict[str, Any]:
        return {"start": self.plant.place(_start(start), seed).model_dump()}

    def _draw_start(self, distribution: str, seed: int) -> dict[str, Any]:
        if distribution not in ("id", "ood"):
            raise ValueError(f"no distribution '{distribution}'; have: id, ood")
        return {"start": self.plant.draw_start(distribution, seed).model_dump()}

    def _success(self) -> dict[str, Any]:
        return {"success": self.plant.success(), "progress": self.plant.progress()}

    def _truth(self) -> dict[str, Any]:
        return {"poses": {name: pose.to_list() for name, pose in self.plant.truth().items()}}


def _start(values: dict[str, float] | None) -> TaskStart | None:
    return None if values is None else TaskStart.model_validate(values)


def _say_ready(address: Path) -> None:
    print(f"plant ready at {address}", flush=True)
    notify.ready()


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    sys.setswitchinterval(0.0005)  # the cameras' threads must not keep the physics waiting
    config = tyro.cli(ServePlant, prog="python -m hardware.bench.plant_server", description=ServePlant.__doc__)
    try:
        code = serve(config, _say_ready)
    except TandemError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if threading.active_count() > 1:  # a camera still draws: on a busy machine that may take long, and nobody waits
        sys.stdout.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
