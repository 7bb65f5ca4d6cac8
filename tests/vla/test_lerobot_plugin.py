"""LeRobot trains, evaluates and goes on with a tandem_vla, offline; either side reads what the other wrote."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import small_policy
import torch

from hardware.dataset.frame_grid import Alignment
from hardware.dataset.publish import PublishData, publish
from hardware.dataset.recording import Recording, RecordingConfig
from hardware.errors import BadInput
from vla import policy_file
from vla.lerobot_plugin import lerobot_batch
from vla.lerobot_plugin.configuration_tandem_vla import TandemVLAConfig
from vla.lerobot_plugin.modeling_tandem_vla import TandemVLAPolicy
from vla.policy import ObservationBatch

ROUNDS = Path(__file__).with_name("lerobot_rounds.py")
FPS, STEPS, PX = 10, 12, 64
NAMES = ["x", "y"]
pytestmark = pytest.mark.filterwarnings("default")


def record(store: Path, first: float) -> None:
    config = RecordingConfig(alignment=Alignment(rate_hz=FPS))
    recording = Recording(store, "pick the cube", ["front"], NAMES, NAMES, config=config)
    for step in range(STEPS + 1):
        stamp_ns = 5_000_000_000 + step * 1_000_000_000 // FPS
        recording.image("front", stamp_ns, np.full((PX, PX, 3), 40 + 10 * step, np.uint8))
        recording.joint(stamp_ns, np.array([first + step / 10, 0.5]))
        recording.sent(stamp_ns + 10_000_000, np.array([first + step / 10 + 0.02, 1 - step / 20]), "human")
    recording.finish(True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a published dataset, a policy of ours, and what LeRobot's commands made of them."""
    folder = tmp_path_factory.mktemp("lerobot")
    for first in (0.0, 1.0):
        record(folder / "store", first)
    publish(PublishData(store=folder / "store", output=folder / "data"))
    policy_file.save_policy(small_policy.policy(), folder / "ours")
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "OMP_NUM_THREADS": "1"}
    words = (sys.executable, str(ROUNDS), str(folder / "data"), str(folder))
    done = subprocess.run(words, env=os.environ | offline, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_the_distribution_has_the_name_that_lerobot_looks_for() -> None:
    assert metadata.distribution("lerobot_policy_tandem_vla").metadata["Name"] == "lerobot_policy_tandem_vla"


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_what_lerobot_trained_acts_the_same_on_both_sides(made: Path) -> None:
    folder = made / "run" / "checkpoints" / "last" / "pretrained_model"
    assert not list(folder.glob("*.bin"))
    ours = policy_file.load_policy(folder)
    assert (ours.interface.horizon_steps, ours.interface.action_names) == (6, ("x", "y"))
    assert ours.interface.rate_hz == FPS
    theirs = TandemVLAPolicy.from_pretrained(folder)
    assert theirs.config.n_action_steps == 4
    seen = small_policy.batch(2)
    pixels = lerobot_batch.as_pixels(seen.images["front"])
    batch = {
        "observation.images.front": pixels,
        "observation.state": torch.from_numpy(seen.state),
        "task": list(seen.instructions),
    }
    chunk = theirs.predict_action_chunk(batch)
    np.testing.assert_array_equal(chunk.numpy(), ours.act(seen))
    steps = [theirs.select_action(batch) for _ in range(5)]
    for step in range(5):
        assert torch.equal(steps[step], chunk[:, step % 4])


@pytest.mark.timeout(1600)
def test_lerobot_eval_ran_the_policy_in_an_environment(made: Path) -> None:
    info = json.loads((made / "eval" / "eval_info.json").read_text())
    assert info["overall"]["pc_success"] == 100.0
    assert info["overall"]["n_episodes"] == 2


@pytest.mark.timeout(1600)
def test_lerobot_train_goes_on_with_a_policy_of_ours(made: Path) -> None:
    """Its ranges and tokens stay; its weights have moved by one step."""
    before = policy_file.load_policy(made / "ours")
    after = policy_file.load_policy(made / "tuned" / "checkpoints" / "last" / "pretrained_model")
    assert after.config.normalisation == before.config.normalisation
    assert after.fast.encode(small_policy.smooth_chunks(3)) == before.fast.encode(small_policy.smooth_chunks(3))
    moved = [
        not torch.equal(one, other)
        for one, other in zip(before.backbone.parameters(), after.backbone.parameters(), strict=True)
    ]
    assert any(moved)


def test_pictures_survive_the_way_through_floats() -> None:
    rgb = np.arange(256, dtype=np.uint8).repeat(12).reshape(1, 32, 32, 3)
    np.testing.assert_array_equal(lerobot_batch.as_pictures(lerobot_batch.as_pixels(rgb)), rgb)


def test_a_batch_without_a_key_is_refused_by_its_name() -> None:
    interface = small_policy.interface()
    with pytest.raises(BadInput, match=r"no observation\.images\.front; have: observation\.state"):
        lerobot_batch.observations({"observation.state": torch.zeros(1, 2)}, interface)
    seen = {"observation.images.front": torch.zeros(1, 3, 8, 8), "observation.state": torch.zeros(1, 2)}
    with pytest.raises(BadInput, match="no 'task'"):
        lerobot_batch.observations(seen, interface)
    assert isinstance(lerobot_batch.observations(seen | {"task": ["go"]}, interface), ObservationBatch)
    actions = seen | {"task": ["go"], "action": torch.zeros(1, small_policy.H, 3)}
    with pytest.raises(BadInput, match=r"chunks are \(6, 3\), the policy's are \(6, 2\)"):
        lerobot_batch.demonstrated(actions, interface)


def test_flags_that_no_policy_can_have_are_refused() -> None:
    parsed = TandemVLAConfig(device="cpu")
    parsed.voice = "sings"  # pyright: ignore[reportAttributeAccessIssue] - as a command line may say
    with pytest.raises(ValueError, match="no voice 'sings'; have: consistency, tokens"):
        parsed.__post_init__()
    with pytest.raises(ValueError, match="a chunk has 4 steps"):
        TandemVLAConfig(chunk_size=4, n_action_steps=5, device="cpu")
