"""A checkpoint comes back bit for bit, or not at all."""

from pathlib import Path

import numpy as np
import pytest

from twin import checkpoint

PROGRESS = checkpoint.Progress(
    run="abc", step=700, seconds=12.5, curve=({"step": 500.0, "psnr_db": 21.25}, {"step": 600.0, "psnr_db": np.inf})
)
ARRAYS = {
    "rows": np.random.default_rng(0).normal(size=(5, 14)).astype(np.float32),
    "exposure.counts": np.arange(3),
    "empty": np.zeros((0, 4), np.float32),
    "odd": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    checkpoint.write(tmp_path / checkpoint.NAME, PROGRESS, ARRAYS)
    return tmp_path / checkpoint.NAME


def test_what_is_written_comes_back(file: Path):
    progress, arrays = checkpoint.read(file, "abc")
    assert progress == PROGRESS
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].tobytes() == array.tobytes()


def test_one_of_another_run_is_not_read(file: Path):
    assert checkpoint.read(file, "abd") is None


def test_an_absent_one_is_none(tmp_path: Path):
    assert checkpoint.read(tmp_path / "none.safetensors", "abc") is None


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_one_that_is_cut_off_is_none(file: Path, share: float):
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    assert checkpoint.read(file, "abc") is None


@pytest.mark.parametrize("data", [b"not a checkpoint at all", bytes(64), b"\xff" * 64])
def test_garbage_is_none(file: Path, data: bytes):
    file.write_bytes(data)
    assert checkpoint.read(file, "abc") is None


def test_safetensors_of_another_program_is_none(tmp_path: Path):
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3)}, tmp_path / "other.safetensors")
    assert checkpoint.read(tmp_path / "other.safetensors", "abc") is None
