"""LeRobot's pipelines before and after a TandemVLA: batches and devices only."""

from __future__ import annotations

from typing import Any

from lerobot.processor import PolicyProcessorPipeline
from lerobot.processor.factory import make_default_policy_processor_steps, make_policy_processor_pipelines

from vla.lerobot_plugin.configuration_tandem_vla import TandemVLAConfig


def make_tandem_vla_pre_post_processors(
    config: TandemVLAConfig, dataset_stats: dict[str, Any] | None = None
) -> tuple[PolicyProcessorPipeline, PolicyProcessorPipeline]:
    """Named by LeRobot's convention. The normalisers are identities, kept since LeRobot sets them by name."""
    steps = make_default_policy_processor_steps(config, dataset_stats)
    return make_policy_processor_pipelines(
        input_steps=[steps.rename_observations, steps.add_batch_dim, steps.to_device, steps.normalize],
        output_steps=[steps.unnormalize, steps.to_cpu],
    )
