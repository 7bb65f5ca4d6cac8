"""The referee of a guided run: starts drawn from the plan and verified in the picture, success by a learned judge.

Pictures come in from the cell's topics (`Views`). On the bench a scripted stand-in for a person places the object, off
by some error, and moves it as it is told; on a real cell the words go to the log and the page, and it waits.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from hardware import announcement
from hardware import config as configs
from hardware.bench.tasks.start import TaskStart
from hardware.cell import CellConfig
from hardware.page.finder import Finder
from hardware.spatial import Pose
from rl_online.lines import add_line
from rl_online.real_config import AUDIT, GUIDANCE, PAUSE, PLAN, STARTS, Guidance, Judged, PreparedStart
from rl_online.real_views import Over, Views
from rl_online.resets import ResetPlan
from rl_online.reward import Judge, load_reward

log = logging.getLogger(__name__)

LOOK_S, PERSON_S = 0.1, 1.0
FRESH_S = 0.35
"""After something was moved, for a picture that shows it (the camera's latency and period)."""
LONGEST_LOOK_S = 5.0


@runtime_checkable
class Places(Protocol):
    """Whoever puts the object at its start, and knows or does not know the truth."""

    who: Literal["scripted", "human"]
    patient: bool
    """True: looks are repeated until it is right; False: after some looks another start is drawn."""

    def put(self, wanted: TaskStart, rng: np.random.Generator) -> None:
        """A new episode: the arm goes home, the object to its start."""
        ...

    def correct(self, wanted: TaskStart, seen: TaskStart | None, rng: np.random.Generator) -> None: ...

    def truth(self) -> bool | None:
        """Whether the task is done now; None: nobody knows. For the audit alone."""
        ...

    def close(self) -> None: ...


class StandIn:
    """The bench's: it places with an error and, told where the object was seen, moves it by the difference."""

    who: Literal["scripted", "human"] = "scripted"
    patient = False

    def __init__(self, cell: CellConfig, error_mm: float, error_deg: float) -> None:
        from hardware.bench.link import PlantLink

        self._link = PlantLink(cell.plant_name)
        self._error = error_mm * 1e-3, math.radians(error_deg)
        self._at: TaskStart | None = None

    def put(self, wanted: TaskStart, rng: np.random.Generator) -> None:
        self._at = self._link.reset(_shifted(wanted, rng.normal(size=3), *self._error))

    def correct(self, wanted: TaskStart, seen: TaskStart | None, rng: np.random.Generator) -> None:
        """A fifth of its first error remains in each move. What nobody sees is put anew."""
        if self._at is None or seen is None:
            self.put(wanted, rng)
            return
        moved = TaskStart(
            x_m=self._at.x_m + wanted.x_m - seen.x_m,
            y_m=self._at.y_m + wanted.y_m - seen.y_m,
            yaw_rad=self._at.yaw_rad + wanted.yaw_rad - seen.yaw_rad,
        )
        self._at = self._link.place(_shifted(moved, 0.2 * rng.normal(size=3), *self._error))

    def truth(self) -> bool | None:
        return self._link.success()

    def close(self) -> None:
        self._link.close()


class Person:
    """A real cell's: told by the log and the page where the object belongs, and trusted by nobody but the camera."""

    who: Literal["scripted", "human"] = "human"
    patient = True

    def put(self, wanted: TaskStart, rng: np.random.Generator) -> None:
        """The words of `GuidedReferee.reset` are for them."""

    def correct(self, wanted: TaskStart, seen: TaskStart | None, rng: np.random.Generator) -> None:
        time.sleep(PERSON_S)

    def truth(self) -> bool | None:
        return None

    def close(self) -> None:
        """Nothing is held."""


def referee(cell: CellConfig, run: Path, views: Views, is_closing: Callable[[], bool]) -> GuidedReferee:
    """Of a guided run's folder. On the bench a stand-in places the object, elsewhere a person."""
    checks = configs.read(Guidance, run / GUIDANCE).checks
    stand_in = cell.bench is not None
    places = StandIn(cell, checks.stand_in_mm, checks.stand_in_deg) if stand_in else Person()
    return GuidedReferee(run, places, views, is_closing)


class GuidedReferee:
    """A `Referee`. Everything it learns goes into the run folder line by line."""

    def __init__(self, run: Path, places: Places, views: Views, is_closing: Callable[[], bool]) -> None:
        self.guidance = configs.read(Guidance, run / GUIDANCE)
        self._run, self._places, self._views, self._is_closing = run, places, views, is_closing
        self.judge = Judge(load_reward(self.guidance.reward))
        guide = self.guidance.guide
        eye = Pose("base", "cam", np.array(guide.T_base_cam))
        size_m = np.array(guide.size_m)
        self.finder = Finder(guide.intrinsics, eye, size_m, guide.centre_z_m, self.guidance.colours.rgb)
        self._episode: int | None = None
        self._last_ns = 0
        self._highest, self._truth, self._true_ever = 0.0, False, False

    def reset(self, seed: int) -> None:
        """`seed` is the episode's number. Returns once the object stands where the plan wants it."""
        self._write_audit(judged=False)
        self._wait_while_paused()
        self._require_budget()
        checks = self.guidance.checks
        plan = configs.read(ResetPlan, self._run / PLAN).but(guided=self.guidance.guided)
        attempt = 0
        while True:
            rng = np.random.default_rng([self.guidance.seed, seed, attempt])
            number, wanted = plan.draw(rng)
            prepared = self._prepare(seed, number, wanted, rng)
            if prepared is not None:
                break
            attempt += 1
            log.warning("start %d was not reached in %d looks; another is drawn", seed, checks.most_looks)
        add_line(self._run / STARTS, prepared)
        self.judge.begin()
        self._episode, self._last_ns = seed, time.monotonic_ns()
        self._highest, self._truth, self._true_ever = 0.0, False, False

    def has_succeeded(self) -> bool | None:
        """By the judge, on pictures that it has not seen yet."""
        cameras = self.judge.model.manifest.view.cameras
        pictures = self._views.newer(cameras, self._last_ns, LOOK_S)
        if pictures is None or self._episode is None:
            return False
        self._last_ns = max(picture.stamp_ns for picture in pictures.values())
        done = self.judge.see(self._last_ns, {name: picture.rgb for name, picture in pictures.items()})
        truth = self._places.truth()
        self._truth = bool(truth)
        self._true_ever = self._true_ever or self._truth
        self._highest = max(self._highest, self.judge.probability)
        if done:
            self._write_audit(judged=True)
        return done

    def close(self) -> None:
        """An episode that the end of the run cuts short is not audited: it is run again."""
        self._places.close()

    def _prepare(
        self, episode: int, number: int, wanted: TaskStart, rng: np.random.Generator
    ) -> PreparedStart | None:
        """None: it was not brought within the tolerance, and nobody waits for ever."""
        checks = self.guidance.checks
        self._places.put(wanted, rng)
        looks = 0
        while not self._is_closing():
            looks += 1
            seen = self._look()
            if seen is not None and self._is_there(wanted, seen):
                off_mm, off_deg = off(wanted, seen, self.finder.symmetry_rad)
                return PreparedStart(
                    episode=episode,
                    cell=number,
                    wanted=wanted,
                    seen=seen,
                    looks=looks,
                    off_mm=off_mm,
                    off_deg=off_deg,
                    placed_by=self._places.who,
                )
            log.info("start %d, look %d: %s", episode, looks, words(self.guidance.guide.object_name, wanted, seen))
            if looks >= checks.most_looks and not self._places.patient:
                return None
            known = None if seen is None else _nearest_turn(seen, wanted, self.finder.symmetry_rad)
            self._places.correct(wanted, known, rng)
        raise Over("the run was stopped", "the same command goes on")

    def _is_there(self, wanted: TaskStart, seen: TaskStart) -> bool:
        off_mm, off_deg = off(wanted, seen, self.finder.symmetry_rad)
        return off_mm <= self.guidance.checks.tolerance_mm and off_deg <= self.guidance.checks.tolerance_deg

    def _look(self) -> TaskStart | None:
        """Where the camera sees the object, in a picture made after now."""
        camera, now_ns = self.guidance.guide.camera, time.monotonic_ns()
        time.sleep(FRESH_S)
        pictures = self._views.newer((camera,), now_ns + round(0.15e9), LONGEST_LOOK_S)
        if pictures is None:
            return None
        sighting = self.finder.find(pictures[camera].rgb)
        return None if sighting is None else sighting.start

    def _wait_while_paused(self) -> None:
        told = False
        while (self._run / PAUSE).exists() and not self._is_closing():
            if not told:
                log.info("paused: remove %s to go on", self._run / PAUSE)
            told = True
            time.sleep(0.5)

    def _require_budget(self) -> None:
        results = announcement.results(self._run)
        spent_s = sum(result.duration_s for result in results)
        enough = 0 < self.guidance.episodes <= len(results)
        if enough or spent_s >= 60 * self.guidance.minutes or self._is_closing():
            raise Over(f"{len(results)} episodes in {spent_s / 60:.1f} robot minutes")

    def _write_audit(self, judged: bool) -> None:
        """Once for each episode."""
        episode, self._episode = self._episode, None
        if episode is None:
            return
        known = self._places.who == "scripted"
        said = Judged(
            episode=episode,
            judged=judged,
            highest=round(self._highest, 4),
            true_now=self._truth if known else None,
            true_ever=self._true_ever if known else None,
        )
        add_line(self._run / AUDIT, said)


def off(wanted: TaskStart, seen: TaskStart, symmetry_rad: float) -> tuple[float, float]:
    """(mm, degrees) between the two, turns counted up to the object's symmetry."""
    away_mm = 1e3 * math.hypot(seen.x_m - wanted.x_m, seen.y_m - wanted.y_m)
    turned = seen.yaw_rad - wanted.yaw_rad
    turned -= symmetry_rad * round(turned / symmetry_rad)
    return away_mm, abs(math.degrees(turned))


def words(name: str, wanted: TaskStart, seen: TaskStart | None) -> str:
    """How to move it, as a person who looks along the arm's x axis understands it."""
    if seen is None:
        return f"the {name} is not to be seen: put it at x {1e3 * wanted.x_m:.0f} mm, y {1e3 * wanted.y_m:.0f} mm"
    dx_mm, dy_mm = 1e3 * (wanted.x_m - seen.x_m), 1e3 * (wanted.y_m - seen.y_m)
    ahead = f"{abs(dx_mm):.0f} mm {'away from' if dx_mm > 0 else 'towards'} the arm"
    aside = f"{abs(dy_mm):.0f} mm to the {'left' if dy_mm > 0 else 'right'}"
    turn = math.degrees(wanted.yaw_rad - seen.yaw_rad)
    return f"move the {name} {ahead} and {aside}; turned it should be {turn:+.0f}°"


def _nearest_turn(seen: TaskStart, wanted: TaskStart, symmetry_rad: float) -> TaskStart:
    """The same sighting, its yaw named as near as its symmetry allows to the wanted one."""
    turned = seen.yaw_rad - wanted.yaw_rad
    return seen.but(yaw_rad=seen.yaw_rad - symmetry_rad * round(turned / symmetry_rad))


def _shifted(start: TaskStart, unit: np.ndarray, error_m: float, error_rad: float) -> TaskStart:
    dx, dy, turn = unit.tolist()
    return TaskStart(
        x_m=start.x_m + dx * error_m, y_m=start.y_m + dy * error_m, yaw_rad=start.yaw_rad + turn * error_rad
    )
