"""A new policy that lost an old task is refused, and what could not be seen is said."""

import json
import sys
from pathlib import Path

import pytest

from hardware.errors import BadInput
from vla import gate, outcomes
from vla.gate import GatePolicy, compare
from vla.outcomes import EvaluationFailed, Outcome


def counts(**tasks: tuple[int, int]) -> dict[str, Outcome]:
    return {task: Outcome(successes=won, trials=tried) for task, (won, tried) in tasks.items()}


def written(file: Path, **tasks: tuple[int, int]) -> Path:
    outcomes.write(file, counts(**tasks))
    return file


def test_a_loss_beyond_the_interval_is_refused(tmp_path, capsys) -> None:
    """45/50, Wilson 0.7864 … 0.9565, → 30/50, 0.4618 … 0.7239: −0.3 − √(0.1382² + 0.0565²) = −0.4493 and
    −0.3 + √(0.1239² + 0.1136²) = −0.1319: wholly below 0. 40/50, 0.6696 … 0.8876, → 38/50, 0.6259 … 0.8570:
    −0.04 − √(0.1341² + 0.0876²) = −0.2002 and −0.04 + √(0.0970² + 0.1304²) = 0.1225."""
    old = written(tmp_path / "old.json", lift=(45, 50), push=(40, 50))
    new = written(tmp_path / "new.json", lift=(30, 50), push=(38, 50), stack=(1, 50))
    report = tmp_path / "gate.json"
    assert gate.gate(GatePolicy(old=old, new=new, json_file=report)) == 1
    said = json.loads(report.read_text())
    assert said["refused"]
    assert said["lost"] == ["lift", gate.ALL]
    lift, push, _ = said["verdicts"]
    assert (lift["low"], lift["high"]) == pytest.approx((-0.4493, -0.1319), abs=2e-4)
    assert (push["low"], push["high"]) == pytest.approx((-0.2002, 0.1225), abs=2e-4)
    assert "LOST" in capsys.readouterr().out


def test_what_the_trials_cannot_show_is_kept_and_said(tmp_path, caplog) -> None:
    old, new = written(tmp_path / "old.json", lift=(9, 10)), written(tmp_path / "new.json", lift=(7, 10))
    with caplog.at_level("INFO"):
        assert gate.gate(GatePolicy(old=old, new=new)) == 0
    [verdict] = compare(outcomes.read(old), outcomes.read(new))
    assert verdict.unseen_loss > 0.2
    assert f"a loss of {100 * verdict.unseen_loss:.0f} points would have passed" in caplog.text


def test_small_losses_on_every_task_add_up() -> None:
    old = counts(**{f"task{number}": (45, 50) for number in range(6)})
    new = counts(**{f"task{number}": (39, 50) for number in range(6)})
    verdicts = compare(old, new)
    assert [verdict.lost for verdict in verdicts] == [False] * 6 + [True]


def test_a_margin_lets_a_small_loss_go() -> None:
    old, new = counts(lift=(45, 50)), counts(lift=(30, 50))
    assert not compare(old, new, margin=0.2)[0].lost
    assert compare(old, new, margin=0.1)[0].lost


def test_a_better_policy_passes() -> None:
    assert not compare(counts(lift=(10, 50)), counts(lift=(50, 50)))[0].lost


def test_a_task_that_was_not_measured_again_is_refused() -> None:
    with pytest.raises(BadInput, match="the new evaluation lacks push; has: lift"):
        compare(counts(lift=(5, 10), push=(5, 10)), counts(lift=(5, 10)))
    assert len(compare(counts(lift=(5, 10), push=(5, 10)), counts(lift=(5, 10)), tasks=("lift",))) == 1


SCRIPT = """
import json, sys
policy, file, *tasks = sys.argv[1:]
won = int(open(policy + "/wins").read())
json.dump({"tasks": {task: {"successes": won, "trials": 20, "seconds": 3.5} for task in tasks}}, open(file, "w"))
"""


def test_policies_are_measured_by_a_command(tmp_path) -> None:
    (tmp_path / "evaluate.py").write_text(SCRIPT)
    for name, wins in (("old", 19), ("new", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "wins").write_text(str(wins))
    command = f"{sys.executable} {tmp_path / 'evaluate.py'} {{policy}} {{json}} {{tasks}}"
    config = GatePolicy(old=tmp_path / "old", new=tmp_path / "new", evaluator=command, tasks=("lift", "push"))
    assert gate.gate(config) == 1
    assert outcomes.read(tmp_path / "new.eval.json")["push"] == Outcome(successes=5, trials=20)
    (tmp_path / "evaluate.py").unlink()
    assert gate.gate(config) == 1, "what was measured is not measured again"
    (tmp_path / "new.eval.json").unlink()
    with pytest.raises(EvaluationFailed, match="the evaluator failed"):
        gate.gate(config)


def test_a_policy_that_changed_or_is_tried_otherwise_is_measured_anew(tmp_path, caplog) -> None:
    (tmp_path / "evaluate.py").write_text(SCRIPT)
    old, new = written(tmp_path / "old.json", lift=(19, 20)), tmp_path / "new"
    new.mkdir()
    (new / "wins").write_text("5")
    kept = written(tmp_path / "new.eval.json", lift=(19, 20))  # of nobody knows which weights
    command = f"{sys.executable} {tmp_path / 'evaluate.py'} {{policy}} {{json}} {{tasks}}"
    config = GatePolicy(old=old, new=new, evaluator=command)
    with caplog.at_level("INFO"):
        assert gate.gate(config) == 1
    assert f"{kept} is of another policy or evaluator: measuring anew" in caplog.text
    (new / "wins").write_text("19")
    half = written(tmp_path / "new.eval.partial.json", lift=(0, 20))
    assert gate.gate(config) == 0
    assert not half.exists()
    written(kept, lift=(0, 20))
    assert gate.gate(config) == 1, "nothing has changed, and the file holds"
    assert gate.gate(config.but(evaluator=f"{command} push")) == 0


def test_what_is_no_evaluation_is_refused_by_name(tmp_path) -> None:
    file = tmp_path / "eval.json"
    for text in ("{", "[]", '{"tasks": {"lift": {"successes": 11, "trials": 10}}}', '{"tasks": {"lift": 3}}'):
        file.write_text(text)
        with pytest.raises(BadInput, match=r"eval\.json is no evaluation"):
            outcomes.read(file)
    with pytest.raises(BadInput, match="cannot read"):
        outcomes.read(tmp_path / "none.json")
    (tmp_path / "policy").mkdir()
    with pytest.raises(BadInput, match="no evaluator is given"):
        gate.gate(GatePolicy(old=tmp_path / "policy", new=file))
    with pytest.raises(BadInput, match=r"has no \{json\}"):
        outcomes.by_command("evaluate {policy}")
    with pytest.raises(BadInput, match="is no command: No closing quotation"):
        outcomes.by_command("evaluate '{policy} {json}")
