"""A peer: 3D Gaussian splatting in plain torch, tile by tile, as one writes it without kernels.

Same image formation as `twin.rasterise.protocol`, float32, gradients by autograd. All Gaussians are projected and
sorted at once; then each tile composites its own by a cumulative product over a [Gaussians, pixels] block.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hardware.camera_model import CameraModel
from twin.rasterise.reference import ALPHA_LEAST, ALPHA_MOST, LEFT_LEAST, NEAR_M, colour, project
from twin.splat import Splat

TILE_PX = 16


def tensors(splat: Splat, gradients: bool) -> list[Tensor]:
    """means, quats, scales, opacities, sh."""
    arrays = (splat.means_m, splat.quats_wxyz, splat.scales_m, splat.opacities, splat.sh)
    return [torch.from_numpy(array.copy()).requires_grad_(gradients) for array in arrays]


def render(scene: list[Tensor], T_cam_world: Tensor, camera: CameraModel) -> Tensor:
    """[H, W, 3] on black."""
    means, quats, scales, opacities, sh = scene
    R, t = T_cam_world[:3, :3], T_cam_world[:3, 3]
    points = means @ R.T + t
    centres, covariances = project(points, quats, scales, R, camera)
    colours = colour(means - (-R.T @ t), sh)
    order, lower, upper = visible(points, centres, covariances, opacities, camera)
    centres, inverse = centres[order], torch.linalg.inv(covariances[order])
    opacities, colours = opacities[order], colours[order]
    rows = []
    for top in range(0, camera.height_px, TILE_PX):
        bottom = min(top + TILE_PX, camera.height_px)
        in_row = torch.nonzero((lower[:, 1] < bottom) & (upper[:, 1] > top))[:, 0]
        tiles = []
        for left in range(0, camera.width_px, TILE_PX):
            right = min(left + TILE_PX, camera.width_px)
            mine = in_row[(lower[in_row, 0] < right) & (upper[in_row, 0] > left)]
            tiles.append(
                tile((left, right, top, bottom), centres[mine], inverse[mine], opacities[mine], colours[mine])
            )
        rows.append(torch.cat(tiles, 1))
    return torch.cat(rows, 0)


@torch.no_grad()
def visible(
    points: Tensor, centres: Tensor, covariances: Tensor, opacities: Tensor, camera: CameraModel
) -> tuple[Tensor, Tensor, Tensor]:
    """Indices front to back, and the pixel boxes (lower, upper) of where alpha reaches 1/255."""
    reach = torch.sqrt(2 * torch.log((opacities * 255).clamp(min=1)))
    extent = reach[:, None] * torch.sqrt(torch.stack([covariances[:, 0, 0], covariances[:, 1, 1]], -1))
    lower, upper = centres - extent, centres + extent
    size = torch.tensor([camera.width_px, camera.height_px])
    seen = (points[:, 2] > NEAR_M) & (opacities >= ALPHA_LEAST) & (upper > 0).all(-1) & (lower < size).all(-1)
    index = torch.nonzero(seen)[:, 0]
    order = index[torch.argsort(points[index, 2], stable=True)]
    return order, lower[order], upper[order]


def tile(
    box: tuple[int, int, int, int], centres: Tensor, inverse: Tensor, opacities: Tensor, colours: Tensor
) -> Tensor:
    left, right, top, bottom = box
    ys, xs = torch.arange(top, bottom) + 0.5, torch.arange(left, right) + 0.5
    pixels = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).reshape(-1, 2)
    d = pixels[None] - centres[:, None]
    exponent = 0.5 * (
        inverse[:, 0, 0, None] * d[..., 0] ** 2
        + 2 * inverse[:, 0, 1, None] * d[..., 0] * d[..., 1]
        + inverse[:, 1, 1, None] * d[..., 1] ** 2
    )
    alpha = (opacities[:, None] * torch.exp(-exponent)).clamp(max=ALPHA_MOST)
    alpha = torch.where(alpha >= ALPHA_LEAST, alpha, 0.0)
    after = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weight = torch.where(after > LEFT_LEAST, before * alpha, 0.0)
    return (weight.T @ colours).reshape(bottom - top, right - left, 3)
