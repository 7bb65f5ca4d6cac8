"""`sensor_msgs/Image` and `CameraInfo` ↔ our images and camera models. Only `rgb8` travels."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from hardware.camera_model import CameraModel
from hardware.ports import CameraImage
from tandem_nodes import stamps


def to_message(image: CameraImage, camera: str) -> Image:
    """`camera` is the optical frame's name."""
    height, width, _ = image.rgb.shape
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.stamp = stamps.to_ros(image.stamp_ns)
    message.header.frame_id = camera
    message.data = image.rgb.tobytes()  # assigning the array itself would copy it element by element
    return message


def from_message(message: Image) -> CameraImage:
    """Raises `ValueError` when it is not a whole rgb8 image. The pixels are read-only."""
    if message.encoding != "rgb8" or message.step != 3 * message.width:
        raise ValueError(f"images must be rgb8 without padding, not {message.encoding} with step {message.step}")
    rgb = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    return CameraImage(stamps.from_ros(message.header.stamp), rgb)


def camera_info(model: CameraModel, image: Image) -> CameraInfo:
    """Brown-Conrady in OpenCV's pixel convention, as ROS has it, with the image's header."""
    k = model.matrix_opencv
    p = np.hstack([k, np.zeros((3, 1))])
    return CameraInfo(
        header=image.header,
        height=model.height_px,
        width=model.width_px,
        distortion_model="plumb_bob",
        d=model.distortion.tolist(),
        k=k.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=p.ravel().tolist(),
    )
