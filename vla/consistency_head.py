"""The consistency head: context and noise in, a whole chunk out of one call (ConRFT, arXiv 2502.05450)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vla.backbone import Architecture
from vla.transformer import Layer, sinusoids

SCALES, SIGMA_MIN, SIGMA_MAX, RHO, SIGMA_DATA = 40, 0.002, 80.0, 7.0, 0.5
"""Karras's noise scales; as ConRFT has them."""
TIME_RATE = 250.0
FORGIVING = 0.1
"""An error beyond this counts by its size, one below it by its square (pseudo-Huber, arXiv 2310.14189; ours on the
error that the network itself makes). Of two ways that people went, the policy takes one rather than the middle."""
LOUDEST_SHARE = 0.5
"""Of the training rows are at the scale that acting starts from; the others at any."""
LIMIT = 1.5
"""Chunks stay within this: half a range beyond the 1–99 % that were demonstrated, for what lies outside."""


def sigmas() -> Float[Tensor, " 40"]:
    """Karras's scales from the largest to the smallest."""
    steps = torch.linspace(0, 1, SCALES, dtype=torch.float64)
    high, low = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
    return ((high + steps * (low - high)) ** RHO).float()


class ConsistencyHead(nn.Module):
    """f(x, σ) = c_skip x + c_out F(c_in x, t): from noise of any scale to the chunk; f(x, σ_min) = x.

    x and f count from where the arm is measured to be, which the context's last slot says.
    """

    def __init__(self, architecture: Architecture, horizon_steps: int, action_dims: int) -> None:
        super().__init__()
        width = architecture.width
        self.inward = nn.Linear(action_dims, width)
        self.places = nn.Parameter(torch.randn(horizon_steps, width) * width**-0.5)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        layers = [Layer(width, architecture.heads) for _ in range(architecture.consistency_layers)]
        self.layers = nn.ModuleList(layers)
        self.norm, self.outward = nn.LayerNorm(width), nn.Linear(width, action_dims)
        nn.init.zeros_(self.outward.weight)
        nn.init.zeros_(self.outward.bias)
        self.register_buffer("sigmas", sigmas(), persistent=False)
        self.sigmas: Tensor

    def forward(
        self, context: Float[Tensor, "B N W"], noisy: Float[Tensor, "B T D"], sigma: Float[Tensor, " B"]
    ) -> Float[Tensor, "B T D"]:
        """The chunk (normalised) that `noisy` came from, not clipped."""
        here = context[:, -1:, : noisy.shape[2]]
        s = sigma[:, None, None]
        c_skip = SIGMA_DATA**2 / ((s - SIGMA_MIN) ** 2 + SIGMA_DATA**2)
        c_out = (s - SIGMA_MIN) * SIGMA_DATA / torch.sqrt(s**2 + SIGMA_DATA**2)
        c_in = 1 / torch.sqrt(s**2 + SIGMA_DATA**2)
        moved = noisy - here
        return here + c_skip * moved + c_out * self._network(context[:, :-1], c_in * moved, sigma)

    def act(self, context: Float[Tensor, "B N W"], noise: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """One call from unit noise, within ±1.5. Differentiable, for learners that follow a critic."""
        sigma = torch.full((len(noise),), SIGMA_MAX, device=noise.device)
        return self(context, SIGMA_MAX * noise, sigma).clamp(-LIMIT, LIMIT)

    def loss(
        self,
        context: Float[Tensor, "B N W"],
        actions: Float[Tensor, "B T D"],
        padded: Bool[Tensor, "B T"],
        scales: Int[Tensor, " B"],
        noise: Float[Tensor, "B T D"],
    ) -> Float[Tensor, " B"]:
        """ρ(w(σ) |f(a + σz, σ) − a|²) per value with w = σ⁻² + σ_d⁻², over the steps that are not padding.

        ρ(e²) = √(e² + c²) − c. `scales` numbers the 40 scales, `noise` is z. Sum over dims and steps / their count:
        the mean keeps its size whatever H and D are (ours; a constant factor).
        """
        sigma = self.sigmas[scales]
        target = actions.float()
        predicted = self(context, target + sigma[:, None, None] * noise, sigma).float()
        weight = sigma**-2 + SIGMA_DATA**-2
        kept = (~padded)[:, :, None].float()
        error = torch.sqrt(weight[:, None, None] * (predicted - target) ** 2 + FORGIVING**2) - FORGIVING
        return (error * kept).sum(dim=(1, 2)) / (kept.sum(dim=(1, 2)) * target.shape[2]).clamp(1)

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Int[Tensor, " B"], Float[Tensor, "B T D"]]:
        """Scales and noise for `loss`, on the CPU, so that a seed means the same on any device."""
        scales = torch.randint(0, SCALES, (rows,), generator=generator)
        loudest = torch.rand(rows, generator=generator) < LOUDEST_SHARE
        shape = (rows, self.places.shape[0], self.outward.out_features)
        return torch.where(loudest, 0, scales), torch.randn(shape, generator=generator)

    def _network(self, context: Tensor, scaled: Tensor, sigma: Tensor) -> Tensor:
        time = self.time(sinusoids(TIME_RATE * torch.log(sigma), self.places.shape[1]))
        x = self.inward(scaled) + self.places + time[:, None]
        for layer in self.layers:
            assert isinstance(layer, Layer)
            x = layer(x, layer.memory_attention.keys_values(context))
        return self.outward(self.norm(x))
