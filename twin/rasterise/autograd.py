"""Any `Rasteriser` as a torch function, for losses that are written in torch."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from hardware.camera_model import CameraModel
from twin.rasterise.protocol import Pass, Rasteriser
from twin.splat import Splat


def render(
    rasteriser: Rasteriser,
    means_m: Float[Tensor, "N 3"],
    quats_wxyz: Float[Tensor, "N 4"],
    scales_m: Float[Tensor, "N 3"],
    opacities: Float[Tensor, " N"],
    sh: Float[Tensor, "N K 3"],
    T_cam_world: Float[Tensor, "4 4"],
    camera: CameraModel,
    background: Float[ndarray, 3] | None = None,
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"], Float[Tensor, "H W"]]:
    """rgb, depth and alpha with gradients to all tensors given, the camera's pose included.

    The rasteriser works in float32; gradients come back in each tensor's own type and device. `T_cam_world`'s
    gradient is that of its upper twelve entries: project it with `pose_gradient.twist_gradient`.
    """
    return _Render.apply(rasteriser, camera, background, means_m, quats_wxyz, scales_m, opacities, sh, T_cam_world)  # type: ignore[return-value]


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rasteriser: Rasteriser, camera: CameraModel, background: ndarray | None, *tensors: Tensor):
        *parts, pose = (tensor.detach().cpu().numpy() for tensor in tensors)
        ctx.drawn = rasteriser.forward(Splat(*parts), camera, np.asarray(pose, np.float64), background)
        ctx.like = tensors
        drawing = ctx.drawn.rendering
        like = tensors[0]
        return tuple(torch.from_numpy(a.copy()).to(like) for a in (drawing.rgb, drawing.depth_m, drawing.alpha))

    @staticmethod
    def backward(ctx, grad_rgb: Tensor, grad_depth: Tensor, grad_alpha: Tensor):  # type: ignore[override]
        drawn: Pass = ctx.drawn
        grad = drawn.backward(*(g.detach().cpu().float().numpy() for g in (grad_rgb, grad_depth, grad_alpha)))
        pose = np.vstack([grad.T_cam_world, np.zeros((1, 4), np.float32)])
        parts = grad.means_m, grad.quats_wxyz, grad.scales_m, grad.opacities, grad.sh, pose
        back = [torch.from_numpy(g).to(t) for g, t in zip(parts, ctx.like, strict=True)]
        return None, None, None, *back
