"""How close a render comes to a photo: PSNR and SSIM, raw and after a fit of the photo's exposure."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hardware.config import Config
from twin.ssim import ssim_map

WHITE = 255.0
FEWEST_FIT_PIXELS = 64
DARK, BRIGHT = 0.02, 0.98
"""Values outside are clipped by the camera, and say nothing about the exposure."""


class ViewQuality(Config):
    """One held-out photo against its render. `fitted`: exposure fitted on the left half, scored on the right."""

    image: str
    psnr_db: float
    """Raw: the render as it is, clipped to 0 … 1, over the whole photo."""
    ssim: float
    psnr_fitted_db: float
    ssim_fitted: float
    gain_rgb: tuple[float, float, float]
    """The fitted exposure: photo ≈ gain · render + bias, per channel."""
    bias_rgb: tuple[float, float, float]


def psnr_db(
    render: Float[ndarray, "H W 3"], photo: UInt8[ndarray, "H W 3"], valid: Bool[ndarray, "H W"] | None = None
) -> float:
    """10 log10(1 / mean squared error), with the render in 0 … 1."""
    error = (render - photo / np.float32(WHITE)) ** 2
    mean = float(error.mean() if valid is None else error[valid].mean())
    return 10 * np.log10(1 / max(mean, 1e-10))


def ssim(
    render: Float[ndarray, "H W 3"], photo: UInt8[ndarray, "H W 3"], valid: Bool[ndarray, "H W"] | None = None
) -> float:
    """Mean SSIM over pixels and channels (11 taps, σ 1.5, zero padding)."""
    target = (photo / np.float32(WHITE)).astype(np.float32)
    if valid is None:
        return float(ssim_map(render, target).mean())
    return float(ssim_map(np.where(valid[..., None], render, target), target)[valid].mean())


def fit_exposure(
    render: Float[ndarray, "H W 3"], photo: UInt8[ndarray, "H W 3"], valid: Bool[ndarray, "H W"] | None = None
) -> Float[ndarray, "3 4"]:
    """Gain and bias per channel by least squares, as an exposure matrix; identity where too few pixels tell."""
    target = photo / np.float32(WHITE)
    exposure = np.eye(3, 4, dtype=np.float32)
    for c in range(3):
        x, y = render[..., c].astype(np.float64), target[..., c].astype(np.float64)
        tells = (x > DARK) & (x < BRIGHT) & (y > DARK) & (y < BRIGHT)
        if valid is not None:
            tells &= valid
        x, y = x[tells], y[tells]
        if len(x) < FEWEST_FIT_PIXELS or x.var() < 1e-6:
            continue
        gain = float(((x - x.mean()) * (y - y.mean())).mean() / x.var())
        exposure[c, c], exposure[c, 3] = gain, y.mean() - gain * x.mean()
    return exposure


def apply_exposure(rgb: Float[ndarray, "H W 3"], exposure: Float[ndarray, "3 4"]) -> Float[ndarray, "H W 3"]:
    """`exposure[:, :3] @ rgb + exposure[:, 3]` at every pixel."""
    return (rgb @ exposure[:, :3].T + exposure[:, 3]).astype(np.float32)


def compare(
    image: str,
    rgb: Float[ndarray, "H W 3"],
    photo: UInt8[ndarray, "H W 3"],
    valid: Bool[ndarray, "H W"] | None = None,
) -> ViewQuality:
    """Scores a held-out photo. The fit never sees the half that it is scored on."""
    render = np.clip(rgb, 0, 1)
    half = photo.shape[1] // 2
    left, right = (slice(None), slice(None, half)), (slice(None), slice(half, None))
    exposure = fit_exposure(rgb[left], photo[left], None if valid is None else valid[left])
    fitted = np.clip(apply_exposure(rgb[right], exposure), 0, 1)
    valid_right = None if valid is None else valid[right]
    r, g, b = (float(exposure[c, c]) for c in range(3))
    return ViewQuality(
        image=image,
        psnr_db=psnr_db(render, photo, valid),
        ssim=ssim(render, photo, valid),
        psnr_fitted_db=psnr_db(fitted, photo[right], valid_right),
        ssim_fitted=ssim(fitted, photo[right], valid_right),
        gain_rgb=(r, g, b),
        bias_rgb=(float(exposure[0, 3]), float(exposure[1, 3]), float(exposure[2, 3])),
    )
