"""A gate passes exactly when its relation holds, and says what to do when it does not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hardware.config import read
from hardware.errors import GateFailed
from hardware.gate import Gate, check

numbers = st.floats(allow_nan=False)


@given(numbers, numbers)
def test_a_gate_passes_when_its_relation_holds(value, limit):
    assert Gate(name="x", value=value, relation=">=", limit=limit).passed == (value >= limit)
    assert Gate(name="x", value=value, relation="<=", limit=limit).passed == (value <= limit)


@given(st.sampled_from([">=", "<="]), st.floats())
def test_what_is_not_a_number_never_passes(relation, limit):
    assert not Gate(name="x", value=math.nan, relation=relation, limit=limit).passed


@given(st.floats(), st.floats())
def test_a_gate_survives_its_file(tmp_path_factory, value, limit):
    gate = Gate(name="reprojection", value=value, relation="<=", limit=limit, unit="px")
    file = tmp_path_factory.getbasetemp() / "gate.json"
    file.write_text(gate.model_dump_json())
    back = read(Gate, file)
    assert repr(back) == repr(gate)  # nan == nan is false


def test_every_blocking_failure_is_listed_and_the_advice_given_once():
    gates = [
        Gate(name="sharp", value=0.2, relation=">=", limit=0.5, advice="walk slower."),
        Gate(name="bright", value=9.0, relation=">=", limit=18, unit="grey", advice="add light."),
        Gate(name="steady", value=3, relation="<=", limit=1, advice="walk slower."),
        Gate(name="fine", value=1, relation=">=", limit=0, advice="never said."),
        Gate(name="only a warning", value=0, relation=">=", limit=1, advice="never said.", blocking=False),
    ]
    with pytest.raises(GateFailed) as stop:
        check(gates)
    assert stop.value.problem == (
        "sharp: 0.2 (must be >= 0.5) FAILED; bright: 9 grey (must be >= 18 grey) FAILED; "
        "steady: 3 (must be <= 1) FAILED"
    )
    assert stop.value.fix == "walk slower. add light."
    assert stop.value.exit_code == 3


def test_gates_that_pass_or_only_warn_let_the_work_go_on():
    warning = Gate(name="dark", value=3, relation="<=", limit=0, blocking=False)
    check([warning, Gate(name="fine", value=1, relation=">=", limit=1)])
    assert str(warning).endswith("warning")
    check([])


def test_a_gate_with_another_relation_is_refused():
    with pytest.raises(ValidationError, match="relation"):
        Gate(name="x", value=1, relation=">", limit=0)
