"""A guided run that goes on with a run in the twin: by whose eyes it keeps what the robot sees."""

from pathlib import Path

import pytest

from hardware import artefact
from hardware.errors import BadInput
from rl_online.learning.link import FOR_ACTORS, RunSettings
from rl_online.learning.run_folder import CHECKPOINT
from rl_online.real.config import GuideReal
from rl_online.real.learner import pin, reference_of, settings_of, start_of

NAMED = ("plan", "reward")


def config(folder: Path, **changes: object) -> GuideReal:
    paths = {name: folder / name for name in NAMED}
    values = {"policy": folder / "run" / "policy", "demos": (folder / "demos",), "output": folder / "real"}
    return GuideReal.model_validate(paths | values | changes)


def test_what_is_seen_is_kept_by_the_policy_that_all_of_it_began_with(tmp_path: Path):
    run = tmp_path / "run"
    artefact.write_model(run / FOR_ACTORS, RunSettings(policy=tmp_path / "sft", preset="twinrl"))
    (run / CHECKPOINT).touch()
    assert reference_of(config(tmp_path)) == run / "policy"
    inheriting = config(tmp_path, inherit=run)
    assert reference_of(inheriting) == tmp_path / "sft"
    learning = settings_of(inheriting, tmp_path / "real")
    assert (learning.policy, learning.inherit, learning.inherit_successes) == (tmp_path / "sft", run, 20)
    seeded = settings_of(inheriting.but(twin_successes=(tmp_path / "wide",)), tmp_path / "real")
    assert seeded.inherit_successes == 0


def test_what_is_inherited_is_copied_once(tmp_path: Path):
    """The other run may go on, and its folder move."""
    run, sft = tmp_path / "run", tmp_path / "sft"
    artefact.write_model(run / FOR_ACTORS, RunSettings(policy=sft, preset="twinrl"))
    (run / CHECKPOINT).touch()
    for folder, words in ((run / "policy", "taught"), (sft, "supervised")):
        artefact.write_text(folder / "config.json", words)
    inheriting = config(tmp_path, inherit=run)
    pin(inheriting)
    for folder in (run, sft):
        folder.rename(folder.with_name(f"{folder.name}_moved"))
    pin(inheriting)
    assert (start_of(inheriting) / "config.json").read_text() == "taught"
    assert (reference_of(inheriting) / "config.json").read_text() == "supervised"


def test_what_cannot_be_inherited_is_refused_in_words(tmp_path: Path):
    with pytest.raises(BadInput, match="has no agent"):
        reference_of(config(tmp_path, inherit=tmp_path / "run"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CHECKPOINT).touch()
    artefact.write_model(tmp_path / "run" / FOR_ACTORS, RunSettings(policy=tmp_path / "sft", preset="twinrl"))
    with pytest.raises(BadInput, match="not the policy of the run"):
        reference_of(config(tmp_path, inherit=tmp_path / "run", policy=tmp_path / "sft"))
