"""What both ways of training share: steps that are counted, timed, evaluated, kept, and gone on with after a stop."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from hardware.errors import TandemError
from hardware.progress import progress
from vla import training_state
from vla.optimisation import OutOfMemory, halved
from vla.run_folder import WORK, TrainingRun

log = logging.getLogger(__name__)


class Diverged(TandemError):
    """The loss is no longer finite."""


@contextlib.contextmanager
def patient_interrupt() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is noted only, since half a step must not be kept; the second one ends the program at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked: list[int] = []

    def note(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        log.info("ending after the step in hand")

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)


class LongRun(ABC):
    """A run's loop. `save` and what a subclass restores must make a stopped run the unbroken one."""

    doing: str
    """For the progress line: "training"."""
    lighter = "take a smaller architecture or image_px"
    """What to do where not even one window fits the device's memory."""

    def __init__(self, config: TrainingRun, steps: int, every_steps: int, batch: int, processes: int = 1) -> None:
        """`every_steps`: between evaluations; there is one after the last step, too. `processes`: that learn together,
        each from `batch` windows."""
        self._config, self.steps, self._every_steps = config, steps, every_steps
        self._whole_batch, self._processes = batch, processes
        self.step_count, self.seconds, self.batch = 0, 0.0, batch

    @abstractmethod
    def step(self) -> float:
        """One update and its number for the progress line. A function of the step, so a resumed run goes on exactly."""

    @abstractmethod
    def evaluate(self) -> object:
        """A point of the curve; the policy is written when it is the best so far."""

    @abstractmethod
    def save(self) -> None:
        """The whole state, in `file`."""

    @abstractmethod
    def said(self, number: float) -> str:
        """The progress line after a step that gave `number`."""

    @property
    def stalled(self) -> bool:
        """Nothing gets better: the run ends before its last step."""
        return False

    @property
    def file(self) -> Path:
        return self._config.output / WORK / training_state.NAME

    def take_steps(self) -> None:
        """All that are left, or until it is stalled. Ctrl-C ends it between two steps, with its state kept."""
        before, began = self.seconds, time.monotonic()
        saved = began
        with progress(self.doing, self.steps, self.step_count) as advance, patient_interrupt() as asked_to_stop:
            while self.step_count < self.steps and not self.stalled and not asked_to_stop():
                number = self.step()
                advance(self.said(number))
                self.seconds = before + time.monotonic() - began
                if self.step_count % self._every_steps == 0 or self.step_count == self.steps:
                    self.evaluate()
                if time.monotonic() >= saved + self._config.checkpoint_every_s:
                    saved = time.monotonic()
                    self.save()
            self.save()
            if asked_to_stop():
                raise KeyboardInterrupt

    def fitting[T](self, update: Callable[[int], T], forget: Callable[[], None]) -> T:
        """`update(batch)`, the batch halved until the device's memory holds it; `forget` drops half-made gradients."""
        while True:
            try:
                return update(self.batch)
            except torch.OutOfMemoryError as error:
                if self._processes > 1:  # the others would wait for ever
                    raise OutOfMemory(
                        f"a batch of {self.batch} does not fit this process's GPU",
                        f"--optimisation.batch {halved(self.batch, self.lighter)} in a new folder",
                    ) from error
                forget()
                self.batch = halved(self.batch, self.lighter)
                log.warning("out of GPU memory: from here on the batch is %d", self.batch)
                empty_cache()

    def measured[T](self, measure: Callable[[int], T], rows: int) -> T:
        """`measure(windows at a time)`: `rows`, or no more than in training where memory has run out before; halved
        until they fit."""
        rows = rows if self.batch == self._whole_batch else min(rows, self.batch)
        while True:
            try:
                return measure(rows)
            except torch.OutOfMemoryError:
                rows = halved(rows, self.lighter)
                log.warning("out of GPU memory: measuring %d windows at a time", rows)
                empty_cache()


def empty_cache() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
