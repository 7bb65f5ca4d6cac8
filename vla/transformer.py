"""The transformer layer that every part of the policy is made of, with keys and values that can be kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

WIDENING = 4
"""The feed-forward part's inner width."""


@dataclass(eq=False)
class KeysValues:
    """What attention looks at, already projected, split into heads."""

    keys: Float[Tensor, "B heads S d"]
    values: Float[Tensor, "B heads S d"]


class KeyValueCache:
    """Room for `steps` positions; the ones written so far are what attention sees."""

    def __init__(self, rows: int, heads: int, steps: int, head_width: int, like: Tensor) -> None:
        self._keys = like.new_empty(rows, heads, steps, head_width)
        self._values = like.new_empty(rows, heads, steps, head_width)
        self.filled = 0

    def extended(self, new: KeysValues) -> KeysValues:
        """Keeps `new` and gives all that was kept."""
        end = self.filled + new.keys.shape[2]
        self._keys[:, :, self.filled : end] = new.keys
        self._values[:, :, self.filled : end] = new.values
        self.filled = end
        return KeysValues(self._keys[:, :, :end], self._values[:, :, :end])


class Attention(nn.Module):
    """Multi-head attention in three steps, so that keys and values can be computed once and used often."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} does not split into {heads} heads")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, seen: Float[Tensor, "B S W"]) -> KeysValues:
        keys, values = self.key_value(seen).chunk(2, dim=-1)
        return KeysValues(self._split(keys), self._split(values))

    def forward(
        self, x: Float[Tensor, "B L W"], seen: KeysValues, mask: Bool[Tensor, "L S"] | None = None
    ) -> Float[Tensor, "B L W"]:
        """`mask` is true where a row of `x` may look."""
        mixed = attend(self._split(self.query(x)), seen, mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Float[Tensor, "B L W"]) -> Float[Tensor, "B heads L d"]:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def attend(
    queries: Float[Tensor, "B heads L d"], seen: KeysValues, mask: Bool[Tensor, "L S"] | None
) -> Float[Tensor, "B heads L d"]:
    """In float32 on a processor, under autocast too: there the gradients of its bfloat16 take four times as long."""
    if queries.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return F.scaled_dot_product_attention(queries, seen.keys, seen.values, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(
            queries.float(), seen.keys.float(), seen.values.float(), attn_mask=mask
        )


class Layer(nn.Module):
    """Looks at its own sequence, then at a memory, then thinks for each position (pre-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_norm, self.self_attention = nn.LayerNorm(width), Attention(width, heads)
        self.memory_norm, self.memory_attention = nn.LayerNorm(width), Attention(width, heads)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, WIDENING * width), nn.GELU(), nn.Linear(WIDENING * width, width))

    def forward(
        self, x: Float[Tensor, "B L W"], memory: KeysValues, mask: Bool[Tensor, "L L"] | None = None
    ) -> Float[Tensor, "B L W"]:
        normed = self.self_norm(x)
        return self._after(x, self.self_attention(normed, self.self_attention.keys_values(normed), mask), memory)

    def step(self, x: Float[Tensor, "B 1 W"], memory: KeysValues, cache: KeyValueCache) -> Float[Tensor, "B 1 W"]:
        """The next position of a causal sequence, whose earlier ones are in the cache."""
        normed = self.self_norm(x)
        seen = cache.extended(self.self_attention.keys_values(normed))
        return self._after(x, self.self_attention(normed, seen), memory)

    def _after(self, x: Tensor, attended: Tensor, memory: KeysValues) -> Tensor:
        x = x + attended
        x = x + self.memory_attention(self.memory_norm(x), memory)
        return x + self.feed(self.feed_norm(x))


def sinusoids(positions: Float[Tensor, " L"], width: int) -> Float[Tensor, "L W"]:
    """Sines and cosines of wavelengths from 2π to 10 000 · 2π."""
    rates = torch.exp(-math.log(10_000.0) * torch.arange(width // 2, device=positions.device) / (width // 2))
    angles = positions[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
