"""Laws of the action tokens: what is encoded comes back, and what is not a chunk is said not to be one."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tokenizers import ByteLevelBPETokenizer

from hardware.errors import BadInput
from vla import fast_tokens
from vla.fast_tokens import FastTokens

H, D = 12, 3


def smooth_chunks(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    steps = rng.normal(scale=0.15, size=(count, H, D))
    return np.clip(np.cumsum(steps, axis=1), -1, 1).astype(np.float32)


TOKENS = fast_tokens.fit(smooth_chunks(400), vocabulary=256)

any_chunk = hnp.arrays(np.float32, (2, H, D), elements=st.floats(-1, 1, width=32))


@given(any_chunk)
@settings(deadline=None)
def test_every_chunk_within_one_returns_within_the_quantisation_bound(chunks: np.ndarray) -> None:
    decoded = TOKENS.decode(TOKENS.encode(chunks))
    assert decoded.valid.all()
    rms = np.sqrt(np.mean((decoded.values - chunks) ** 2, axis=(1, 2)))
    assert (rms <= TOKENS.rms_bound + 1e-6).all()


@given(any_chunk)
@settings(deadline=None)
def test_encoding_what_was_decoded_gives_the_same_tokens(chunks: np.ndarray) -> None:
    tokens = TOKENS.encode(chunks)
    decoded = TOKENS.decode(tokens)
    assert TOKENS.encode(decoded.values) == tokens


@given(st.lists(st.integers(-3, TOKENS.vocabulary + 3), max_size=H * D + 2))
@settings(deadline=None)
def test_valid_means_the_right_count_of_coefficients(ids: list[int]) -> None:
    """An independent count: the sum of the tokens' lengths, and every id in the vocabulary."""
    known = all(0 <= token < TOKENS.vocabulary for token in ids)
    count = sum(int(TOKENS.symbols_per_token[token]) for token in ids) if known else -1
    decoded = TOKENS.decode([ids])
    assert bool(decoded.valid[0]) == (count == H * D)


def test_a_chunk_one_token_short_is_not_valid_and_decodes_to_zero() -> None:
    whole = TOKENS.encode(smooth_chunks(1, seed=5))[0]
    decoded = TOKENS.decode([whole, whole[:-1], [*whole, whole[0]], []])
    assert decoded.valid.tolist() == [True, False, False, False]
    assert np.abs(decoded.values[1:]).max() == 0


def test_one_wrong_token_of_the_same_length_stays_valid_and_moves_the_chunk() -> None:
    whole = TOKENS.encode(smooth_chunks(1, seed=6))[0]
    lengths = TOKENS.symbols_per_token
    other = next(t for t in range(TOKENS.vocabulary) if lengths[t] == lengths[whole[0]] and t != whole[0])
    decoded = TOKENS.decode([whole, [other, *whole[1:]]])
    assert decoded.valid.all()
    assert np.abs(decoded.values[0] - decoded.values[1]).max() > 1e-3


def test_the_first_coefficients_are_the_means_by_hand() -> None:
    """A constant c has one coefficient, c·√H at frequency 0: 10 · 0.5 · √4 = 10, and −10 · 0.2 · 2 = −4."""
    chunk = np.tile(np.array([0.5, -0.2], np.float32), (1, 4, 1))
    spectrum = fast_tokens.coefficients(chunk, scale=10.0)
    np.testing.assert_array_equal(spectrum[0], [[10, -4], [0, 0], [0, 0], [0, 0]])


def test_smooth_chunks_are_compressed_and_the_report_says_so() -> None:
    report = TOKENS.report(smooth_chunks(100, seed=1))
    assert report.values_per_token > 1.5
    assert report.rms_error <= report.rms_bound
    assert report.clipped_share == 0
    assert report.encode_per_s > 0
    assert report.decode_per_s > 0


def test_values_far_outside_are_clipped_and_counted() -> None:
    report = TOKENS.report(smooth_chunks(4) * 50)
    assert report.clipped_share > 0
    assert report.rms_error > report.rms_bound


def test_a_saved_tokenizer_reads_back_the_same(tmp_path) -> None:
    TOKENS.save(tmp_path / "tokens.json")
    again = fast_tokens.load(tmp_path / "tokens.json")
    chunks = smooth_chunks(20, seed=2)
    assert again.encode(chunks) == TOKENS.encode(chunks)
    assert again.stored == TOKENS.stored


def test_a_tokenizer_of_another_format_is_refused(tmp_path) -> None:
    TOKENS.save(tmp_path / "tokens.json")
    values = json.loads((tmp_path / "tokens.json").read_text()) | {"version": 99}
    (tmp_path / "tokens.json").write_text(json.dumps(values))
    with pytest.raises(BadInput, match="format 99"):
        fast_tokens.load(tmp_path / "tokens.json")


def universal_folder(tmp_path) -> FastTokens:
    """A byte-level tokenizer as the public one is: fitted on characters from `min_token` on."""
    lowest = -60
    spectrum = fast_tokens.coefficients(smooth_chunks(300), 10.0) - lowest
    texts = ["".join(map(chr, row)) for row in spectrum.reshape(len(spectrum), -1).tolist()]
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=400, min_frequency=2, show_progress=False)
    bpe.save(str(tmp_path / "tokenizer.json"))
    settings = {"scale": 10.0, "min_token": lowest, "vocab_size": 400, "time_horizon": None, "action_dim": None}
    (tmp_path / "processor_config.json").write_text(json.dumps(settings))
    return fast_tokens.load_universal(tmp_path, H, D)


def test_a_universal_tokenizer_is_read_and_obeys_the_same_laws(tmp_path) -> None:
    universal = universal_folder(tmp_path)
    chunks = smooth_chunks(50, seed=3)
    tokens = universal.encode(chunks)
    decoded = universal.decode([*tokens, tokens[0][:-1]])
    assert decoded.valid.tolist() == [True] * 50 + [False]
    rms = np.sqrt(np.mean((decoded.values[:50] - chunks) ** 2, axis=(1, 2)))
    assert (rms <= universal.rms_bound + 1e-6).all()


def test_half_a_character_of_a_byte_level_tokenizer_is_not_valid(tmp_path) -> None:
    """Byte 0xC2 opens a two-byte character; alone it spells nothing, whatever the library returns for it."""
    universal = universal_folder(tmp_path)
    half = int(np.flatnonzero(universal.symbols_per_token == 0)[0])
    assert not universal.decode([[half] * (H * D)]).valid[0]


def test_a_folder_without_a_tokenizer_is_refused(tmp_path) -> None:
    with pytest.raises(BadInput, match="no FAST tokenizer"):
        fast_tokens.load_universal(tmp_path, H, D)
    (tmp_path / "processor_config.json").write_text('{"scale": 10, "min_token": -60}')
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(BadInput, match="no tokenizer"):
        fast_tokens.load_universal(tmp_path, H, D)


def test_what_cannot_be_tokens_is_refused() -> None:
    with pytest.raises(BadInput, match="not finite"):
        TOKENS.encode(np.full((1, H, D), np.nan, np.float32))
    with pytest.raises(BadInput, match="12 × 3"):
        TOKENS.encode(np.zeros((1, H, D + 1), np.float32))
    with pytest.raises(BadInput, match="not finite"):
        fast_tokens.fit(np.full((2, H, D), np.inf, np.float32))
    with pytest.raises(BadInput, match="more than a vocabulary"):
        fast_tokens.fit(smooth_chunks(3), vocabulary=20)
