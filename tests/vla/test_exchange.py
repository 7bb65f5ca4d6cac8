"""What the cell sees and does crosses to the server and back unchanged; a chunk for another arm is refused."""

import numpy as np
import pytest

from hardware.errors import BadInput
from hardware.messages import ActionChunk, Observation
from vla import exchange, wire
from vla.exchange import Facts

NAMES = ("shoulder", "elbow", "gripper")
WANTED = Facts(NAMES, rate_hz=20.0, horizon_steps=4)


def seen(gripper_open: float | None = 0.25) -> Observation:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    return Observation(
        stamp_ns=5_000_000_001,
        joint_names=("shoulder", "elbow"),
        q_rad=np.array([0.5, -1.25]),
        images={"cam_side": image, "cam_wrist": image[:, ::-1]},
        image_stamps_ns={"cam_side": 4_990_000_000, "cam_wrist": 4_980_000_000},
        gripper_open=gripper_open,
        instruction="put the cube into the bowl",
    )


@pytest.mark.parametrize("gripper_open", [0.25, None])
def test_an_observation_crosses_unchanged(gripper_open):
    before = seen(gripper_open)
    after = exchange.observation(wire.unpack(wire.pack(exchange.message(before))))
    assert (after.stamp_ns, after.joint_names, after.instruction) == (
        before.stamp_ns,
        before.joint_names,
        before.instruction,
    )
    assert after.gripper_open == gripper_open
    assert after.image_stamps_ns == before.image_stamps_ns
    np.testing.assert_array_equal(after.q_rad, before.q_rad)
    for camera in before.images:
        np.testing.assert_array_equal(after.images[camera], before.images[camera])


def test_a_foreign_policy_gets_its_own_picture_keys():
    message = exchange.message(seen(), {"cam_side": "observation/image", "cam_wrist": "observation/wrist_image"})
    assert {key for key in message if key.startswith("observation/")} == {
        "observation/state",
        "observation/image",
        "observation/wrist_image",
    }
    assert message["observation/state"].dtype == np.float32
    with pytest.raises(BadInput, match="no picture of cam_top; have: cam_side, cam_wrist"):
        exchange.message(seen(), {"cam_top": "observation/image"})


@pytest.mark.parametrize(
    ("key", "value", "wrong"),
    [
        ("observation/state", np.zeros(9), "shape"),
        ("observation/state", np.array([0.0, np.nan, 1.0]), "not finite"),
        ("observation/state", "text", "needs 'observation/state'"),
        ("observation/cam_side", np.zeros((2, 3, 3)), "uint8"),
        ("observation/cam_side", np.zeros((3, 4), np.uint8), "uint8"),
        ("prompt", 3, "needs 'prompt'"),
        ("tandem/joint_names", ["elbow", "elbow"], "repeat"),
        ("tandem/stamp_ns", 0.5, "stamp_ns"),
        ("tandem/image_stamps_ns", {"cam_side": "now"}, "not usable"),
    ],
)
def test_an_observation_that_is_not_one_is_refused_with_its_reason(key, value, wrong):
    with pytest.raises(BadInput, match=wrong):
        exchange.observation(exchange.message(seen()) | {key: value})


def test_a_chunk_and_its_facts_cross_unchanged():
    chunk = ActionChunk(7, 20.0, "joint_pos_rad", NAMES, np.arange(12.0).reshape(4, 3))
    said = exchange.facts(wire.unpack(wire.pack(WANTED.metadata())))
    assert said == WANTED
    after = exchange.chunk(wire.unpack(wire.pack(exchange.reply(chunk))), 7, WANTED, said)
    assert (after.start_ns, after.rate_hz, after.space, after.names) == (7, 20.0, "joint_pos_rad", NAMES)
    np.testing.assert_array_equal(after.values, chunk.values)


def test_the_servers_rate_holds_where_it_says_one():
    answer = {"actions": np.zeros((4, 3), np.float32)}
    assert exchange.chunk(answer, 0, WANTED, Facts(NAMES, 50.0, 4)).rate_hz == 50.0
    assert exchange.chunk(answer, 0, WANTED, None).rate_hz == 20.0


@pytest.mark.parametrize(
    "said", [Facts(("elbow", "shoulder", "gripper"), 20.0, 4), Facts(NAMES, 20.0, 4, "joint_vel_rad_s")]
)
def test_a_policy_for_another_arm_or_another_space_is_refused(said):
    with pytest.raises(BadInput, match="the cell takes shoulder, elbow, gripper as joint_pos_rad"):
        exchange.chunk({"actions": np.zeros((4, 3))}, 0, WANTED, said)


@pytest.mark.parametrize("actions", [np.zeros((4, 7)), np.zeros(3), [[0.0] * 3], None, np.full((1, 3), np.nan)])
def test_actions_of_another_shape_are_refused(actions):
    with pytest.raises(BadInput, match="actions"):
        exchange.chunk({"actions": actions}, 0, WANTED, None)


@pytest.mark.parametrize("said", [3, {}, {"space": "nowhere"}, {"space": "joint_pos_rad", "action_names": 3}])
def test_metadata_that_are_not_understood_are_refused(said):
    with pytest.raises(BadInput, match="metadata"):
        exchange.facts({"tandem": said})


def test_a_server_that_says_nothing_is_openpis():
    assert exchange.facts({"reset_pose": [0, 0]}) is None
