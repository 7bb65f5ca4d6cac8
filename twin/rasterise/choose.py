"""Which rasteriser draws: gsplat on a CUDA device when it imports, our CPU kernels otherwise."""

from __future__ import annotations

import functools
import importlib.util
import logging
from typing import Literal

from hardware.errors import BadInput
from twin.rasterise.protocol import Rasteriser

log = logging.getLogger(__name__)


@functools.cache
def rasteriser(kind: Literal["auto", "cpu", "cuda"] = "auto") -> Rasteriser:
    """The same object on every call. Raises `BadInput` where CUDA is asked for and missing."""
    if kind == "cpu":
        return _cpu()
    reason = why_no_cuda()
    if reason is None:
        from twin.rasterise.gsplat_backend import GsplatRasteriser

        return GsplatRasteriser()
    if kind == "cuda":
        raise BadInput(
            f"no CUDA rasteriser: {reason}", "use --rasteriser cpu, or install the extra: tandem-vla[cuda]"
        )
    log.debug("drawing on the CPU: %s", reason)
    return _cpu()


def why_no_cuda() -> str | None:
    """None when gsplat can run here."""
    if importlib.util.find_spec("gsplat") is None:
        return "gsplat is not installed"
    import torch

    return None if torch.cuda.is_available() else "torch sees no CUDA device"


def _cpu() -> Rasteriser:
    from twin.rasterise.cpu import CpuRasteriser

    return CpuRasteriser()
