"""The sentence encoder gives what its own runtime gives, and means what it should."""

import numpy as np
import pytest

from hardware.errors import BadInput
from vla import minilm, onnx_weights

RUNTIME = [0.001541, -0.0116752, -0.0699312, 0.1046681]
"""The first four values of "pick up the red cube" under onnxruntime 1.30 with the model's own tokenizer; all 384
agreed to 1.4e-7 on five sentences."""


def test_it_gives_what_the_onnx_runtime_gives() -> None:
    np.testing.assert_allclose(minilm.embed(["pick up the red cube"])[0, :4], RUNTIME, atol=2e-6)


def test_the_same_meaning_is_nearer_than_another() -> None:
    pick, grasp, drawer = minilm.embed(
        ["pick up the red cube", "grasp the RED block and lift it!", "open the drawer"]
    )
    assert pick @ grasp > pick @ drawer + 0.1
    assert np.linalg.norm(pick) == pytest.approx(1, abs=1e-5)


def test_a_sentence_gives_the_same_vector_in_any_company() -> None:
    alone = minilm.embed(["open the drawer"])
    minilm._embed_one.cache_clear()
    among = minilm.embed(["a much longer sentence about something else", "open the drawer"])
    np.testing.assert_array_equal(alone[0], among[1])


def test_case_and_accents_do_not_count() -> None:
    plain, fancy = minilm.embed(["lift the cafe cup", "Lift the CAFÉ cup"])
    np.testing.assert_array_equal(plain, fancy)


def test_a_very_long_instruction_is_cut_and_not_refused() -> None:
    assert np.isfinite(minilm.embed(["word " * 1000])).all()


def test_a_file_that_is_no_onnx_is_refused(tmp_path) -> None:
    file = tmp_path / "model.onnx"
    for data in (b"", b"no model at all", b"\x3a\xff\xff\xff\x7fcut"):
        file.write_bytes(data)
        with pytest.raises(BadInput, match="no ONNX model"):
            onnx_weights.read(file)
