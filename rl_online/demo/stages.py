"""The stages of `tandem demo`: each is commands that a person could type, and what of their figures is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field, PositiveInt

from hardware.bench.arm_models import SO101
from hardware.config import Config
from rl_online.demo import cell
from rl_online.worlds.open_world import WorldChoice, plant_config
from vla.policy import GRIPPER

READS = (*SO101.joints, GRIPPER)
"""What the cell's policy reads beside its cameras: not the object's pose, which demonstrations have too."""
TASK = "pick_place"
TRAINING = ("--training.steps", "1200", "--training.max-gaussians", "30000", "--training.long-side-px", "480")
"""A quarter of the CPU preset's time; pictures of 160 × 120 pixels show no more."""
Words = tuple[str, ...]
Tell = Callable[[dict[str, Any]], str]


class WholeDemo(Config):
    """The whole loop on the simulated bench, small."""

    output: tyro.conf.Positional[Path] = Path("out/demo")
    """Folder of everything. The same command goes on after a stop."""
    photos: int = Field(default=48, ge=8)
    """Of the phone's scan."""
    demos: PositiveInt = 10
    failures: PositiveInt = 8
    """Episodes that end beside the goal: the judge has to see some."""
    wide: PositiveInt = 100
    """Demonstrations of each of two expansions, in the twin, where the real ones are not. Of 60 trials of a policy 32
    succeeded with 150 in all and 3,400 steps of SFT, 48 with 300 and 3,000 (`pictures.json`)."""
    denser: PositiveInt = 50
    """The same, where they are."""
    sft_steps: PositiveInt = 2300
    rft_steps: PositiveInt = 4
    tried_chunks: PositiveInt = 200
    """Of the parallel RL, in the twin."""
    trials: PositiveInt = 10
    """On the bench, of the first and of the last policy, in each part of the starts."""
    real_episodes: PositiveInt = 5
    until: str = ""
    """Stop after this stage. Empty: all of them."""
    seed: int = Field(default=0, ge=0)
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None


@dataclass(frozen=True)
class Stage:
    """Commands that run beside one another. `figures`: the JSON that they leave; `tell`: what of it is shown."""

    name: str
    what: str
    commands: tuple[Words, ...]
    figures: Path | None = None
    tell: Tell | None = None
    before: Callable[[], object] | None = None
    gate_may_fail: bool = False
    """Exit code 3 is noted and the loop goes on: all is written, and what follows can use it."""


def stages(config: WholeDemo) -> Sequence[Stage]:
    """In order; every path is below the output folder."""
    return (*twin_stages(config), *policy_stages(config), *loop_stages(config))


def twin_stages(config: WholeDemo) -> Sequence[Stage]:
    """From the film to a twin that moves as the cell does."""
    out, seed = config.output, ("--seed", str(config.seed))
    bench, twin, notes, demos = out / "bench", out / "twin", out / "notes", str(out / "demos")
    tell = partial(cell.tell, bench, twin, notes, plant_config(WorldChoice(seed=config.seed)))
    return (
        Stage(
            "scan",
            "a virtual phone films the bench as it is before the task",
            (("bench", "scan", str(bench), "--task", TASK, "--photos", str(config.photos), *seed),),
        ),
        Stage(
            "twin",
            "photos → a metric splat twin",
            (("twin", "build", str(bench / "scan"), "-o", str(twin), *TRAINING),),
        ),
        Stage(
            "align",
            "where the arm stands in the twin, from a guess 25 mm and 4° off",
            (
                (
                    *("twin", "align", str(twin), "--config", str(notes / cell.ALIGN)),
                    *("--json", str(out / "align.json")),
                ),
            ),
            out / "align.json",
            lambda f: f"found {f['from_start_mm']:.0f} mm from the guess, ± {f['deviation_mm']:.1f} mm",
            before=tell,
        ),
        Stage(
            "things",
            "block and tray out of the scene",
            (("twin", "segment", str(twin), "--config", str(notes / cell.SEGMENT)),),
        ),
        Stage(
            "contact",
            "what the things weigh, and how they touch",
            (("twin", "contact", str(twin), "--material", "block=wood", "--material", "tray=plastic"),),
            gate_may_fail=True,
        ),
        Stage(
            "push",
            "the arm pushes the block in the twin: a film",
            (
                (
                    *("twin", "sim", str(twin), "--object", "block", "-o", str(out / "push.gif")),
                    *("--json", str(out / "push.json")),
                ),
            ),
            out / "push.json",
            lambda f: f"moved {f['moved_mm']:.0f} mm: {out / 'push.gif'}",
        ),
        Stage(
            "demos",
            "scripted demonstrations in the ID region, and failures for the judge, on the bench",
            (
                ("rl", "demos", "-o", demos, "--count", str(config.demos), "--json", str(out / "demos.json"), *seed),
                ("rl", "demos", "-o", str(out / "failures"), "--failures", "--count", str(config.failures), *seed),
            ),
            out / "demos.json",
            lambda f: f"{f['kept']} of {f['tried']} kept",
        ),
        Stage(
            "identify",
            "the cell's servos, from those demonstrations",
            (("twin", "identify", str(twin), demos, "--json", str(out / "identify.json")),),
            out / "identify.json",
            lambda f: f"joints {f['held_out_deg']:.2f}° off in held-out episodes, {f['before_deg']:.2f}° before",
        ),
    )  # fmt: skip


def policy_stages(config: WholeDemo) -> Sequence[Stage]:
    """Demonstrations from the bench and from the twin, and a policy of them."""
    out, seed = config.output, ("--seed", str(config.seed))
    demos, sft, rft = str(out / "demos"), out / "sft", out / "rft"
    expand_words = tuple(
        (
            *("rl", "expand", demos, "-o", str(Path(store).parent), "--part", part, "--count", str(count)),
            *("--turns", "4", "--picture-stride", "2", "--json", f"{Path(store).parent}.json", *in_twin_of(out)),
            *("--seed", str(3 * config.seed + number)),
        )
        for number, (store, part, count) in enumerate(
            zip(wide_stores(out), ("ood", "ood", "id"), (config.wide, config.wide, config.denser), strict=True)
        )
    )
    looked_at = ("--picture-stride", "2", "--cached-variants", "2", "--features", str(out / "features"))
    sft_words = (
        *("vla", "sft", demos, *wide_stores(out), "-o", str(sft), "--state-names", *READS, "--no-language"),
        *("--optimisation.steps", str(config.sft_steps), "--token-share", "0.25", *looked_at),
        *("--evaluation.every-steps", str(config.sft_steps), *seed),
    )
    rft_words = (
        *("vla", "rft", str(sft / "policy"), wide_stores(out)[0], "-o", str(rft)),
        *("--optimisation.steps", str(config.rft_steps), "--evaluation.every-steps", str(config.rft_steps)),
        *(*looked_at, *seed),
    )
    return (
        Stage(
            "expand",
            "the demonstrations bent to other starts, in the twin's physics and pictures",
            expand_words,
            out / "wide.json",
            lambda f: f"{f['kept']} of {f['tried']} succeeded and were kept in the first of three parts",
        ),
        Stage("sft", "supervised fine-tuning", (sft_words,)),
        Stage("rft", "reinforcement fine-tuning by process rewards", (rft_words,)),
        tried(config, "before", "the first policy on the bench", rft / "policy"),
    )  # fmt: skip


def loop_stages(config: WholeDemo) -> Sequence[Stage]:
    """Learning by trying: in the twin, then guided by what the twin found, on the bench."""
    out, seed = config.output, ("--seed", str(config.seed))
    demos, rl = str(out / "demos"), out / "rl"
    mined, labels, judge, real = out / "mined", out / "labels", out / "judge", out / "real"
    in_twin = in_twin_of(out)
    learn_words = (
        *("rl", "learn", str(out / "rft" / "policy"), "-o", str(rl)),
        *("--demos", demos, "--twin-demos", *wide_stores(out)),
        *("--preset", "twinrl", "--offline-steps", "40", "--transitions", str(config.tried_chunks)),
        *("--demo-stride", "8", "--json", str(out / "rl.json"), *seed),
    )
    act_words = (
        *("rl", "act", str(rl), "--envs", "2", "--helped", "1", "--ways", demos, "--turns", "4"),
        *(*in_twin, *seed),
    )
    mine_words = (
        *("rl", "mine", str(rl / "policy"), "-o", str(mined), "--rollouts", "3", "--grid.cell-m", "0.08"),
        *("--envs", "2", "--json", str(out / "mine.json"), *in_twin, *seed),
    )
    collect_words = (
        *("rl", "reward", "collect", demos, str(out / "failures"), "-o", str(labels)),
        *("--policy", str(rl / "policy"), "--episodes", "12", *seed),
    )
    train_words = ("rl", "reward", "train", str(labels), "-o", str(judge), "--json", str(out / "judge.json"))
    real_words = (
        *("rl", "real", "bench", "--policy", str(rl / "policy"), "--plan", str(mined / "resets.json")),
        *("--reward", str(judge), "--demos", demos, "--twin-successes", wide_stores(out)[0]),
        *("--inherit", str(rl), "-o", str(real), *in_twin),
        *("--preset", "twinrl", "--offline-steps", "0", "--intervention", "scripted"),
        *("--minutes", "3", "--episodes", str(config.real_episodes), "--gate.trials", "4"),
        *("--gate.every-episodes", "2", "--recreate", "1", "--json", str(out / "real.json"), *seed),
    )
    return (
        Stage(
            "rl",
            "parallel RL in the twin: a learner and its actor, whose failures the twin corrects",
            (learn_words, act_words),
            out / "rl.json",
            lambda f: f"{f['online']} chunks tried, {f['critic_updates']} critic updates",
        ),
        Stage(
            "mine",
            "where the policy fails, in the twin; beside it, labelled moments for the judge",
            (mine_words, collect_words),
            out / "mine.json",
            parts_in_words,
        ),
        Stage(
            "judge", "a learned judge of success", ((*train_words, *seed),), out / "judge.json", judge_in_words,
            gate_may_fail=True,
        ),
        Stage(
            "real",
            "guided RL through the cell's processes, on the bench",
            (real_words,),
            out / "real.json",
            lambda f: (
                f"{f['judged_successes']}/{f['episodes']} judged successes in {f['robot_minutes']:.1f} min, "
                f"{f['false_successes']} of them false; weights: {f['gates_accepted']} accepted, "
                f"{f['gates_refused']} refused"
            ),
        ),
        tried(
            config, "after", "the last policy on the bench; beside it, report.html of the guided run", real / "policy",
            beside=(("rl", "report", str(real)),),
        ),
    )  # fmt: skip


def wide_stores(out: Path) -> tuple[str, str, str]:
    """Of the expansions: two outside the demonstrated region, one inside. So two cores are busy to the end."""
    return str(out / "wide" / "store"), str(out / "wide_2" / "store"), str(out / "denser" / "store")


def in_twin_of(out: Path) -> Words:
    return ("--world.bundle", str(out / "twin"))


def tried(config: WholeDemo, name: str, what: str, policy: Path, beside: tuple[Words, ...] = ()) -> Stage:
    """Trials on the bench, by its truth."""
    file = config.output / f"{name}.json"
    tasks = (f"{TASK}/id", f"{TASK}/ood")
    words = (
        *("vla", "eval", str(policy), "--env", "bench", "--tasks", *tasks, "--trials", str(config.trials)),
        *("--json", str(file)),
    )
    return Stage(name, what, (words, *beside), file, trials_in_words)


def trials_in_words(found: dict[str, Any]) -> str:
    rows = {task.partition("/")[2]: row for task, row in found["tasks"].items()}
    return ", ".join(f"{part} {row['successes']}/{row['trials']}" for part, row in rows.items())


def parts_in_words(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {part['successes']}/{part['rollouts']}" for name, part in found["parts"].items())


def judge_in_words(found: dict[str, Any]) -> str:
    held = found["held_out"]
    return f"held out: {held['true_successes']} right, {held['false_successes']} wrong, {held['missed']} missed"


def told(stage: Stage) -> str:
    """The one or two numbers of a stage's figures that a person asks for."""
    if stage.figures is None or stage.tell is None or not stage.figures.is_file():
        return ""
    return stage.tell(json.loads(stage.figures.read_text(encoding="utf-8")))
