# pyright: reportAttributeAccessIssue=false
"""A peer: mujoco-warp's ray-caster, which composites splats (colour without harmonics, forward only)."""

from __future__ import annotations

import math
from collections.abc import Callable

import mujoco
import numpy as np
from numpy import ndarray

from hardware.camera_model import CameraModel
from twin.splat import Splat
from twin.view import base_colours


def renderer(splat: Splat, camera: CameraModel, T_cam_world: ndarray) -> Callable[[], ndarray]:
    """A function that draws the picture [H, W, 3] on Warp's default device."""
    import mujoco_warp
    import warp

    warp.config.log_level = 30
    model = mujoco.MjModel.from_xml_string(scene(camera, T_cam_world))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    on_device, state = mujoco_warp.put_model(model), mujoco_warp.put_data(model, data)
    context = mujoco_warp.create_render_context(
        model,
        cam_res=(camera.width_px, camera.height_px),
        render_rgb=True,
        splat_position=splat.means_m,
        splat_rotation=splat.quats_wxyz / np.linalg.norm(splat.quats_wxyz, axis=1, keepdims=True),
        splat_scale=splat.scales_m,
        splat_rgba=np.column_stack([base_colours(splat), splat.opacities]).astype(np.float32),
    )

    def draw() -> ndarray:
        mujoco_warp.render(on_device, state, context)
        packed = context.rgb_data.numpy()[0].view(np.uint32)
        channels = [(packed >> shift & 255).astype(np.float32) / 255 for shift in (16, 8, 0)]
        return np.stack(channels, -1).reshape(camera.height_px, camera.width_px, 3)

    return draw


def scene(camera: CameraModel, T_cam_world: ndarray) -> str:
    """A model with nothing in it but the camera (MuJoCo's looks along −z with y up)."""
    T_world_cam = np.linalg.inv(T_cam_world)
    x, y = T_world_cam[:3, 0], -T_world_cam[:3, 1]
    fovy_deg = math.degrees(2 * math.atan(camera.height_px / 2 / camera.fy_px))
    place, axes = (" ".join(map(str, v)) for v in (T_world_cam[:3, 3], np.concatenate([x, y])))
    return (
        f'<mujoco><worldbody><camera fovy="{fovy_deg}" pos="{place}" xyaxes="{axes}"/>'
        '<geom size="0.001" pos="0 0 -1000"/></worldbody></mujoco>'
    )
