"""What `tandem rl expand` is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field, PositiveInt

from hardware.config import Config
from rl_online.expansion.generators import GeneratorName
from rl_online.expansion.plan_generator import PlanSearch
from rl_online.starts.regions import Fineness, PartName
from rl_online.worlds.open_world import WorldChoice


class ExpandDemos(Config):
    """Make demonstrations over a region of starts, run them in physics, keep the successes."""

    demos: tyro.conf.Positional[Path | None] = None
    """A store or dataset whose state has the object's pose, as `tandem rl demos` records it. Generator `plan` needs
    none; what is given is shown in the coverage map."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Run folder: store/ (the new demonstrations), report.html, expand.json, coverage.png, looks.png, tries.jsonl."""
    generator: GeneratorName = "warp"
    world: WorldChoice = WorldChoice()
    part: PartName = "ood"
    """Which start regions to fill."""
    polygon: tuple[tuple[float, float], ...] = ()
    """Corners of a drawn region in the base frame, in place of the task's own."""
    resets: Path | None = None
    """A reset plan (resets.json), as `tandem rl mine` leaves it: starts are drawn from it, most of them where the
    policy fails. In place of `part` and `polygon`."""
    count: PositiveInt = 30
    """Successes in the store when it is done."""
    most_tries: PositiveInt = 5
    """Times the count, before it gives up; what a policy solved by itself counts a tenth."""
    misses: float = Field(default=0.25, ge=0, le=1)
    """Share of the warped episodes that first grip beside the object; they are shown from there on."""
    turns: PositiveInt = 1
    """The object looks the same after this part of a turn about the vertical: 4 for a cube. Warped are then the grips
    that turn the wrist least, as a person's do."""
    policy: Path | None = None
    """Folder of a policy that acts first. Kept are the ways back from where it got stuck (corrections), in place of
    whole episodes; what it solves by itself is not counted as a try. With generator `warp`."""
    cameras: bool = True
    """no-cameras: states alone; much faster."""
    picture_stride: PositiveInt = 1
    """Draw at every so many control steps; those between are shown the picture before. For `vla sft` with the same."""
    vary: bool = True
    """Vary the pictures of a twin from episode to episode, as `world.looks` says. The bench's look is its own."""
    poses: bool = True
    plan: PlanSearch = PlanSearch()
    grid: Fineness = Fineness()
    """Of the coverage map."""
    seed: int = Field(default=0, ge=0)
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None

    @property
    def choice(self) -> WorldChoice:
        """The world, with its looks varied where there are pictures of a twin."""
        varied = self.vary and self.cameras and self.world.bundle is not None
        return self.world.but(varied=varied or self.world.varied)
