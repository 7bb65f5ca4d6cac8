from datetime import UTC, datetime
from pathlib import Path

import moving_arm
import numpy as np
import pytest

from hardware import artefact
from hardware.bench.arm_models import SO101
from hardware.dataset.recording import Recording
from hardware.errors import BadInput, GateFailed
from hardware.gate import check
from twin import identify, servos
from twin.identify import ArmAlone, IdentifyServos
from twin.replay import Commands
from twin.servos import Servos

TRUE = Servos(stiffness=0.8, damping=1.2, friction=1.5, delay_s=0.023)


def stored(store: Path, commands: Commands) -> None:
    recording = Recording(store, "swing", (), (*SO101.joints, "gripper"))
    base_ns = 1_000_000_000
    for at_s, q in zip(commands.read_s, commands.q_rad, strict=True):
        recording.joint(base_ns + round(at_s * 1e9), np.append(q, 1.0))
    for at_s, action in zip(commands.sent_s, commands.actions, strict=True):
        recording.sent(base_ns + round(at_s * 1e9), action, "scripted")
    recording.finish()


def test_the_motion_of_known_servos_is_recovered_from_what_encoders_read() -> None:
    """Encoder steps are 0.09°. Measured on two pairs of seeds: 0.05 and 0.08° left of 0.96, delay within 0.5 ms.

    Stiffness and damping one by one are not recovered: light arms show their ratio.
    """
    episodes = [moving_arm.measured(moving_arm.swings(2.5, seed), TRUE) for seed in (1, 2, 5)]
    alone = ArmAlone(SO101)
    found = identify.solve(alone, episodes[:2], 2.5)
    assert found.damping / found.stiffness == pytest.approx(TRUE.damping / TRUE.stiffness, rel=0.2)
    assert found.delay_s == pytest.approx(TRUE.delay_s, abs=0.003)
    assert identify.rms_deg(alone, episodes[2:], found, 2.5) < 0.15
    assert identify.rms_deg(alone, episodes[2:], Servos(), 2.5) > 0.5


def test_what_was_identified_is_in_every_simulator_of_the_bundle(tmp_path: Path) -> None:
    import pushable_twin

    from twin.sim import scene

    bundle = pushable_twin.write(tmp_path / "bundle")
    before = scene.read(bundle).compile()
    artefact.write_model(bundle / servos.SERVOS, identified(Servos(stiffness=0.5, damping=2.0)))
    after = scene.read(bundle).compile()
    arm = after.actuator("arm_shoulder_pan").id
    assert after.actuator_gainprm[arm, 0] == pytest.approx(0.5 * before.actuator_gainprm[arm, 0])
    assert after.actuator_biasprm[arm, 1] == pytest.approx(0.5 * before.actuator_biasprm[arm, 1])
    assert after.actuator_biasprm[arm, 2] == pytest.approx(2.0 * before.actuator_biasprm[arm, 2])
    gripper = after.actuator("arm_gripper").id
    assert after.actuator_gainprm[gripper, 0] == before.actuator_gainprm[gripper, 0]


def test_goals_between_two_commands_are_their_mean_in_time() -> None:
    """Commands 0 at 0 s and 1 at 0.05 s, delay 1 ms, steps of 2 ms: the 26th step spans 50 … 52 ms, half is 1."""
    commands = moving_arm.swings(0.2, 0)
    actions = np.zeros_like(commands.actions)
    actions[1:] = 1.0
    commands = Commands(0, commands.end_s, commands.sent_s, actions, commands.read_s, commands.q_rad, np.ones(10))
    goals = identify.held_goals(commands, 0.001, 60, 0.002)[:, 0]
    np.testing.assert_allclose(goals[:25], 0.0, atol=1e-9)
    assert goals[25] == pytest.approx(0.5)
    np.testing.assert_allclose(goals[26:], 1.0, atol=1e-9)


def test_the_command_writes_servos_that_the_held_out_episode_confirms(tmp_path: Path) -> None:
    import pushable_twin

    bundle = pushable_twin.write(tmp_path / "bundle")
    for seed in (1, 2):
        stored(tmp_path / "store", moving_arm.measured(moving_arm.swings(1.5, seed), TRUE))
    assert servos.of(bundle) == Servos()
    assert identify.identify(IdentifyServos(bundle=bundle, episodes=tmp_path / "store")) == 0
    found = servos.find(bundle)
    assert found is not None
    assert found.held_out_deg < 0.2 < found.before_deg
    assert found.episodes == (1,)


def identified(found: Servos, held_out_deg: float = 0.1) -> servos.IdentifiedServos:
    return servos.IdentifiedServos(
        servos=found,
        model="so101",
        episodes=(0,),
        store="store",
        date=datetime.now(UTC),
        fitted_deg=0.1,
        held_out_deg=held_out_deg,
        before_deg=2.6,
        simulations=3,
    )


def test_a_fit_that_the_held_out_episode_denies_is_refused() -> None:
    with pytest.raises(GateFailed, match=r"2.5 °"):
        check([identify.quality(identified(Servos(), held_out_deg=2.5))])


def test_one_episode_and_a_bundle_without_a_robot_are_refused(tmp_path: Path) -> None:
    import pushable_twin

    stored(tmp_path / "store", moving_arm.swings(0.5, 1))
    with pytest.raises(BadInput, match="1 finished episode"):
        identify.fit(IdentifyServos(bundle=pushable_twin.write(tmp_path / "a"), episodes=tmp_path / "store"))
    pusher = pushable_twin.write(tmp_path / "b", robot=False)
    with pytest.raises(BadInput, match="has no robot"):
        identify.fit(IdentifyServos(bundle=pusher, episodes=tmp_path / "store"))
