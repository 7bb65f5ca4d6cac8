"""`tandem vla rft`: a policy and its demonstrations in, a run folder with a better policy out (LifeLong-RFT)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from vla import continued, demonstrations
from vla.adapters import folder as folders
from vla.adapters.lerobot_policy import LerobotPolicy
from vla.demonstrations import Demonstrations
from vla.encoders import ImageEncoder
from vla.held_out import trace
from vla.policy import Interface, TokenPolicy
from vla.prepared import Preparation, PreparedEpisode
from vla.rft import report
from vla.rft import source as rft_source
from vla.rft.config import ReinforcePolicy
from vla.rft.process_rewards import gripper_columns
from vla.rft.reference import trained
from vla.rft.samples import Judge
from vla.rft.training import Reinforcement
from vla.run_folder import POLICY, REPORT, WORK, chosen_device, fingerprint, git_hash, require_output, write_run
from vla.sft.fine_tuning import opened, require_weights, split
from vla.sft.training import Material
from vla.tandem_vla import TandemVLA
from vla.windows import Draws, Windows

log = logging.getLogger(__name__)


def rft(config: ReinforcePolicy) -> int:
    """Leaves `policy/` (the best by held-out reward, which may be the one that came) and `report.html`."""
    mixture = opened(config.data)
    run = start(config, mixture)
    run.finish()
    write_report(run)
    return 0


def start(config: ReinforcePolicy, mixture: Sequence[Demonstrations], work: Path | None = None) -> Reinforcement:
    """A run at its first step, or where its checkpoint left it. Raises `BadInput` for data it cannot learn from.

    `work` keeps the features of a frozen encoder; runs on the same pictures may share it.
    """
    device = chosen_device(config)
    names = [dataset.name for dataset in mixture]
    source = rft_source.opened(config.policy, device, config.voice, names, config.lora, config.seed)
    interface = source.policy.interface
    mixture = [continued.as_read(dataset, interface) for dataset in mixture]
    require_usable(interface, mixture, str(config.policy))
    require_weights(config.weights, mixture)
    judge = Judge(gripper_columns(interface.action_names, config.gripper), config.rewards)
    require_output(config)
    preparation = Preparation(
        interface=interface,
        encoder=ImageEncoder(source.image_px).to(device),
        augmentation=config.augmentation,
        cached_variants=config.cached_variants if source.cached else 0,
        folder=work or config.features or config.output / WORK,
        seed=config.seed,
        stride=config.picture_stride,
    )
    material = material_of(config, interface, preparation.episodes(mixture), source.key)
    write_run(config, interface)
    return Reinforcement(config, source.policy, material, judge, source.save)


def require_usable(interface: Interface, mixture: Sequence[Demonstrations], source: str) -> None:
    """The policy's columns, cameras and rate, and episodes as supervised fine-tuning wants them."""
    for dataset in mixture:
        demonstrations.require_usable(dataset, interface.horizon_steps, interface.language)
        layout = dataset.layout
        seen = interface.but(
            cameras=demonstrations.cameras_of([dataset], interface.cameras) if interface.cameras else (),
            state_names=layout.state_names,
            action_names=layout.action_names,
            rate_hz=layout.rate_hz,
        )
        continued.require_fits(interface, seen, source)


def material_of(
    config: ReinforcePolicy, interface: Interface, episodes: Sequence[PreparedEpisode], source: str
) -> Material:
    """The same episodes are held out as in a supervised run of the same seed and share."""
    learned, kept_out = split(episodes, config.evaluation.held_out_share, config.seed)
    windows = Windows(learned, interface)
    names = list(dict.fromkeys(episode.dataset for episode in episodes))
    frames = [float(sum(len(each) for each in learned if each.dataset == name)) for name in names]
    draws = Draws(
        windows,
        dict(zip(names, config.weights or frames, strict=True)),
        config.augmentation,
        config.seed,
    )
    key = hashlib.sha256((fingerprint(config, episodes) + source).encode()).hexdigest()
    return Material(draws, Windows(kept_out or learned, interface), key)


def write_report(run: Reinforcement) -> None:
    """Of the policy that was kept, beside the one that came."""
    config = run.config
    policy = kept(run)
    windows, best = run.material.held_out, run.best
    if best is None:
        return
    first = run.curve[0]
    facts = [
        ("policy", str(config.policy)),
        ("data", ", ".join(map(str, config.data))),
        ("steps", f"{run.step_count} with {run.batch} × {config.grpo.group} chunks, {run.seconds:.0f} s"),
        ("learns", learning(run)),
        ("rewards left out", ", ".join(config.rewards.without) or "none"),
        ("kept", f"step {best.step}" + (": no step had a better held-out reward" if best.step == 0 else "")),
        ("held-out reward", f"{first.reward:.4f} → {best.reward:.4f}"),
        *(
            (f"open-loop error, {voice}", f"{before:.4f} → {best.open_loop_error[voice]:.4f}")
            for voice, before in first.open_loop_error.items()
        ),
        ("it acts by", policy.config.voice if isinstance(policy, TandemVLA) else "tokens"),
        ("git", git_hash() or "unknown"),
    ]
    report.write(config.output / REPORT, facts, run.curve, trace(policy, windows, 0), policy.interface)
    log.info(
        "%s: held-out reward %.4f, was %.4f; %.0f s", config.output / POLICY, best.reward, first.reward, run.seconds
    )


def learning(run: Reinforcement) -> str:
    """How many weights, of how many."""
    learned = sum(weight.numel() for weight in trained(run.module).values())
    return f"{learned:,} of {sum(weight.numel() for weight in run.module.parameters()):,} weights"


def kept(run: Reinforcement) -> TokenPolicy:
    """The policy with the best held-out reward, from its files: where adapters learn, into the one base there is."""
    if isinstance(run.policy, LerobotPolicy) and run.policy.adapters is not None:
        run.policy.adapters.restore(run.config.output / POLICY)
        return run.policy
    policy = folders.open_policy(run.config.output / POLICY, chosen_device(run.config))
    assert isinstance(policy, TokenPolicy)
    return policy
