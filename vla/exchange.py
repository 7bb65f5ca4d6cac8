"""An `Observation` as the message that a policy server reads, and its answer as an `ActionChunk`; and both back.

The keys are openpi's: "observation/state" (joints in radians, then the gripper's opening, float32),
"observation/<camera>" (rgb, uint8, H W 3), "prompt", and "actions" in the answer. What openpi has no word for goes
under "tandem/…", which its servers leave alone. A server of ours says in its metadata what its columns are, so that
a chunk for other joints is refused and not executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np

from hardware.errors import BadInput
from hardware.messages import ActionChunk, ActionSpace, Observation
from vla import wire

STATE, PROMPT, ACTIONS = "observation/state", "prompt", "actions"
IMAGE = "observation/"
JOINTS, STAMP, IMAGE_STAMPS = "tandem/joint_names", "tandem/stamp_ns", "tandem/image_stamps_ns"
FACTS = "tandem"


@dataclass(frozen=True)
class Facts:
    """What the rows of a policy's chunks are."""

    action_names: tuple[str, ...]
    rate_hz: float
    horizon_steps: int
    space: ActionSpace = "joint_pos_rad"
    cameras: tuple[str, ...] = ()
    """Those that the policy looks through."""

    def metadata(self) -> dict[str, object]:
        facts = {
            "action_names": list(self.action_names),
            "rate_hz": float(self.rate_hz),
            "horizon_steps": int(self.horizon_steps),
            "space": self.space,
            "cameras": list(self.cameras),
        }
        return {FACTS: facts}


def facts(metadata: Mapping[str, object]) -> Facts | None:
    """None: the server says nothing about its actions, as openpi's own. Raises `BadInput` on what is no such thing."""
    said = metadata.get(FACTS)
    if said is None:
        return None
    if not isinstance(said, dict):
        raise BadInput(f"the server's metadata under '{FACTS}' must be a map")
    try:
        space = said["space"]
        if space not in get_args(ActionSpace):
            raise ValueError(f"no action space '{space}'; have: {', '.join(get_args(ActionSpace))}")
        return Facts(
            action_names=tuple(map(str, said["action_names"])),
            rate_hz=float(said["rate_hz"]),
            horizon_steps=int(said["horizon_steps"]),
            space=space,
            cameras=tuple(map(str, said["cameras"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the server's metadata are not understood: {error!r}") from error


def message(observation: Observation, image_keys: Mapping[str, str] | None = None) -> dict[str, object]:
    """`image_keys`: camera → the key that a foreign policy wants, as {"cam_side": "observation/image"}."""
    keys = {camera: IMAGE + camera for camera in observation.images} | dict(image_keys or {})
    missing = set(keys) - set(observation.images)
    if missing:
        have = ", ".join(observation.images) or "no camera"
        raise BadInput(f"no picture of {', '.join(sorted(missing))}; have: {have}")
    gripper = [] if observation.gripper_open is None else [observation.gripper_open]
    return {
        STATE: np.array([*observation.q_rad, *gripper], np.float32),
        PROMPT: observation.instruction,
        JOINTS: list(observation.joint_names),
        STAMP: observation.stamp_ns,
        IMAGE_STAMPS: dict(observation.image_stamps_ns),
        **{keys[camera]: image for camera, image in observation.images.items()},
    }


def observation(message: Mapping[str, object]) -> Observation:
    """The server's side of `message`, with its default keys. Raises `BadInput` that names what is wrong."""
    try:
        names = tuple(map(str, _of(message, JOINTS, list)))
        state = _of(message, STATE, np.ndarray).astype(float)
        stamps = {str(name): int(stamp) for name, stamp in _of(message, IMAGE_STAMPS, dict).items()}
        if state.ndim != 1 or len(state) - len(names) not in (0, 1):
            raise BadInput(f"'{STATE}' has shape {state.shape} for {len(names)} joints and at most one gripper")
        return Observation(
            stamp_ns=_of(message, STAMP, int),
            joint_names=names,
            q_rad=state[: len(names)],
            images={name: _picture(message, IMAGE + name) for name in stamps},
            image_stamps_ns=stamps,
            gripper_open=float(state[-1]) if len(state) > len(names) else None,
            instruction=_of(message, PROMPT, str),
        )
    except (TypeError, ValueError) as error:
        raise BadInput(f"the observation is not usable: {error}") from error


def reply(chunk: ActionChunk) -> dict[str, object]:
    return {ACTIONS: chunk.values}


def chunk(answer: Mapping[str, wire.Value], start_ns: int, wanted: Facts, said: Facts | None) -> ActionChunk:
    """The answer as a chunk of what the cell wants, starting at the observation's stamp.

    `said` is what the server's metadata say, None for a server that says nothing. Raises `BadInput` when the two or
    the array's shape do not agree: the policy was made for another arm.
    """
    if said is not None and (said.action_names, said.space) != (wanted.action_names, wanted.space):
        raise BadInput(
            f"the policy commands {', '.join(said.action_names)} as {said.space}; "
            f"the cell takes {', '.join(wanted.action_names)} as {wanted.space}",
            "serve a policy that was trained for this cell",
        )
    actions = answer.get(ACTIONS)
    if not isinstance(actions, np.ndarray) or actions.ndim != 2 or actions.shape[1] != len(wanted.action_names):
        shape = actions.shape if isinstance(actions, np.ndarray) else type(actions).__name__
        raise BadInput(f"actions must be [T, {len(wanted.action_names)}], not {shape}")
    rate_hz = wanted.rate_hz if said is None else said.rate_hz
    try:
        return ActionChunk(start_ns, rate_hz, wanted.space, wanted.action_names, actions.astype(float))
    except ValueError as error:
        raise BadInput(f"the server's actions are not usable: {error}") from error


def _of[T](message: Mapping[str, object], key: str, kind: type[T]) -> T:
    value = message.get(key)
    if not isinstance(value, kind):
        have = ", ".join(sorted(message)) or "nothing"
        raise BadInput(f"the observation needs '{key}' as {kind.__name__}; it has: {have}")
    return value


def _picture(message: Mapping[str, object], key: str) -> np.ndarray:
    picture = _of(message, key, np.ndarray)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise BadInput(f"'{key}' must be uint8 [H, W, 3], not {picture.dtype} {picture.shape}")
    return picture
