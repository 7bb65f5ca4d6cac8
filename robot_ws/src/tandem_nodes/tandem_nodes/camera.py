"""One camera → `<name>/image_raw` and `<name>/camera_info`."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from hardware import devices
from hardware.ports import DeviceLost
from tandem_nodes import diagnostics, images, parameters, process, qos, stamps

LONGEST_NAP_S = 0.004


class CameraNode(Node):
    """Publishes every picture of its camera, in a thread of its own."""

    def __init__(self, end: Callable[[int], None]) -> None:
        super().__init__("camera")
        cell = parameters.read_cell(self)
        self._name = parameters.text(self, "camera", "Which of the cell's cameras this process reads.")
        self._camera = devices.open_camera(cell, self._name)
        self._model = cell.cameras[self._name].intrinsics
        self._images = self.create_publisher(Image, f"{self._name}/image_raw", qos.IMAGES)
        self._infos = self.create_publisher(CameraInfo, f"{self._name}/camera_info", qos.IMAGES)
        self._diagnostics = self.create_publisher(diagnostics.DiagnosticArray, diagnostics.TOPIC, qos.NEWEST)
        self._newest = (0, 0)
        """How many pictures were published, and the stamp of the last."""
        self._end = end
        self._closing = threading.Event()
        self.create_timer(1.0, self._diagnose)
        self._thread = threading.Thread(target=self._read, name="camera")
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._camera.close()

    def _read(self) -> None:
        nap_s = min(LONGEST_NAP_S, 0.1 / self._camera.rate_hz)
        while not self._closing.is_set():
            try:
                image = self._camera.read()
            except DeviceLost as lost:
                self.get_logger().error(str(lost))
                self._end(lost.exit_code)
                return
            if image is None:
                self._closing.wait(nap_s)
                continue
            message = images.to_message(image, self._name)
            self._images.publish(message)
            if self._model is not None:
                self._infos.publish(images.camera_info(self._model, message))
            self._newest = (self._newest[0] + 1, image.stamp_ns)

    def _diagnose(self) -> None:
        published, newest_ns = self._newest
        age_s = (time.monotonic_ns() - newest_ns) * 1e-9
        late = published > 0 and age_s > max(1.0, 3 / self._camera.rate_hz)
        values = {"published": published, "newest_ns": newest_ns + stamps.offset_ns(), "age_s": f"{age_s:.3f}"}
        problem = f"no picture for {age_s:.1f} s" if late else ""
        self._diagnostics.publish(diagnostics.message(f"camera {self._name}", values, problem))


def main() -> int:
    return process.run(CameraNode)


if __name__ == "__main__":
    sys.exit(main())
