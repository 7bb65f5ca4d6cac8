"""`tandem rl reward collect`: stores with labelled episodes in; a folder of labelled moments out.

On the bench it can also record new episodes of a policy first, labelled by the plant's truth in place of a person.
Stopped, the same command goes on: finished episodes and encoded ones are kept.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from hardware import artefact
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from hardware.dataset.store import EpisodeStore
from hardware.dataset.stored_episode import StoredEpisode
from hardware.errors import BadInput
from hardware.progress import progress
from rl_online.demos import LINGER_S, column_names, draw, step
from rl_online.episode_log import EpisodeLog, store_episode
from rl_online.judge.frames import FRAMES, LABELS, Labelling, Labels, Moments, keep, measure, open_moments
from rl_online.judge.model import RewardView
from rl_online.learning.env import gone
from rl_online.learning.rollout import Chooser
from rl_online.starts.regions import PartName
from rl_online.worlds.bench import BenchWorld
from rl_online.worlds.open_world import WorldChoice, plant_config
from rl_online.worlds.world import World
from vla.encoders import ImageEncoder
from vla.policy import GRIPPER, Interface, ObservationBatch
from vla.policy_file import load_policy

log = logging.getLogger(__name__)

RECORDED = "store"


class CollectReward(Config):
    """Labelled episodes → moments that a success judge learns from."""

    stores: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Episode stores with pictures and labels (success or failure)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder: labels.json, frames/ and, where episodes are recorded, store/."""
    cameras: tuple[str, ...] = ()
    """Empty: all of the first episode."""
    image_px: int = Field(default=128, ge=32)
    labelling: Labelling = Labelling()
    policy: Path | None = None
    """On the bench: record episodes of this policy first."""
    episodes: NonNegativeInt = 0
    """How many of them."""
    part: PartName | None = None
    """Where they start; None: in turn everywhere."""
    linger_s: NonNegativeFloat = LINGER_S
    """A success is recorded for so much longer. At most `positive_s`: what follows it is positive."""
    world: WorldChoice = WorldChoice()
    seed: NonNegativeInt = 0


def collect(config: CollectReward) -> int:
    """The verb."""
    stores = list(config.stores)
    if config.episodes:
        stores.append(record(config))
    if not stores:
        raise BadInput("there is nothing to collect from", "name episode stores, or --policy P --episodes N")
    found = [(store, episode) for store in stores for episode in labelled(store)]
    if not found:
        raise BadInput(f"no labelled episode in {', '.join(map(str, stores))}", "judge episodes at the page")
    view = RewardView(cameras=config.cameras or found[0][1].manifest.cameras, image_px=config.image_px)
    encoder, kept = ImageEncoder(view.image_px), []
    with progress("episodes encoded", len(found)) as advance:
        for store, episode in found:
            kept.append(_encoded(config, store, episode, view, encoder).episode)
            advance("")
    labels = Labels(task=found[0][1].manifest.task, view=view, labelling=config.labelling, episodes=tuple(kept))
    artefact.write_model(config.output / LABELS, labels)
    won = sum(episode.success for episode in kept)
    print(f"{len(kept)} episodes, {won} of them successes: {config.output}")
    return 0


def labelled(store: Path) -> list[StoredEpisode]:
    """Finished, not empty, with a label and pictures."""
    finished = EpisodeStore.open(store).finished()
    return [e for e in finished if e.manifest.success is not None and len(e) > 1 and e.manifest.cameras]


def _encoded(
    config: CollectReward, store: Path, episode: StoredEpisode, view: RewardView, encoder: ImageEncoder
) -> Moments:
    """From the folder where it is there already."""
    file = f"{store.resolve().parent.name}_{store.name}_{episode.number:06d}.safetensors"
    made = config.output / LABELS
    if (config.output / FRAMES / file).is_file() and made.is_file():
        before = Labels.model_validate_json(made.read_text(encoding="utf-8"))
        same = before.view == view and before.labelling == config.labelling
        known = [one for one in before.episodes if one.file == file and one.store == str(store.resolve())]
        if same and known:
            return open_moments(config.output, known[0])
    made_now = measure(episode, str(store.resolve()), file, view, config.labelling, encoder)
    keep(config.output, made_now)
    return made_now


def record(config: CollectReward) -> Path:
    """New episodes on the bench, pictures at every step, until the store has the wanted number."""
    if config.policy is None:
        raise BadInput("--episodes needs to know whose", "--policy RUN/policy")
    if config.world.bundle is not None:
        raise BadInput("new episodes are recorded on the bench, not in a twin", "leave --world.bundle out")
    policy = load_policy(config.policy)
    world = BenchWorld(plant_config(config.world), 1, policy.interface.rate_hz)
    store = EpisodeStore.create(config.output / RECORDED)
    store.seal_interrupted()
    names: list[PartName] = [config.part] if config.part else list(dict.fromkeys(n for n, _ in world.sheet.parts))
    have, won = len(store.finished()), 0
    try:
        with progress("episodes recorded", config.episodes, min(have, config.episodes)) as advance:
            for number in range(have, config.episodes):
                rng = np.random.default_rng([config.seed, number, 77])
                start = draw(world.sheet.parts, names[number % len(names)], rng)
                episode, success = watch(world, policy, policy.interface, start, number, config.linger_s)
                won += success
                text, cameras = world.sheet.instruction, world.camera_names
                store_episode(episode, store.folder, text, "policy", success, cameras, world.label)
                advance(f"{won} of {number + 1 - have} succeeded")
    finally:
        world.close()
    return store.folder


def watch(
    world: World, chooser: Chooser, interface: Interface, start: TaskStart, seed: int, linger_s: float
) -> tuple[EpisodeLog, bool]:
    """One episode of a policy, with pictures of every step; after the success it acts on for `linger_s`."""
    limit, linger = round(world.sheet.time_limit_s * world.rate_hz), round(linger_s * world.rate_hz)
    episode = EpisodeLog(column_names(world, poses=False), (*world.joint_names, GRIPPER), world.rate_hz)
    world.reset([start], [0])
    won, left = False, limit
    while left > 0:
        for action in chooser.act(seen(world, interface), seed)[0][:left]:
            step(world, action, episode, cameras=True)
            now = world.moment()
            lost = bool(gone(now.Ts_base_object)[0])
            left = left - 1 if not lost else 0
            if now.success[0] and not won:
                won, left = True, linger
            if left <= 0:
                break
    return episode, won


def seen(world: World, interface: Interface) -> ObservationBatch:
    """The first cell, as the policy is shown it."""
    now = world.moment()
    have = dict(zip((*world.joint_names, GRIPPER), [*now.q_rad[0], now.gripper_open[0]], strict=True))
    missing = [name for name in interface.state_names if name not in have]
    if missing:
        raise BadInput(f"the policy reads '{missing[0]}', which no camera and no joint shows", "train it without")
    state = np.array([[have[name] for name in interface.state_names]], np.float32)
    images = {camera: world.picture(camera, 0)[None] for camera in interface.cameras}
    return ObservationBatch(state, images, (world.sheet.instruction,) if interface.language else ())
