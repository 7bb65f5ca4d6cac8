"""Where chunks come from: the bench's demonstrator, or a policy server. One observation in, one chunk out."""

from __future__ import annotations

from typing import Protocol

from hardware.cell import CellConfig
from hardware.cell_devices import ServerPolicy
from hardware.messages import ActionChunk, Observation


class ChunkSource(Protocol):
    """One thread."""

    def begin(self) -> None:
        """A new episode."""
        ...

    def ask(self, observation: Observation) -> ActionChunk:
        """Raises `TandemError` when there is none now; asking again is then right."""
        ...

    def close(self) -> None: ...


class ServerSource:
    """Asks a policy server; `vla.client` connects again by itself."""

    def __init__(self, cell: CellConfig, policy: ServerPolicy) -> None:
        from vla import exchange
        from vla.client import PolicyClient, read_token

        self._exchange = exchange
        self._wanted = exchange.Facts(
            cell.action_names, policy.rate_hz, policy.horizon, cameras=tuple(cell.cameras)
        )
        token = read_token(policy.token_file)
        self._client = PolicyClient(policy.host, policy.port, token, reply_timeout_s=policy.timeout_s)

    def begin(self) -> None:
        self._client.reset()

    def ask(self, observation: Observation) -> ActionChunk:
        answer = self._client.infer(self._exchange.message(observation))
        said = self._exchange.facts(self._client.metadata())
        return self._exchange.chunk(answer, observation.stamp_ns, self._wanted, said)

    def close(self) -> None:
        self._client.close()


def choose(cell: CellConfig) -> ChunkSource:
    if isinstance(cell.policy, ServerPolicy):
        return ServerSource(cell, cell.policy)
    raise SystemExit("later")
