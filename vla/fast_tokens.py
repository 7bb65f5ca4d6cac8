"""FAST: a normalised chunk of actions ↔ a few tokens (DCT along time, rounding, byte-pair encoding).

The method is that of arXiv 2501.09747. What differs is said where it does.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from pydantic import PositiveFloat, PositiveInt
from scipy.fft import dct, idct
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from hardware import artefact
from hardware import config as configs
from hardware.config import Config
from hardware.errors import BadInput

VERSION = 1
SCALE = 10.0
VOCABULARY = 1024
FEWEST_PAIRS = 2
"""A pair of symbols must be seen this often to become a token."""
REPLACEMENT = "\ufffd"
"""What a byte-level tokenizer writes for bytes that are no character."""


class StoredTokens(Config):
    """The file of a fitted tokenizer."""

    version: int
    horizon_steps: PositiveInt
    action_dims: PositiveInt
    scale: PositiveFloat
    lowest: int
    symbols: PositiveInt
    longest_tokens: PositiveInt
    bpe: str
    """The `tokenizers` library's own JSON."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """`values` of a row that is not valid are zero and must not be used."""

    values: Float[ndarray, "B T D"]
    valid: Bool[ndarray, " B"]
    """The tokens spell exactly H×D coefficients: counted, never concluded from the absence of an error."""


class FastReport(Config):
    """How a tokenizer does on given chunks."""

    tokens_mean: float
    tokens_most: int
    values_per_token: float
    """Compression: H·D values by the mean count of tokens."""
    rms_error: float
    """Of encode-then-decode, normalised units."""
    rms_bound: float
    clipped_share: float
    """Coefficients beyond the alphabet, which were clipped to it; the bound does not hold for their chunks."""
    encode_per_s: float
    decode_per_s: float


class FastTokens:
    """Chunks of one shape ↔ token ids `0 … vocabulary − 1`. Begin, end and padding are the policy's own."""

    def __init__(self, stored: StoredTokens) -> None:
        self.stored = stored
        self.horizon_steps, self.action_dims = stored.horizon_steps, stored.action_dims
        self._bpe = Tokenizer.from_str(stored.bpe)
        self.vocabulary = self._bpe.get_vocab_size()
        self._spelling = [self._spell([token]) for token in range(self.vocabulary)]
        self.symbols_per_token = np.array([len(spelled or ()) for spelled in self._spelling])
        """Coefficients that each token spells; 0 for a token of the universal tokenizer that is half a symbol."""

    @property
    def longest_tokens(self) -> int:
        """The longest chunk seen at fitting; no chunk needs more than H·D."""
        return self.stored.longest_tokens

    @property
    def rms_bound(self) -> float:
        """Root mean square error of a decoded chunk: each coefficient is off by at most half a step, and the
        orthonormal transform keeps the sum of squares. Holds when no coefficient was clipped."""
        return 0.5 / self.stored.scale

    def encode(self, chunks: Float[ndarray, "B T D"]) -> list[list[int]]:
        """Normalised chunks → tokens. Coefficients beyond the alphabet are clipped to it."""
        if chunks.shape[1:] != (self.horizon_steps, self.action_dims):
            raise BadInput(
                f"the tokens are of chunks of {self.horizon_steps} × {self.action_dims}, got {chunks.shape[1:]}"
            )
        if not np.isfinite(chunks).all():
            raise BadInput("a chunk has a value that is not finite")
        texts = self._texts(coefficients(chunks, self.stored.scale))
        return [encoding.ids for encoding in self._bpe.encode_batch(texts, add_special_tokens=False)]

    def decode(self, tokens: Sequence[Sequence[int]]) -> Decoded:
        """Tokens → normalised chunks, in which rows that are not valid are zero."""
        rows = len(tokens)
        symbols = np.zeros((rows, self.horizon_steps * self.action_dims), np.int64)
        valid = np.zeros(rows, bool)
        for row, ids in enumerate(tokens):
            spelled = self._symbols(ids)
            if spelled is not None and len(spelled) == symbols.shape[1]:
                symbols[row], valid[row] = spelled, True
        spectrum = (symbols + self.stored.lowest).reshape(rows, self.horizon_steps, self.action_dims)
        values = np.asarray(idct(spectrum / self.stored.scale, axis=1, norm="ortho")) * valid[:, None, None]
        return Decoded(values.astype(np.float32), valid)

    def report(self, chunks: Float[ndarray, "B T D"]) -> FastReport:
        """Compression, error and speed on these chunks."""
        began = time.perf_counter()
        tokens = self.encode(chunks)
        encoded = time.perf_counter()
        decoded = self.decode(tokens)
        ended = time.perf_counter()
        lengths = np.array([len(ids) for ids in tokens])
        spectrum = coefficients(chunks, self.stored.scale) - self.stored.lowest
        return FastReport(
            tokens_mean=float(lengths.mean()),
            tokens_most=int(lengths.max()),
            values_per_token=chunks[0].size / float(lengths.mean()),
            rms_error=float(np.sqrt(np.mean((decoded.values - chunks) ** 2))),
            rms_bound=self.rms_bound,
            clipped_share=float(np.mean((spectrum < 0) | (spectrum >= self.stored.symbols))),
            encode_per_s=len(chunks) / (encoded - began),
            decode_per_s=len(chunks) / (ended - encoded),
        )

    def save(self, file: Path) -> None:
        artefact.write_model(file, self.stored)

    def _texts(self, spectrum: Int[ndarray, "B T D"]) -> list[str]:
        symbols = np.clip(spectrum - self.stored.lowest, 0, self.stored.symbols - 1)
        return ["".join(map(chr, row)) for row in symbols.reshape(len(symbols), -1).tolist()]

    def _symbols(self, ids: Sequence[int]) -> list[int] | None:
        """None when an id is no token, or the tokens spell a symbol that is not in the alphabet."""
        if any(not 0 <= token < self.vocabulary for token in ids):
            return None
        spelled = [self._spelling[token] for token in ids]
        if all(part is not None for part in spelled):
            return [symbol for part in spelled if part is not None for symbol in part]
        return self._spell(ids)

    def _spell(self, ids: Sequence[int]) -> list[int] | None:
        text = self._bpe.decode(list(ids), skip_special_tokens=False)
        symbols = [ord(character) for character in text]
        return None if REPLACEMENT in text or max(symbols, default=0) >= self.stored.symbols else symbols


def coefficients(chunks: Float[ndarray, "B T D"], scale: float) -> Int[ndarray, "B T D"]:
    """Orthonormal DCT-II along time, in steps of 1/scale."""
    spectrum = np.asarray(dct(chunks.astype(np.float64), axis=1, norm="ortho"))
    return np.rint(scale * spectrum).astype(np.int64)


def fit(chunks: Float[ndarray, "B T D"], scale: float = SCALE, vocabulary: int = VOCABULARY) -> FastTokens:
    """A tokenizer of these normalised chunks.

    Ours: the alphabet also covers every chunk within ±1, whatever the data, so that only values beyond the
    quantiles *and* beyond all that was seen can ever be clipped.
    """
    if len(chunks) == 0:
        raise BadInput("no chunk to fit tokens on")
    if not np.isfinite(chunks).all():
        raise BadInput("a chunk has a value that is not finite")
    spectrum = coefficients(chunks, scale)
    reach = math.ceil(scale * math.sqrt(chunks.shape[1])) + 1
    lowest, highest = min(-reach, int(spectrum.min())), max(reach, int(spectrum.max()))
    symbols = highest - lowest + 1
    if symbols > vocabulary:
        raise BadInput(
            f"the chunks need {symbols} symbols, more than a vocabulary of {vocabulary}",
            "take a smaller scale, a shorter chunk or a larger vocabulary",
        )
    texts = ["".join(map(chr, row)) for row in (spectrum - lowest).reshape(len(chunks), -1).tolist()]
    bpe = Tokenizer(BPE())
    bpe.decoder = decoders.Fuse()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=FEWEST_PAIRS,
        initial_alphabet=[chr(symbol) for symbol in range(symbols)],
        limit_alphabet=symbols,
        show_progress=False,
        max_token_length=10_000,
    )
    bpe.train_from_iterator(texts, trainer)
    longest = max(len(encoding.ids) for encoding in bpe.encode_batch(texts, add_special_tokens=False))
    return FastTokens(
        StoredTokens(
            version=VERSION,
            horizon_steps=chunks.shape[1],
            action_dims=chunks.shape[2],
            scale=scale,
            lowest=lowest,
            symbols=symbols,
            longest_tokens=longest,
            bpe=bpe.to_str(),
        )
    )


def load(file: Path) -> FastTokens:
    """What `save` wrote."""
    stored = configs.read(StoredTokens, file)
    if stored.version != VERSION:
        raise BadInput(f"{file} is of token format {stored.version}, this program reads {VERSION}", "fit it again")
    return FastTokens(stored)


def universal_files(folder: Path) -> list[Path]:
    """Of the universal FAST tokenizer: its settings, then its words."""
    return [folder / "processor_config.json", folder / "tokenizer.json"]


def load_universal(folder: Path, horizon_steps: int, action_dims: int) -> FastTokens:
    """A folder of the universal FAST tokenizer (`universal_files`), for one chunk shape."""
    processor, bpe = universal_files(folder)
    try:
        settings = json.loads(processor.read_text(encoding="utf-8"))
        scale, lowest = float(settings["scale"]), int(settings["min_token"])
        text = bpe.read_text(encoding="utf-8")
        Tokenizer.from_str(text)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{folder} is no FAST tokenizer: {error}", "give a folder with both JSON files") from error
    except Exception as error:  # the tokenizers library raises bare Exception
        raise BadInput(f"{bpe} is no tokenizer: {error}", "download the folder again") from error
    return FastTokens(
        StoredTokens(
            version=VERSION,
            horizon_steps=horizon_steps,
            action_dims=action_dims,
            scale=scale,
            lowest=lowest,
            symbols=1 - 2 * lowest,
            longest_tokens=horizon_steps * action_dims,
            bpe=text,
        )
    )
