"""`tandem up CELL`: starts the whole cell as processes, runs episodes, and says in the end how it went."""

from __future__ import annotations

import logging
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, PositiveFloat

from hardware import announcement, artefact, cell, ros_environment
from hardware.announcement import EpisodeResult
from hardware.bench.plant_config import PlantConfig
from hardware.bench.tasks.catalogue import open_task
from hardware.bench.tasks.start import Distribution
from hardware.cell import CellConfig
from hardware.cell_devices import BenchArm
from hardware.config import Config, read
from hardware.errors import BadInput
from hardware.node_graph import Occasion, graph
from hardware.page.config import ServePage
from hardware.page.ghost import Guide
from hardware.progress import progress
from hardware.run_report import report
from hardware.supervisor import Supervisor

log = logging.getLogger(__name__)

POLL_S = 0.2
GUIDE = "reset_guide.json"
GUIDED_EPISODES = 100
FAILURE_MAP = "failure_map.png"
PAGE = "page.txt"
"""Of the run folder: the page's address."""


class UpCell(Config):
    """Start a robot cell: arm, cameras, chunk executor, policy and, with --record, a recorder, each a process."""

    cell: Annotated[str, tyro.conf.Positional] = "bench"
    """A cell that ships (bench, bench_panda, ros2_control, so101) or the path of a cell file, my_cell.yaml."""
    task: str | None = None
    """On the bench: pick_place, peg_insertion or wiping. Elsewhere: the instruction, in words."""
    starts: Distribution | None = None
    """On the bench: where episodes begin, in the region of the demonstrations or outside. None: as the cell says."""
    policy: Literal["scripted", "server", "none"] | None = None
    """None: as the cell file says; 'none': a person alone drives, at the page."""
    serve: str | None = None
    """Also start a policy server, as `kind=path` of `tandem vla serve`: --serve policy=RUN/policy, or replay=run.npz.
    For a cell whose policy is of kind `server`."""
    episodes: int = Field(default=0, ge=0)
    """0: until Ctrl-C."""
    record: Path | None = None
    """The store of episodes to append to."""
    gui: bool = False
    """Serve the page for the browser: see, take over, record, stop. Each episode then begins when a person says so."""
    page: ServePage = ServePage()
    guide: Path | None = None
    """Which starts come next, for the page to draw on the live picture; None: on the bench, those that it resets to."""
    failure_map: Path | None = None
    """A picture to show at the page: failure_map.png of `tandem rl mine`, or the folder that holds it."""
    twin: Path | None = None
    """The cell's twin, to look at and to draw in at the page."""
    intervention: Literal["none", "joy", "leader", "spacemouse", "scripted", "page"] | None = None
    """Who may take over; None: the page where there is one. Only one of them can. A leader arm needs a dead-man beside
    it: a gamepad's or pedal's button, or the page's key V."""
    pace: Literal["clock", "person"] | None = None
    """Who begins episodes; None: a person where one drives at the page, and the clock elsewhere."""
    speed: PositiveFloat = 1.0
    """The bench alone: seconds of the cell to a second of the clock."""
    seed: int = Field(default=0, ge=0)
    run: Path | None = None
    """The folder of logs and results; None: runs/<cell>-<date>."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Also write the summary there."""


class OpenPage(UpCell):
    """Start a robot cell with the page for the browser: `tandem up CELL --gui`."""

    gui: bool = True


def up(config: UpCell) -> int:
    """Returns 0 when all episodes were run. Raises `CellFailed`, `BadInput`."""
    resolved = resolve(config)
    intervention = intervener(config, resolved)
    serves = served(config.serve, resolved)
    run = config.run or Path("runs") / f"{resolved.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    if announcement.results(run):
        raise BadInput(f"{run} holds the results of another run", "give another --run")
    with tempfile.TemporaryDirectory(prefix="tandem-") as sockets, interruptible() as is_interrupted:
        if resolved.bench is not None:
            resolved = resolved.but(bench=resolved.bench.but(socket=Path(sockets) / "plant"))
        artefact.write_model(run / "up.json", config)
        artefact.write_model(run / "cell.json", resolved)
        guide = guide_file(config, resolved, run)
        occasion = Occasion(
            run / "cell.json",
            run,
            config.episodes,
            config.seed,
            config.record,
            intervention,
            serves,
            config.page if config.gui else None,
            guide,
            guide is not None and bool(read(Guide, guide).colours),
            failure_map(config),
            twin_folder(config),
            (config.pace or ("person" if intervention == "page" else "clock")) == "person",
        )
        specs = graph(resolved, occasion)
        environment = ros_environment.environment(run / "logs")
        supervisor = Supervisor(specs, run / "logs", Path(sockets), environment, resolved.max_restarts)
        log.info("%s: %s; logs in %s", resolved.name, ", ".join(spec.name for spec in specs), run / "logs")
        try:
            supervisor.start(is_interrupted)
            if config.gui and not is_interrupted:
                log.info("open %s", (run / PAGE).read_text(encoding="utf-8").strip())
            watch(supervisor, run, config.episodes, is_interrupted)
        finally:
            supervisor.stop()
    summary = report(run, config.record)
    print(summary.table())
    if config.record is not None:
        print(f"to LeRobot: tandem data publish {config.record} {config.record}_lerobot")
    if config.json_file is not None:
        artefact.write_model(config.json_file, summary)
    return 0


def resolve(config: UpCell) -> CellConfig:
    """The cell as every process of this run reads it."""
    chosen = cell.load(config.cell)
    if config.policy is not None and config.policy != chosen.policy.kind:
        chosen = chosen.but(policy={"kind": config.policy})
    if config.task is not None and chosen.bench is not None:
        task = open_task(config.task, chosen.arm.model if isinstance(chosen.arm, BenchArm) else "so101")
        bench = chosen.bench.model_dump() | {"task": config.task}
        chosen = chosen.but(bench=bench, task=task.instruction, episode_s=task.time_limit_s)
    elif config.task is not None:
        chosen = chosen.but(task=config.task)
    if config.starts is not None:
        if chosen.bench is None:
            raise BadInput("only the bench places the object by itself", "leave --starts out")
        chosen = chosen.but(bench=chosen.bench.but(starts=config.starts))
    if config.speed != 1.0:
        if config.record is not None:
            raise BadInput(
                "a recording at another speed would teach a policy to move at that speed",
                "leave --speed at 1 with --record",
            )
        chosen = chosen.sped_up(config.speed)
    return chosen


def intervener(
    config: UpCell, cell: CellConfig
) -> Literal["none", "joy", "leader", "spacemouse", "scripted", "page"]:
    """Who may take over. Raises `BadInput` where nobody could move the arm, or nobody could begin an episode."""
    chosen = config.intervention or ("page" if config.gui else "none")
    if chosen == "page" and not config.gui:
        raise BadInput("--intervention page needs the page", "--gui")
    if config.pace == "person" and chosen != "page":
        raise BadInput("a person begins episodes at the page", "--gui")
    if cell.policy.kind == "none" and chosen in ("none", "scripted"):
        raise BadInput("with --policy none a person drives, and there is none", "--gui, or --intervention joy")
    return chosen


def guide_file(config: UpCell, cell: CellConfig, run: Path) -> Path | None:
    """Of the page, where there is one; the bench's is written into the run folder. Raises `BadInput`."""
    if config.guide is not None:
        read(Guide, config.guide)
        return config.guide.resolve()
    if not config.gui or cell.bench is None or not isinstance(cell.arm, BenchArm):
        return None
    from hardware.bench import reset_guide  # builds the bench's model, which takes seconds

    plant = PlantConfig(
        task=cell.bench.task, starts=cell.bench.starts, arm_model=cell.arm.model, seed=cell.bench.seed
    )
    made = reset_guide.guide(plant, config.seed, config.episodes or GUIDED_EPISODES)
    artefact.write_model(run / GUIDE, made)
    return run / GUIDE


def failure_map(config: UpCell) -> Path | None:
    """Raises `BadInput` where there is no such picture."""
    if config.failure_map is None:
        return None
    file = config.failure_map / FAILURE_MAP if config.failure_map.is_dir() else config.failure_map
    if not file.is_file() or file.suffix != ".png":
        raise BadInput(f"there is no picture {file}", f"{FAILURE_MAP}, as `tandem rl mine` writes it")
    return file.resolve()


def twin_folder(config: UpCell) -> Path | None:
    """Raises `BadInput` where there is no twin."""
    if config.twin is not None and not (config.twin / "twin.json").is_file():
        raise BadInput(f"{config.twin} holds no twin", "the folder that `tandem twin build` made")
    return None if config.twin is None else config.twin.resolve()


def served(serve: str | None, cell: CellConfig) -> tuple[str, ...]:
    """`policy=RUN/policy` as the server's own flags. Raises `BadInput` where the cell would not ask that server."""
    if serve is None:
        return ()
    kind, equals, path = serve.partition("=")
    if not equals:
        raise BadInput(
            f"--serve takes kind=path, not '{serve}'", "--serve policy=RUN/policy, or --serve replay=run.npz"
        )
    if cell.policy.kind != "server":
        raise BadInput(f"--serve, and the cell's policy is '{cell.policy.kind}'", "add --policy server")
    return (f"--{kind}", path)


def watch(supervisor: Supervisor, run: Path, episodes: int, is_interrupted: list[int]) -> None:
    """Until the conductor is done, or a person wants to stop. Says what dies, what comes back and how episodes end."""
    told = 0
    supervisor.poll(0.0)  # what happened while all were starting
    with progress("episodes", episodes or 1) as advance:
        while not is_interrupted:
            events = supervisor.poll(POLL_S)
            for event in events:
                if event.what == "died":
                    log.warning("'%s' died (%d); it is started again", event.name, event.code)
                elif event.what == "ready" and event.name != "conductor":
                    log.info("'%s' serves again", event.name)
            over = announcement.results(run)
            for result in over[told:]:
                log.info("%s", said(result))
                advance(said(result))
            told = len(over)
            if any((event.name, event.what) == ("conductor", "stopped") for event in events):
                return


def said(result: EpisodeResult) -> str:
    verdict = {True: "succeeded", False: "failed", None: "not judged"}[result.success]
    return f"episode {result.episode} {verdict} after {result.duration_s:.1f} s"


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """The signals that asked to stop, instead of an exception somewhere: the cell is then stopped in order."""
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda n, _: asked.append(n)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
