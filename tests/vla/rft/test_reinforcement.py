"""Reinforcement fine-tuning raises the reward of held-out chunks, and a stop changes nothing in what it learns."""

import copy
import json
import logging
from pathlib import Path

import dot_task
import numpy as np
import pytest
import small_policy
import torch
from taught_policy import supervised
from torch import nn

from hardware.errors import BadInput
from vla import policy_file
from vla.adapters.lerobot_policy import LerobotPolicy
from vla.demonstrations import ArrayDemonstrations, Demonstration
from vla.optimisation import OutOfMemory
from vla.policy import TokenPolicy
from vla.rft import reinforcement
from vla.rft import source as rft_source
from vla.rft.config import Grpo, ReinforcePolicy, RftEvaluation, RftSchedule
from vla.rft.process_rewards import RewardWeights
from vla.rft.samples import Judge
from vla.rft.training import Reinforcement
from vla.sft import fine_tuning
from vla.sft.config import Optimisation
from vla.tandem_vla import TandemVLA

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

EYES = small_policy.SMALL.but(width=64, readers=8, keypoints=48, context_layers=2, token_layers=1)


def config(policy: Path, out: Path, **changes: object) -> ReinforcePolicy:
    values = {
        "policy": policy,
        "data": ("dots",),
        "output": out,
        "threads": 1,
        "cached_variants": 1,
        "device": "cpu",
        "grpo": Grpo(group=4),
        "optimisation": RftSchedule(steps=4, batch=4, learning_rate=1e-3, warmup_steps=2),
        "evaluation": RftEvaluation(every_steps=2, most_windows=8, held_out_share=0.2),
    }
    return ReinforcePolicy.model_validate(values | changes)


def start(taught: Path, out: Path, **changes: object) -> Reinforcement:
    return reinforcement.start(config(taught, out, **changes), [dot_task.demonstrations(6)])


def as_it_came(run: Reinforcement) -> nn.Module:
    with run.reference.in_place():
        return copy.deepcopy(run.module)


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rewards_rise_on_episodes_that_were_not_learned_from(tmp_path) -> None:
    """A briefly taught policy points at dots; 60 steps of rewards: held out they rise by a fifth or more."""
    demos = [dot_task.demonstrations(34)]
    schedule = Optimisation(steps=300, batch=16, learning_rate=2e-3, warmup_steps=20, ema=0.97)
    fine_tuning.start(supervised(tmp_path / "sft", architecture=EYES, optimisation=schedule), demos).finish()
    run = reinforcement.start(
        config(
            tmp_path / "sft",
            tmp_path / "rft",
            grpo=Grpo(),
            optimisation=RftSchedule(steps=60, batch=16, learning_rate=1e-3),
            evaluation=RftEvaluation(every_steps=30, most_windows=64, held_out_share=0.2),
        ),
        demos,
    )
    run.finish()
    first, best = run.curve[0], run.best
    assert best is not None
    assert best.reward > 1.2 * first.reward
    assert best.qacr > 0.9 * first.qacr  # of few tokens
    assert best.ctar > first.ctar
    assert best.open_loop_error["consistency"] < 1.3 * first.open_loop_error["consistency"]
    reinforcement.write_report(run)
    report = (tmp_path / "rft" / "report.html").read_text(encoding="utf-8")
    assert report.count("data:image/png") == 2
    assert f"{first.reward:.4f} → {best.reward:.4f}" in report
    assert list((tmp_path / "rft" / "tensorboard").glob("events.*"))
    stored = json.loads((tmp_path / "rft" / "run.json").read_text())
    assert ReinforcePolicy.model_validate(stored["config"]) == run.config
    assert not [file for file in (tmp_path / "rft").rglob("*") if file.suffix in (".pt", ".pkl")]


def test_a_resumed_run_is_the_unbroken_run_bit_for_bit(taught: Path, tmp_path) -> None:
    whole = start(taught, tmp_path / "whole")
    whole.finish()
    broken = start(taught, tmp_path / "broken")
    broken.evaluate()
    for _ in range(2):
        broken.step()
    broken.evaluate()
    broken.save()
    broken.step()  # lost: it comes after the checkpoint
    again = start(taught, tmp_path / "broken")
    assert again.step_count == 2
    again.finish()
    assert same(again.module, whole.module)
    assert same(as_it_came(again), as_it_came(whole))
    assert again.curve == whole.curve
    assert not same(again.module, as_it_came(again))


def test_a_run_from_other_weights_does_not_take_the_checkpoint(taught: Path, tmp_path) -> None:
    source = tmp_path / "source"
    policy_file.save_policy(policy_file.load_policy(taught / "policy"), source)
    run = start(source, tmp_path / "out")
    run.step()
    run.save()
    assert start(source, tmp_path / "out").step_count == 1
    policy_file.save_policy(small_changes(policy_file.load_policy(source)), source)
    with pytest.raises(BadInput, match="another policy to start from"):
        start(source, tmp_path / "out")


def test_a_policy_whose_chunks_never_decode_is_refused(tmp_path) -> None:
    """All rewards would be 0, and no group would have an advantage."""
    run = fine_tuning.start(supervised(tmp_path / "random"), [dot_task.demonstrations(6)])
    policy_file.save_policy(run.policy, tmp_path / "random" / "policy")
    with pytest.raises(BadInput, match="no sampled chunk decodes"):
        start(tmp_path / "random", tmp_path / "out").finish()


def small_changes(policy: TandemVLA) -> TandemVLA:
    with torch.no_grad():
        policy.backbone.readers.add_(0.01)
    return policy


def test_the_first_update_is_on_policy_and_the_second_is_not(taught: Path, tmp_path) -> None:
    run = start(taught, tmp_path, optimisation=RftSchedule(steps=2, batch=4, warmup_steps=0, learning_rate=1e-2))
    batch = run.material.draws.draw(0, 4)
    from vla.rft.samples import rollout

    drawn = rollout(run.policy, run.reference, batch, run.config.grpo, run.judge, 0)
    first = run._update(batch, drawn, 0)
    assert abs(first["kl"]) < 1e-6
    assert first["clipped"] == 0
    assert run._update(batch, drawn, 0)["kl"] > 1e-6


def test_the_policy_that_came_is_kept_when_nothing_is_better(taught: Path, tmp_path) -> None:
    run = start(taught, tmp_path)
    run.curve.append(run.evaluate().__class__(**run.curve[0].model_dump() | {"reward": 2.0, "step": 0}))
    del run.curve[0]
    run.keep()
    with torch.no_grad():
        run.policy.token_head.outward.weight.normal_()  # type: ignore[attr-defined]
    run.step_count = 7
    run.evaluate()
    assert run.best is not None
    assert run.best.step == 0
    assert same(policy_file.load_policy(tmp_path / "policy"), as_it_came(run))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_consistency_head_learns_on_the_side_or_stays(taught: Path, tmp_path, weight: float) -> None:
    run = start(taught, tmp_path, consistency_weight=weight)
    run.step()
    assert isinstance(run.policy, TandemVLA)
    came = as_it_came(run)
    assert isinstance(came, TandemVLA)
    assert same(run.policy.consistency_head, came.consistency_head) == (weight == 0)
    assert same(run.policy.encoder, came.encoder)


def test_a_consistency_head_that_was_never_taught_is_left_alone(taught: Path, tmp_path) -> None:
    speaker = policy_file.load_policy(taught / "policy")
    speaker.config = speaker.config.but(consistency_weight=0.0, voice="tokens")
    policy_file.save_policy(speaker, tmp_path / "speaker")
    run = start(tmp_path / "speaker", tmp_path / "out")
    run.step()
    assert isinstance(run.policy, TandemVLA)
    assert same(run.policy.consistency_head, speaker.consistency_head)
    with pytest.raises(BadInput, match="never taught"):
        start(tmp_path / "speaker", tmp_path / "other", voice="consistency")


class OtherPolicy(nn.Module):
    """A token policy that is no TandemVLA: it speaks, and has no second voice."""

    def __init__(self, inner: TandemVLA) -> None:
        super().__init__()
        self.inner = inner
        self.interface, self.actions, self.cut = inner.interface, inner.actions, inner.cut
        self.chunk, self.embed, self.loss = inner.chunk, inner.embed, inner.loss

    def act(self, observations, seed=0):
        return self.inner.act_as("tokens", observations, seed)

    def sample(self, observations, n, temperature, seed):
        return self.inner.sample(observations, n, temperature, seed)

    def log_probabilities(self, observations, tokens, temperature):
        return self.inner.log_probabilities(observations, tokens, temperature)

    def tokenise(self, actions, datasets=()):
        return self.inner.tokenise(actions, datasets)

    def detokenise(self, tokens, datasets=()):
        return self.inner.detokenise(tokens, datasets)


def test_any_token_policy_can_be_reinforced(taught: Path, tmp_path) -> None:
    like = start(taught, tmp_path / "like")
    other = OtherPolicy(policy_file.load_policy(taught / "policy"))
    assert isinstance(other, TokenPolicy)
    saved: list[Path] = []
    run = Reinforcement(
        config(taught, tmp_path / "other"),
        other,
        like.material,
        Judge((), RewardWeights()),
        lambda policy, folder: saved.append(folder),
    )
    run.finish()
    assert saved[0] == tmp_path / "other" / "policy"
    assert set(run.curve[0].open_loop_error) == {"tokens"}
    assert not same(run.module, as_it_came(run))


class Checkpoint(nn.Module):
    """Writes what LeRobot's `save_pretrained` does."""

    def save_pretrained(self, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"new")


def test_another_policy_is_saved_with_all_that_its_folder_had(tmp_path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("interface.json", "policy_preprocessor.json", "stats.safetensors", "model.safetensors"):
        (source / name).write_bytes(b"old")
    wrapped = LerobotPolicy(Checkpoint(), lambda x: x, lambda x: x, small_policy.interface())
    rft_source.writer_beside(source)(wrapped, tmp_path / "out")
    found = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert found.pop("model.safetensors") == b"new"
    assert set(found.values()) == {b"old"}
    assert len(found) == 3


def test_a_policy_that_speaks_no_tokens_is_refused(taught: Path, tmp_path, monkeypatch) -> None:
    silent = nn.Linear(1, 1)
    monkeypatch.setattr(rft_source.folders, "open_policy", lambda folder, device: silent)
    with pytest.raises(BadInput, match="speaks no action tokens"):
        start(taught, tmp_path)


class SmallMemory(TandemVLA):
    """Stands in for a GPU that holds one group: learning from more raises what torch raises there."""

    def log_probabilities(self, observations, tokens, temperature):
        if torch.is_grad_enabled() and len(observations) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().log_probabilities(observations, tokens, temperature)


def test_out_of_memory_halves_the_batch_and_says_so(taught: Path, tmp_path, caplog) -> None:
    run = start(taught, tmp_path)
    run.module.__class__ = SmallMemory
    with caplog.at_level(logging.WARNING):
        run.step()
    assert run.batch == 1
    assert [record.message for record in caplog.records] == [
        "out of GPU memory: from here on the batch is 2",
        "out of GPU memory: from here on the batch is 1",
    ]


def test_one_observation_too_large_is_told_to_sample_fewer_chunks(taught: Path, tmp_path) -> None:
    run = start(taught, tmp_path)
    run.batch = 1
    with pytest.raises(OutOfMemory, match=r"--grpo\.group"):
        run.fitting(out_of_memory, lambda: None)


def out_of_memory(batch: int) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_half_made_moments_of_a_first_step_are_forgotten(taught: Path, tmp_path, monkeypatch) -> None:
    """AdamW makes them weight by weight, and memory may end in between."""
    run = start(taught, tmp_path)
    whole = run.optimiser.step

    def half() -> None:
        monkeypatch.setattr(run.optimiser, "step", whole)
        for weight in run.module.parameters():
            run.optimiser.state[weight]["step"] = torch.tensor(0.0)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run.optimiser, "step", half)
    run.step()
    assert (run.step_count, run.batch) == (1, 2)


def test_an_ablation_takes_its_reward_out_and_nothing_else(taught: Path, tmp_path) -> None:
    whole = start(taught, tmp_path / "whole").evaluate()
    without = start(taught, tmp_path / "without", rewards=RewardWeights(without=("fcr",))).evaluate()
    assert whole.fcr == without.fcr > 0
    assert whole.reward - without.reward == pytest.approx(0.1 * whole.fcr)


def test_a_dataset_that_the_policy_has_not_seen_is_read_by_its_first_ones_ranges(taught: Path, tmp_path) -> None:
    run = reinforcement.start(config(taught, tmp_path, data=("new",)), [dot_task.demonstrations(6, "new", seed=3)])
    run.step()
    assert isinstance(run.policy, TandemVLA)
    ranges = run.policy.config.normalisation
    assert list(ranges) == ["dots", "new"]
    assert ranges["new"] == ranges["dots"]


def test_of_more_columns_those_that_the_policy_reads_are_taken(taught: Path, tmp_path) -> None:
    base = dot_task.demonstrations(6)
    more = [
        Demonstration(e.instruction, np.concatenate([e.state[:, 1:], 9 + e.state], 1), e.actions, e.pictures)
        for e in base.episodes
    ]
    wide = ArrayDemonstrations("dots", base.layout.but(state_names=("b", "a", "other")), more)
    run = reinforcement.start(config(taught, tmp_path / "wide"), [wide])
    found = run.material.draws.windows.episodes[0].state
    assert found.shape[1] == 2
    assert found[:, 0].mean() > 5 > found[:, 1].mean()  # a, then b


def spoilt(change) -> list[ArrayDemonstrations]:
    base = dot_task.demonstrations(6)
    return [ArrayDemonstrations("dots", base.layout, [change(episode) for episode in base.episodes])]


def test_bad_input_is_refused_by_name(taught: Path, tmp_path) -> None:
    def refused(demos, match: str) -> None:
        with pytest.raises(BadInput, match=match):
            reinforcement.start(config(taught, tmp_path), demos)

    def with_nan(episode: Demonstration) -> Demonstration:
        actions = episode.actions.copy()
        actions[2, 1] = np.nan
        return Demonstration(episode.instruction, episode.state, actions, episode.pictures)

    refused(spoilt(with_nan), "'dots' episode 0 is nan at step 2 in 'y'")
    short = lambda e: Demonstration(e.instruction, e.state[:3], e.actions[:3], e.pictures)  # noqa: E731
    refused(spoilt(short), "chunk of 4 steps is longer than any episode of 'dots' \\(3")
    silent = lambda e: Demonstration(" ", e.state, e.actions, e.pictures)  # noqa: E731
    refused(spoilt(silent), "no instruction")
    base = dot_task.demonstrations(6)
    wide = [Demonstration(e.instruction, e.state, np.repeat(e.actions, 2, 1), e.pictures) for e in base.episodes]
    layout = base.layout.but(action_names=("a", "b", "c", "d"))
    refused([ArrayDemonstrations("dots", layout, wide)], "has 2 action dims, the data 4: a, b, c, d")
    refused([ArrayDemonstrations("dots", base.layout.but(rate_hz=20.0), base.episodes)], "10.0 Hz.*20.0 Hz")
    refused([ArrayDemonstrations("dots", base.layout.but(cameras=("wrist",)), base.episodes)], "no camera front")
    with pytest.raises(BadInput, match="holds no TandemVLA policy"):
        reinforcement.start(config(tmp_path / "nothing", tmp_path), [base])
    with pytest.raises(BadInput, match="no action 'jaw'"):
        reinforcement.start(config(taught, tmp_path, gripper=("jaw",)), [base])
    with pytest.raises(BadInput, match="2 weights for 1 datasets"):
        reinforcement.start(config(taught, tmp_path, weights=(1.0, 2.0)), [base])
    with pytest.raises(BadInput, match="all --weights are 0"):
        reinforcement.start(config(taught, tmp_path, weights=(0.0,)), [base])


def test_a_policy_of_another_version_is_refused(taught: Path, tmp_path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    told = json.loads((taught / "policy" / policy_file.CONFIG).read_text()) | {"version": 99}
    (folder / policy_file.CONFIG).write_text(json.dumps(told))
    with pytest.raises(BadInput, match="policy format 99"):
        start(folder, tmp_path / "out")


def test_supervised_learning_goes_on_from_a_policy(taught: Path, tmp_path) -> None:
    """Its tokens, ranges and architecture stay; what is said of them again is not heeded."""
    told = supervised(tmp_path / "next", start_from=taught, data=("more",), horizon_steps=3)
    run = fine_tuning.start(told, [dot_task.demonstrations(4, "more", seed=9)])
    source = policy_file.load_policy(taught / "policy")
    assert same(run.policy, source)
    assert run.policy.fast.stored == source.fast.stored
    assert run.policy.interface == source.interface
    assert run.policy.config.normalisation["more"] == source.config.normalisation["dots"]
    run.step()
    assert not same(run.policy, source)
