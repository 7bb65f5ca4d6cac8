"""The referee of a guided run: starts drawn from the plan and verified in the picture, success by a learned judge.

Pictures come in from the cell's topics (`Views`). On the bench a scripted stand-in for a person places the object, off
by some error, and moves it as it is told; on a real cell the words go to the log and the page, and it waits.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hardware import announcement, artefact
from hardware import config as configs
from hardware.bench.tasks.start import TaskStart
from hardware.cell import CellConfig
from hardware.page.finder import Finder
from hardware.spatial import Pose
from rl_online.judge.model import Judge, load_reward
from rl_online.lines import add_line
from rl_online.real.backward import RunBackward
from rl_online.real.config import (
    AUDIT,
    BACKWARD,
    GUIDANCE,
    PAUSE,
    PLAN,
    STARTS,
    WANTED,
    BroughtBack,
    Guidance,
    Judged,
    PreparedStart,
)  # fmt: skip
from rl_online.real.places import Person, Places, StandIn
from rl_online.real.views import Over, Views
from rl_online.starts.regions import Cell, cell_of
from rl_online.starts.resets import ResetPlan

log = logging.getLogger(__name__)

LOOK_S = 0.1
FRESH_S = 0.35
"""After something was moved, for a picture that shows it (the camera's latency and period)."""
LONGEST_LOOK_S = 5.0
HOME = 0.12
"""So near to where it was when a person had first reset the cell, in every joint (rad) and in its gripper's opening,
the arm has come home."""
WAY_BACK = 97
"""Of the seeds: starts to which the robot brings the object are drawn from a stream of their own."""


def referee(
    cell: CellConfig, run: Path, views: Views, is_closing: Callable[[], bool], back: RunBackward
) -> GuidedReferee:
    """Of a guided run's folder. On the bench a stand-in places the object, elsewhere a person."""
    checks = configs.read(Guidance, run / GUIDANCE).checks
    stand_in = cell.bench is not None
    places = StandIn(cell, checks.stand_in_mm, checks.stand_in_deg) if stand_in else Person()
    return GuidedReferee(run, places, views, is_closing, back)


class GuidedReferee:
    """A `Referee`. Everything it learns goes into the run folder line by line.

    Where the run has a way back, a person resets the cell before the first episode and where the way back fails.
    """

    def __init__(
        self, run: Path, places: Places, views: Views, is_closing: Callable[[], bool], back: RunBackward
    ) -> None:
        self.guidance = configs.read(Guidance, run / GUIDANCE)
        self._run, self._places, self._views, self._is_closing = run, places, views, is_closing
        self._back, self._has_left_home = back, False
        self._home: Float[ndarray, " D"] | None = None
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
        plan = configs.read(ResetPlan, self._run / PLAN).but(guided=self.guidance.guided)
        prepared = self._bring_back(seed, plan) or self._have_placed(seed, plan)
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

    def _bring_back(self, episode: int, plan: ResetPlan) -> PreparedStart | None:
        """By the robot; None: there is no way back, nobody knows how the cell stands, or it failed."""
        way = self.guidance.way_back
        if way is None or self._home is None:
            return None
        rng = np.random.default_rng([self.guidance.seed, episode, WAY_BACK])
        number, wanted = plan.draw(rng)
        cells = [score.cell for score in plan.scores]
        artefact.write_model(self._run / WANTED, wanted)
        began_ns, self._has_left_home = time.monotonic_ns(), False
        self._back(episode, way.by, way.task, lambda: self._is_back(wanted, cells))
        if self._is_closing():
            raise Over("the run was stopped", "the same command goes on")
        took_s = (time.monotonic_ns() - began_ns) * 1e-9
        seen = self._look() if self._is_home() else None
        lies_in = None if seen is None else cell_under(seen, cells, self.finder.symmetry_rad)
        name = self.guidance.guide.object_name
        if seen is not None and self._is_there(wanted, seen):
            left = "as_wanted"
        elif lies_in is not None:
            left, number = "elsewhere", lies_in
            log.info(
                "start %d: the %s was left elsewhere in the plan's cells: the episode starts there", episode, name
            )
        else:
            left = "outside"
            log.info(
                "start %d: no %s seen in the plan's cells, or the arm is not home: a person is asked", episode, name
            )
        said = BroughtBack(
            episode=episode, by=way.by, began_ns=began_ns, duration_s=took_s, wanted=wanted, seen=seen, left=left
        )
        add_line(self._run / BACKWARD, said)
        if seen is None or left == "outside":
            return None
        off_mm, off_deg = off(wanted, seen, self.finder.symmetry_rad)
        return PreparedStart(
            episode=episode, cell=number, wanted=wanted, seen=seen, looks=1, off_mm=off_mm, off_deg=off_deg,
            placed_by="robot", took_s=took_s,
        )  # fmt: skip

    def _is_back(self, wanted: TaskStart, cells: Sequence[Cell]) -> bool:
        """The arm has come home and the object is where an episode may start."""
        if not self._is_home():
            self._has_left_home = True
            return False
        seen = self._look() if self._has_left_home else None
        if seen is None:
            return False
        return self._is_there(wanted, seen) or cell_under(seen, cells, self.finder.symmetry_rad) is not None

    def _is_home(self) -> bool:
        now, home = self._views.posture, self._home
        return now is not None and home is not None and float(np.abs(now - home).max()) < HOME

    def _have_placed(self, episode: int, plan: ResetPlan) -> PreparedStart:
        """By a person, or the stand-in for one."""
        began_s, attempt = time.monotonic(), 0
        while True:
            rng = np.random.default_rng([self.guidance.seed, episode, attempt])
            number, wanted = plan.draw(rng)
            prepared = self._prepare(episode, number, wanted, rng)
            if prepared is not None:
                if self._home is None:
                    self._home = self._views.posture
                return prepared.but(took_s=time.monotonic() - began_s)
            attempt += 1
            most = self.guidance.checks.most_looks
            log.warning("start %d was not reached in %d looks; another is drawn", episode, most)

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


def cell_under(seen: TaskStart, cells: Sequence[Cell], symmetry_rad: float) -> int | None:
    """The first cell that holds it in any of the turns that look the same; None: it lies outside all."""
    turns = round(2 * math.pi / symmetry_rad)
    alike = (seen.but(yaw_rad=seen.yaw_rad + turn * symmetry_rad) for turn in range(-turns, turns + 1))
    return next((number for start in alike if (number := cell_of(start, cells)) is not None), None)


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
