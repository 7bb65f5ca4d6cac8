"""What a guided run on a robot may be told, and the files of its folder by which its processes speak."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.page.ghost import Guide
from rl_online.learning.presets import PresetName
from rl_online.worlds.open_world import WorldChoice

SETTINGS, GUIDANCE, PLAN, CELL = "real.json", "guidance.json", "resets.json", "cell.json"
STARTS, AUDIT, GATES, RECREATED, REFUSED, SENT, BACKWARD = (
    f"{name}.jsonl" for name in ("starts", "audit", "gates", "recreated", "preflight", "sent", "backward")
)
SETTLED = "settled.json"
"""Up to which episode the gate has been asked, or there were no new weights to ask about."""
WANTED = "wanted.json"
"""The start to which the object is being brought back."""
LEARNER, EPISODES, ACCEPTED, POLICY, PAUSE = "learner", "episodes", "accepted.safetensors", "policy", "pause"


class ResetCheck(Config):
    """When a start counts as prepared."""

    tolerance_mm: PositiveFloat = 8.0
    tolerance_deg: PositiveFloat = 12.0
    """Up to the symmetry of the object's box."""
    most_looks: PositiveInt = 6
    """After so many on the bench, the start is given up and another is drawn."""
    stand_in_mm: NonNegativeFloat = 15.0
    """On the bench: how far off the scripted stand-in for a person puts the object at first (deviation per axis)."""
    stand_in_deg: NonNegativeFloat = 12.0


class GateChecks(Config):
    """Before new weights go to the robot."""

    trials: PositiveInt = 12
    """In the twin, of the old weights and of the new, from the same starts."""
    every_episodes: PositiveInt = 4
    """Robot episodes between two gates."""
    margin: float = Field(default=0.0, ge=0, lt=1)
    """A loss of success rate that is accepted."""
    confidence: float = Field(default=0.8, gt=0, lt=1)
    """Of the difference's interval. Few trials show little, so it is lower than for a report."""


class Colours(Config):
    """Samples of the object's RGB, by which it is found in the picture."""

    rgb: tuple[tuple[int, int, int], ...] = Field(min_length=8)


class WayBack(Config):
    """Who undoes the task after each episode, and the words for it."""

    by: Literal["policy", "scripted"]
    task: str
    """The instruction, by which the policy server tells the ways apart: never the task's own."""


class Guidance(Config):
    """All that the guided conductor and the policy server have to know."""

    reward: Path
    guide: Guide
    """What the object is and how the camera stands; its starts are not used."""
    colours: Colours
    checks: ResetCheck
    guided: bool
    minutes: PositiveFloat
    episodes: NonNegativeInt
    seed: NonNegativeInt
    way_back: WayBack | None = None
    """None: after each episode a person resets the cell."""


class PreparedStart(Config):
    """One line of starts.jsonl: where an episode began, by plan and as it was seen."""

    episode: int
    cell: int
    """Of the plan's cells."""
    wanted: TaskStart
    seen: TaskStart
    """By vision, when the episode began."""
    looks: int
    off_mm: float
    off_deg: float
    placed_by: Literal["scripted", "human", "robot"]
    """robot: by an episode in which it undid the task."""
    took_s: NonNegativeFloat = 0.0
    """Of whoever placed it, from the wish to the last look."""


class BroughtBack(Config):
    """One line of backward.jsonl: an attempt to undo the task, and what came of it."""

    episode: int
    """That it was to prepare."""
    by: Literal["policy", "scripted"]
    began_ns: int
    duration_s: float
    wanted: TaskStart
    seen: TaskStart | None
    """By vision, afterwards; None: not to be seen, or hidden by an arm that did not come home."""
    left: Literal["as_wanted", "elsewhere", "outside"]
    """elsewhere: in another place of the plan's cells, where the episode then starts; outside: a person is asked."""


class Judged(Config):
    """One line of audit.jsonl. The truth is the bench's, and nobody learns from it."""

    episode: int
    judged: bool
    highest: float
    """Of the judge's probabilities."""
    true_now: bool | None
    true_ever: bool | None


class GuideReal(Config):
    """Guided reinforcement learning on a cell: verified resets where the twin fails, a learned judge, a gate."""

    cell: Annotated[str, tyro.conf.Positional] = "bench"
    """A cell that ships, or the path of a cell file."""
    policy: Path
    """To start from (RUN/policy)."""
    plan: Path
    """Resets: `resets.json` of `tandem rl mine`."""
    reward: Path
    """The judge of success: `tandem rl reward train`."""
    demos: tuple[Path, ...] = Field(min_length=1)
    """Stores of demonstrations."""
    inherit: Path | None = None
    """A run of `tandem rl learn` in the twin, whose policy is `policy`: its critics are gone on with, what it was shown
    (demonstrations of the twin, help there) is shown here, too, and without `twin_successes` its newest successes seed
    what was tried. Else the robot's learner knows the robot's demonstrations alone, and may forget the twin's."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Run folder. The same command goes on after a stop or a kill."""
    twin_successes: tuple[Path, ...] = ()
    """Stores of twin episodes; the first `seed_successes` that succeeded seed what was tried, not inherited ones."""
    seed_successes: NonNegativeInt = 20
    world: WorldChoice = WorldChoice()
    """The twin that gates, pre-flights and re-creates. Without --world.bundle the bench's plant stands in for it."""
    guide: Path | None = None
    """How the camera stands and what the object is, as for `tandem up --guide`; on the bench it is known."""
    colours: Path | None = None
    """A JSON file of the object's colours. None: the guide's own, or on the bench those of a picture."""
    preset: PresetName = "twinrl"
    offline_steps: int = Field(default=-1, ge=-1)
    """Before the first episode; −1: as the preset has it."""
    minutes: PositiveFloat = 20.0
    """Of robot time: while episodes run; those that undo the task are counted apart."""
    episodes: NonNegativeInt = 0
    """Also stop after so many; 0: by time alone."""
    intervention: Literal["none", "joy", "scripted"] = "none"
    """Who may take over: nobody, a person at a gamepad, or the bench's stand-in for one."""
    backward_policy: Path | None = None
    """Undoes the task after each episode, so that nobody has to reset the cell: of `rl demos --backward`."""
    backward_scripted: bool = False
    """On the bench: a scripted stand-in, which is told the truth, undoes the task."""
    backward_task: str = ""
    """The words of the way back, in which its policy was trained; empty: the bench task's own."""
    guided: bool = True
    """no-guided: starts uniform over the plan's cells."""
    stride: PositiveInt = 4
    """Steps between the chunks cut from an episode."""
    preflight: bool = True
    """Refuse a chunk that collides in the twin."""
    recreate: NonNegativeInt = 4
    """Twin rollouts from the start of each failed episode; 0: failures are not re-created."""
    checks: ResetCheck = ResetCheck()
    gate: GateChecks = GateChecks()
    seed: NonNegativeInt = 0
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
