"""LeRobot's own commands, one after another in one process: `DATA OUT` → OUT/run (trained), OUT/broken (the same run
from its middle on), OUT/longer (two steps more), OUT/eval, OUT/tuned."""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import shade_gym  # noqa: F401 - registers the environment
import torch
from lerobot.scripts import lerobot_eval, lerobot_train

torch.set_num_threads(1)
SMALL = {"image_px": 64, "width": 32, "heads": 4, "readers": 4}
LAYERS = {"context_layers": 1, "token_layers": 1, "consistency_layers": 1}


def command(main, **flags: object) -> None:
    sys.argv = ["lerobot", *(f"--{name.replace('__', '.')}={value}" for name, value in flags.items())]
    main()


def training(data: Path, output: Path, steps: int, save_freq: int) -> dict[str, object]:
    return {
        "dataset__repo_id": "local/data",
        "dataset__root": data,
        "output_dir": output,
        "steps": steps,
        "batch_size": 4,
        "num_workers": 0,
        "log_freq": 1,
        "save_freq": save_freq,
        "wandb__enable": "false",
        "policy__device": "cpu",
        "policy__push_to_hub": "false",
    }


def rounds(data: Path, output: Path) -> None:
    sizes = {f"policy__{name}": value for name, value in (SMALL | LAYERS).items()}
    made = training(data, output / "run", 4, 2)
    command(
        lerobot_train.main,
        **made,
        **sizes,
        policy__type="tandem_vla",
        policy__chunk_size=6,
        policy__n_action_steps=4,
    )
    resume(output / "run" / "checkpoints" / "000002", output / "broken")
    resume(output / "run" / "checkpoints" / "000004", output / "longer", steps=6)
    trained = output / "run" / "checkpoints" / "last" / "pretrained_model"
    command(
        lerobot_eval.main,
        policy__path=trained,
        policy__device="cpu",
        env__type="shade",
        eval__n_episodes=2,
        eval__batch_size=2,
        output_dir=output / "eval",
    )
    command(lerobot_train.main, **training(data, output / "tuned", 1, 1), policy__path=output / "ours")


def resume(checkpoint: Path, output: Path, **flags: object) -> None:
    """In a copy, as after a stop: what came later is not there."""
    copied = output / "checkpoints" / checkpoint.name
    shutil.copytree(checkpoint, copied)
    told = copied / "pretrained_model" / "train_config.json"
    command(lerobot_train.main, config_path=told, resume="true", output_dir=output, **flags)


if __name__ == "__main__":
    rounds(Path(sys.argv[1]), Path(sys.argv[2]))
