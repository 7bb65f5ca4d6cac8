"""Commands that swing the SO-101 about, and what its encoders read when its servos are known."""

import numpy as np

from hardware.bench.arm_models import SO101
from twin.identify import ArmAlone
from twin.replay import Commands
from twin.servos import Servos

READ_S, SENT_S = 0.02, 0.05


def swings(seconds: float, seed: int) -> Commands:
    """Commands at 20 Hz; the readings are still empty."""
    rng = np.random.default_rng(seed)
    times = np.arange(0.0, seconds, SENT_S)
    home = np.array(SO101.home_rad)
    width, rate, phase = rng.uniform(0.15, 0.4, 5), rng.uniform(1.5, 5.0, 5), rng.uniform(0, 6, 5)
    joints = home + width * (np.sin(rate * times[:, None] + phase) - np.sin(phase))
    read_s = np.arange(0.0, seconds, READ_S)
    return Commands(
        start_ns=0,
        end_s=float(read_s[-1]),
        sent_s=times,
        actions=np.pad(joints, ((0, 0), (0, 1)), constant_values=1.0),
        read_s=read_s,
        q_rad=np.tile(home, (len(read_s), 1)),
        gripper_open=np.ones(len(read_s)),
    )


def measured(commands: Commands, servos: Servos) -> Commands:
    """With readings rounded as the encoders round."""
    _, found = ArmAlone(SO101).q_rad(commands, servos, commands.end_s)
    step = SO101.encoder_step_rad
    return Commands(
        commands.start_ns,
        commands.end_s,
        commands.sent_s,
        commands.actions,
        commands.read_s,
        np.rint(found / step) * step,
        commands.gripper_open,
    )
