"""A π0-FAST learns by adapters alone: its base is in memory and on disk once, and LeRobot reads what is left."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import dot_task
import numpy as np
import pytest
import small_policy
import tiny_pi0_fast
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies import factory
from peft import PeftModel
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from hardware.errors import BadInput
from hardware.messages import Observation
from vla import evaluate, exchange, policy_file
from vla.adapters import adapter_folder, lora
from vla.adapters import folder as folders
from vla.adapters.lora_config import Lora
from vla.adapters.pi0_fast import Pi0FastPolicy
from vla.policy import ObservationBatch
from vla.rft import reinforcement, source
from vla.rft.config import Grpo, ReinforcePolicy, RftEvaluation, RftSchedule
from vla.rft.reference import trained
from vla.rft.training import Reinforcement
from vla.served_tandem import open_tandem

pytestmark = pytest.mark.filterwarnings("default")
DEMOS = dot_task.demonstrations(6)
RANK = 2


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    torch.set_num_threads(1)
    with tiny_pi0_fast.shrunk():
        yield


@pytest.fixture(scope="module")
def base(small: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A π0-FAST that says something now and then. Not to be changed."""
    folder = tmp_path_factory.mktemp("pi0_fast") / "base"
    tiny_pi0_fast.write(folder)
    tiny_pi0_fast.teach(folder, DEMOS)
    return folder


def start(policy: Path, out: Path, **changes: object) -> Reinforcement:
    values = {
        "policy": policy,
        "data": ("dots",),
        "output": out,
        "threads": 1,
        "device": "cpu",
        "lora": Lora(rank=RANK),
        "grpo": Grpo(group=4),
        "optimisation": RftSchedule(steps=4, batch=4, learning_rate=3e-2, warmup_steps=0),
        "evaluation": RftEvaluation(every_steps=2, most_windows=4, held_out_share=0.2),
    }
    return reinforcement.start(ReinforcePolicy.model_validate(values | changes), [DEMOS])


@dataclass(frozen=True)
class Finished:
    run: Reinforcement
    weights: dict[str, torch.Tensor]
    """After the last step."""
    folder: Path
    """With the last step's policy, be it the best or not. Not to be changed."""


@pytest.fixture(scope="module")
def finished(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of four steps."""
    out = tmp_path_factory.mktemp("run")
    run = start(base, out)
    run.finish()
    source.writer_beside(base)(run.policy, out / "last")
    return Finished(
        run, {name: weight.detach().clone() for name, weight in trained(run.module).items()}, out / "last"
    )


@pytest.fixture(scope="module")
def learned(finished: Finished) -> Path:
    return finished.folder


def seen(rows: int = 3) -> ObservationBatch:
    episode = DEMOS.episodes[0]
    return ObservationBatch(
        episode.state[:rows], {"front": episode.pictures("front")[:rows]}, (episode.instruction,) * rows
    )


def spoken(policy: object) -> torch.Tensor:
    """Log-probabilities of fixed tokens."""
    assert isinstance(policy, Pi0FastPolicy)
    with torch.no_grad():
        return policy.log_probabilities(seen(), torch.arange(18).reshape(3, 2, 3), 1.0)


def test_adapters_learn_and_the_base_does_not(base: Path, tmp_path: Path) -> None:
    """Rank 2 in seven projections of two layers: 2 · (in + out) weights each."""
    run = start(base, tmp_path)
    before = {name: weight.detach().clone() for name, weight in run.module.named_parameters()}
    for _ in range(2):  # the first moves B only: A's gradient is 0 while B is
        run.step()
    learning = trained(run.module)
    shapes = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 48), (32, 48), (48, 32)]  # q k v o, gate up down
    assert sum(map(torch.numel, learning.values())) == 2 * sum(RANK * (a + b) for a, b in shapes)
    for name, weight in run.module.named_parameters():
        assert torch.equal(weight, before[name]) == (name not in learning), name


def test_the_reference_is_the_base_and_shares_its_weights(base: Path, tmp_path: Path) -> None:
    run = start(base, tmp_path)
    run.step()
    alone = spoken(folders.open_policy(base))
    assert torch.equal(run.reference.log_probabilities(seen(), torch.arange(18).reshape(3, 2, 3), 1.0), alone)
    assert (spoken(run.policy) - alone).abs().max() > 1e-3
    kept = sum(map(torch.numel, run.reference._kept.values()))
    assert (
        kept
        == sum(map(torch.numel, trained(run.module).values()))
        < 0.02 * sum(map(torch.numel, run.module.parameters()))
    )


def test_a_resumed_run_is_the_unbroken_run_bit_for_bit(base: Path, finished: Finished, tmp_path: Path) -> None:
    broken = start(base, tmp_path)
    broken.evaluate()
    broken.step()
    broken.step()
    broken.evaluate()
    broken.save()
    broken.step()  # lost: it comes after the checkpoint
    again = start(base, tmp_path)
    assert again.step_count == 2
    again.finish()
    for name, weight in trained(again.module).items():
        assert torch.equal(weight, finished.weights[name]), name
    assert again.curve == finished.run.curve


def test_the_report_is_of_the_best_step_and_loads_no_second_base(finished: Finished) -> None:
    run, out = finished.run, finished.run.config.output
    reinforcement.write_report(run)
    assert reinforcement.kept(run) is run.policy
    assert torch.equal(spoken(run.policy), spoken(folders.open_policy(out / "policy")))
    learning = sum(map(torch.numel, finished.weights.values()))
    assert f"{learning:,} of" in (out / "report.html").read_text(encoding="utf-8")


def test_the_folder_holds_adapters_alone(base: Path, learned: Path) -> None:
    assert not (learned / "model.safetensors").exists()
    assert not [file for file in learned.iterdir() if file.suffix in (".bin", ".pt", ".pkl")]
    assert (learned / adapter_folder.WEIGHTS).stat().st_size < 0.02 * (base / "model.safetensors").stat().st_size
    assert json.loads((learned / adapter_folder.CONFIG).read_text())["base_model_name_or_path"] == str(base)


def test_our_loading_and_lerobots_own_give_the_same_chunks(learned: Path) -> None:
    ours = folders.open_policy(learned)
    config = PreTrainedConfig.from_pretrained(learned)
    config.pretrained_path = learned  # as --policy.path does
    shape = {"dtype": "float32", "shape": (2,), "names": ["x", "y"]}
    picture = {"dtype": "video", "shape": (28, 28, 3), "names": ["height", "width", "channels"]}
    features = {"observation.state": shape, "action": shape, "observation.images.front": picture}
    loaded = factory.make_policy(config, ds_meta=SimpleNamespace(features=features, stats={}))  # pyright: ignore[reportArgumentType]
    assert isinstance(loaded, PeftModel)
    theirs = folders.open_policy(learned)
    assert isinstance(theirs, Pi0FastPolicy)
    theirs.policy = loaded.get_base_model().eval()
    assert torch.equal(spoken(theirs), spoken(ours))
    np.testing.assert_array_equal(theirs.act(seen()), ours.act(seen()))


def test_adapters_are_served_and_named_in_an_evaluation(base: Path, learned: Path) -> None:
    moment = Observation(
        stamp_ns=5,
        joint_names=("b", "a"),
        q_rad=seen(1).state[0, ::-1].astype(float),
        images={"front": seen(1).images["front"][0]},
        image_stamps_ns={"front": 5},
        instruction="touch the dot",
    )
    answer = open_tandem(learned).infer(exchange.message(moment))
    np.testing.assert_allclose(answer["actions"], folders.open_policy(learned).act(seen(1))[0], atol=1e-6)
    about = [evaluate.identity(evaluate.EvaluatePolicy(policy=folder)) for folder in (base, learned)]
    assert about[0]["policy"] != about[1]["policy"]


def test_adapters_that_came_go_on_learning_from_where_they_were(learned: Path, tmp_path: Path) -> None:
    """The KL is to the adapters as they came, not to the base."""
    run = start(learned, tmp_path / "next", lora=Lora())
    came = spoken(folders.open_policy(learned))
    assert torch.equal(spoken(run.policy), came)
    run.step()
    assert not torch.equal(spoken(run.policy), came)
    with run.reference.in_place():
        assert torch.equal(spoken(run.policy), came)
    run.keep()
    assert torch.equal(spoken(folders.open_policy(tmp_path / "next" / "policy")), spoken(run.policy))
    with pytest.raises(BadInput, match="has adapters, and they go on learning"):
        start(learned, tmp_path / "more")


def test_what_lerobot_train_leaves_is_opened_and_goes_on_learning(base: Path, tmp_path: Path) -> None:
    """As `lerobot-train --peft.method_type=LORA` does it, with the output layer adapted, too, and one layer whole."""
    policy = folders.open_policy(base)
    assert isinstance(policy, Pi0FastPolicy)
    policy.policy.config.pretrained_path = base
    flags = {"method_type": "LORA", "r": 4, "target_modules": ["q_proj", "lm_head"], "init_type": None}
    wrapped = policy.policy.wrap_with_peft(peft_cli_overrides=flags | {"full_training_modules": ["linear"]})
    with torch.no_grad():
        for weight in wrapped.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    for file in base.iterdir():
        if file.name not in ("model.safetensors", "config.json"):
            shutil.copy2(file, tmp_path)
    wrapped.save_pretrained(tmp_path, state_dict=None)  # as lerobot's save_checkpoint
    wrapped.config.save_pretrained(tmp_path)
    again = folders.open_policy(tmp_path)
    assert isinstance(again, Pi0FastPolicy)
    assert torch.equal(spoken(again), spoken(policy))
    assert (spoken(again) - spoken(folders.open_policy(base))).abs().max() > 1e-2
    told = json.loads((tmp_path / adapter_folder.CONFIG).read_text())
    above = {"base_model_name_or_path": str(base.relative_to(base.parents[1]))}  # as a relative --policy.path
    (tmp_path / adapter_folder.CONFIG).write_text(json.dumps(told | above))
    assert adapter_folder.base_of(tmp_path) == base

    run = start(tmp_path, tmp_path / "run", lora=Lora())
    run.step()
    run.keep()
    kept = spoken(run.policy)
    run.step()
    assert not torch.equal(spoken(run.policy), kept)
    assert torch.equal(spoken(reinforcement.kept(run)), kept)
    assert torch.equal(spoken(folders.open_policy(tmp_path / "run" / "policy")), kept)
    saved = json.loads((tmp_path / "run" / "policy" / adapter_folder.CONFIG).read_text())
    assert saved["base_model_name_or_path"] == str(base)  # no longer relative: the run may lie anywhere
    drawn = again.sample(seen(), 2, 1.0, seed=3)
    torch.testing.assert_close(
        again.log_probabilities(seen(), drawn.tokens, 1.0),
        drawn.log_probabilities,
        atol=2e-4,
        rtol=2e-4,
    )


def test_target_modules_that_match_nothing_are_refused_with_those_that_would(base: Path, tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"no linear layer .* called 'query'; have: down_proj, fc1, .*q_proj, .*v_proj"
    ):
        start(base, tmp_path, lora=Lora(rank=4, target_modules=("q_proj", "query")))
    run = start(base, tmp_path, lora=Lora(rank=4, target_modules=("down_proj",)))
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in trained(run.module)} == {"down_proj"}


def test_settings_without_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        Lora(rank=0)
    with pytest.raises(ValidationError, match="adapters need a rank"):
        Lora(alpha=8)
    policy_file.save_policy(small_policy.policy(), tmp_path / "tandem_vla")
    with pytest.raises(BadInput, match="learns with all its weights"):
        start(tmp_path / "tandem_vla", tmp_path / "out")
    other = SimpleNamespace(config=SimpleNamespace(type="act"))
    made = torch.nn.Sequential(torch.nn.Linear(2, 2))
    made.config = other.config  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(BadInput, match="what to adapt in a 'act' is not known"):
        lora.add(made, Lora(rank=2), tmp_path, 0)


def changed(learned: Path, folder: Path, **told: object) -> Path:
    """A copy whose adapter's config says something else."""
    shutil.copytree(learned, folder)
    file = folder / adapter_folder.CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | told))
    return folder


def test_adapters_of_another_base_are_refused(base: Path, learned: Path, tmp_path: Path) -> None:
    def refused(folder: Path, match: str) -> None:
        with pytest.raises(BadInput, match=match):
            folders.open_policy(folder)

    gone = changed(learned, tmp_path / "gone", base_model_name_or_path=str(tmp_path / "nowhere"))
    refused(gone, "of '.*nowhere', which is not here")
    refused(changed(learned, tmp_path / "silent", base_model_name_or_path=None), "of what policy")

    retrained = tmp_path / "retrained"
    shutil.copytree(base, retrained)
    tensors = load_file(base / "model.safetensors")
    save_file({name: 1.01 * tensor for name, tensor in tensors.items()}, retrained / "model.safetensors")
    moved = changed(learned, tmp_path / "moved", base_model_name_or_path=str(retrained))
    refused(moved, "other weights than those that the adapters in")

    unsigned = changed(learned, tmp_path / "unsigned", r=3)
    (unsigned / adapter_folder.BASE).unlink()
    refused(unsigned, "do not fit .*size mismatch")
    with tiny_pi0_fast.shrunk(depth=3):
        tiny_pi0_fast.write(tmp_path / "deeper")
        deeper = changed(learned, tmp_path / "short", base_model_name_or_path=str(tmp_path / "deeper"))
        (deeper / adapter_folder.BASE).unlink()
        refused(deeper, "do not fit .* 14 tensors are in one of them only, first '.*layers.2.mlp")
        refused(base, "9 tensors do not fit its config.json, first '.*layers.2.self_attn")

    act = tmp_path / "act"
    shutil.copytree(base, act)
    told = json.loads((act / "config.json").read_text())
    (act / "config.json").write_text(json.dumps(told | {"type": "act"}))
    refused(changed(learned, tmp_path / "kind", base_model_name_or_path=str(act)), "adapters of a 'pi0_fast', and")
    ours = changed(learned, tmp_path / "ours")
    (ours / "config.json").write_text(json.dumps(told | {"type": "tandem_vla"}))
    refused(ours, "has adapters of a tandem_vla")
    (gone / adapter_folder.WEIGHTS).unlink()
    refused(changed(gone, tmp_path / "empty", base_model_name_or_path=str(base)), "it has no adapter_model")


def test_a_base_without_its_weights_is_refused_not_made_up(base: Path, tmp_path: Path) -> None:
    """LeRobot prints a line and goes on with random ones."""
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"it has no model\.safetensors"):
        folders.open_policy(tmp_path / "base")
    save_file({"model.other": torch.zeros(2)}, tmp_path / "base" / "model.safetensors")
    with pytest.raises(BadInput, match=r"do not fit its config\.json, none has its name|tensors do not fit"):
        folders.open_policy(tmp_path / "base")
