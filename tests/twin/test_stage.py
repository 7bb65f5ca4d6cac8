"""A stage is done once, again when its inputs change, and never half."""

from pathlib import Path

import pytest

from hardware.errors import BadInput, GateFailed
from hardware.gate import Gate
from twin.stage import MANIFEST, Outcome, fingerprint, run


class Work:
    """Writes one file and counts how often it was asked to."""

    def __init__(self, gates: tuple[Gate, ...] = ()) -> None:
        self.calls = 0
        self.gates = gates

    def __call__(self, out: Path) -> Outcome:
        self.calls += 1
        (out / "result.txt").write_text(f"call {self.calls}")
        return Outcome(gates=self.gates, numbers={"calls": self.calls})


def test_an_unchanged_stage_is_reused(tmp_path: Path) -> None:
    work = Work()
    first = run(tmp_path, "sfm", "k1", work)
    again = run(tmp_path, "sfm", "k1", work)
    assert work.calls == 1
    assert again == first


def test_a_changed_key_does_the_stage_again_and_replaces_the_old_one(tmp_path: Path) -> None:
    work = Work()
    run(tmp_path, "sfm", "k1", work)
    (tmp_path / "sfm" / "leftover").touch()
    run(tmp_path, "sfm", "k2", work)
    assert (tmp_path / "sfm" / "result.txt").read_text() == "call 2"
    assert not (tmp_path / "sfm" / "leftover").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["sfm"]


def test_a_killed_stage_gets_its_partial_folder_back(tmp_path: Path) -> None:
    def dies(out: Path) -> Outcome:
        (out / "checkpoint").write_text("half way")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "splat", "k1", dies)
    assert not (tmp_path / "splat").exists()

    def goes_on(out: Path) -> Outcome:
        assert (out / "checkpoint").read_text() == "half way"
        return Outcome()

    run(tmp_path, "splat", "k1", goes_on)
    assert (tmp_path / "splat" / MANIFEST).exists()


def test_a_checkpoint_of_other_inputs_is_thrown_away(tmp_path: Path) -> None:
    stale = tmp_path / "splat.partial-k1"
    stale.mkdir(parents=True)
    run(tmp_path, "splat", "k2", Work())
    assert not stale.exists()


def test_a_failed_blocking_gate_leaves_no_stage_but_keeps_the_measurement(tmp_path: Path) -> None:
    bad = Gate(name="registered share", value=0.2, relation=">=", limit=0.7, advice="walk slower")
    with pytest.raises(GateFailed, match=r"registered share: 0\.2 .*\n.*walk slower"):
        run(tmp_path, "sfm", "k1", Work((bad,)))
    assert not (tmp_path / "sfm").exists()
    assert (tmp_path / "sfm.partial-k1" / MANIFEST).exists()


def test_a_gate_that_only_warns_lets_the_stage_pass(tmp_path: Path) -> None:
    warning = Gate(name="dark photos", value=3, relation="<=", limit=0, blocking=False)
    assert run(tmp_path, "capture", "k1", Work((warning,))).gates == (warning,)


def test_a_full_disk_is_said_as_such(tmp_path: Path) -> None:
    def writes(out: Path) -> Outcome:
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")
        return Outcome()

    with pytest.raises(BadInput, match="disk is full"):
        run(tmp_path, "splat", "k1", writes)


def test_the_fingerprint_follows_every_part() -> None:
    one = Gate(name="a", value=1, relation=">=", limit=0)
    assert fingerprint(one, "x") == fingerprint(one, "x")
    assert len({fingerprint(one, "x"), fingerprint(one, "y"), fingerprint(one.but(value=2.0), "x")}) == 3
