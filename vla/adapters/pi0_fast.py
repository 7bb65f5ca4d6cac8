"""LeRobot's π0-FAST as a `TokenPolicy`, which LifeLong-RFT needs; its FAST tokens as `vla.fast_tokens` reads them.

Its network speaks PaliGemma's words; an action token t of FAST is the word `words − 1 − skipped − t`, and "|" ends a
chunk. Only these can be said here: the distribution is taken over the action tokens and the end mark, after
"Action: ", which LeRobot lets the network say for itself. Sampling caches keys and values; the attention is that of
training (what is said attends to all before it), so both give the same probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor, nn

from vla.adapters.lerobot_policy import LerobotBatch, LerobotPolicy, Process
from vla.fast_tokens import FastTokens
from vla.normalise import Normaliser
from vla.policy import Batch, Interface, Losses, ObservationBatch, Samples
from vla.token_head import Choose, sampling, surest_whole_chunk

WORDS, WORD_MASK = "observation.language.tokens", "observation.language.attention_mask"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words that the network may say, in the order of FAST's tokens, then the end mark."""

    said: Int[Tensor, " V"]
    prefix: Int[Tensor, " P"]
    """What stands before the first of them: the begin mark and "Action: "."""

    @classmethod
    def of(cls, tokenizer: Any, skipped: int, fast_tokens: int) -> Vocabulary:
        last = tokenizer.vocab_size - 1 - skipped
        actions = [last - token for token in range(fast_tokens)]
        end = tokenizer.convert_tokens_to_ids("|")
        prefix = [tokenizer.bos_token_id, *tokenizer.encode("Action: ", add_special_tokens=False)]
        return cls(torch.tensor([*actions, end]), torch.tensor(prefix))


class Pi0FastPolicy(LerobotPolicy):
    """`policy.model` is LeRobot's network. Deterministic `act`: the likeliest tokens that make a whole chunk."""

    def __init__(
        self,
        policy: nn.Module,
        preprocess: Process,
        postprocess: Process,
        interface: Interface,
        fast: FastTokens,
        vocabulary: Vocabulary,
        actions: Normaliser,
    ) -> None:
        super().__init__(policy, preprocess, postprocess, interface)
        self.fast, self.actions = fast, actions
        self._said: Tensor
        self._prefix: Tensor
        self.register_buffer("_said", vocabulary.said, persistent=False)
        self.register_buffer("_prefix", vocabulary.prefix, persistent=False)

    @property
    def end(self) -> int:
        """The end mark's place among the tokens: behind FAST's own."""
        return self.fast.vocabulary

    @property
    def _network(self) -> Any:
        return self.policy.model

    @torch.no_grad()
    def act(self, observations: ObservationBatch, seed: int = 0) -> Float[ndarray, "B T D"]:
        coefficients = self.interface.horizon_steps * self.interface.action_dims
        choose = surest_whole_chunk(torch.from_numpy(self.fast.symbols_per_token), coefficients)
        tokens, _, _ = self._speak(self._preprocess(self._seen(observations)), choose, 1.0, coefficients + 1)
        return self.detokenise(self.cut(tokens), observations.datasets)[0]

    @torch.no_grad()
    def sample(self, observations: ObservationBatch, n: int, temperature: float, seed: int) -> Samples:
        batch = repeated(self._preprocess(self._seen(observations)), n)
        most = self.interface.horizon_steps * self.interface.action_dims + 1
        tokens, chosen, mask = self._speak(batch, sampling(temperature, seed), temperature, most)
        shape = (len(observations), n)
        return Samples(tokens.unflatten(0, shape), chosen.unflatten(0, shape), mask.unflatten(0, shape))

    def log_probabilities(
        self, observations: ObservationBatch, tokens: Int[Tensor, "B n L"], temperature: float
    ) -> Float[Tensor, "B n L"]:
        batch = repeated(self._preprocess(self._seen(observations)), tokens.shape[1])
        flat = tokens.flatten(0, 1).to(self._said.device)
        mask = self._spoken(flat)
        words = torch.cat([self._begun(len(flat)), self._said[flat[:, :-1]]], dim=1)
        hidden, _, _ = self._read(batch, words, cached=False)
        distribution = torch.log_softmax(self._logits(hidden[:, -flat.shape[1] :]) / temperature, dim=-1)
        chosen = distribution.gather(2, flat[:, :, None]).squeeze(2) * mask
        return chosen.unflatten(0, tokens.shape[:2])

    def loss(self, batch: Batch, seed: int) -> Losses:
        """Mean −log p of the demonstrated chunks' tokens, the end mark included."""
        ids = self.tokenise(batch.actions, batch.observations.datasets)
        longest = max(map(len, ids)) + 1
        rows = torch.tensor([[*row, *[self.end] * longest][:longest] for row in ids])
        chosen = self.log_probabilities(batch.observations, rows[:, None], 1.0)[:, 0]
        total = (-chosen.sum(dim=1) / self._spoken(rows.to(chosen.device)).sum(dim=1)).mean()
        return Losses(total, {"token": float(total.detach()), "total": float(total.detach())})

    def embed(self, observations: ObservationBatch) -> Float[Tensor, "B E"]:
        """What the network has made of all that it sees, at the place where it begins to speak."""
        batch = self._preprocess(self._seen(observations))
        hidden, _, _ = self._read(batch, self._begun(len(observations)), cached=False)
        return hidden[:, -1].float()

    def tokenise(self, actions: Float[ndarray, "B T D"], datasets: Sequence[str] = ()) -> list[list[int]]:
        return self.fast.encode(self.actions.normalise(actions, datasets))

    def detokenise(
        self, tokens: Sequence[Sequence[int]], datasets: Sequence[str] = ()
    ) -> tuple[Float[ndarray, "B T D"], Bool[ndarray, " B"]]:
        decoded = self.fast.decode(tokens)
        return self.actions.denormalise(decoded.values, datasets), decoded.valid

    def cut(self, tokens: Int[Tensor, "R L"]) -> list[list[int]]:
        return [row[: row.index(self.end)] if self.end in row else row for row in tokens.tolist()]

    # ── the network ─────────────────────────────────────────────────────────────────────────────────────────

    def _speak(
        self, batch: LerobotBatch, choose: Choose, temperature: float, most: int
    ) -> tuple[Int[Tensor, "R L"], Float[Tensor, "R L"], Bool[Tensor, "R L"]]:
        """Tokens, their log-probabilities and which of them were drawn."""
        rows = len(batch[WORDS])
        hidden, cache, padding = self._read(batch, self._begun(rows), cached=True)
        said = torch.zeros(rows, 0, dtype=torch.long, device=hidden.device)
        chosen: list[Tensor] = []
        ended = torch.zeros(rows, dtype=torch.bool, device=hidden.device)
        for _ in range(most):
            logits = self._logits(hidden[:, -1])
            token = choose(logits, said).masked_fill(ended, self.end)
            distribution = torch.log_softmax(logits / temperature, dim=-1)
            chosen.append(distribution.gather(1, token[:, None]).squeeze(1) * ~ended)
            said = torch.cat([said, token[:, None]], dim=1)
            ended = ended | (token == self.end)
            if bool(ended.all()):
                break
            hidden, cache, padding = self._hear(self._said[token][:, None], cache, padding)
        return said, torch.stack(chosen, dim=1), self._spoken(said)

    def _read(
        self, batch: LerobotBatch, words: Int[Tensor, "R L"], cached: bool
    ) -> tuple[Float[Tensor, "R N W"], Any, Bool[Tensor, "R N"]]:
        """Pictures, instruction and the words said so far → hidden states, cache, and which places are real."""
        policy: Any = self.policy
        pictures, picture_masks = policy._preprocess_images(batch)
        real = torch.ones_like(words, dtype=torch.bool)
        embedded, padding, attention, _, _ = self._network.embed_prefix_fast(
            pictures, picture_masks, batch[WORDS], batch[WORD_MASK].bool(), words, real
        )
        embedded = embedded.to(self._dtype)
        places = padding.cumsum(dim=1) - 1
        (hidden, _), cache = self._network.paligemma_with_expert.forward(
            attention_mask=as_bias(attention, embedded.dtype),
            position_ids=places,
            past_key_values=None,
            inputs_embeds=[embedded, None],
            use_cache=cached,
            adarms_cond=[None, None],
        )
        return hidden, cache, padding

    def _hear(
        self, word: Int[Tensor, "R 1"], cache: Any, padding: Bool[Tensor, "R N"]
    ) -> tuple[Float[Tensor, "R 1 W"], Any, Bool[Tensor, "R M"]]:
        """One more word, with the keys and values of those before."""
        network = self._network.paligemma_with_expert
        padding = torch.cat([padding, torch.ones_like(word, dtype=torch.bool)], dim=1)
        embedded = network.embed_language_tokens(word).to(self._dtype)
        (hidden, _), cache = network.forward(
            attention_mask=as_bias(padding[:, None], embedded.dtype),
            position_ids=padding.sum(dim=1, keepdim=True) - 1,
            past_key_values=cache,
            inputs_embeds=[embedded, None],
            use_cache=True,
            adarms_cond=[None, None],
        )
        return hidden, cache, padding

    def _logits(self, hidden: Float[Tensor, "*R W"]) -> Float[Tensor, "*R V"]:
        """Over FAST's tokens and the end mark: their rows of the output layer only, unless an adapter is in it."""
        head = self._network.paligemma_with_expert.paligemma.lm_head
        if type(head) is not nn.Linear:
            return head(hidden)[..., self._said].float()
        return (hidden @ head.weight[self._said].T).float()

    @property
    def _dtype(self) -> torch.dtype:
        return self._network.paligemma_with_expert.paligemma.lm_head.weight.dtype

    def _begun(self, rows: int) -> Int[Tensor, "R P"]:
        return self._prefix.expand(rows, -1)

    def _spoken(self, tokens: Int[Tensor, "R L"]) -> Bool[Tensor, "R L"]:
        """True up to and with each row's first end mark."""
        ends = (tokens == self.end).long()
        return (ends.cumsum(dim=1) - ends) == 0


def repeated(batch: LerobotBatch, n: int) -> LerobotBatch:
    """Each row n times over."""
    return {
        key: value.repeat_interleave(n, dim=0) if isinstance(value, Tensor) and value.ndim else value
        for key, value in batch.items()
    }


def as_bias(allowed: Bool[Tensor, "R Q K"], dtype: torch.dtype) -> Float[Tensor, "R 1 Q K"]:
    """0 where attention is allowed, openpi's large negative number elsewhere."""
    return torch.where(allowed[:, None], 0.0, -2.3819763e38).to(dtype)
