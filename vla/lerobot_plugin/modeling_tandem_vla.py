"""A TandemVLA as a LeRobot policy: LeRobot's batches in, losses and actions in physical units out.

What LeRobot trains is averaged as `tandem vla sft` does it: the average is evaluated, and it is the policy that a
checkpoint holds. The weights that were learning lie beside it, for `--resume=true` to go on with: exactly, since the
loss's noise is of the step. (LeRobot restores torch's stream, and then draws from it for its loader.)
"""

from __future__ import annotations

import copy
from collections import deque
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from hardware import artefact
from hardware.errors import BadInput
from vla import demonstrations, lerobot_folder, policy_file
from vla.lerobot_demonstrations import LerobotDemonstrations, layout_of
from vla.lerobot_plugin import lerobot_batch
from vla.lerobot_plugin.configuration_tandem_vla import TandemVLAConfig
from vla.optimisation import average
from vla.policy import Interface
from vla.prepared import PreparedEpisode
from vla.sft import fine_tuning
from vla.sft.config import TrainPolicy
from vla.tandem_vla import TandemVLA
from vla.windows import Windows

LEARNING, AVERAGED = "model.", "averaged."
"""How the two policies' weights are named in LeRobot's own state dicts."""
LEARNING_FILE, STEPS, NOISE = "learning.safetensors", "averaged_steps", "noise_seed"


class TandemVLAPolicy(PreTrainedPolicy):
    """The class that `lerobot-train` and `lerobot-eval` make. `model` learns, `averaged` acts and is kept."""

    config_class = TandemVLAConfig  # pyright: ignore[reportAssignmentType] - LeRobot declares it None
    name = "tandem_vla"  # pyright: ignore[reportAssignmentType]
    config: TandemVLAConfig

    def __init__(
        self,
        config: TandemVLAConfig,
        dataset_stats: dict | None = None,
        dataset_meta: Any = None,
        model: TandemVLA | None = None,
    ) -> None:
        """Without `model` it is new: its ranges and tokens are taken from the dataset behind `dataset_meta`."""
        super().__init__(config)
        config.validate_features()
        if model is None and dataset_meta is None:
            raise BadInput("a new tandem_vla needs a dataset to take its ranges from", "give --policy.path=FOLDER")
        self.model = untrained(config, Path(dataset_meta.root)) if model is None else model
        self.model.config = self.model.config.but(voice=config.voice)
        self.averaged = copy.deepcopy(self.model).requires_grad_(False)
        self.averaged_steps = 0
        self.noise_seed = drawn_seed()
        self._waiting: deque[Tensor] = deque()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: PreTrainedConfig | None = None,
        dataset_meta: Any = None,
        **other: Any,
    ) -> TandemVLAPolicy:
        """A folder of either side's, or a name on the hub. The policy keeps its own ranges and tokens."""
        folder = lerobot_folder.local(pretrained_name_or_path, other.get("revision"))
        model = policy_file.load_policy(folder)
        if dataset_meta is not None:
            require_fits(model.interface, Path(dataset_meta.root))
        config = config or PreTrainedConfig.from_pretrained(folder)
        if not isinstance(config, TandemVLAConfig):
            raise BadInput(f"{folder} is a {config.type}, not a tandem_vla")
        policy = cls(config, model=model)
        policy._go_on(folder)
        return policy.to(config.device).eval()

    def _go_on(self, folder: Path) -> None:
        """With what `lerobot-train` was learning when it wrote the folder; without it, with the policy as it is."""
        file = folder / LEARNING_FILE
        if not file.exists():
            return
        with safe_open(file, "pt") as stored:
            policy_file.restore(self.model, {name: stored.get_tensor(name) for name in stored.keys()}, str(file))  # noqa: SIM118
            told = stored.metadata()
            self.averaged_steps = int(told[STEPS])
            self.noise_seed = int(told.get(NOISE, self.noise_seed))

    def _save_pretrained(self, save_directory: Path, state_dict: dict[str, Tensor] | None = None) -> None:
        """`state_dict`: gathered by LeRobot where the weights are spread over several GPUs."""
        self.config._save_pretrained(save_directory)
        policy_file.write_parts(self.averaged, save_directory)
        names = policy_file.weights(self.averaged)
        everything = self.state_dict() if state_dict is None else state_dict

        def gathered(prefix: str) -> dict[str, Tensor]:
            return {name: everything[prefix + name].detach().cpu().contiguous() for name in names}

        if state_dict is not None:
            artefact.write_bytes(save_directory / policy_file.WEIGHTS, save(gathered(AVERAGED)))
        if self.averaged_steps:
            learning = save(gathered(LEARNING), {STEPS: str(self.averaged_steps), NOISE: str(self.noise_seed)})
            artefact.write_bytes(save_directory / LEARNING_FILE, learning)

    def update(self) -> None:
        """LeRobot calls it after each step of its optimiser."""
        average(self.averaged.parameters(), self.model.parameters(), self.config.ema, self.averaged_steps)
        self.averaged_steps += 1

    def get_optim_params(self) -> list[Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride] - any iterable does
        return [weight for weight in self.parameters() if weight.requires_grad]

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """The imitation loss; its noise is of the step. In `eval` of the average, with noise of torch's own stream."""
        model = self.model if self.training else self.averaged
        seed = (self.noise_seed * 1_000_003 + self.averaged_steps) % 2**31 if self.training else drawn_seed()
        losses = model.loss(lerobot_batch.demonstrated(batch, self.model.interface), seed)
        return losses.total, {name: value for name, value in losses.parts.items() if name != "total"}

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """[B, T, D], physical units."""
        actions = self.averaged.act(lerobot_batch.observations(batch, self.averaged.interface))
        return torch.from_numpy(actions)

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **_: Any) -> Tensor:
        if not self._waiting:
            chunk = self.predict_action_chunk(batch)[:, : self.config.n_action_steps]
            self._waiting.extend(chunk.transpose(0, 1))
        return self._waiting.popleft()

    def reset(self) -> None:
        self._waiting.clear()


def drawn_seed() -> int:
    """Of torch's stream, which LeRobot seeds."""
    return int(torch.randint(0, 2**31 - 1, ()).item())


def untrained(config: TandemVLAConfig, root: Path) -> TandemVLA:
    """Ranges and tokens of all episodes of a dataset, weights from torch's stream, which LeRobot seeds."""
    dataset = LerobotDemonstrations.open(root, root.name)
    demonstrations.require_usable(dataset, config.chunk_size, config.language)
    interface = Interface(
        cameras=demonstrations.cameras_of([dataset]),
        state_names=dataset.layout.state_names,
        action_names=dataset.layout.action_names,
        rate_hz=dataset.layout.rate_hz,
        horizon_steps=config.chunk_size,
        language=config.language,
    )
    episodes = [
        PreparedEpisode(dataset.name, number, episode.instruction, None, episode.state, episode.actions)
        for number, episode in ((number, dataset[number]) for number in range(len(dataset)))
    ]
    settings = TrainPolicy(
        data=(root,),
        output=root,  # only the settings below are read
        architecture=config.architecture,
        voice=config.voice,
        token_weight=config.token_weight,
        consistency_weight=config.consistency_weight,
        unfrozen_encoder=config.unfrozen_encoder,
        seed=drawn_seed(),
    )
    return fine_tuning.new_policy(settings, interface, Windows(episodes, interface))


def require_fits(interface: Interface, root: Path) -> None:
    """Raises `BadInput` when a dataset's columns or cameras are not those that the policy was trained on."""
    layout = layout_of(root)
    for what in ("state_names", "action_names"):
        mine, theirs = getattr(interface, what), getattr(layout, what)
        if len(mine) != len(theirs):
            column = what.removesuffix("_names")
            raise BadInput(f"the {column} has {len(theirs)} dims in {root} and {len(mine)} in the policy")
    missing = [camera for camera in interface.cameras if camera not in layout.cameras]
    if missing:
        raise BadInput(f"{root} has no camera {', '.join(missing)}; have: {', '.join(layout.cameras) or 'none'}")
