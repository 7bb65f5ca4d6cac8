"""The image formation in plain torch float64, one Gaussian after another: what every rasteriser is tested against.

Differentiable in all tensors by autograd. Made to be read, not to be fast: some hundred Gaussians, small pictures.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hardware.camera_model import CameraModel

NEAR_M, LOW_PASS_PX2, CLAMP_SHARE = 0.01, 0.3, 0.15
ALPHA_LEAST, ALPHA_MOST, LEFT_LEAST = 1 / 255, 0.999, 1e-4


def render(
    means_m: Float[Tensor, "N 3"],
    quats_wxyz: Float[Tensor, "N 4"],
    scales_m: Float[Tensor, "N 3"],
    opacities: Float[Tensor, " N"],
    sh: Float[Tensor, "N K 3"],
    T_cam_world: Float[Tensor, "4 4"],
    camera: CameraModel,
    background: Float[Tensor, 3],
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"], Float[Tensor, "H W"]]:
    """rgb, depth (Σ weight · z) and alpha, as `protocol.Rendering` defines them."""
    R, t = T_cam_world[:3, :3], T_cam_world[:3, 3]
    points = means_m @ R.T + t
    centres, covariances = project(points, quats_wxyz, scales_m, R, camera)
    colours = colour(means_m - (-R.T @ t), sh)
    inverse = torch.linalg.inv(covariances)
    pixels = pixel_centres(camera)
    rgb, depth = torch.zeros(*pixels.shape[:2], 3).double(), torch.zeros(pixels.shape[:2]).double()
    left, open_ = torch.ones_like(depth), torch.ones_like(depth, dtype=torch.bool)
    for i in torch.argsort(points[:, 2].detach(), stable=True).tolist():
        if not (points[i, 2] > NEAR_M and torch.linalg.det(covariances[i]) > 0):
            continue
        offset = pixels - centres[i]
        exponent = 0.5 * ((offset @ inverse[i]) * offset).sum(-1)
        alpha = (opacities[i] * torch.exp(-exponent)).clamp(max=ALPHA_MOST)
        counts = open_ & (alpha.detach() >= ALPHA_LEAST)
        after = left * (1 - alpha)
        drawn = counts & (after.detach() > LEFT_LEAST)
        weight = torch.where(drawn, left * alpha, 0.0)
        rgb = rgb + weight[..., None] * colours[i]
        depth = depth + weight * points[i, 2]
        open_ = open_ & ~(counts & ~drawn)
        left = torch.where(drawn, after, left)
    return rgb + left[..., None] * background, depth, 1 - left


def project(
    points: Float[Tensor, "N 3"],
    quats_wxyz: Float[Tensor, "N 4"],
    scales_m: Float[Tensor, "N 3"],
    R_cam_world: Float[Tensor, "3 3"],
    camera: CameraModel,
) -> tuple[Float[Tensor, "N 2"], Float[Tensor, "N 2 2"]]:
    """Centres (px) and image covariances (px²) of Gaussians at `points` in the camera frame."""
    x, y, z = points.unbind(-1)
    z = torch.where(z > NEAR_M, z, torch.ones_like(z))  # the others are not drawn, but must not divide by zero
    centres = torch.stack([camera.fx_px * x / z + camera.cx_px, camera.fy_px * y / z + camera.cy_px], -1)
    tx = clamp(x / z, camera.fx_px, camera.cx_px, camera.width_px)
    ty = clamp(y / z, camera.fy_px, camera.cy_px, camera.height_px)
    nothing = torch.zeros_like(z)
    along_x = torch.stack([camera.fx_px / z, nothing, -camera.fx_px * tx / z], -1)
    along_y = torch.stack([nothing, camera.fy_px / z, -camera.fy_px * ty / z], -1)
    jacobian = torch.stack([along_x, along_y], -2)
    axes = jacobian @ R_cam_world @ rotation(quats_wxyz) * scales_m[:, None, :]
    return centres, axes @ axes.transpose(-1, -2) + LOW_PASS_PX2 * torch.eye(2, dtype=axes.dtype)


def clamp(ratio: Float[Tensor, " N"], focal_px: float, centre_px: float, size_px: int) -> Float[Tensor, " N"]:
    margin = CLAMP_SHARE * size_px / focal_px
    return ratio.clamp(-(centre_px / focal_px + margin), (size_px - centre_px) / focal_px + margin)


def rotation(quats_wxyz: Float[Tensor, "N 4"]) -> Float[Tensor, "N 3 3"]:
    w, x, y, z = (quats_wxyz / quats_wxyz.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
    ]
    return torch.stack(rows, -2)


def colour(towards: Float[Tensor, "N 3"], sh: Float[Tensor, "N K 3"]) -> Float[Tensor, "N 3"]:
    """max(0, 0.5 + Σ basis · sh) along `towards` (from the camera's centre to the mean)."""
    x, y, z = (towards / towards.norm(dim=-1, keepdim=True)).unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    basis = [
        torch.full_like(x, 0.28209479177387814),
        -0.4886025119029199 * y,
        0.4886025119029199 * z,
        -0.4886025119029199 * x,
        1.0925484305920792 * x * y,
        -1.0925484305920792 * y * z,
        0.31539156525252005 * (2 * zz - xx - yy),
        -1.0925484305920792 * x * z,
        0.5462742152960396 * (xx - yy),
        -0.5900435899266435 * y * (3 * xx - yy),
        2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * zz - xx - yy),
        0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
        -0.4570457994644658 * x * (4 * zz - xx - yy),
        1.445305721320277 * z * (xx - yy),
        -0.5900435899266435 * x * (xx - 3 * yy),
    ]
    weighted = torch.stack(basis[: sh.shape[1]], -1)[..., None] * sh
    return (0.5 + weighted.sum(1)).clamp(min=0)


def pixel_centres(camera: CameraModel) -> Float[Tensor, "H W 2"]:
    ys, xs = torch.arange(camera.height_px).double() + 0.5, torch.arange(camera.width_px).double() + 0.5
    return torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1)
