"""Questions of several clients → one call of the policy, in a thread of its own; each gets its own answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from hardware.errors import TandemError
from vla.served import BatchedPolicy, ServedPolicy


@dataclass(frozen=True)
class Answer:
    message: dict
    infer_ms: float
    """Of the whole batch."""
    queue_ms: float
    batch: int
    """How many questions were answered together."""


@dataclass(eq=False)
class _Question:
    policy: ServedPolicy
    observation: dict
    answer: asyncio.Future[Answer]
    asked_s: float = field(default_factory=time.monotonic)


class Batcher:
    """The queue before a policy. `answer` may wait for `window_s` more than the policy takes, never for a lone client.

    A policy that cannot batch gets one question at a time. All calls of it come from one thread.
    """

    def __init__(self, policy: ServedPolicy, window_s: float) -> None:
        self._policy = policy
        self._window_s = window_s
        self._largest = policy.largest_batch if isinstance(policy, BatchedPolicy) else 1
        self._queue: asyncio.Queue[_Question] = asyncio.Queue()
        self._open: set[asyncio.Future[Answer]] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="policy")
        self.clients = 0
        """How many may ask: when that many wait, no other question can come."""

    async def answer(self, policy: ServedPolicy, observation: dict) -> Answer:
        """`policy` is this client's session. Raises what the policy raised on this observation."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        self._queue.put_nowait(_Question(policy, observation, future))
        return await future

    async def run(self) -> None:
        """Answers until cancelled; who still waits then gets an error."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                batch = [question for question in await self._collect() if not question.answer.done()]
                if batch:  # a client that left meanwhile has cancelled its own
                    began_s = time.monotonic()
                    outcomes = await loop.run_in_executor(self._thread, _outcomes, batch)
                    _deliver(batch, outcomes, began_s)
        finally:
            for future in list(self._open):
                future.set_exception(TandemError("the policy server is shutting down"))
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _collect(self) -> list[_Question]:
        batch = [await self._queue.get()]
        until_s = time.monotonic() + self._window_s
        while len(batch) < min(self._largest, self.clients):
            try:
                batch.append(self._queue.get_nowait())
                continue
            except asyncio.QueueEmpty:
                left_s = until_s - time.monotonic()
            if left_s <= 0:
                break
            with contextlib.suppress(TimeoutError):
                batch.append(await asyncio.wait_for(self._queue.get(), left_s))
        return batch


def _outcomes(batch: Sequence[_Question]) -> list[dict | Exception]:
    """An answer or an error for each. One bad observation does not cost the others their answer."""
    policy = batch[0].policy
    if len(batch) > 1 and isinstance(policy, BatchedPolicy):
        try:
            answers = list(policy.infer_batch([question.observation for question in batch]))
            if len(answers) == len(batch):
                return list(answers)
        except Exception:
            pass  # whose fault it was shows when each is asked alone
    return [_outcome(question) for question in batch]


def _outcome(question: _Question) -> dict | Exception:
    try:
        return question.policy.infer(question.observation)
    except Exception as error:
        return error


def _deliver(batch: Sequence[_Question], outcomes: Sequence[dict | Exception], began_s: float) -> None:
    took_ms = (time.monotonic() - began_s) * 1e3
    for question, outcome in zip(batch, outcomes, strict=True):
        if question.answer.done():
            continue
        if isinstance(outcome, Exception):
            question.answer.set_exception(outcome)
        else:
            queue_ms = (began_s - question.asked_s) * 1e3
            question.answer.set_result(Answer(outcome, took_ms, queue_ms, len(batch)))
