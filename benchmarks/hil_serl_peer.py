"""LeRobot's own HIL-SERL learner on the simulated bench: robot steps against success, for `benchmarks/twinrl.py`.

    .venv/bin/python benchmarks/hil_serl_peer.py OUT [--quick] [--takeover SHARE] [--json FILE]

LeRobot 0.6's classes do the learning, unchanged: its Gaussian actor with a discrete gripper, SAC with its losses,
replay buffers, half-and-half mixer and trainer; the settings are those of training files that people share. Ours is the
robot: a gymnasium environment (`peers/bench_gym.py`), told the block's pose. In place of LeRobot's two processes and
gRPC, one training step follows each step of the robot, so that a run is the same again. Demonstrations are those of the
scripted demonstrator, steered through the environment's own actions; it takes over in a share of the episodes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.gaussian_actor.configuration_gaussian_actor import GaussianActorConfig
from lerobot.policies.gaussian_actor.modeling_gaussian_actor import GaussianActorPolicy
from lerobot.policies.gaussian_actor.processor_gaussian_actor import make_gaussian_actor_pre_post_processors
from lerobot.processor.observation_processor import VanillaObservationProcessorStep
from lerobot.rl import DataMixer, OnlineOfflineMixer, ReplayBuffer, RLTrainer, SACAlgorithmConfig, make_algorithm
from lerobot.teleoperators.utils import TeleopEvents
from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_STATE
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from benchmarks.peers.bench_gym import OPEN, BenchGym, Seen
from benchmarks.twinrl_pieces import Counts, Round, trial_starts
from hardware import artefact
from hardware.bench.intervener import Intervener
from hardware.bench.tasks.start import TaskStart
from hardware.config import Config
from rl_online import demos
from rl_online.demos import RecordDemos
from rl_online.starts.regions import PartName
from rl_online.worlds.bench import BenchWorld
from rl_online.worlds.open_world import WorldChoice, plant_config
from rl_online.worlds.world import pose_of
from vla.demonstrations import Demonstration, open_demonstrations

PARTS: tuple[PartName, ...] = ("id", "ood")
BATCH, ONLINE_SHARE, CAPACITY, WARM_UP = 256, 0.5, 100_000, 100
DISCOUNT, TEMPERATURE, CRITIC_UPDATES = 0.97, 0.01, 2
"""As in shared copies of LeRobot's training files, unchecked against the official one; the rest is its default."""
Tensors = dict[str, torch.Tensor]


class Practice(Config):
    """How much of everything."""

    demos: Path
    """Store of scripted demonstrations with poses."""
    round_steps: int
    """Of the robot, 20 in a second."""
    rounds: int
    trials: int
    """Per part, after each round."""
    takeover: float = 0.0
    """Share of the episodes in which the scripted demonstrator takes over when nothing gets on."""
    seed: int = 0


class Course(Config):
    """What came of it."""

    rounds: tuple[Round, ...]
    demos_shown: int
    demos_kept: int
    """Those that succeed through the environment's actions."""
    robot_steps_per_cpu_s: float
    """Learning included, trials not; per second of one processor, so that a busy machine does not spoil it."""
    update_cpu_ms: float
    """Of one training step: two of the critics, one of the actor."""
    critic_loss: float | None
    temperature: float | None
    """Both at the end; None: too few steps to learn from."""
    value_r: tuple[float, float]
    """Correlation of the critic with what the demonstrations really earned, before and after: whether it learns."""


@dataclass(frozen=True, eq=False)
class Transition:
    """One step, as LeRobot's buffers take it."""

    seen: Seen
    action: np.ndarray
    reward: float
    then: Seen
    done: bool
    truncated: bool
    corrected: bool


class Peer:
    """LeRobot's parts, put together as its learner does."""

    def __init__(self, shown: list[Transition], seed: int) -> None:
        torch.manual_seed(seed)
        self._as_seen = VanillaObservationProcessorStep()
        self.policy, preprocessor = untrained(self._ranges(shown), shown[0])
        self._process = preprocessor.process_observation
        settings = SACAlgorithmConfig.from_policy_config(self.policy.config)
        settings.discount, settings.temperature_init, settings.utd_ratio = DISCOUNT, TEMPERATURE, CRITIC_UPDATES
        self.algorithm = make_algorithm(settings, self.policy)
        self.online, self.offline = (self._buffer() for _ in range(2))
        for each in shown:
            self._put(self.offline, each)
        self.trainer = RLTrainer(
            self.algorithm, SteadyMixer(self.online, self.offline, ONLINE_SHARE), BATCH, preprocessor=preprocessor
        )
        self.losses: dict[str, float] = {}
        self.update_s = 0.0

    @torch.no_grad()
    def act(self, seen: Seen) -> np.ndarray:
        """Drawn from the actor, with the best gripper action: what LeRobot does in training and in its evaluation."""
        return self.policy.select_action(self._process(self._tensors(seen)))[0].numpy()

    def learn(self, new: Transition) -> None:
        """Corrections go to both buffers. One training step, once there is enough."""
        self._put(self.online, new)
        if new.corrected:
            self._put(self.offline, new)
        if len(self.online) < WARM_UP:
            return
        began = time.process_time()
        self.losses = self.trainer.training_step().to_log_dict()
        self.update_s += time.process_time() - began

    @torch.no_grad()
    def values(self, steps: list[Transition]) -> np.ndarray:
        """The lower critic's, of the actions that were taken."""
        seen = [self._process(self._tensors(each.seen)) for each in steps]
        observations = {key: torch.cat([each[key] for each in seen]) for key in seen[0]}
        actions = torch.from_numpy(np.stack([each.action[:-1] for each in steps]))
        return self.algorithm.critic_ensemble(observations, actions).amin(0).numpy()

    def _buffer(self) -> ReplayBuffer:
        keys = [OBS_STATE, OBS_ENV_STATE]
        return ReplayBuffer(CAPACITY, "cpu", keys, image_augmentation_function=unchanged, use_drq=False)

    def _put(self, buffer: ReplayBuffer, new: Transition) -> None:
        buffer.add(
            state=self._tensors(new.seen),
            action=torch.from_numpy(new.action)[None],
            reward=new.reward,
            next_state=self._tensors(new.then),
            done=new.done,
            truncated=new.truncated,
            complementary_info={TeleopEvents.IS_INTERVENTION.value: new.corrected},
        )

    def _tensors(self, seen: Seen) -> Tensors:
        return self._as_seen.observation(seen)

    def _ranges(self, shown: list[Transition]) -> dict[str, dict[str, torch.Tensor]]:
        """LeRobot scales observations by the demonstrations' least and most. Actions are −1 … 1 already."""
        seen = [self._tensors(each.seen) for each in shown]
        columns = {key: torch.cat([each[key] for each in seen]) for key in seen[0]}
        ranges = {key: {"min": rows.amin(0), "max": rows.amax(0)} for key, rows in columns.items()}
        unit = torch.ones(len(shown[0].action) - 1)
        return ranges | {ACTION: {"min": -unit, "max": unit}}


class SteadyMixer(OnlineOfflineMixer):
    """Draws in the caller's thread: two batches drawn ahead in another would make each run different."""

    get_iterator = DataMixer.get_iterator


def untrained(ranges: dict[str, dict[str, torch.Tensor]], example: Transition) -> tuple[GaussianActorPolicy, Any]:
    """The actor and what scales its observations."""
    config = GaussianActorConfig(
        input_features={
            OBS_STATE: PolicyFeature(FeatureType.STATE, example.seen["agent_pos"].shape),
            OBS_ENV_STATE: PolicyFeature(FeatureType.ENV, example.seen["environment_state"].shape),
        },
        output_features={ACTION: PolicyFeature(FeatureType.ACTION, (len(example.action) - 1,))},
        dataset_stats={name: {end: row.tolist() for end, row in ends.items()} for name, ends in ranges.items()},
        num_discrete_actions=OPEN + 1,
        device="cpu",
    )
    preprocessor, _ = make_gaussian_actor_pre_post_processors(config, ranges)
    return GaussianActorPolicy(config), preprocessor


def unchanged(images: torch.Tensor) -> torch.Tensor:
    """There are none; LeRobot would compile a shift of them."""
    return images


# ── the scripted stand-in for a person ──────────────────────────────────────────────────────────────────────────


def steer(env: BenchGym, shown: Demonstration, columns: tuple[str, ...]) -> list[Transition]:
    """A demonstration of joint targets through the environment's actions; empty when it does not succeed so."""
    pose = pose_of(dict(zip(columns, shown.state[0].tolist(), strict=True)), env.world.sheet.object_name)
    x_m, y_m, _ = pose.translation_m.tolist()
    yaw_rad = math.atan2(pose.rotation[1, 0], pose.rotation[0, 0])
    seen, _ = env.reset(options={"start": TaskStart(x_m=x_m, y_m=y_m, yaw_rad=yaw_rad)})
    at, done, steps = 0, False, []
    while not done:
        row = shown.actions[min(at, len(shown) - 1)]
        action, whole = env.action_to(row[:-1], float(row[-1]))
        at += env.substeps if whole else 0
        new = stepped(env, seen, action)
        seen, done = new.then, new.done or new.truncated
        steps.append(new)
    return steps if steps[-1].reward > 0 else []


def stepped(env: BenchGym, seen: Seen, action: np.ndarray, corrected: bool = False) -> Transition:
    then, reward, terminated, truncated, _ = env.step(action)
    return Transition(seen, action, reward, then, terminated, truncated, corrected)


class Helper:
    """Watches, and takes over in the episodes that it is asked to."""

    def __init__(self, env: BenchGym) -> None:
        self._env, self._plant = env, env.world.plants[0]
        self._intervener = Intervener(env.world.config.task, env.world.config.arm_model)
        self._watches = False

    def begin(self, watches: bool) -> None:
        self._watches = watches
        self._intervener.forget()

    def action(self) -> np.ndarray | None:
        """None: the policy may act."""
        if not self._watches:
            return None
        plant = self._plant
        wanted = self._intervener.watch(plant.now_ns, plant.reading(), plant.gripper(), plant.truth())
        return None if wanted is None else self._env.action_to(wanted.q_rad, wanted.gripper_open)[0]


# ── practice ────────────────────────────────────────────────────────────────────────────────────────────────────


def practise(practice: Practice) -> Course:
    """Rounds of practice, each followed by trials; round 0 before the robot has moved."""
    env = BenchGym(bench())
    shown = open_demonstrations(practice.demos, practice.demos.name)
    steered = [steer(env, shown[number], shown.layout.state_names) for number in range(len(shown))]
    known = [each for episode in steered for each in episode]
    earned = np.concatenate([DISCOUNT ** np.arange(len(episode))[::-1] for episode in steered])
    peer = Peer(known, practice.seed)
    began_steps, seconds, before = env.world_steps, 0.0, correlation(peer.values(known), earned)
    episodes = Episodes(env, peer, practice)
    rounds = [episodes.so_far(0, tried(peer, practice.trials))]
    for number in range(1, practice.rounds + 1):
        began = time.process_time()
        while env.world_steps - began_steps < number * practice.round_steps:
            episodes.step()
        seconds += time.process_time() - began
        rounds.append(episodes.so_far(env.world_steps - began_steps, tried(peer, practice.trials)))
        print(f"{rounds[-1].robot_steps} steps: ID {rounds[-1].id.words}, OOD {rounds[-1].ood.words}", flush=True)
    env.close()
    updates = max(peer.algorithm.optimization_step, 1)
    return Course(
        rounds=tuple(rounds),
        demos_shown=len(steered),
        demos_kept=sum(bool(episode) for episode in steered),
        robot_steps_per_cpu_s=(env.world_steps - began_steps) / seconds,
        update_cpu_ms=1e3 * peer.update_s / updates,
        critic_loss=peer.losses.get("loss_critic"),
        temperature=peer.losses.get("temperature"),
        value_r=(before, correlation(peer.values(known), earned)),
    )


def correlation(values: np.ndarray, earned: np.ndarray) -> float:
    return float(np.corrcoef(values, earned)[0, 1])


class Episodes:
    """Practice, one step at a time; an episode goes on where a round has ended."""

    def __init__(self, env: BenchGym, peer: Peer, practice: Practice) -> None:
        self.env, self.peer, self.practice = env, peer, practice
        self._helper = Helper(env)
        self._rng = np.random.default_rng([practice.seed, 1])
        self.episodes = self.successes = self.actions = self.corrected = 0
        self._seen = self._begin(practice.seed)

    def _begin(self, seed: int | None = None) -> Seen:
        seen, _ = self.env.reset(seed=seed)
        self._helper.begin(bool(self._rng.random() < self.practice.takeover))
        return seen

    def step(self) -> None:
        correction = self._helper.action()
        action = self.peer.act(self._seen) if correction is None else correction
        new = stepped(self.env, self._seen, action, correction is not None)
        self.peer.learn(new)
        self.actions += 1
        self.corrected += new.corrected
        self._seen = new.then
        if new.done or new.truncated:
            self.episodes += 1
            self.successes += new.reward > 0
            self._seen = self._begin()

    def so_far(self, robot_steps: int, found: dict[PartName, Counts]) -> Round:
        updates = CRITIC_UPDATES * self.peer.algorithm.optimization_step
        return Round(
            robot_steps=robot_steps, episodes=self.episodes, successes=self.successes, chunks=self.actions,
            critic_updates=updates, corrected=self.corrected, id=found["id"], ood=found["ood"],
        )  # fmt: skip


def tried(peer: Peer, trials: int) -> dict[PartName, Counts]:
    """From the starts that every other policy is tried from. What is drawn there leaves the practice's draws alone."""
    env = BenchGym(bench())
    found = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for part in PARTS:
            won = [alone(env, peer.act, start) for start in trial_starts(env.world.sheet.parts, part, trials)]
            found[part] = Counts(successes=sum(won), trials=trials)
    env.close()
    return found


def alone(env: BenchGym, act: Callable[[Seen], np.ndarray], start: TaskStart) -> bool:
    """Whether an episode succeeds."""
    seen, _ = env.reset(options={"start": start})
    while True:
        seen, reward, terminated, truncated, _ = env.step(act(seen))
        if terminated or truncated:
            return reward > 0


def bench() -> BenchWorld:
    return BenchWorld(plant_config(WorldChoice()))


def course_lines(course: Course) -> Iterator[str]:
    yield f"{course.demos_kept} of {course.demos_shown} demonstrations succeed through the environment's actions"
    for each in course.rounds:
        yield (
            f"{each.robot_steps} steps, {each.episodes} episodes ({each.successes} successes, {each.corrected} actions "
            f"of the script): ID {each.id.words}, OOD {each.ood.words}"
        )
    pace, update = course.robot_steps_per_cpu_s, course.update_cpu_ms
    yield f"{pace:.0f} robot steps per CPU-second while learning, {update:.0f} ms a training step"
    yield "critic against the demonstrations' returns: r {:.2f} before, {:.2f} after".format(*course.value_r)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("out/hil_serl_peer"))
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it runs, not how well it learns"
    )
    parser.add_argument(
        "--demos", type=Path, help="a store of `tandem rl demos`, in place of 30 new ones in OUT/demos"
    )
    parser.add_argument("--round-steps", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--takeover", type=float, default=0.0, help="share of episodes with scripted corrections")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures there")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    count, *sizes = (4, 400, 1, 1) if flags.quick else (30, 5000, 8, 20)
    shown = flags.demos or flags.out / "demos"
    if flags.demos is None:
        demos.record(RecordDemos(output=shown, count=count, cameras=False))
    given = (flags.round_steps, flags.rounds, flags.trials)
    steps, rounds, trials = (one or other for one, other in zip(given, sizes, strict=True))
    practice = Practice(
        demos=shown, round_steps=steps, rounds=rounds, trials=trials, takeover=flags.takeover, seed=flags.seed
    )
    before = machine.describe()
    course = practise(practice)
    Console().print("\n".join(course_lines(course)), highlight=False)
    if flags.json:
        found = {"machine": before, "practice": practice.model_dump(mode="json", exclude={"demos"})}
        artefact.write_text(flags.json, json.dumps(found | {"course": course.model_dump()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
