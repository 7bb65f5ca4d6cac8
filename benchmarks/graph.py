"""Two cameras of 640×480 at 30 Hz through ROS 2 as `tandem up` sets it up: how many pictures arrive, and how late.

`python benchmarks/graph.py [--quick] [--json FILE]`. The cameras are the shipped camera node, a process each, with the
OpenCV driver on a video file; the subscriber is this process, with the recorder's quality of service. Latency is from
the picture's stamp to the callback. Fast DDS without our profile is measured beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import machine
import numpy as np

from hardware import artefact, cell, priority, ros_environment
from hardware.cell import CellConfig
from hardware.node_graph import Occasion, graph
from hardware.supervisor import Supervisor

WIDTH, HEIGHT, RATE_HZ, CAMERAS = 640, 480, 30.0, ("cam_side", "cam_wrist")
WARM_UP_S = 3.0


@dataclass(frozen=True)
class Delivery:
    profile: str
    published: int
    received: int
    delivered: float
    p50_ms: float | None
    p99_ms: float | None


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="5 s instead of 30 s, with our profile alone")
    arguments.add_argument("--json", type=Path, help="also write the figures here")
    arguments.add_argument("--one", choices=("ours", "default"), help=argparse.SUPPRESS)
    arguments.add_argument("--seconds", type=float, default=30.0, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        print(json.dumps(asdict(measure(given.one, given.seconds))))
        return 0
    seconds, profiles = (5.0, ("ours",)) if given.quick else (30.0, ("ours", "default"))
    found = [one(profile, seconds) for profile in profiles]
    print(machine.line())
    print(f"{len(CAMERAS)} cameras, {WIDTH}×{HEIGHT} at {RATE_HZ:.0f} Hz, {seconds:.0f} s")
    print(f"{'profile':<10}{'published':>10}{'received':>10}{'delivered':>11}{'p50 ms':>9}{'p99 ms':>9}")
    for row in found:
        times = "".join("        –" if ms is None else f"{ms:9.1f}" for ms in (row.p50_ms, row.p99_ms))
        print(f"{row.profile:<10}{row.published:>10}{row.received:>10}{row.delivered:>10.1%} {times}")
    if given.json:
        figures = {"machine": machine.describe(), "deliveries": [asdict(row) for row in found]}
        artefact.write_text(given.json, json.dumps(figures, indent=1) + "\n")
    return 0


def one(profile: str, seconds: float) -> Delivery:
    """In a process of its own: ROS reads its environment once."""
    words = [sys.executable, __file__, "--one", profile, "--seconds", str(seconds)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return Delivery(**json.loads(said.splitlines()[-1]))


def measure(profile: str, seconds: float) -> Delivery:
    with tempfile.TemporaryDirectory(prefix="tandem-") as name:
        folder = Path(name)
        cameras = cell_of(folder)
        environment = ros_environment.environment(folder / "logs")
        if profile == "default":
            environment = {k: v for k, v in environment.items() if k not in ros_environment.PROFILE_VARIABLES}
        os.environ.update(environment)
        priority.prefer_process()  # as any process of a cell
        sys.path.insert(0, str(ros_environment.package_folder()))
        specs = [spec for spec in graph(cameras, Occasion(folder / "cell.json", folder)) if spec.module == "camera"]
        supervisor = Supervisor(specs, folder / "logs", folder, environment)
        try:
            supervisor.start()
            return receive(profile, cameras.name, seconds)
        finally:
            supervisor.stop()


def receive(profile: str, namespace: str, seconds: float) -> Delivery:
    """Counts between two diagnoses of each camera, which say how many were published up to which stamp."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image
    from tandem_nodes import qos

    rclpy.init()
    node = rclpy.create_node("subscriber", namespace=namespace)
    arrived: dict[str, list[tuple[int, float]]] = {name: [] for name in CAMERAS}
    published: dict[str, list[tuple[int, int]]] = {name: [] for name in CAMERAS}

    def see(camera: str, message: Image) -> None:
        stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        arrived[camera].append((stamp_ns, (time.time_ns() - stamp_ns) * 1e-6))

    def hear(message: DiagnosticArray) -> None:
        kind, _, camera = message.status[0].name.partition(" ")
        if kind == "camera":
            values = {pair.key: pair.value for pair in message.status[0].values}
            published[camera].append((int(values["newest_ns"]), int(values["published"])))

    for name in CAMERAS:
        node.create_subscription(Image, f"{name}/image_raw", partial(see, name), qos.IMAGES_IN)
    node.create_subscription(DiagnosticArray, "/diagnostics", hear, qos.STREAM)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    until = time.monotonic() + WARM_UP_S + seconds
    warm_ns = time.time_ns() + int(WARM_UP_S * 1e9)
    while time.monotonic() < until:
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    return counted(
        profile, arrived, {name: [d for d in said if d[0] > warm_ns] for name, said in published.items()}
    )


def counted(
    profile: str, arrived: dict[str, list[tuple[int, float]]], published: dict[str, list[tuple[int, int]]]
) -> Delivery:
    sent, latencies = 0, []
    for name, said in published.items():
        (first_ns, before), (last_ns, after) = said[0], said[-2]  # the last one's pictures may be under way
        sent += after - before
        latencies += [ms for stamp_ns, ms in arrived[name] if first_ns < stamp_ns <= last_ns]
    p50, p99 = np.percentile(latencies, [50, 99]).tolist() if latencies else (None, None)
    return Delivery(profile, sent, len(latencies), len(latencies) / sent, p50, p99)


def cell_of(folder: Path) -> CellConfig:
    """A cell whose cameras play a short video, quick to decode: the way through ROS is what is measured."""
    video = folder / "ramp.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), RATE_HZ, (WIDTH, HEIGHT))
    ramp = np.tile(np.linspace(0, 255, WIDTH, dtype=np.uint8)[None, :, None], (HEIGHT, 1, 3))
    for step in range(30):
        writer.write(np.roll(ramp, 20 * step, axis=1))
    writer.release()
    size = {"width_px": WIDTH, "height_px": HEIGHT, "rate_hz": RATE_HZ}
    camera = {"kind": "opencv", "source": str(video), "loop": True, **size}
    chosen = cell.load("so101").but(cameras=dict.fromkeys(CAMERAS, camera))
    artefact.write_model(folder / "cell.json", chosen)
    return chosen


if __name__ == "__main__":
    sys.exit(main())
