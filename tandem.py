"""The front door: `tandem <room> <verb> [flags]`."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from hardware.allocation import keep_freed_memory
from hardware.errors import BadInput, TandemError

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
"""OpenMP's threads spin while they wait for one another, by default so long that beside one other busy process a
training step on two cores took 550 ms, not 150; so it takes 330, and alone 150 as before. Read when torch is loaded."""


@dataclass(frozen=True)
class Command:
    """Where a verb lives: `module` holds the config class and the function that takes it. Imported when called."""

    module: str
    config: str
    function: str
    summary: str


ONLY = ""
"""The verb of a room that has but one: `tandem up bench`."""

COMMANDS: dict[str, dict[str, Command]] = {
    "twin": {
        "build": Command("twin.build", "BuildTwin", "build", "photos, video or posed images → a twin bundle"),
        "info": Command("twin.bundle", "ShowInfo", "show", "what a bundle holds and how good it is"),
        "view": Command("twin.view", "ViewTwin", "view", "splats, cameras and mesh in the browser"),
        "render": Command("twin.render", "RenderTwin", "render", "pictures or a video along a camera path"),
        "export": Command("twin.export.bundle", "ExportTwin", "export", "to nerfstudio, ply, spz, mjcf or usd"),
        "segment": Command(
            "twin.segment", "SegmentTwin", "segment", "movable things out of the scene, holes closed"
        ),
        "align": Command(
            "twin.robot_alignment", "AlignRobot", "align", "where the arm stands in the scan, by itself"
        ),
        "contact": Command("twin.contact", "GiveContact", "give", "collision shapes, mass, friction; checked"),
        "sim": Command(
            "twin.sim.show", "ShowSim", "show", "drop, push or lift a twin's things: a film, and its cost"
        ),
        "cameras": Command(
            "twin.sim.cameras", "PlaceCameras", "place", "where a cell's cameras are → the simulator"
        ),
        "parity": Command(
            "twin.parity", "CheckParity", "check", "one twin in two engines: differences in mm, °, ms"
        ),
        "identify": Command(
            "twin.identify", "IdentifyServos", "identify", "episodes → how the cell's servos differ"
        ),
        "compare": Command("twin.compare", "CompareTwin", "compare", "replay a cell's episodes: mm, PSNR, r, MMRV"),
        "eval": Command("twin.evaluate", "EvaluateTwin", "evaluate", "against held-out photos and known poses"),
    },
    "vla": {
        "sft": Command("vla.sft.fine_tuning", "TrainPolicy", "sft", "demonstrations → a policy"),
        "rft": Command(
            "vla.rft.reinforcement", "ReinforcePolicy", "rft", "policy, demonstrations → better by process rewards"
        ),
        "continual": Command(
            "vla.continual.learning", "LearnContinually", "learn", "one task after another, forgetting little"
        ),
        "gate": Command("vla.gate", "GatePolicy", "gate", "refuse a new policy that has lost an old task"),
        "eval": Command("vla.evaluate", "EvaluatePolicy", "run", "success rates in an environment, with intervals"),
        "serve": Command(
            "vla.serve", "ServePolicy", "run", "a policy behind a websocket, as openpi's clients expect"
        ),
    },
    "rl": {
        "demos": Command("rl_online.demos", "RecordDemos", "record", "scripted demonstrations on the bench"),
        "task": Command(
            "rl_online.expansion.describe_task",
            "DescribeTask",
            "describe",
            "demonstrations, a twin → your own task",
        ),
        "expand": Command(
            "rl_online.expansion.expand", "ExpandDemos", "expand", "a few demonstrations → many over a region"
        ),
        "learn": Command(
            "rl_online.learning.learner", "LearnOnline", "learn", "demonstrations and tried chunks → a policy"
        ),
        "act": Command("rl_online.actor", "ActOnline", "act", "try the newest policy, send what came of it"),
        "guide": Command(
            "rl_online.starts.guide", "GuideResets", "guide", "a reset plan, a twin → starts drawn for the page"
        ),
        "mine": Command(
            "rl_online.mining.mine", "MinePolicy", "mine", "a policy → failure map, S_target, reset plan"
        ),
        "real": Command(
            "rl_online.real.session", "GuideReal", "real", "guided, verified, gated learning on a cell"
        ),
        "report": Command("rl_online.real.report", "ReportRun", "report", "a guided run → report.html"),
        "reward": Command(
            "rl_online.judge.verbs", "JudgeSuccess", "reward", "labelled episodes → a learned judge of success"
        ),
    },
    "data": {
        "check": Command("hardware.dataset.check", "CheckData", "run", "what is wrong with a store or LeRobot set"),
        "repair": Command("hardware.dataset.repair", "RepairData", "run", "all that is sound → a new dataset"),
        "convert": Command("hardware.dataset.convert", "ConvertData", "run", "LeRobot v2.1 → v3.0, bit for bit"),
        "info": Command(
            "hardware.dataset.info", "ShowDataInfo", "run", "episodes, sources, success, cameras, size"
        ),
        "merge": Command(
            "hardware.dataset.merge", "MergeData", "run", "several datasets of the same features → one"
        ),
        "publish": Command("hardware.dataset.publish", "PublishData", "run", "a store → a LeRobot v3.0 dataset"),
    },
    "cell": {
        "report": Command(
            "hardware.execution.report",
            "ReportCell",
            "report",
            "how evenly a run ticked, how smooth its seams were",
        ),
    },
    "bench": {
        "scan": Command("hardware.bench.scan", "ScanBench", "scan", "film the simulated cell with a virtual phone"),
        "demo": Command("twin.demo", "RunDemo", "demo", "bench scan → twin → comparison with the truth"),
    },
    "calibrate": {
        "board": Command("calibration.board_print", "PrintBoard", "print_board", "a board to print, to scale"),
        "camera": Command("calibration.calibrate_camera", "CalibrateCamera", "calibrate", "pictures → intrinsics"),
        "stops": Command(
            "calibration.stops", "CollectStops", "collect", "a recording with stops → pictures, views and touches"
        ),
        "hand-eye": Command(
            "calibration.calibrate_hand_eye", "CalibrateHandEye", "calibrate", "stops → camera's place"
        ),
        "base": Command(
            "calibration.calibrate_base", "CalibrateBase", "calibrate", "touched corners → board's place"
        ),
        "time": Command("calibration.calibrate_time", "CalibrateTime", "calibrate", "pose streams → clock offset"),
        "check": Command("calibration.drift", "CheckCalibration", "measure", "does a stored result still hold?"),
    },
    "up": {
        ONLY: Command(
            "hardware.up", "UpCell", "up", "a whole robot cell as ROS 2 processes; the bench needs no robot"
        ),
    },
    "demo": {
        ONLY: Command("rl_online.demo.loop", "WholeDemo", "demo", "the whole loop on the bench, small, resumable"),
    },
    "gui": {
        ONLY: Command("hardware.up", "OpenPage", "up", "the same with the page: see, drive by keys, record, stop"),
    },
}

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""As a shell counts them: 128 + SIGINT, 128 + SIGPIPE."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns the process's exit code."""
    keep_freed_memory()
    words = list(sys.argv[1:] if arguments is None else arguments)
    verbose = bool(words) and words[0] in ("-v", "--verbose")
    words = words[verbose:]
    console = Console(stderr=True, emoji=False)
    start_logging(console, logging.DEBUG if verbose else logging.INFO)
    asks = words[-1:] in (["-h"], ["--help"]) and len(words) == 2
    is_room = bool(words) and words[0] in COMMANDS and ONLY not in COMMANDS[words[0]]
    try:
        if not words or words[0] in ("-h", "--help") or (is_room and (len(words) == 1 or asks)):
            print(overview(words[0] if words and words[0] in COMMANDS else None), flush=True)
            return 0
        command, flags = find(words)
        module = importlib.import_module(command.module)
        kind: type[BaseModel] = getattr(module, command.config)
        prog = f"tandem {words[0]}" if ONLY in COMMANDS[words[0]] else f"tandem {words[0]} {words[1]}"
        flags, defaults = with_file(flags, kind)
        config = tyro.cli(kind, args=flags, default=defaults, prog=prog, description=kind.__doc__)
        return getattr(module, command.function)(config)
    except TandemError as error:
        console.print(
            f"[bold red]{type(error).__name__}[/] {escape(error.problem)}", highlight=False, soft_wrap=True
        )
        if error.fix:
            console.print(f"  [bold]→[/] {escape(error.fix)}", highlight=False, soft_wrap=True)
        return error.exit_code
    except BrokenPipeError:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - the reader has left
        return EXIT_BROKEN_PIPE
    except OSError as error:
        console.print(f"[bold red]{type(error).__name__}[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return BadInput.exit_code
    except KeyboardInterrupt:
        console.print("Stopped. What was finished is kept: the same command goes on from there.")
        return EXIT_INTERRUPTED


def start_logging(console: Console, level: int) -> None:
    handler = RichHandler(console=console, show_path=False, rich_tracebacks=False)
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", datefmt="%H:%M:%S", handlers=[handler], force=True
    )
    for room in ("hardware", "calibration", "twin", "vla", "rl_online"):
        logging.getLogger(room).setLevel(level)


def overview(room: str | None) -> str:
    """The rooms and verbs as text; of one room, or all."""
    lines = ["tandem [-v] <room> <verb> [flags]     (tandem <room> <verb> --help lists the flags)", ""]
    for name, verbs in COMMANDS.items():
        if room in (None, name):
            lines += [f"  tandem {name} {verb:<8} {command.summary}" for verb, command in verbs.items()] + [""]
    lines.append("--config FILE (YAML) sets any flag; flags on the command line win over it.")
    return "\n".join(lines)


def find(words: list[str]) -> tuple[Command, list[str]]:
    """The command that the first two words name, and the words after them."""
    room, verb = words[0], words[1] if len(words) > 1 else ""
    if room not in COMMANDS:
        raise BadInput(f"no room '{room}'; have: {', '.join(COMMANDS)}", "tandem --help lists all commands")
    if ONLY in COMMANDS[room]:
        return COMMANDS[room][ONLY], words[1 + (verb == ONLY) :]
    if verb not in COMMANDS[room]:
        raise BadInput(f"no verb '{verb}' in '{room}'; have: {', '.join(COMMANDS[room])}", f"tandem {room} --help")
    return COMMANDS[room][verb], words[2:]


def with_file[C: BaseModel](flags: list[str], kind: type[C]) -> tuple[list[str], C | None]:
    """Takes `--config FILE` out of the flags: what is left, and the file's settings, over which the flags win.

    A key that `kind` lacks and a value that it refuses are named. What the file does not set, and has no default,
    must still be given as a flag.
    """
    flags = [word for flag in flags for word in (flag.split("=", 1) if flag.startswith("--config=") else [flag])]
    if "--config" not in flags:
        return flags, None
    at = flags.index("--config")
    if at + 1 == len(flags):
        raise BadInput("--config needs a file", "tandem … --config my.yaml")
    return flags[:at] + flags[at + 2 :], as_defaults(Path(flags[at + 1]), kind)


def as_defaults[C: BaseModel](file: Path, kind: type[C]) -> C:
    """A config with the file's values, checked one by one, and `tyro.MISSING` where it must come from a flag."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"cannot read {file}: {error}") from error
    if not isinstance(values, dict):
        raise BadInput(f"{file} must hold 'setting: value' lines, not a {type(values).__name__}")
    values = {str(key).replace("-", "_"): value for key, value in values.items()}
    unknown = sorted(set(values) - set(kind.model_fields))
    if unknown:
        raise BadInput(f"{file}: no setting '{unknown[0]}'; have: {', '.join(kind.model_fields)}")
    given: dict[str, Any] = {name: tyro.MISSING for name, field in kind.model_fields.items() if field.is_required()}
    for name, value in values.items():
        field = kind.model_fields[name]
        try:
            checked: Any = Annotated[field.annotation, field]  # pyright: ignore[reportInvalidTypeForm]
            given[name] = TypeAdapter(checked).validate_python(value)
        except ValidationError as error:
            wrong = error.errors()[0]
            where = ".".join(map(str, (name, *wrong["loc"])))
            raise BadInput(f"{file}: {where}: {wrong['msg']}, not {wrong['input']!r}") from error
    return kind.model_construct(**given)


if __name__ == "__main__":
    sys.exit(main())
