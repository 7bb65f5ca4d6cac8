"""What a user may get wrong, typed at the front door: each is refused in words that say what to do, with code 2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_policy
import small_recording

import tandem
from hardware.dataset.publish import PublishData, publish
from hardware.errors import BadInput
from vla import policy_file

pytestmark = pytest.mark.filterwarnings("default")  # LeRobot's own
SFT = ("--horizon-steps", "6", "--threads", "1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good data and a good policy, and spoilt ones beside them."""
    folder = tmp_path_factory.mktemp("typed")
    for first in (0.0, 1.0):
        small_recording.record(folder / "good", first)
        small_recording.record(folder / "three-joints", first, names=("x", "y", "z"))
        small_recording.record(folder / "mute", first, task="")
        small_recording.record(folder / "short", first, steps=4)
        small_recording.record(folder / "elsewhere", first, cameras=("side",))
    publish(PublishData(store=folder / "good", output=folder / "published"))
    for name in ("no-key", "no-column", "nan"):
        shutil.copytree(folder / "published", folder / name)
    without_key(folder / "no-key" / "meta" / "info.json")
    for file in (folder / "no-column" / "data").rglob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["action"]), file)
    for file in (folder / "nan" / "data").rglob("*.parquet"):
        with_nan(file)
    policy_file.save_policy(small_policy.policy(), folder / "policy")
    for name in ("old", "torn"):
        shutil.copytree(folder / "policy", folder / name)
    settings = json.loads((folder / "old" / policy_file.CONFIG).read_text())
    (folder / "old" / policy_file.CONFIG).write_text(json.dumps(settings | {"version": 1}))
    weights = folder / "torn" / policy_file.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1000])
    return folder


def without_key(info: Path) -> None:
    said = json.loads(info.read_text())
    del said["features"]["action"]
    info.write_text(json.dumps(said))


def with_nan(file: Path) -> None:
    table = pq.read_table(file)
    actions = table["action"].to_pylist()
    actions[3][1] = float("nan")
    column = pa.array(actions, table["action"].type)
    pq.write_table(table.set_column(table.column_names.index("action"), "action", column), file)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sft", "no-key", *SFT), "no-key has no 'action'; have: observation.state"),
        (("sft", "no-column", *SFT), "the data files of 'no-column' have no 'action'"),
        (("sft", "good", "three-joints", *SFT), "the state has 2 dims in 'good' and 3 in 'three-joints'"),
        (("sft", "good", "elsewhere", *SFT), "'elsewhere' has no camera front; have: side"),
        (("sft", "nan", *SFT), "the action of 'nan' episode 0 is nan at step 3 in 'y'"),
        (("sft", "mute", *SFT), "'mute' episode 0 has no instruction"),
        (("sft", "short", *SFT), "a chunk of 6 steps is longer than any episode of 'short'"),
        (("sft", "nowhere", *SFT), "nowhere is no folder"),
        (("sft", "good", "--start-from", "old"), "old is of policy format 1, this program reads 2"),
        (("sft", "three-joints", "--start-from", "policy"), "policy has 2 action dims, the data 3: x, y, z"),
        (("rft", "old", "good"), "old is of policy format 1, this program reads 2"),
        (("rft", "policy", "three-joints"), "policy has 2 action dims, the data 3: x, y, z"),
        (("rft", "policy", "nan"), "the action of 'nan' episode 0 is nan at step 3 in 'y'"),
        (("rft", "policy", "mute"), "'mute' episode 0 has no instruction"),
        (("rft", "policy", "short"), "a chunk of 6 steps is longer than any episode of 'short'"),
        (("rft", "policy", "no-key"), "no-key has no 'action'; have: observation.state"),
        (("eval", "old", "--trials", "1"), "old is of policy format 1, this program reads 2"),
        (("eval", "torn", "--trials", "1"), "cannot read torn/model.safetensors"),
        (("eval", "policy", "--trials", "1"), "no camera 'front' on the bench; have: cam_front, cam_wrist"),
        (("serve", "--policy", "old"), "old is of policy format 1, this program reads 2"),
        (("serve", "--policy", "torn"), "cannot read torn/model.safetensors"),
        (("serve", "--policy", "nowhere"), "nowhere holds no TandemVLA policy, nor one of LeRobot's"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(made)
    output = () if words[0] in ("eval", "serve") else ("-o", "out")
    assert tandem.main(["vla", *words, *output]) == BadInput.exit_code
    refusal = capsys.readouterr().err
    assert said in refusal
    assert "Traceback" not in refusal
    assert not Path("out", "policy").exists()
