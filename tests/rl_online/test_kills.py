"""`benchmarks/kills.py` in short: learner, an actor and the recorder are killed; nothing is lost, nothing is twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "kills.py"


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_after_three_kills_every_acknowledged_row_is_there_once_and_the_run_ends_by_itself(tmp_path: Path) -> None:
    short = ("--kills", "3", "--transitions", "6", "--seed", "1", "--deadline-s", "700")
    words = [sys.executable, str(PROGRAM), *short, "--json", str(tmp_path / "kills.json")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "kills.json").read_text())
    assert sum(found["kills"].values()) == 3
    assert found["kills"]["learner"] == 1
    assert (found["lost"], found["twice"], found["rows_lost"], found["rows_wrong"]) == (0, 0, 0, 0)
    assert min(found["acknowledged"], found["rows_acknowledged"]) > 0
