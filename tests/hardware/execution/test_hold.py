"""The policy is held at once when a process that it needs is missing, and acts again only on what it sees after."""

import numpy as np

from hardware.execution.executor import Executor
from hardware.messages import ActionChunk
from hardware.ports import JointReading

STEP_NS = 10_000_000
NAMES = ("a", "b")


def reading(now_ns: int) -> JointReading:
    return JointReading(now_ns, NAMES, np.zeros(2))


def chunk(start_ns: int) -> ActionChunk:
    ramp = np.linspace(0.05, 1.0, 20)
    return ActionChunk(start_ns, 20.0, "joint_pos_rad", (*NAMES, "gripper"), np.stack([ramp] * 3, 1))


def moving() -> tuple[Executor, int]:
    """An executor in the middle of a chunk, and the time."""
    executor, now_ns = Executor(NAMES), 0
    executor.start(reading(now_ns), 0.0, now_ns)
    executor.offer(chunk(1), 1)
    for _ in range(50):
        now_ns += STEP_NS
        command = executor.tick(now_ns)
    assert command.source == "policy"
    assert abs(command.dq_rad_s[0]) > 0.5
    return executor, now_ns


def test_a_hold_brings_the_arm_to_rest_within_a_tenth_of_a_second() -> None:
    executor, now_ns = moving()
    executor.hold()
    commands = [executor.tick(now_ns + step * STEP_NS) for step in range(1, 12)]
    assert commands[0].source == "brake"
    np.testing.assert_allclose(commands[-1].dq_rad_s, 0.0)
    np.testing.assert_allclose(commands[-1].q_rad, commands[-2].q_rad)


def test_chunks_are_refused_while_held_and_so_are_those_observed_before_the_release() -> None:
    executor, now_ns = moving()
    executor.hold()
    executor.tick(now_ns + STEP_NS)
    executor.offer(chunk(now_ns + STEP_NS), now_ns + STEP_NS)
    executor.tick(now_ns + 2 * STEP_NS)
    assert executor.counts["held"] == 1
    executor.release()
    executor.tick(now_ns + 3 * STEP_NS)
    executor.offer(chunk(now_ns + 2 * STEP_NS), now_ns + 2 * STEP_NS)
    executor.tick(now_ns + 4 * STEP_NS)
    assert executor.counts["obsolete"] == 1
    executor.offer(chunk(now_ns + 4 * STEP_NS), now_ns + 4 * STEP_NS)
    sources = [executor.tick(now_ns + step * STEP_NS).source for step in range(5, 10)]
    assert sources[-1] == "policy"


def test_a_person_drives_on_while_the_policy_is_held() -> None:
    executor, now_ns = moving()
    executor.take_over("human")
    executor.hold()
    for step in range(1, 20):
        stamp_ns = now_ns + step * STEP_NS
        executor.human_command(np.array([0.2, 0.2]), None, stamp_ns)
        command = executor.tick(stamp_ns)
    assert command.source == "human"
    executor.give_back()
    assert executor.tick(now_ns + 20 * STEP_NS).source == "hold"
    executor.offer(chunk(now_ns + 20 * STEP_NS), now_ns + 20 * STEP_NS)
    assert executor.tick(now_ns + 21 * STEP_NS).source == "hold"
    assert executor.counts["held"] == 1
