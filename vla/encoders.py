"""Pretrained encoders as a policy uses them: pictures and sentences in, features out, kept on disk by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float16, UInt8
from numpy import ndarray
from torch import Tensor, nn

from hardware import artefact
from vla import efficientnet, minilm
from vla.efficientnet import COARSE_CHANNELS, COARSE_STRIDE, FINE_CHANNELS, FINE_STRIDE

ENCODER = "efficientnet-lite0-57934424/8+16"
"""Weights and layers. Part of every cache key: change it when the features change."""
INSTRUCTION_DIMS = minilm.DIMS
PICTURES_PER_PASS = 8
"""What a pass computes in between fits a processor's cache: 32 take 5 % longer each, and up to 1.7 times as long where
freed memory goes back to the system (`hardware.allocation`)."""


class ImageEncoder(nn.Module):
    """Pictures of any size → one flat vector: the patch features at stride 8, then those at stride 16.

    Frozen unless `requires_grad_(True)` is called; the batch norms are folded, so it has no training mode. A frozen one
    computes in bfloat16 where the processor or GPU does that natively: 2.5 times as fast (AVX-512). Features are 3 to
    5 % off (RMS) there, and chunks of a policy that was trained elsewhere by a tenth of its open-loop error.
    """

    def __init__(self, image_px: int) -> None:
        super().__init__()
        if image_px % COARSE_STRIDE:
            raise ValueError(f"image_px must be a multiple of {COARSE_STRIDE}, got {image_px}")
        self.image_px = image_px
        self.network = efficientnet.pretrained().requires_grad_(False)

    @property
    def frozen(self) -> bool:
        return not any(parameter.requires_grad for parameter in self.parameters())

    @property
    def in_bfloat16(self) -> bool:
        return self.frozen and has_bfloat16(next(self.parameters()).device.type)

    def forward(self, rgb: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B F"]:
        with torch.autocast(rgb.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            fine, coarse = self.network(resized(rgb, self.image_px))
        return torch.cat([fine.flatten(1), coarse.flatten(1)], dim=1).float()


@cache
def has_bfloat16(device: str) -> bool:
    """Of a kind of device: whether its convolutions run natively in bfloat16, which elsewhere is slower."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def patch_counts(image_px: int) -> tuple[int, int]:
    """Patches at stride 8 and at stride 16."""
    return (image_px // FINE_STRIDE) ** 2, (image_px // COARSE_STRIDE) ** 2


def feature_size(image_px: int) -> int:
    """F of `ImageEncoder`."""
    fine, coarse = patch_counts(image_px)
    return fine * FINE_CHANNELS + coarse * COARSE_CHANNELS


def split(
    features: Float[Tensor, "*B F"], image_px: int
) -> tuple[Float[Tensor, "*B fine 40"], Float[Tensor, "*B coarse 112"]]:
    """The flat vector as patches again."""
    fine, coarse = patch_counts(image_px)
    cut = fine * FINE_CHANNELS
    lead = features.shape[:-1]
    return (
        features[..., :cut].reshape(*lead, fine, FINE_CHANNELS),
        features[..., cut:].reshape(*lead, coarse, COARSE_CHANNELS),
    )


def resized(rgb: UInt8[Tensor, "B H W 3"], image_px: int) -> UInt8[Tensor, "B px px 3"]:
    """Stretched to a square: nothing at the edges is lost, and a fixed camera's stretch is always the same.

    Computed on the processor, wherever `rgb` lies: torch shrinks bytes without aliasing only there.
    """
    if rgb.shape[1:3] == (image_px, image_px):
        return rgb
    channels_first = rgb.cpu().permute(0, 3, 1, 2)
    small = F.interpolate(channels_first, (image_px, image_px), mode="bilinear", antialias=True)
    return small.permute(0, 2, 3, 1).to(rgb.device)


class FeatureCache:
    """Features of frozen encoders on disk. A file's name is the hash of the pictures and of all that shapes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def features(
        self, rgb: UInt8[ndarray, "N H W 3"], encode: Callable[[], Float16[ndarray, "N F"]], *shaped_by: object
    ) -> Float16[ndarray, "N F"]:
        """Memory-mapped; computed by `encode` where the cache has none. `shaped_by`: precision, augmentation, seed."""
        key = hashlib.sha256(repr((ENCODER, rgb.shape, shaped_by)).encode())
        key.update(np.ascontiguousarray(rgb).data)
        file = self.folder / f"{key.hexdigest()[:32]}.npy"
        if not file.exists():
            with artefact.staged_file(file) as temporary:
                np.save(temporary, encode(), allow_pickle=False)
        return np.load(file, mmap_mode="r", allow_pickle=False)


@torch.inference_mode()
def encode_all(encoder: ImageEncoder, rgb: UInt8[ndarray, "N H W 3"]) -> Float16[ndarray, "N F"]:
    """All pictures in passes that fit the memory, in half precision (the features are of order one)."""
    device = next(encoder.parameters()).device
    parts = [
        encoder(torch.from_numpy(np.ascontiguousarray(rgb[at : at + PICTURES_PER_PASS])).to(device))
        .half()
        .cpu()
        .numpy()
        for at in range(0, len(rgb), PICTURES_PER_PASS)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, feature_size(encoder.image_px)), np.float16)
