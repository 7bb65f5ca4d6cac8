"""TwinRL's tables (arXiv 2602.09023) on the simulated bench: what the paper measured on robots, by the same commands.

    .venv/bin/python benchmarks/twinrl.py OUT [--quick] [--stages sft map deadlock robot] [--json FILE] [--figure FILE]

The bench's plant stands in for the robot; the twin is made by ruler (sizes, materials from a table) and its servos are
identified from the demonstrations, so its masses and friction differ from the plant's. The person is the scripted
demonstrator. Policies are told the block's pose and see no pictures: what is compared is data, resets and learning, not
vision. Every piece that is finished lies in OUT and is not done again: stop and go on at will. Stages:
  sft       twin demonstrations in ID and OOD against success on the plant, beside the paper's table; last with
            corrections: what brings the policy on from where it gets stuck in the twin
  map       the twin's failure map against the plant's: r and MMRV over cells of the start grid
  twin      RL in the twin from the policy of the real demonstrations alone, in half of the episodes helped by the
            twin's generator: success on the plant before and after
  deadlock  RL in OOD alone from the policy of ID demonstrations: does it ever find a success?
  robot     robot steps against success, in rounds of a learner and an actor: `twinrl` after RL in the twin,
            `conrft` and `hil_serl` without a twin; a scripted person looks at half of the episodes of each and
            takes over where the policy gets no further
  buffer    the robot after RL in the twin from the real demonstrations alone (stage twin: there is room to rise), with
            four numbers of the twin's successes and failures in the robot's buffer; guided resets
  resets    the same with (20, 0) and resets uniform over the regions
  process   the same with (20, 0), paid for progress, too, in the twin and on the robot
  lerobot   LeRobot's own HIL-SERL learner on the same bench (`hil_serl_peer.py`), alone and with scripted corrections
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine, twinrl_figure, twinrl_table
from benchmarks.twinrl_pieces import CELLS, QUICK, WIDEST, Bench, Counts, Round, Scale, Trying, only, tally
from hardware import artefact
from hardware.config import Config
from rl_online.learning.presets import PresetName
from rl_online.mining.mine import PLAN
from rl_online.starts.regions import PartName
from twin.fidelity import PolicyOutcomes, measure

PAPER = {"0_0": (40, 0), "30_30": (70, 30), "60_30": (80, 40), "30_60": (70, 70)}
"""Success in ID and OOD, %. What is wider is ours."""
CORRECTED = "corrected"
"""The widest, and corrections in the twin."""
TAUGHT = "0_0"
"""The policy of the real demonstrations alone: whatever it learns outside them, it learns by RL in the twin."""
PARTS: tuple[PartName, ...] = ("id", "ood")
STAGES = ("sft", "map", "twin", "deadlock", "robot", "buffer", "resets", "process", "lerobot")
QUICK_STAGES, QUICK_CELLS, QUICK_ARMS = ("sft", "map", "twin", "robot"), ("0_0", "30_30"), ("conrft",)
"""Unless others are named: of all nine, however small, two were done after eleven minutes."""
RATE_HZ = 20.0
CHUNK_STEPS = 5
"""Of the robot, in a chunk of ten, before the next one."""


class Deadlock(Config):
    """RL in OOD alone."""

    chunks: int
    episodes: int
    successes: int
    robot_steps: int
    ood_after: Counts


def sft_stage(bench: Bench, cells: Sequence[str]) -> dict[str, Any]:
    """Per cell of the ablation, seeds added together."""
    rows = {}
    for cell in cells:
        seeds = {}
        for seed in bench.scale.seeds:
            policy = bench.corrected(seed) if cell == CORRECTED else bench.policy(cell, seed)
            seeds[seed] = {
                part: bench.success(policy, part, bench.scale.trials, f"sft_{cell}_{seed}") for part in PARTS
            }
        rows[cell] = {part: summary(total([found[part] for found in seeds.values()])) for part in PARTS} | {
            "per_seed": {seed: {part: found[part].successes for part in PARTS} for seed, found in seeds.items()},
            "paper_percent": PAPER.get(cell),
        }
    return rows


def map_stage(bench: Bench) -> dict[str, Any]:
    """Cells of two policies, each a point: its rate in the twin and in the plant."""
    points = []
    for name in ("0_0", "30_30"):
        policy = bench.policy(name, 0)
        twin, plant = (bench.failure_map(policy, name, in_twin) for in_twin in (True, False))
        for number, (one, other) in enumerate(zip(twin.scores, plant.scores, strict=True)):
            points.append(
                PolicyOutcomes(
                    name=f"{name} cell {number} ({one.cell.part}: {one.cell.region})",
                    real=outcomes(other.successes, other.rollouts),
                    twin=outcomes(one.successes, one.rollouts),
                )
            )
    fidelity = measure(points)
    return fidelity.model_dump(mode="json")


def twin_stage(bench: Bench) -> dict[str, Any]:
    """Seeds added together; no step of the robot."""
    seeds = {}
    for seed in bench.scale.seeds:
        policies = {"sft": bench.policy(TAUGHT, seed), "twin": bench.twin_rl(TAUGHT, seed) / "policy"}
        seeds[seed] = {
            name: {
                part: bench.success(policy, part, bench.scale.trials, f"{name}_{TAUGHT}_{seed}") for part in PARTS
            }
            for name, policy in policies.items()
        }
    names = {"sft": "before", "twin": "after"}
    rows = {
        told: {part: summary(total([found[name][part] for found in seeds.values()])) for part in PARTS}
        for name, told in names.items()
    }
    return rows | {
        "cell": TAUGHT,
        "per_seed": {
            seed: {told: {part: found[name][part].successes for part in PARTS} for name, told in names.items()}
            for seed, found in seeds.items()
        },
    }


def deadlock_stage(bench: Bench) -> dict[str, Any]:
    """From the policy of 30 real demonstrations, starts in OOD alone."""

    def run() -> Deadlock:
        policy, scale = bench.policy("0_0", 0), bench.scale
        plan = only(bench.failure_map(policy, "0_0", in_twin=True), "ood")
        resets = bench.out / "ood_only.json"
        artefact.write_model(resets, plan)
        folder = bench.out / "deadlock"
        bench.learn(
            Trying(
                run=folder, policy=policy, data=bench.data("0_0"), preset="conrft", chunks=scale.deadlock_chunks,
                resets=resets, seed=0,
            )
        )  # fmt: skip
        tried = tally(folder)
        after = bench.success(folder / "policy", "ood", scale.round_trials, "deadlock")
        return Deadlock(
            chunks=tried.chunks, episodes=tried.episodes, successes=tried.successes,
            robot_steps=tried.robot_steps, ood_after=after,
        )  # fmt: skip

    return bench.once("deadlock", Deadlock, run).model_dump()


@dataclass(frozen=True)
class Arm:
    """One way of learning on the robot, to be compared with others."""

    preset: PresetName
    twin: bool = True
    """Begins with what was learned in the twin; otherwise with the policy of the real demonstrations alone."""
    cell: str = WIDEST
    """Of the ablation: the policy that RL in the twin began with."""
    guided: bool = True
    inherited: tuple[int, int] | None = None
    """Successes and failures from the twin in the buffer; None: as the scale has it."""
    shown: bool = True
    """The robot's learner is also shown what was shown in the twin: demonstrations and help."""
    process: float = 0.0
    """Weight of the process reward, in the twin and on the robot. Success pays 10."""


ROBOT = {
    "twinrl": Arm("twinrl"),
    "conrft": Arm("conrft", twin=False, guided=False),
    "hil_serl": Arm("hil_serl", twin=False, guided=False),
}
BUFFER = {
    f"{one}_{other}": Arm("twinrl", cell=TAUGHT, inherited=(one, other), shown=False)
    for one, other in ((0, 0), (20, 0), (20, 20), (20, 40))
} | {"20_0_shown": Arm("twinrl", cell=TAUGHT, inherited=(20, 0))}
"""The paper: 5.0k steps and 90 %; 3.5k, 100 %; 4.5k, 90 %; 7.0k, 70 %. The last is ours, and what `--inherit` does."""
PLAIN = BUFFER["20_0"]
"""Guided, and paid for success alone: beside it stand the two that follow."""
RESETS = {"uniform": replace(PLAIN, guided=False)}
PROCESS = {"process": replace(PLAIN, process=5.0)}
ARMS: dict[str, dict[str, Arm]] = {"robot": ROBOT, "buffer": BUFFER, "resets": RESETS, "process": PROCESS}
PEERS = {"lerobot": 0.0, "lerobot_helped": 0.5}
"""Share of the episodes in which the scripted demonstrator may take over."""


@dataclass(frozen=True)
class Beginning:
    """What an arm has before the robot moves."""

    policy: Path
    """That the learner is told of."""
    data: list[Path]
    first: Path
    """The policy as it is by then: what RL in the twin made of it, if there was any."""
    name: str
    """Of that state; arms that share it are tried once."""
    resets: Path | None = None
    inherit: tuple[str, ...] = ()


def beginning(bench: Bench, arm: Arm, seed: int) -> Beginning:
    """With a twin: RL there, its failure map and its buffer. Without: supervised training on the demonstrations."""
    cell = arm.cell if arm.twin else TAUGHT
    policy, data = bench.policy(cell, seed), bench.data(cell)
    if not arm.twin:
        return Beginning(policy, data, policy, f"untaught_{seed}")
    name = f"taught_{cell}_{'process_' if arm.process else ''}{seed}"
    taught = bench.twin_rl(cell, seed, arm.process)
    first = taught / "policy"
    resets = None
    if arm.guided:
        bench.failure_map(first, name, in_twin=True)
        resets = bench.out / f"map_{name}_twin" / PLAN
    wanted, had = arm.inherited or bench.scale.inherited, tally(taught)
    words = {
        "--inherit": taught,
        "--inherit-successes": min(wanted[0], had.successes),
        "--inherit-failures": min(wanted[1], had.episodes - had.successes),
    }
    inherit = tuple(word for key, value in words.items() for word in (key, str(value)))
    inherit += () if arm.shown else ("--no-inherit-shown",)
    return Beginning(policy, data, first, name, resets, inherit)


def robot_stage(bench: Bench, name: str, arm: Arm, seed: int) -> list[Round]:
    """Round 0 before the robot moves, then rounds of learning on it until the last."""
    scale = bench.scale
    name = name if arm.cell == WIDEST else f"{arm.cell}_{name}"
    run, start = bench.out / f"run_{name}_{seed}", beginning(bench, arm, seed)

    def tried(policy: Path, key: str) -> dict[str, Counts]:
        return {part: bench.success(policy, part, scale.round_trials, key) for part in PARTS}

    def one_round(number: int) -> Round:
        learned = bench.learn(
            Trying(
                run=run, policy=start.policy, data=start.data, preset=arm.preset, chunks=number * scale.round_chunks,
                seed=seed, number=number, resets=start.resets, inherit=start.inherit, process=arm.process,
                helped=scale.helped,
            )
        )  # fmt: skip
        so_far, after = tally(run), tried(run / "policy", f"{name}_{seed}_{number}")
        return Round(
            robot_steps=so_far.robot_steps,
            episodes=so_far.episodes,
            successes=so_far.successes,
            chunks=so_far.chunks,
            critic_updates=learned.critic_updates,
            corrected=so_far.corrected,
            id=after["id"],
            ood=after["ood"],
        )

    untried = dict.fromkeys(("robot_steps", "episodes", "successes", "chunks", "critic_updates"), 0)
    done = [Round.model_validate(untried | tried(start.first, start.name))]
    for number in range(1, scale.rounds + 1):
        done.append(bench.once(f"round_{name}_{seed}_{number}", Round, lambda number=number: one_round(number)))
    return done


def lerobot_stage(bench: Bench, name: str, takeover: float, seed: int) -> list[Round]:
    """LeRobot's own learner. As many robot steps in a round as the others' chunks have at most."""
    from benchmarks.hil_serl_peer import Course, Practice, practise

    def run() -> Course:
        scale = bench.scale
        return practise(
            Practice(
                demos=bench.real(),
                round_steps=CHUNK_STEPS * scale.round_chunks,
                rounds=scale.rounds,
                trials=scale.round_trials,
                takeover=takeover,
                seed=seed,
            )
        )

    return list(bench.once(f"{name}_{seed}", Course, run).rounds)


def robot_summary(rounds: list[Round]) -> dict[str, Any]:
    """Robot steps and minutes of motion until 90 % in both parts; None: never."""
    reached = next(
        (r.robot_steps for r in rounds if all(c.successes >= 0.9 * c.trials for c in (r.id, r.ood))), None
    )
    return {
        "rounds": [each.model_dump() for each in rounds],
        "robot_steps_to_90": reached,
        "robot_minutes_to_90": None if reached is None else round(reached / RATE_HZ / 60, 1),
    }


def total(counts: Sequence[Counts]) -> Counts:
    return Counts(successes=sum(each.successes for each in counts), trials=sum(each.trials for each in counts))


def outcomes(successes: int, trials: int) -> tuple[bool, ...]:
    return (True,) * successes + (False,) * (trials - successes)


def summary(counts: Counts) -> dict[str, Any]:
    return counts.model_dump() | {"rate": counts.successes / counts.trials, "words": counts.words}


def stages(
    bench: Bench, chosen: list[str], cells: Sequence[str], arms: Sequence[str] | None = None
) -> dict[str, Any]:
    """`arms`: of the stages that compare some; None: all."""
    found: dict[str, Any] = {}
    if "sft" in chosen:
        found["sft"] = sft_stage(bench, cells)
    if "map" in chosen:
        found["map"] = map_stage(bench)
    if "twin" in chosen:
        found["twin"] = twin_stage(bench)
    if "deadlock" in chosen:
        found["deadlock"] = deadlock_stage(bench)
    for stage in (name for name in ARMS if name in chosen):
        for name, arm in ARMS[stage].items():
            for seed in bench.scale.seeds if arms is None or name in arms else ():
                rounds = robot_stage(bench, name, arm, seed)
                found.setdefault(stage, {})[f"{name}/{seed}"] = robot_summary(rounds)
    if "lerobot" in chosen:
        found["lerobot"] = {
            f"{name}/{seed}": robot_summary(lerobot_stage(bench, name, takeover, seed))
            for name, takeover in PEERS.items()
            for seed in bench.scale.seeds
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("out/twinrl"))
    parser.add_argument(
        "--task", choices=["pick_place"], default="pick_place", help="the twin is made for this one"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, one cell beside (0, 0), four stages: that it runs"
    )
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, help="None: all; with --quick, " + " ".join(QUICK_STAGES)
    )
    parser.add_argument(
        "--cells", nargs="+", choices=[*CELLS, CORRECTED], help="of sft; None: all, with --quick two"
    )
    parser.add_argument(
        "--arms", nargs="+", choices=[name for arms in ARMS.values() for name in arms], help="of robot to process"
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="in place of 0 1 2")
    parser.add_argument("--trials", type=int, help="per point, in place of 50")
    parser.add_argument("--sft-steps", type=int)
    parser.add_argument("--map-rollouts", type=int)
    for name in ("deadlock-chunks", "twin-chunks", "round-chunks", "rounds", "round-trials"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--figure", type=Path, help="write a PNG there")
    flags = parser.parse_args()
    given = {name: value for name, value in vars(flags).items() if name in Scale.model_fields and value is not None}
    scale = (QUICK if flags.quick else Scale()).but(**given)
    settings = flags.out / "scale.json"
    if settings.is_file() and Scale.model_validate_json(settings.read_text()).but(seeds=scale.seeds) != scale:
        parser.error(f"{flags.out} holds pieces of another scale; name a new folder, or change its seeds alone")
    flags.out.mkdir(parents=True, exist_ok=True)
    artefact.write_model(settings, scale)
    began = time.monotonic()
    chosen = flags.stages or list(QUICK_STAGES if flags.quick else STAGES)
    cells = flags.cells or (QUICK_CELLS if flags.quick else [*CELLS, CORRECTED])
    found = stages(
        Bench(flags.out, scale),
        chosen,
        cells,
        flags.arms or (QUICK_ARMS if flags.quick and not flags.stages else None),
    )
    twinrl_table.show(found, Console())
    if flags.json:
        head = {
            "machine": machine.describe(),
            "scale": scale.model_dump(),
            "seconds": round(time.monotonic() - began),
        }
        artefact.write_text(flags.json, json.dumps(head | {"stages": found}, indent=1) + "\n")
    if flags.figure:
        twinrl_figure.draw(flags.figure, found, PAPER)


if __name__ == "__main__":
    main()
