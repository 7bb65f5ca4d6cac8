"""A recorded episode and a simulator of the twin, in; the same actions played there, beside what was measured, out.

The actions are the ones *sent*, each in force from its own stamp (and the servos' delay) on, as on the cell. The twin
starts where the episode did: joints from the first reading, things from the episode's object tracks where there are
any, else from the scan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hardware.dataset.stored_episode import StoredEpisode
from hardware.errors import BadInput
from hardware.messages import NANOSECONDS_PER_SECOND
from twin.object_tracks import ObjectTracks
from twin.sim.protocol import Simulator, Start
from twin.tracks import Track, play

GRIPPER = "gripper"
MOVING_M = 0.001
"""A thing further than this from where it began, and from where it ends, is being handled."""


@dataclass(frozen=True, eq=False)
class Commands:
    """What was sent in one episode, and what was measured. Time 0 is the first reading after the first command."""

    start_ns: int
    end_s: float
    sent_s: Float[ndarray, " M"]
    actions: Float[ndarray, "M D"]
    """Joint targets, then the gripper's opening."""
    read_s: Float[ndarray, " R"]
    q_rad: Float[ndarray, "R J"]
    gripper_open: Float[ndarray, " R"]

    @classmethod
    def of(cls, episode: StoredEpisode, joints: tuple[str, ...]) -> Commands:
        """Of what was measured beside the joints (an object's pose, say) nothing is read.

        Raises `BadInput` for an episode of another arm, or one that is empty.
        """
        manifest = episode.manifest
        wanted = (*joints, GRIPPER)
        where = f"episode {episode.number}"
        if set(manifest.action_names) != set(wanted):
            raise BadInput(
                f"{where} has the actions {', '.join(manifest.action_names)}; the twin's are {', '.join(wanted)}",
                "give the bundle of the same arm",
            )
        streams = episode.streams
        if len(streams.sent_ns) < 2 or len(streams.joint_ns) < 2:
            raise BadInput(f"{where} has {len(streams.sent_ns)} commands and {len(streams.joint_ns)} readings")
        columns = _columns(manifest.action_names, wanted, where)
        q = episode.q_rad[:, _columns(manifest.joint_names, wanted, where)]
        first_ns = max(int(streams.sent_ns[0]), int(streams.joint_ns[0]))
        start = int(np.searchsorted(streams.joint_ns, first_ns))
        if start + 1 >= len(streams.joint_ns):
            raise BadInput(f"{where} has no reading after its first command")
        start_ns = int(streams.joint_ns[start])
        read_s = (streams.joint_ns[start:] - start_ns) / NANOSECONDS_PER_SECOND
        return cls(
            start_ns=start_ns,
            end_s=float(read_s[-1]),
            sent_s=(streams.sent_ns - start_ns) / NANOSECONDS_PER_SECOND,
            actions=episode.sent[:, columns],
            read_s=read_s,
            q_rad=q[start:, :-1],
            gripper_open=q[start:, -1],
        )

    def at(self, times_s: Float[ndarray, " T"], delay_s: float) -> Float[ndarray, "T D"]:
        """The actions in force then: the newest whose stamp and delay have passed, or the first."""
        newest = np.searchsorted(self.sent_s + delay_s, times_s + 1e-9, side="right") - 1
        return self.actions[np.maximum(newest, 0)]

    def measured(self, times_s: Float[ndarray, " T"]) -> Float[ndarray, "T J"]:
        """Joint angles between readings."""
        return np.stack([np.interp(times_s, self.read_s, column) for column in self.q_rad.T], axis=1)


def _columns(have: tuple[str, ...], wanted: tuple[str, ...], where: str) -> list[int]:
    try:
        return [have.index(name) for name in wanted]
    except ValueError as error:
        raise BadInput(
            f"{where} has {', '.join(have)}; the twin's arm has {', '.join(wanted)}",
            "give the bundle of the same arm",
        ) from error


@dataclass(frozen=True, eq=False)
class Replay:
    """The twin's track and what was measured, at the same times."""

    track: Track
    q_rad: Float[ndarray, "T J"]
    Ts_base_object: dict[str, Float[ndarray, "T 4 4"]]
    """Only things whose tracks were recorded."""
    start_ns: int

    def handled(self, name: str) -> Bool[ndarray, " T"]:
        """True from the thing's first motion to its last, by the recorded track."""
        return between_rests(self.Ts_base_object[name])


def between_rests(poses: Float[ndarray, "T 4 4"]) -> Bool[ndarray, " T"]:
    """Which rows lie between rest at the start and rest at the end."""
    at = poses[:, :3, 3]
    left = np.flatnonzero(np.linalg.norm(at - at[0], axis=1) > MOVING_M)
    on_way = np.flatnonzero(np.linalg.norm(at - at[-1], axis=1) > MOVING_M)
    inside = np.zeros(len(poses), bool)
    if len(left) and len(on_way):
        inside[left[0] : on_way[-1] + 1] = True
    return inside


def run(simulator: Simulator, commands: Commands, things: ObjectTracks | None, delay_s: float = 0.0) -> Replay:
    """In environment 0 of a simulator of one; the control rate is the simulator's."""
    if simulator.n_envs != 1:
        raise BadInput(f"a replay takes a simulator of one environment, not {simulator.n_envs}")
    count = max(1, math.floor(commands.end_s * simulator.control_hz))
    begin_s = np.arange(count) / simulator.control_hz
    actions = commands.at(begin_s, delay_s)
    known = {} if things is None else {n: p for n, p in things.start().items() if n in simulator.object_names}
    start = Start(q_rad=commands.q_rad[0], gripper_open=float(commands.gripper_open[0]), objects=known)
    track = play(simulator, [start], actions[None]).tracks[0]
    stamps_ns = commands.start_ns + track.time_s * NANOSECONDS_PER_SECOND
    objects = {} if things is None else {name: things.at(name, stamps_ns) for name in known}
    return Replay(track, commands.measured(track.time_s), objects, commands.start_ns)
