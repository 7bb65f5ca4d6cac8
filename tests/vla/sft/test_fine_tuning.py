"""Supervised fine-tuning learns what only the eyes can tell, and goes on after a stop as if there had been none."""

import json
import logging
import shutil
import signal
from pathlib import Path

import dot_task
import numpy as np
import pytest
import small_policy
import taught_policy
import torch
from accelerate import Accelerator

from hardware.errors import BadInput
from vla import held_out, optimisation, policy_file
from vla.continual.config import Teaching
from vla.demonstrations import ArrayDemonstrations
from vla.normalise import DatasetQuantiles
from vla.optimisation import OutOfMemory
from vla.policy import Batch, Losses
from vla.run_folder import fingerprint
from vla.sft import fine_tuning, training
from vla.sft.config import Evaluation, Optimisation, TrainPolicy
from vla.sft.training import Training
from vla.tandem_vla import TandemVLA
from vla.training import Diverged

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def config(out: Path, **changes: object) -> TrainPolicy:
    evaluation = Evaluation(every_steps=3, most_windows=16)
    return taught_policy.supervised(out, **({"cached_variants": 2, "evaluation": evaluation} | changes))


def start(out: Path, **changes: object) -> Training:
    return fine_tuning.start(config(out, **changes), [dot_task.demonstrations(6)])


def same(one: TandemVLA, other: TandemVLA) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def median_error(run: Training) -> float:
    """Of always answering the median of what was learned from, on what is measured on."""
    learned, measured = (
        np.concatenate([episode.actions for episode in windows.episodes])
        for windows in (run.material.draws.windows, run.material.held_out)
    )
    return float(np.abs(measured - np.median(learned, axis=0)).mean())


EYES = small_policy.SMALL.but(width=64, readers=8, keypoints=48, context_layers=2, token_layers=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_learns_to_point_at_a_dot_from_its_picture_alone(tmp_path) -> None:
    """27 episodes of a drifting dot; measured on 7 others: 0.15 to 0.17 of half the range, by the processor's rounding,
    where the median is 0.32 off."""
    run = fine_tuning.start(
        config(
            tmp_path,
            architecture=EYES,
            token_weight=0.0,
            optimisation=Optimisation(steps=300, batch=16, learning_rate=2e-3, warmup_steps=20, ema=0.97),
            evaluation=Evaluation(every_steps=100, held_out_share=0.2),
        ),
        [dot_task.demonstrations(34)],
    )
    run.finish()
    assert run.best < 0.6 * median_error(run)
    fine_tuning.write_report(run)
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "data:image/png" in report
    assert f"{run.best:.4f}" in report


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_token_head_learns_its_demonstrations_by_heart(tmp_path) -> None:
    """Five episodes; what the head then says, greedily and whole, is what was demonstrated."""
    run = fine_tuning.start(
        config(
            tmp_path,
            architecture=EYES,
            voice="tokens",
            token_weight=1.0,
            consistency_weight=0.0,
            cached_variants=1,
            optimisation=Optimisation(steps=250, batch=16, learning_rate=2e-3, warmup_steps=20, ema=0.97),
            evaluation=Evaluation(every_steps=250),
        ),
        [dot_task.demonstrations(6)],
    )
    run.finish()
    learned = held_out.score(run.averaged, run.material.draws.windows, 64)
    assert learned.token_loss is not None
    assert learned.token_loss < 0.35
    assert learned.open_loop_error < 0.1


@pytest.mark.parametrize("unfrozen", [False, True])
def test_a_resumed_run_is_the_unbroken_run_bit_for_bit(tmp_path, unfrozen: bool) -> None:
    whole = start(tmp_path / "whole", unfrozen_encoder=unfrozen)
    whole.finish()
    broken = start(tmp_path / "broken", unfrozen_encoder=unfrozen)
    for _ in range(2):
        broken.step()
    broken.save()
    broken.step()  # lost: it comes after the checkpoint
    again = start(tmp_path / "broken", unfrozen_encoder=unfrozen)
    assert again.step_count == 2
    again.finish()
    assert same(again.policy, whole.policy)
    assert same(again.averaged, whole.averaged)
    assert again.curve == whole.curve


def test_ctrl_c_ends_a_run_between_two_steps(tmp_path, monkeypatch) -> None:
    """In the middle of a step the weights are the next step's and the count is not."""
    whole = start(tmp_path / "whole")
    whole.finish()
    broken = start(tmp_path / "broken")
    before = signal.getsignal(signal.SIGINT)
    average = training.average

    def interrupted(*arguments: object) -> None:
        if broken.step_count == 1:
            signal.raise_signal(signal.SIGINT)
        average(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(training, "average", interrupted)
    with pytest.raises(KeyboardInterrupt):
        broken.finish()
    assert signal.getsignal(signal.SIGINT) is before
    again = start(tmp_path / "broken")
    assert again.step_count == 2
    again.finish()
    assert same(again.policy, whole.policy)
    assert same(again.averaged, whole.averaged)


def test_the_second_ctrl_c_does_not_wait(tmp_path, monkeypatch) -> None:
    run = start(tmp_path)

    def impatient(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training, "average", impatient)
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    assert not run.file.exists()


def test_two_runs_of_one_seed_are_the_same_and_of_two_are_not(tmp_path) -> None:
    runs = [start(tmp_path / str(n), seed=seed) for n, seed in enumerate((0, 0, 1))]
    for run in runs:
        run.step()
    assert same(runs[0].policy, runs[1].policy)
    assert not same(runs[0].policy, runs[2].policy)


def test_the_run_folder_holds_what_is_needed_to_repeat_it(tmp_path) -> None:
    run = start(tmp_path / "run")
    run.finish()
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    assert TrainPolicy.model_validate(stored["config"]) == run.config
    assert stored["seed"] == 0
    assert "git" in stored
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    assert not list((tmp_path / "run").rglob("*.pt")) + list((tmp_path / "run").rglob("*.pkl"))
    policy = policy_file.load_policy(tmp_path / "run" / "policy")
    assert policy.interface.horizon_steps == 4


def test_features_are_computed_once_for_a_frozen_encoder(tmp_path) -> None:
    start(tmp_path)
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "work" / "features").glob("*.npy")}
    assert len(files) == 6 * 2, "one camera, six episodes, two variants"
    start(tmp_path)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "work" / "features").glob("*.npy")} == files


def test_training_stops_when_nothing_gets_better(tmp_path) -> None:
    run = start(
        tmp_path,
        optimisation=Optimisation(steps=50, batch=4, learning_rate=1e-12),
        evaluation=Evaluation(every_steps=1, most_windows=4, patience=3),
    )
    run.finish()
    assert run.step_count < 50
    assert len(run.curve) - 1 - int(np.argmin([point.open_loop_error for point in run.curve])) == 3


class SmallMemory(TandemVLA):
    """Stands in for a GPU that holds three windows: `loss` raises what torch raises there."""

    def loss(self, batch: Batch, seed: int) -> Losses:
        if len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().loss(batch, seed)


def test_out_of_memory_halves_the_batch_and_says_so(tmp_path, caplog) -> None:
    run = start(tmp_path)
    run.policy.__class__ = SmallMemory
    with caplog.at_level(logging.WARNING):
        run.step()
    assert run.batch == 2
    assert [record.message for record in caplog.records] == [
        "out of GPU memory: from here on the batch is 4",
        "out of GPU memory: from here on the batch is 2",
    ]
    with pytest.raises(OutOfMemory, match="one window"):
        optimisation.halved(1)


def test_moments_that_do_not_fit_end_the_run(tmp_path, monkeypatch) -> None:
    run = start(tmp_path)

    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run.prepared_optimiser, "step", full)
    with pytest.raises(OutOfMemory, match="moments do not fit"):
        run.step()
    assert run.step_count == 0


def test_measuring_takes_no_more_windows_than_training_once_memory_ran_out(tmp_path) -> None:
    run, asked = start(tmp_path), []

    def measure(rows: int) -> int:
        asked.append(rows)
        if rows > 32:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rows

    assert run.measured(measure, 64) == 32
    run.batch = 2
    assert run.measured(measure, 64) == 2
    assert asked == [64, 32, 2]


def test_one_of_several_processes_does_not_halve_its_batch_alone(tmp_path, monkeypatch) -> None:
    run = start(tmp_path)
    run.policy.__class__ = SmallMemory
    monkeypatch.setattr(run, "_processes", 2)
    with pytest.raises(OutOfMemory, match=r"--optimisation\.batch 4 in a new folder"):
        run.step()
    assert run.batch == 8


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path) -> None:
    run = start(tmp_path)
    with torch.no_grad():
        run.policy.backbone.readers.fill_(float("nan"))
    with pytest.raises(Diverged, match="step 0"):
        run.step()


def test_held_out_episodes_are_whole_and_not_learned_from(tmp_path) -> None:
    run = start(tmp_path)
    learned = {episode.number for episode in run.material.draws.windows.episodes}
    measured = {episode.number for episode in run.material.held_out.episodes}
    assert len(measured) == 1
    assert not learned & measured
    assert learned | measured == set(range(6))


def test_two_datasets_of_one_arm_mix_and_share_their_ranges(tmp_path) -> None:
    """Whoever acts does not say whether it is in the twin: the same number must mean the same in both."""
    real, twin = dot_task.demonstrations(3, "real"), dot_task.demonstrations(4, "twin", seed=1)
    other = ArrayDemonstrations("other", twin.layout.but(state_names=("a", "c")), twin.episodes)

    def ranges(datasets: list[ArrayDemonstrations], **changes: object) -> dict[str, DatasetQuantiles]:
        names = tuple(dataset.name for dataset in datasets)
        run = fine_tuning.start(config(tmp_path / f"{names}{changes}", data=names, **changes), datasets)
        run.step()
        return run.policy.config.normalisation

    shared = ranges([real, twin], weights=(1.0, 1.0))
    assert set(shared) == {"real", "twin"}
    assert shared["real"] == shared["twin"]
    own = ranges([real, twin], ranges="own")
    assert own["real"] != own["twin"]
    assert shared["real"].action.low[0] == pytest.approx(min(own[name].action.low[0] for name in own), abs=0.1)
    assert shared["real"].action.high[0] == pytest.approx(max(own[name].action.high[0] for name in own), abs=0.1)
    mixed = ranges([real, other])  # other columns: another arm
    assert mixed["real"] != mixed["other"]
    with pytest.raises(BadInput, match="1 weights for 2 datasets"):
        fine_tuning.start(config(tmp_path / "other", weights=(1.0,), data=("real", "twin")), [real, twin])


def test_a_share_that_would_hold_out_all_leaves_one_to_learn_from(tmp_path) -> None:
    run = start(tmp_path, evaluation=Evaluation(held_out_share=0.95))
    assert len(run.material.draws.windows.episodes) == 1
    assert len(run.material.held_out.episodes) == 5


def test_a_run_whose_data_changed_does_not_begin_anew_over_its_policy(tmp_path) -> None:
    run = start(tmp_path)
    run.step()
    run.save()
    with pytest.raises(BadInput, match=r"other data.*\n.*train in a new folder, or remove"):
        fine_tuning.start(config(tmp_path), [dot_task.demonstrations(6, seed=1)])
    whole = run.file.read_bytes()
    run.file.write_bytes(whole[:1000])
    with pytest.raises(BadInput, match=r"cannot read .*checkpoint\.safetensors"):
        start(tmp_path)
    run.file.write_bytes(whole)
    assert start(tmp_path).step_count == 1


def test_the_key_is_of_what_the_named_files_hold(taught: Path, tmp_path) -> None:
    shutil.copytree(taught / "policy", tmp_path / "from")
    told = config(tmp_path / "run", start_from=tmp_path / "from")

    def begin() -> Training:
        return fine_tuning.start(told, [dot_task.demonstrations(6)])

    begin().save()
    assert begin().step_count == 0
    other = policy_file.load_policy(tmp_path / "from")
    with torch.no_grad():
        other.backbone.readers.add_(0.01)
    policy_file.save_policy(other, tmp_path / "from")
    with pytest.raises(BadInput, match="another policy to start from"):
        begin()
    (tmp_path / "tokenizer.json").write_text("a")
    (tmp_path / "processor_config.json").write_text("b")
    files = fine_tuning.sources(config(tmp_path, fast=tmp_path))
    before = fingerprint(told, [], files)
    (tmp_path / "tokenizer.json").write_text("c")
    assert fingerprint(told, [], files) != before
    assert fingerprint(told, []) == fingerprint(told, [], processes=1) != fingerprint(told, [], processes=2)


@pytest.mark.parametrize("voice", ["tokens", "consistency"])
def test_a_voice_that_nothing_teaches_is_refused(tmp_path, voice: str) -> None:
    untaught = {"voice": voice, {"tokens": "token_weight", "consistency": "consistency_weight"}[voice]: 0.0}
    with pytest.raises(ValueError, match=f"the voice '{voice}' learns nothing"):
        config(tmp_path, **untaught)
    with pytest.raises(ValueError, match=f"the voice '{voice}' learns nothing"):
        Teaching.model_validate(untaught)


def test_each_process_draws_its_own_noise(tmp_path, monkeypatch) -> None:
    run, seeds = start(tmp_path, seed=3), []

    def learner(batch: Batch, seed: int) -> torch.Tensor:
        seeds.append(seed)
        return torch.zeros((), requires_grad=True)

    monkeypatch.setattr(run, "learner", learner)
    run.step_count = 5
    run._loss_and_gradients()
    monkeypatch.setattr(Accelerator, "process_index", 1)
    run._loss_and_gradients()
    assert seeds[0] == 3 * 1_000_003 + 5
    assert seeds[1] != seeds[0]


def test_another_runs_folder_is_not_written_into(tmp_path) -> None:
    start(tmp_path / "run")
    with pytest.raises(BadInput, match="other settings: seed"):
        start(tmp_path / "run", seed=1)
    start(tmp_path / "run", checkpoint_every_s=5.0)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(BadInput, match="no training run"):
        start(tmp_path / "photos")
    (tmp_path / "run" / "run.json").write_text('{"con')
    with pytest.raises(BadInput, match=r"cannot read .*run\.json"):
        start(tmp_path / "run")


def test_devices_that_are_not_there_are_refused(tmp_path) -> None:
    with pytest.raises(BadInput, match="no device 'tpu'"):
        start(tmp_path, device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(BadInput, match="no CUDA device"):
            start(tmp_path, device="cuda")


def test_the_learning_rate_warms_up_and_falls_as_a_cosine() -> None:
    """Steps 100, warm-up 20, peak 1, last 0.1: half-way down, step 60, is 0.1 + 0.9 / 2 = 0.55."""
    settings = Optimisation(steps=100, warmup_steps=20, learning_rate=1.0, last_share=0.1)
    rates = [optimisation.learning_rate(settings, step) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 20)
    assert max(rates) == rates[19] == rates[20] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)


def test_folders_of_the_same_name_become_two_datasets(tmp_path, monkeypatch) -> None:
    made = lambda folder, name: dot_task.demonstrations(1, name)  # noqa: E731
    monkeypatch.setattr(fine_tuning.demonstrations, "open_demonstrations", made)
    found = fine_tuning.opened([tmp_path / "a" / "demos", tmp_path / "b" / "demos"])
    assert [dataset.name for dataset in found] == ["demos", "demos-2"]
    found = fine_tuning.opened(
        [tmp_path / at / name for at in "ab" for name in ("demos", "demos-2")] + [tmp_path / "demos"]
    )
    assert [dataset.name for dataset in found] == ["demos", "demos-2", "demos-3", "demos-2-2", "demos-4"]
