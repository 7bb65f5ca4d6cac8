"""Starts in, finished rollouts out, on the machines of a Ray cluster: each worker has its own world and policy.

`ray` is an optional extra. An episode depends on its start and the seed alone, so a map mined on many machines is the
map that one machine mines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hardware.bench.tasks.start import TaskStart
from hardware.errors import BadInput
from rl_online.learning.env import ChunkEnv
from rl_online.learning.presets import Rewards
from rl_online.learning.rollout import Rollout, run_episodes
from rl_online.worlds.open_world import WorldChoice, open_world
from vla.policy_file import load_policy

AT_ONCE = 4
"""Starts handed to a worker in one piece: so many are run again after a worker is lost."""
Runner = Callable[[Sequence[TaskStart], Callable[[Rollout], None]], None]
"""Runs one episode from each start and hands each over when it is over, numbered by its start."""


class RolloutWorker:
    """Lives in a Ray actor. The policy's folder and the bundle must be readable there under the same paths."""

    def __init__(self, policy: str, choice: str, gamma: float) -> None:
        self._policy = load_policy(Path(policy))
        world = open_world(WorldChoice.model_validate_json(choice), 1)
        self._env = ChunkEnv(world, self._policy.interface, Rewards(), gamma)

    def run(self, numbers: list[int], starts: list[str], seed: int) -> list[tuple[int, bool, bool, int]]:
        """Number, success, timed out and steps of each."""
        found: list[tuple[int, bool, bool, int]] = []

        def note(rollout: Rollout) -> None:
            found.append((numbers[rollout.number], rollout.success, rollout.timed_out, rollout.steps))

        parsed = [TaskStart.model_validate_json(start) for start in starts]
        run_episodes(self._env, self._policy, parsed, seed, note)
        return found


class RayRunner:
    """A `Runner` on the cluster at `address` (`local` starts one on this machine)."""

    def __init__(
        self, address: str, workers: int, policy: Path, choice: WorldChoice, gamma: float, seed: int
    ) -> None:
        """Raises `BadInput` without Ray, and where no cluster answers."""
        try:
            import ray  # type: ignore[import-not-found]  # an optional extra
        except ImportError as error:
            raise BadInput("Ray is not installed", "make setup EXTRAS=ray") from error
        self._ray: Any = ray
        self._seed = seed
        try:
            ray.init(address=None if address == "local" else address, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, ValueError) as error:
            raise BadInput(f"no Ray cluster at {address}: {error}", "ray start --head, or --ray local") from error
        remote = ray.remote(num_cpus=1)(RolloutWorker)
        words = (str(policy.absolute()), choice.model_dump_json(), gamma)
        self._workers = [remote.remote(*words) for _ in range(workers)]

    def __call__(self, starts: Sequence[TaskStart], on_done: Callable[[Rollout], None]) -> None:
        """Whoever is done takes the next piece."""
        waiting = [list(range(at, min(at + AT_ONCE, len(starts)))) for at in range(0, len(starts), AT_ONCE)][::-1]
        working: dict[Any, Any] = {}
        idle = list(self._workers)
        while waiting or working:
            while waiting and idle:
                numbers, worker = waiting.pop(), idle.pop()
                words = [starts[number].model_dump_json() for number in numbers]
                working[worker.run.remote(numbers, words, self._seed)] = worker
            [done], _ = self._ray.wait(list(working), num_returns=1)
            idle.append(working.pop(done))
            for number, success, timed_out, steps in self._ray.get(done):
                on_done(Finished(number, starts[number], success=success, timed_out=timed_out, executed=steps))

    def close(self) -> None:
        self._ray.shutdown()


class Finished(Rollout):
    """A rollout whose chunks stayed where it was run."""

    def __init__(self, number: int, start: TaskStart, *, success: bool, timed_out: bool, executed: int) -> None:
        super().__init__(number, start, success=success, timed_out=timed_out)
        self._executed = executed

    @property
    def steps(self) -> int:
        return self._executed
