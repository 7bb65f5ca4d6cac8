"""`tandem vla sft`: demonstrations in, a run folder with the trained policy out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import chain, count
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from hardware.errors import BadInput
from vla import continued, demonstrations, fast_tokens, held_out, policy_file
from vla.demonstrations import Demonstrations
from vla.encoders import ImageEncoder, has_bfloat16
from vla.fast_tokens import FastTokens
from vla.normalise import DatasetQuantiles, Normaliser, quantiles
from vla.policy import Interface
from vla.prepared import Preparation, PreparedEpisode
from vla.run_folder import POLICY, REPORT, WORK, chosen_device, fingerprint, git_hash, require_output, write_run
from vla.sft import report
from vla.sft.config import TrainPolicy
from vla.sft.training import Material, Training
from vla.tandem_vla import TandemConfig, TandemVLA
from vla.windows import Draws, Windows

log = logging.getLogger(__name__)

MOST_FITTED_CHUNKS = 20_000
"""FAST is fitted on this many chunks, evenly spread over the training episodes."""


def sft(config: TrainPolicy) -> int:
    """Leaves `policy/` (the best averaged weights by open-loop error) and `report.html` in the output folder."""
    mixture = [demonstrations.with_state(dataset, config.state_names) for dataset in opened(config.data)]
    run = start(config, mixture)
    run.finish()
    if run.accelerator.is_main_process:
        write_report(run)
    return 0


def opened(folders: Sequence[Path]) -> list[Demonstrations]:
    """Each under its folder's name, numbered where two have the same."""
    names: list[str] = []
    for folder in folders:
        name = folder.resolve().name
        numbered = (f"{name}-{number}" for number in count(2))
        names.append(next(each for each in chain([name], numbered) if each not in names))
    return [demonstrations.open_demonstrations(folder, name) for folder, name in zip(folders, names, strict=True)]


def start(config: TrainPolicy, mixture: Sequence[Demonstrations], work: Path | None = None) -> Training:
    """A run at its first step, or where its checkpoint left it. Raises `BadInput` for data it cannot learn from.

    `work` keeps the features of a frozen encoder; runs on the same pictures may share it.
    """
    accelerator = accelerator_of(config)
    config = continued.settings(config)
    if config.start_from is not None:
        trained = policy_file.read_config(continued.policy_folder(config.start_from)).interface
        mixture = [continued.as_read(dataset, trained) for dataset in mixture]
    interface = interface_of(config, mixture)
    require_weights(config.weights, mixture)
    require_output(config)
    encoder = ImageEncoder(config.architecture.image_px).to(accelerator.device)
    preparation = Preparation(
        interface=interface,
        encoder=encoder,
        augmentation=config.augmentation,
        cached_variants=0 if config.unfrozen_encoder else config.cached_variants,
        folder=work or config.features or config.output / WORK,
        seed=config.seed,
        stride=config.picture_stride,
    )
    with accelerator.main_process_first():
        episodes = preparation.episodes(mixture)
    learned, kept_out = split(episodes, config.evaluation.held_out_share, config.seed)
    windows = Windows(learned, interface, config.imitate_misses)
    if skipped := sum(-(-len(one) // one.stride) for one in learned) - len(windows):
        log.info("%d steps of tries that closed on nothing are left out", skipped)
    draws = Draws(windows, dataset_weights(config, mixture, windows), config.augmentation, config.seed)
    policy = new_policy(config, interface, windows, arms_of(config, mixture))
    key = fingerprint(config, episodes, sources(config), accelerator.num_processes)
    material = Material(draws, Windows(kept_out or learned, interface, config.imitate_misses), key)
    training = Training(config, policy, material, accelerator)
    if accelerator.is_main_process:  # once it is known that the folder's checkpoint is of this run
        write_run(config, interface)
    return training


def sources(config: TrainPolicy) -> list[Path]:
    """The files beside the data that decide what is learned: of the policy to start from, or of the FAST tokenizer."""
    if config.start_from is not None:
        return policy_file.parts(continued.policy_folder(config.start_from))
    return fast_tokens.universal_files(config.fast) if config.fast is not None else []


def accelerator_of(config: TrainPolicy) -> Accelerator:
    """Mixed precision where bfloat16 is native: on a processor that has it, a step takes two thirds of the time.

    Several GPUs: start the same command by `accelerate launch -m tandem vla sft …`.
    """
    device = chosen_device(config).type
    return Accelerator(cpu=device != "cuda", mixed_precision="bf16" if has_bfloat16(device) else "no")


def interface_of(config: TrainPolicy, mixture: Sequence[Demonstrations]) -> Interface:
    for dataset in mixture:
        demonstrations.require_usable(dataset, config.horizon_steps, config.language)
    for other in mixture[1:]:
        demonstrations.require_alike(mixture[0], other)
    layout = mixture[0].layout
    return Interface(
        cameras=demonstrations.cameras_of(mixture, config.cameras),
        state_names=layout.state_names,
        action_names=layout.action_names,
        space=config.space,
        rate_hz=layout.rate_hz,
        horizon_steps=config.horizon_steps,
        language=config.language,
    )


def split(
    episodes: Sequence[PreparedEpisode], share: float, seed: int
) -> tuple[list[PreparedEpisode], list[PreparedEpisode]]:
    """(to learn from, held out). Whole episodes, of every dataset that has two or more; never all of one."""
    out: set[tuple[str, int]] = set()
    for name in dict.fromkeys(episode.dataset for episode in episodes):
        numbers = [episode.number for episode in episodes if episode.dataset == name]
        most = len(numbers) - 1
        kept_out = min(max(1, round(share * len(numbers))), most) if share > 0 else 0
        chosen = np.random.default_rng([seed, *name.encode()]).permutation(numbers)[:kept_out]
        out |= {(name, int(number)) for number in chosen}
    if not out:
        log.warning("no episode is held out: the curves are of what was learned from")
    learned = [episode for episode in episodes if (episode.dataset, episode.number) not in out]
    return learned, [episode for episode in episodes if (episode.dataset, episode.number) in out]


def require_weights(weights: Sequence[float], mixture: Sequence[Demonstrations]) -> None:
    """None, or one for each dataset and not all of them 0."""
    if weights and len(weights) != len(mixture):
        raise BadInput(f"{len(weights)} weights for {len(mixture)} datasets", "give one weight for each")
    if weights and not any(weights):
        raise BadInput("all --weights are 0", "give at least one dataset a weight above 0")


def dataset_weights(config: TrainPolicy, mixture: Sequence[Demonstrations], windows: Windows) -> dict[str, float]:
    names = [dataset.name for dataset in mixture]
    if config.weights:
        return dict(zip(names, config.weights, strict=True))
    return {name: float(sum(len(e) for e in windows.episodes if e.dataset == name)) for name in names}


def arms_of(config: TrainPolicy, mixture: Sequence[Demonstrations]) -> dict[str, str]:
    """Dataset → the first one with the same columns, whose ranges are its own, too."""
    first: dict[tuple[tuple[str, ...], tuple[str, ...]], str] = {}
    arms = {}
    for dataset in mixture:
        columns = (dataset.layout.state_names, dataset.layout.action_names)
        arms[dataset.name] = dataset.name if config.ranges == "own" else first.setdefault(columns, dataset.name)
    return arms


def new_policy(
    config: TrainPolicy, interface: Interface, windows: Windows, arms: Mapping[str, str] | None = None
) -> TandemVLA:
    """Untrained, with quantiles and tokens of the episodes that are learned from.

    `arms`: as `arms_of` says; None: each dataset is of its own.
    """
    arms = arms or {episode.dataset: episode.dataset for episode in windows.episodes}
    normalisation: dict[str, DatasetQuantiles] = {}
    for name in dict.fromkeys(episode.dataset for episode in windows.episodes):
        of_arm = [episode for episode in windows.episodes if arms[episode.dataset] == arms[name]]
        normalisation[name] = DatasetQuantiles(
            state=quantiles(np.concatenate([episode.state for episode in of_arm]), interface.state_names),
            action=quantiles(np.concatenate([episode.actions for episode in of_arm]), interface.action_names),
        )
    if config.start_from is not None:
        return continued.policy(config.start_from, interface, normalisation)
    settings = TandemConfig(
        interface=interface,
        normalisation=normalisation,
        architecture=config.architecture,
        voice=config.voice,
        token_weight=config.token_weight,
        token_share=config.token_share,
        consistency_weight=config.consistency_weight,
        unfrozen_encoder=config.unfrozen_encoder,
    )
    chunks = normalised_chunks(settings, windows)
    return TandemVLA(settings, tokens_of(config, chunks), config.seed)


def normalised_chunks(settings: TandemConfig, windows: Windows) -> np.ndarray:
    """Of all datasets, each by its own quantiles."""
    normaliser = Normaliser({name: each.action for name, each in settings.normalisation.items()})
    by_dataset = windows.chunks(MOST_FITTED_CHUNKS)
    return np.concatenate(
        [normaliser.normalise(chunks, [name] * len(chunks)) for name, chunks in by_dataset.items()]
    )


def tokens_of(config: TrainPolicy, chunks: np.ndarray) -> FastTokens:
    if config.fast is not None:
        return fast_tokens.load_universal(config.fast, chunks.shape[1], chunks.shape[2])
    return fast_tokens.fit(chunks, config.fast_scale, config.fast_vocabulary)


def write_report(run: Training) -> None:
    """Of the policy that was kept, measured once more from its files."""
    folder = run.config.output
    policy = policy_file.load_policy(folder / POLICY, run.accelerator.device)
    windows = run.material.held_out
    score = run.measured(
        lambda rows: held_out.score(policy, windows, run.config.evaluation.most_windows, rows), held_out.BATCH
    )
    tokens = policy.fast.report(normalised_chunks(policy.config, windows))
    learned = run.material.draws.windows
    facts = [
        ("data", ", ".join(map(str, run.config.data))),
        ("episodes", f"{len(learned.episodes)} learned from, {len(windows.episodes)} measured on"),
        ("windows", f"{len(learned)} of {run.config.horizon_steps} steps"),
        ("steps", f"{run.step_count} with a batch of {run.batch}, {run.seconds:.0f} s"),
        ("open-loop error", f"{score.open_loop_error:.4f} of half the action's 1–99 % range"),
        ("git", git_hash() or "unknown"),
    ]
    report.write(
        folder / REPORT, facts, run.curve, score, held_out.trace(policy, windows, 0), tokens, policy.interface
    )
    log.info("%s: open-loop error %.4f after %.0f s", folder / POLICY, score.open_loop_error, run.seconds)
