"""The token head: context in, FAST tokens out, one after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vla.backbone import Architecture
from vla.transformer import KeysValues, KeyValueCache, Layer, sinusoids

Choose = Callable[[Float[Tensor, "B V"], Int[Tensor, "B L"]], Int[Tensor, " B"]]
"""(logits of the next token, tokens so far) → the next token."""


@dataclass(frozen=True, eq=False)
class Spoken:
    """What was said, row by row. After its end mark a row repeats the end mark, which `mask` leaves out."""

    tokens: Int[Tensor, "B L"]
    log_probabilities: Float[Tensor, "B L"]
    mask: Bool[Tensor, "B L"]


class TokenHead(nn.Module):
    """A causal decoder over the tokens `0 … vocabulary − 1`, `end` = vocabulary and, as input only, `begin`."""

    def __init__(self, architecture: Architecture, vocabulary: int, most_tokens: int) -> None:
        super().__init__()
        width = architecture.width
        self.vocabulary, self.most_tokens, self.heads = vocabulary, most_tokens, architecture.heads
        self.end, self.begin = vocabulary, vocabulary + 1
        self.embedding = nn.Embedding(vocabulary + 2, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        layers = [Layer(width, architecture.heads) for _ in range(architecture.token_layers)]
        self.layers = nn.ModuleList(layers)
        self.norm, self.outward = nn.LayerNorm(width), nn.Linear(width, vocabulary + 1)
        places = sinusoids(torch.arange(most_tokens + 1, dtype=torch.float32), width) * width**-0.5
        self.register_buffer("places", places, persistent=False)
        self.places: Tensor

    def logits(self, context: Float[Tensor, "B N W"], tokens: Int[Tensor, "B L"]) -> Float[Tensor, "B L V"]:
        """Teacher-forced: row l holds what the head would say in place of `tokens[:, l]`, having heard those before."""
        begin = torch.full_like(tokens[:, :1], self.begin)
        heard = torch.cat([begin, tokens[:, :-1]], dim=1)
        length = heard.shape[1]
        x = self.embedding(heard) + self.places[:length]
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        for layer in self._layers():
            x = layer(x, layer.memory_attention.keys_values(context), causal)
        return self.outward(self.norm(x))

    def log_probabilities(
        self, context: Float[Tensor, "B N W"], tokens: Int[Tensor, "B L"], temperature: float
    ) -> tuple[Float[Tensor, "B L"], Bool[Tensor, "B L"]]:
        """Of given tokens under the tempered distribution, with their mask; 0 where the mask is false."""
        mask = self.spoken(tokens)
        distribution = torch.log_softmax(self.logits(context, tokens).float() / temperature, dim=-1)
        chosen = distribution.gather(2, tokens[:, :, None]).squeeze(2)
        return chosen * mask, mask

    def spoken(self, tokens: Int[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
        """True up to and with each row's first end mark."""
        ends = (tokens == self.end).long().cumsum(dim=1)
        return (ends - (tokens == self.end).long()) == 0

    def loss(self, context: Float[Tensor, "B N W"], tokens: Int[Tensor, "B L"]) -> Float[Tensor, " B"]:
        """Mean −log p of each row's tokens, its end mark included."""
        chosen, mask = self.log_probabilities(context, tokens, 1.0)
        return -chosen.sum(dim=1) / mask.sum(dim=1)

    def speak(
        self, context: Float[Tensor, "B N W"], choose: Choose, temperature: float, most_tokens: int = 0
    ) -> Spoken:
        """Says tokens until every row has ended or `most_tokens` are said. A KV cache keeps each step short."""
        most = min(most_tokens or self.most_tokens, self.most_tokens)
        memories = [layer.memory_attention.keys_values(context) for layer in self._layers()]
        caches = [self._cache(context, most) for _ in self.layers]
        rows = len(context)
        heard = torch.full((rows, 1), self.begin, device=context.device)
        said = heard.new_empty(rows, 0)
        chosen: list[Tensor] = []
        ended = torch.zeros(rows, dtype=torch.bool, device=context.device)
        for _ in range(most):
            logits = self._step(heard, said.shape[1], memories, caches).float()
            token = choose(logits, said).masked_fill(ended, self.end)
            distribution = torch.log_softmax(logits / temperature, dim=-1)
            chosen.append(distribution.gather(1, token[:, None]).squeeze(1) * ~ended)
            heard = token[:, None]
            said = torch.cat([said, heard], dim=1)
            ended = ended | (token == self.end)
            if bool(ended.all()):
                break
        return Spoken(said, torch.stack(chosen, dim=1), self.spoken(said))

    def _step(
        self, heard: Tensor, place: int, memories: list[KeysValues], caches: list[KeyValueCache]
    ) -> Float[Tensor, "B V"]:
        x = self.embedding(heard) + self.places[place]
        for layer, memory, cache in zip(self._layers(), memories, caches, strict=True):
            x = layer.step(x, memory, cache)
        return self.outward(self.norm(x)).squeeze(1)

    def _cache(self, context: Tensor, steps: int) -> KeyValueCache:
        return KeyValueCache(len(context), self.heads, steps, context.shape[2] // self.heads, context)

    def _layers(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]


def sampling(temperature: float, seed: int) -> Choose:
    """Draws from the tempered distribution. The draws are made on the CPU, so that a seed means the same anywhere."""
    generator = torch.Generator().manual_seed(seed)

    def choose(logits: Tensor, said: Tensor) -> Tensor:
        chances = torch.softmax(logits / temperature, dim=-1).cpu()
        return torch.multinomial(chances, 1, generator=generator).squeeze(1).to(logits.device)

    return choose


def surest_whole_chunk(symbols_per_token: Int[Tensor, " V"], coefficients: int) -> Choose:
    """The likeliest token of those that can still end in exactly `coefficients`: what is said always decodes.

    A token that spells no whole symbol is never said. Single symbols are tokens, so there is always a way on.
    """

    def choose(logits: Tensor, said: Tensor) -> Tensor:
        lengths = symbols_per_token.to(logits.device)
        padded = torch.cat([lengths, lengths.new_zeros(1)])
        left = coefficients - padded[said].sum(dim=1)
        fits = (lengths > 0) & (lengths <= left[:, None])
        allowed = torch.cat([fits, (left == 0)[:, None]], dim=1)
        return logits.masked_fill(~allowed, -torch.inf).argmax(dim=-1)

    return choose
