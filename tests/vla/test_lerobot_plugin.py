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
import small_recording
import torch
from lerobot.configs import FeatureType, PolicyFeature
from safetensors.torch import load_file

from hardware.dataset.publish import PublishData, publish
from hardware.errors import BadInput
from vla import policy_file
from vla.lerobot_plugin import lerobot_batch
from vla.lerobot_plugin.configuration_tandem_vla import TandemVLAConfig
from vla.lerobot_plugin.modeling_tandem_vla import TandemVLAPolicy
from vla.policy import ObservationBatch

ROUNDS = Path(__file__).with_name("lerobot_rounds.py")
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a published dataset, a policy of ours, and what LeRobot's commands made of them."""
    folder = tmp_path_factory.mktemp("lerobot")
    for first in (0.0, 1.0):
        small_recording.record(folder / "store", first)
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
    assert ours.interface.rate_hz == small_recording.FPS
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


@pytest.mark.timeout(1600)
def test_lerobot_train_keeps_the_average_of_its_steps(made: Path) -> None:
    folder = made / "run" / "checkpoints" / "last" / "pretrained_model"
    policy = TandemVLAPolicy.from_pretrained(folder)
    assert policy.averaged_steps == 4
    learning = torch.cat([weight.flatten() for weight in policy.get_optim_params()])
    named = dict(policy.averaged.named_parameters())
    averaged = torch.cat(
        [named[name].flatten() for name, weight in policy.model.named_parameters() if weight.requires_grad]
    )
    assert 0 < (learning - averaged).abs().max() < 0.1


def stored(made: Path, run: str, step: int, file: str) -> dict[str, torch.Tensor]:
    return load_file(made / run / "checkpoints" / f"{step:06}" / "pretrained_model" / file)


@pytest.mark.timeout(1600)
@pytest.mark.parametrize("file", ["model.safetensors", "learning.safetensors"])
def test_a_resumed_run_of_lerobot_train_is_the_unbroken_run_bit_for_bit(made: Path, file: str) -> None:
    """The average and what learns."""
    middle, whole, broken = (stored(made, run, step, file) for run, step in (("run", 2), ("run", 4), ("broken", 4)))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    assert any(not torch.equal(whole[name], middle[name]) for name in whole)


@pytest.mark.timeout(1600)
def test_a_finished_run_of_lerobot_train_goes_on_for_more_steps(made: Path) -> None:
    policy = TandemVLAPolicy.from_pretrained(made / "longer" / "checkpoints" / "last" / "pretrained_model")
    assert policy.averaged_steps == 6
    before, after = (stored(made, run, step, "model.safetensors") for run, step in (("run", 4), ("longer", 6)))
    moved = max(
        float((after[name] - before[name]).abs().max()) for name in after if after[name].is_floating_point()
    )
    assert 0 < moved < 0.05  # a new policy would be as far off as its weights are large


def lerobots(seed: int = 0) -> TandemVLAPolicy:
    model = small_policy.policy(seed)
    config = TandemVLAConfig(device="cpu", ema=0.5, chunk_size=small_policy.H, n_action_steps=small_policy.H)
    camera = PolicyFeature(type=FeatureType.VISUAL, shape=(3, small_policy.PX, small_policy.PX))
    state, action = (PolicyFeature(type=kind, shape=(2,)) for kind in (FeatureType.STATE, FeatureType.ACTION))
    config.input_features = {"observation.images.front": camera, "observation.state": state}
    config.output_features = {"action": action}
    return TandemVLAPolicy(config, model=model)


def learn(policy: TandemVLAPolicy, steps: int) -> None:
    """As LeRobot's loop does: the optimiser moves the weights, then `update` is called."""
    for _ in range(steps):
        with torch.no_grad():
            for weight in policy.get_optim_params():
                weight.add_(1.0)
        policy.update()


def test_a_checkpoint_holds_the_average_and_training_goes_on_with_what_was_learning(tmp_path: Path) -> None:
    """The weights w, w + 1, w + 2, w + 3: kept are 1/10, 2/11 and 3/12 of the average before, so it stands at
    0 → 0.9 → 0.9·2/11 + 2·9/11 = 1.8 → 1.8·3/12 + 3·9/12 = 2.7 above w."""
    policy = lerobots()
    before = [weight.detach().clone() for weight in policy.get_optim_params()]
    learn(policy, 3)
    policy.save_pretrained(tmp_path)
    kept = policy_file.load_policy(tmp_path)
    after = [weight for weight in kept.parameters() if weight.requires_grad]
    assert len(after) == len(before)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(other.detach(), one + 2.7)

    resumed = TandemVLAPolicy.from_pretrained(tmp_path)
    for again in (policy, resumed):
        learn(again, 1)
    for one, other in zip(policy.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_average_acts_and_is_evaluated() -> None:
    policy = lerobots()
    seen = small_policy.batch(2)
    batch = {
        "observation.images.front": lerobot_batch.as_pixels(seen.images["front"]),
        "observation.state": torch.from_numpy(seen.state),
        "task": list(seen.instructions),
        "action": torch.zeros(2, small_policy.H, 2),
    }

    def loss() -> float:
        torch.manual_seed(0)
        with torch.no_grad():
            return float(policy(batch)[0])

    policy.eval()
    before, evaluated = policy.predict_action_chunk(batch), loss()
    with torch.no_grad():
        for weight in policy.get_optim_params():
            weight.add_(0.3)
    assert torch.equal(policy.predict_action_chunk(batch), before)
    assert loss() == evaluated
    policy.train()
    assert loss() != evaluated
    policy.update()
    assert not torch.equal(policy.predict_action_chunk(batch), before)


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
    with pytest.raises(ValueError, match=r"ema is 1\.0"):
        TandemVLAConfig(ema=1.0, device="cpu")
