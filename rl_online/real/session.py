"""`tandem rl real CELL`: guided reinforcement learning on a cell, through its whole graph of processes.

The offline stage first; then the cell runs as with `tandem up`, its conductor replaced by a guided one, its policy
served by `rl_online.real.server`, with the learner and the coach beside it. The supervisor here only keeps all
alive: kill any of them, or this one, and the same command goes on.
"""

from __future__ import annotations

import logging
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hardware import announcement, artefact, ros_environment
from hardware import config as configs
from hardware.bench import scripts
from hardware.cell import CellConfig
from hardware.cell_devices import ServerPolicy
from hardware.config import Config
from hardware.dataset.column import METADATA
from hardware.dataset.frame_grid import SOURCES
from hardware.dataset.store import EpisodeStore
from hardware.errors import BadInput
from hardware.node_graph import NodeSpec, Occasion, graph
from hardware.page.ghost import Guide
from hardware.supervisor import Supervisor
from hardware.up import UpCell, interruptible, resolve, watch
from rl_online.judge.model import load_reward
from rl_online.learning.agent import take_weights
from rl_online.learning.learner import learn, require_inheritable
from rl_online.learning.run_folder import CHECKPOINT
from rl_online.lines import read_models
from rl_online.real import bench as real_bench
from rl_online.real.coach import ROBOT, SentEpisode
from rl_online.real.config import (
    ACCEPTED,
    AUDIT,
    CELL,
    EPISODES,
    GATES,
    GUIDANCE,
    LEARNER,
    PLAN,
    POLICY,
    RECREATED,
    REFUSED,
    SENT,
    SETTINGS,
    Colours,
    Guidance,
    GuideReal,
    Judged,
    WayBack,
)  # fmt: skip
from rl_online.real.gate import Gated, is_settled
from rl_online.real.learner import pin, settings_of, start_of
from rl_online.real.recreate import Recreated
from rl_online.real.resets import ResetFigures, resets_of
from rl_online.real.server import RefusedChunk
from rl_online.starts.resets import ResetPlan
from rl_online.worlds.tasks import keep
from vla.intervals import wilson
from vla.policy import Interface
from vla.policy_file import load_policy, save_policy

log = logging.getLogger(__name__)

MAY_CHANGE = {"minutes", "episodes", "json_file", "output"}
"""Settings with which the same run may go on."""
HAND_OVER_S = 600.0
"""At most, after the robot has stopped: a trial of weights in the twin takes seconds to a minute."""


class RealFigures(Config):
    """What a guided run came to."""

    cell: str
    simulated: bool
    """True: the robot is the bench's."""
    episodes: int
    judged_successes: int
    interval: tuple[float, float]
    robot_minutes: float
    interventions_per_episode: float
    """Stretches in which a person, or the stand-in for one, acted."""
    intervened_share: float
    """Of all frames."""
    gates_accepted: int
    gates_refused: int
    chunks_refused: int
    recreated: int
    false_successes: int
    """Judged a success and none by the bench's truth; audit alone."""
    missed_successes: int
    audited: int
    resets: ResetFigures


def real(config: GuideReal) -> int:
    """The verb. 0: the budget is spent, or a person stopped it."""
    run = config.output
    cell = cell_of(config)
    begin(config, cell)
    finish_offline(config)
    with tempfile.TemporaryDirectory(prefix="tandem-") as sockets, interruptible() as is_interrupted:
        if cell.bench is not None:
            cell = cell.but(bench=cell.bench.but(socket=Path(sockets) / "plant"))
        artefact.write_model(run / CELL, cell)
        specs = processes(config, cell)
        environment = ros_environment.environment(run / "logs")
        supervisor = Supervisor(specs, run / "logs", Path(sockets), environment, cell.max_restarts)
        log.info("%s: %s; logs in %s", cell.name, ", ".join(spec.name for spec in specs), run / "logs")
        log.info("pause: touch %s; stop: Ctrl-C; the same command goes on", run / "pause")
        try:
            supervisor.start(is_interrupted)
            watch(supervisor, run, config.episodes, is_interrupted)
        finally:
            supervisor.stop()
        hand_over(config, Path(sockets) / "after", environment, is_interrupted)
    keep_policy(config)
    found = figures(config, cell)
    artefact.write_model(run / "figures.json", found)
    if config.json_file is not None:
        artefact.write_model(config.json_file, found)
    print(table(found))
    print(f"policy: {run / POLICY}\nreport: tandem rl report {run}")
    return 0


def cell_of(config: GuideReal) -> CellConfig:
    """As `tandem up` resolves it, its policy served on a free port of this machine."""
    chosen = resolve(UpCell(cell=config.cell, policy="server"))
    task = config.world.task
    if chosen.bench is not None and not isinstance(task, Path) and task != chosen.bench.task:
        chosen = resolve(UpCell(cell=config.cell, policy="server", task=task))
    if chosen.bench is None and config.intervention == "scripted":
        raise BadInput("a scripted intervener reads the truth, which only the bench has", "--intervention joy")
    interface = load_policy(config.policy).interface
    served = ServerPolicy(
        port=free_port(), rate_hz=interface.rate_hz, horizon=interface.horizon_steps,
        replan_steps=interface.replan_steps, timeout_s=5.0,
    )  # fmt: skip
    if interface.action_names != chosen.action_names:
        raise BadInput(
            f"the policy commands {', '.join(interface.action_names)}; the cell's arm has "
            f"{', '.join(chosen.action_names)}"
        )
    require_readable(interface, chosen)
    if config.backward_policy is not None:
        back = load_policy(config.backward_policy).interface
        require_readable(back, chosen)
        if (back.action_names, back.rate_hz, back.space) != (
            interface.action_names,
            interface.rate_hz,
            interface.space,
        ):
            raise BadInput("the policy of the way back commands other joints, or at another rate")
    return chosen.but(policy=served.model_dump(), recording=chosen.recording.but(rate_hz=interface.rate_hz))


def require_readable(interface: Interface, cell: CellConfig) -> None:
    """Raises `BadInput` where a policy reads what no cell tells it: the object's pose, as demonstrations have it."""
    names = cell.action_names
    unknown = [name for name in interface.state_names if name not in names]
    if unknown:
        raise BadInput(
            f"the policy reads {', '.join(unknown)}; the cell tells {', '.join(names)} alone",
            f"train with --state-names {' '.join(names)}",
        )


def begin(config: GuideReal, cell: CellConfig) -> None:
    """Checks what it was given, and writes what the processes read. Raises `BadInput`."""
    run = config.output
    judge = load_reward(config.reward)
    missing = [camera for camera in judge.manifest.view.cameras if camera not in cell.cameras]
    if missing:
        raise BadInput(f"the judge looks through '{missing[0]}'; the cell has: {', '.join(cell.cameras)}")
    plan = configs.read(ResetPlan, config.plan)
    for store in config.twin_successes:
        EpisodeStore.open(store)
    file = run / SETTINGS
    if file.is_file():
        before = configs.read(GuideReal, file)
        if before.model_dump(exclude=MAY_CHANGE) != config.model_dump(exclude=MAY_CHANGE):
            raise BadInput(f"{run} is a run of other settings", "name a new --output")
    require_inheritable(settings_of(config, run))
    keep(config.world.task, run)
    guide, colours = seen_by(config, cell)
    guidance = Guidance(
        reward=config.reward.resolve(),
        guide=guide,
        colours=colours,
        checks=config.checks,
        guided=config.guided,
        minutes=config.minutes,
        episodes=config.episodes,
        seed=config.seed,
        way_back=way_back(config, cell),
    )
    artefact.write_model(file, config)  # what follows a refusal may have other settings
    pin(config)
    if not (run / PLAN).is_file():
        artefact.write_model(run / PLAN, plan)
    artefact.write_model(run / GUIDANCE, guidance)


def way_back(config: GuideReal, cell: CellConfig) -> WayBack | None:
    """Who undoes the task. Raises `BadInput` where nobody can, or two are named."""
    if config.backward_policy is None and not config.backward_scripted:
        return None
    if config.backward_policy is not None and config.backward_scripted:
        raise BadInput("two are named for the way back", "--backward-policy FOLDER, or --backward-scripted")
    if config.backward_scripted and cell.bench is None:
        raise BadInput("a script reads the truth, which only the bench has", "--backward-policy FOLDER")
    words = config.backward_task
    if not words and cell.bench is None:
        raise BadInput("the policy of the way back needs its words", "--backward-task 'take it out again'")
    if cell.bench is not None:
        words = words or scripts.way_back(cell.bench.task).instruction
    if words == cell.task:
        raise BadInput("the way back has the words of the task itself", "--backward-task 'take it out again'")
    return WayBack(by="scripted" if config.backward_scripted else "policy", task=words)


def seen_by(config: GuideReal, cell: CellConfig) -> tuple[Guide, Colours]:
    """From files, or on the bench from the bench itself. A real cell's guide knows the colours, too (`rl guide`)."""
    guide = None if config.guide is None else configs.read(Guide, config.guide)
    colours = None if config.colours is None else configs.read(Colours, config.colours)
    if guide is not None and guide.colours and colours is None and cell.bench is None:
        colours = Colours(rgb=guide.colours)
    if guide is not None and colours is not None:
        return guide, colours
    found, seen = real_bench.look(real_bench.plant_of(cell))
    return guide or found, colours or seen


def finish_offline(config: GuideReal) -> None:
    """The learner's offline stage, before the robot moves. What is done of it is not done again."""
    if not (config.output / LEARNER / "learn.json").is_file():
        learn(settings_of(config, config.output).but(transitions=0))
    if not (config.output / LEARNER / CHECKPOINT).is_file():
        raise BadInput(f"{config.output / LEARNER} has lost its checkpoint", "name a new --output")


def hand_over(config: GuideReal, sockets: Path, environment: Mapping[str, str], is_interrupted: list[int]) -> None:
    """The robot stands still; learner and coach go on until every recorded episode is acknowledged, and the gate, where
    it is due, has tried the newest weights."""
    run, until_s = config.output, time.monotonic() + HAND_OVER_S
    episodes = len(announcement.results(run))

    def is_open() -> bool:
        return left_to_send(run) > 0 or not is_settled(run, config.gate.every_episodes, episodes)

    if is_interrupted or not is_open():
        return
    sockets.mkdir(parents=True)
    supervisor = Supervisor(own_processes(config), run / "logs", sockets, environment)
    log.info(
        "the robot has stopped; episodes not yet with the learner: %d; the gate may be asked", left_to_send(run)
    )
    try:
        supervisor.start(is_interrupted)
        while is_open() and not is_interrupted and time.monotonic() < until_s:
            supervisor.poll(0.5)
    finally:
        supervisor.stop()
    if left := left_to_send(run):
        log.warning("%d episodes are not with the learner; the same command takes them along", left)


def left_to_send(run: Path) -> int:
    store = run / EPISODES
    recorded = len(EpisodeStore.open(store).finished()) if (store / METADATA).is_file() else 0
    return recorded - sum(line.key == ROBOT for line in read_models(run / SENT, SentEpisode))


def own_processes(config: GuideReal) -> tuple[NodeSpec, ...]:
    """The processes that need no robot."""
    run = str(config.output)
    return tuple(
        NodeSpec(name, "rl_online.real.process", arguments=(name, "--run", run)) for name in ("learner", "coach")
    )


def processes(config: GuideReal, cell: CellConfig) -> tuple[NodeSpec, ...]:
    """The cell's graph with a guided conductor, and three processes beside it."""
    run = str(config.output)
    assert isinstance(cell.policy, ServerPolicy)
    occasion = Occasion(
        config.output / CELL, config.output, store=config.output / EPISODES, intervention=config.intervention
    )

    def guided(spec: NodeSpec) -> NodeSpec:
        if spec.name != "conductor":
            return spec
        return replace(spec, module="guided", parameters={**spec.parameters, "guidance": run})

    words = ("--run", run, "--port", str(cell.policy.port))
    server = NodeSpec("server", "rl_online.real.server", arguments=words, tier=0, holds_policy=True)
    return (server, *own_processes(config), *map(guided, graph(cell, occasion)))


def keep_policy(config: GuideReal) -> None:
    """The policy that the gate let through last."""
    policy = load_policy(start_of(config))
    accepted = config.output / ACCEPTED
    if accepted.is_file():
        take_weights(policy, accepted.read_bytes())
    save_policy(policy, config.output / POLICY)


def figures(config: GuideReal, cell: CellConfig) -> RealFigures:
    run = config.output
    results, audit = announcement.results(run), {line.episode: line for line in read_models(run / AUDIT, Judged)}
    won = sum(bool(result.success) for result in results)
    low, high = wilson(won, len(results))
    gates = [line for line in read_models(run / GATES, Gated) if line.version >= 0]
    stretches, share = interventions(run)
    known = [line for line in audit.values() if line.true_now is not None]
    return RealFigures(
        cell=cell.name,
        simulated=cell.bench is not None,
        episodes=len(results),
        judged_successes=won,
        interval=(float(low), float(high)),
        robot_minutes=sum(result.duration_s for result in results) / 60,
        interventions_per_episode=sum(stretches) / max(1, len(stretches)),
        intervened_share=share,
        gates_accepted=sum(line.accepted for line in gates),
        gates_refused=sum(not line.accepted for line in gates),
        chunks_refused=len(read_models(run / REFUSED, RefusedChunk)),
        recreated=len(read_models(run / RECREATED, Recreated)),
        false_successes=sum(line.judged and not line.true_now for line in known),
        missed_successes=sum(not line.judged and bool(line.true_now) for line in known),
        audited=len(known),
        resets=resets_of(run),
    )


def interventions(run: Path) -> tuple[list[int], float]:
    """(stretches in each recorded episode, share of all frames) in which a person, or their stand-in, acted."""
    store = run / EPISODES
    if not (store / METADATA).is_file():
        return [], 0.0
    corrected = [SOURCES.index("human"), SOURCES.index("scripted")]
    stretches, frames, acted = [], 0, 0
    for episode in EpisodeStore.open(store).finished():
        theirs = np.isin(episode.index.source, corrected)
        stretches.append(int((np.diff(theirs.astype(int), prepend=0) == 1).sum()))
        frames, acted = frames + len(theirs), acted + int(theirs.sum())
    return stretches, acted / max(1, frames)


def table(found: RealFigures) -> str:
    low, high = found.interval
    rate = found.judged_successes / max(1, found.episodes)
    where = "simulated bench" if found.simulated else "robot"
    rows: Sequence[tuple[str, str]] = (
        ("cell", f"{found.cell} ({where})"),
        (
            "judged successes",
            f"{found.judged_successes}/{found.episodes} = {rate:.0%} (95 %: {low:.0%} … {high:.0%})",
        ),
        ("robot time", f"{found.robot_minutes:.1f} min"),
        (
            "interventions",
            f"{found.interventions_per_episode:.2f} an episode, {found.intervened_share:.0%} of frames",
        ),
        ("resets", found.resets.words),
        ("gate", f"{found.gates_accepted} accepted, {found.gates_refused} refused"),
        ("pre-flight", f"{found.chunks_refused} chunks refused"),
        ("re-created in the twin", f"{found.recreated} failures"),
        (
            "judge against truth",
            f"{found.false_successes} false successes, {found.missed_successes} missed, of {found.audited}",
        ),
    )
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
