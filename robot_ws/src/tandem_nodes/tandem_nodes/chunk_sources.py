"""Where chunks come from: the bench's demonstrator, or a policy server. One observation in, one chunk out."""

from __future__ import annotations

from typing import Protocol

from hardware.cell import CellConfig
from hardware.cell_devices import BenchArm, ScriptedPolicy, ServerPolicy
from hardware.errors import BadInput
from hardware.messages import ActionChunk, Observation
from hardware.ports import JointReading


class ChunkSource(Protocol):
    """One thread."""

    def begin(self) -> None:
        """A new episode."""
        ...

    def ask(self, observation: Observation) -> ActionChunk:
        """Raises `TandemError` when there is none now; asking again is then right."""
        ...

    def close(self) -> None: ...


class ScriptedSource:
    """The bench's demonstrator, which is told the truth. On a faster clock it plans in the cell's own time."""

    def __init__(self, cell: CellConfig, policy: ScriptedPolicy) -> None:
        from hardware.bench.demonstrator import Demonstrator
        from hardware.bench.link import PlantLink

        if cell.bench is None or not isinstance(cell.arm, BenchArm):
            raise BadInput("policy 'scripted' reads the truth, which only the bench has")
        self._speed = cell.bench.speed
        rate_hz = policy.rate_hz / self._speed
        self._demonstrator = Demonstrator(
            cell.bench.task, cell.arm.model, rate_hz, policy.horizon, policy.aim_error, cell.bench.seed
        )
        self._link = PlantLink(cell.plant_name)

    def begin(self) -> None:
        self._demonstrator.forget()

    def ask(self, observation: Observation) -> ActionChunk:
        reading = JointReading(observation.stamp_ns, observation.joint_names, observation.q_rad)
        cell_ns, opening = round(observation.stamp_ns * self._speed), observation.gripper_open or 0.0
        chunk = self._demonstrator.chunk(cell_ns, reading, opening, self._link.truth())
        return ActionChunk(
            observation.stamp_ns, chunk.rate_hz * self._speed, chunk.space, chunk.names, chunk.values
        )

    def close(self) -> None:
        self._link.close()


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
    if isinstance(cell.policy, ScriptedPolicy):
        return ScriptedSource(cell, cell.policy)
    raise BadInput("the cell has no policy to ask: a person drives it alone")
