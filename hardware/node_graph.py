"""The processes of a cell as data: one list of `NodeSpec`s drives `tandem up` and the launch files alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hardware import cell as cells
from hardware.cell import BenchPlant, CellConfig
from hardware.cell_devices import ArmConfig, BenchArm, NoPolicy, ServerPolicy
from hardware.page.config import ServePage

PACKAGE = "tandem_nodes"
HEARERS = ("executor", "policy", "recorder", "gui", "reset_guide", "intervention")
"""Modules that live by the conductor's announcements."""


@dataclass(frozen=True)
class NodeSpec:
    """One process. With a `package` it is a ROS node with parameters, else a Python module with arguments."""

    name: str
    module: str
    """`arm` of the package, or a whole module path without one."""
    package: str = ""
    namespace: str = ""
    parameters: dict[str, str | int] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    tier: int = 1
    """Lower tiers start first and stop last; those of one tier start and stop together."""
    holds_policy: bool = False
    """The policy may not act while this process is away."""
    is_restarted: bool = True

    @property
    def command(self) -> list[str]:
        """What follows the name of the Python interpreter."""
        if not self.package:
            return ["-m", self.module, *self.arguments]
        words = [
            "--ros-args",
            "--disable-external-lib-logs",
            "-r",
            f"__node:={self.name}",
            "-r",
            f"__ns:=/{self.namespace}",
        ]
        for name, value in self.parameters.items():
            words += ["-p", f"{name}:={value}"]
        return ["-m", f"{self.package}.{self.module}", *words]


@dataclass(frozen=True)
class Occasion:
    """What this start of the cell is for."""

    cell_file: Path
    """The resolved cell, which every process reads."""
    run: Path
    """The folder of logs and results."""
    episodes: int = 0
    """0: until it is stopped."""
    seed: int = 0
    store: Path | None = None
    """Where episodes are recorded; None: they are not."""
    intervention: str = "none"
    """none, joy, leader, spacemouse, scripted or page."""
    serves: tuple[str, ...] = ()
    """Arguments of the policy server, where this start brings it along."""
    page: ServePage | None = None
    """Where the page for the browser is served; None: it is not."""
    guide: Path | None = None
    """Where the page finds which start comes next, and how to draw it."""
    seeks_object: bool = False
    """The guide says what its object looks like, so it is looked for."""
    failure_map: Path | None = None
    twin: Path | None = None
    """Shown at the page."""
    is_paced_by_person: bool = False
    """Each episode begins when a person says so, and ends with their verdict."""


def graph(cell: CellConfig, occasion: Occasion) -> tuple[NodeSpec, ...]:
    """In the order of starting."""
    file, run = str(occasion.cell_file), str(occasion.run)

    def node(
        module: str, name: str = "", *, tier: int = 1, holds: bool = False, **parameters: str | int
    ) -> NodeSpec:
        return NodeSpec(
            name or module, module, PACKAGE, cell.name, {"cell": file, **parameters}, tier=tier, holds_policy=holds
        )

    specs: list[NodeSpec] = []
    if cell.bench is not None:
        specs.append(plant(cell, cell.bench, cell.arm))
    if occasion.serves and isinstance(cell.policy, ServerPolicy):
        where = ("--host", cell.policy.host, "--port", str(cell.policy.port))
        serve = ("vla", "serve", *occasion.serves, *where)
        specs.append(NodeSpec("server", "tandem", arguments=serve, tier=0, holds_policy=True))
    specs += [node("camera", name, holds=True, camera=name) for name in cell.cameras]
    specs.append(node("arm", tier=2, holds=True))
    if occasion.store is not None:
        specs.append(node("recorder", tier=2, holds=True, store=str(occasion.store)))
    specs.append(node("executor", tier=3, run=run))
    if not isinstance(cell.policy, NoPolicy):
        specs.append(node("policy", tier=4, holds=True))
    if occasion.page is not None:
        specs.append(gui(cell, occasion, occasion.page))
        if occasion.seeks_object:
            specs.append(node("reset_guide", tier=4, guide=str(occasion.guide)))
    if occasion.intervention not in ("none", "page"):
        specs.append(node("intervention", tier=4, kind=occasion.intervention))
    pace = "person" if occasion.is_paced_by_person else "clock"
    conductor = node("conductor", tier=5, run=run, episodes=occasion.episodes, seed=occasion.seed, pace=pace)
    conductor.parameters["hearers"] = " ".join(spec.name for spec in specs if spec.module in HEARERS)
    if occasion.guide is not None:
        conductor.parameters["guide"] = str(occasion.guide)
    specs.append(conductor)
    return tuple(specs)


def gui(cell: CellConfig, occasion: Occasion, page: ServePage) -> NodeSpec:
    values: dict[str, str | int] = {
        "cell": str(occasion.cell_file),
        "run": str(occasion.run),
        "host": page.host,
        "port": page.port,
        "drives": int(occasion.intervention == "page"),
        "follows": int(occasion.intervention == "leader"),
    }
    if page.token_file is not None:
        values["token_file"] = str(page.token_file)
    if occasion.store is not None:
        values["store"] = str(occasion.store)
    for name in ("guide", "failure_map", "twin"):
        if (path := getattr(occasion, name)) is not None:
            values[name] = str(path)
    return NodeSpec("gui", "gui", PACKAGE, cell.name, values, tier=4)


def plant(cell: CellConfig, bench: BenchPlant, arm: ArmConfig) -> NodeSpec:
    """The simulated side. It is not restarted: a new one would not know where the things were."""
    values: dict[str, object] = {
        "name": cell.plant_name,
        "task": bench.task,
        "starts": bench.starts,
        "seed": bench.seed,
        "speed": bench.speed,
    }
    if isinstance(arm, BenchArm):
        values["arm-model"] = arm.model
    for camera in cell.cameras.values():
        values |= {
            "camera-width-px": camera.width_px,
            "camera-height-px": camera.height_px,
            "camera-rate-hz": camera.rate_hz,
        }
    arguments = tuple(word for name, value in values.items() for word in (f"--{name}", str(value)))
    return NodeSpec("plant", "hardware.bench.plant_server", arguments=arguments, tier=0, is_restarted=False)


def launch_graph(name_or_path: str) -> tuple[NodeSpec, ...]:
    """A cell's graph as the launch files start it: no recording, results in this folder, until it is stopped."""
    return graph(cells.load(name_or_path), Occasion(cells.file_of(name_or_path).resolve(), Path.cwd()))
