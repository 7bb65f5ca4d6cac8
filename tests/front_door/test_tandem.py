"""What a person meets at the command line, before any work is done."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro
from pydantic import Field, PositiveInt

import tandem
from hardware.config import Config
from hardware.errors import BadInput

EVERY_VERB = [(room, verb) for room, verbs in tandem.COMMANDS.items() for verb in verbs]


def test_the_overview_lists_every_verb_and_needs_no_torch() -> None:
    code = "import sys, tandem; print(tandem.overview(None)); assert 'torch' not in sys.modules"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"tandem {room} {verb} " in said for room, verb in EVERY_VERB)


@pytest.mark.parametrize(("room", "verb"), EVERY_VERB)
def test_every_verb_explains_its_flags(room: str, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        tandem.main([room, verb, "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert f"tandem {room} {verb}" in said
    assert "[default" in said or "(default" in said or "(required)" in said


def test_an_unknown_verb_lists_the_choices() -> None:
    with pytest.raises(BadInput, match="have: build, info"):
        tandem.find(["twin", "biuld"])
    with pytest.raises(BadInput, match="no room 'twim'; have: twin"):
        tandem.find(["twim", "build"])


def test_bad_input_exits_with_two_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert tandem.main(["twin", "biuld"]) == 2
    said = capsys.readouterr().err
    assert "no verb 'biuld'" in said
    assert "Traceback" not in said


class Inner(Config):
    kind: Literal["inner"] = "inner"
    steps: PositiveInt = 5
    early: bool = True


class Other(Config):
    kind: Literal["other"] = "other"
    size: int = 1


class Outer(Config):
    """A command's flags."""

    name: tyro.conf.Positional[str]
    paths: tuple[Path, ...] = ()
    inner: Inner = Inner()
    either: Annotated[Inner | Other, Field(discriminator="kind")] = Inner()
    seed: int = 0


def parsed(words: list[str], text: str, folder: Path) -> Outer:
    file = folder / "mine.yaml"
    file.write_text(text)
    flags, defaults = tandem.with_file([*words, "--config", str(file)], Outer)
    assert defaults is not None
    return tyro.cli(Outer, args=flags, default=defaults)


def test_flags_win_over_the_config_file(tmp_path: Path) -> None:
    text = "inner: {steps: 7, early: false}\npaths: [a, b]\nseed: 3\n"
    config = parsed(["scan", "--seed", "4"], text, tmp_path)
    assert config == Outer(name="scan", paths=(Path("a"), Path("b")), inner=Inner(steps=7, early=False), seed=4)


def test_a_config_file_sets_positionals_and_chooses_between_kinds(tmp_path: Path) -> None:
    assert parsed([], "name: n\neither: {kind: other, size: 9}\n", tmp_path) == Outer(
        name="n", either=Other(size=9)
    )


def test_what_neither_the_file_nor_a_flag_sets_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed([], "seed: 3\n", tmp_path)
    assert "STR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "named"),
    [("inner: {steps: -2}\n", r"inner\.steps.*-2"), ("either: {kind: x}\n", "either"), ("seed: many\n", "many")],
)
def test_a_value_that_is_refused_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(BadInput, match=rf"mine\.yaml: .*{named}"):
        parsed(["n"], text, tmp_path)


@pytest.mark.parametrize("text", ["- just\n- a list\n", "a: [unclosed\n"])
def test_a_config_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match=r"mine\.yaml"):
        parsed(["n"], text, tmp_path)


def test_a_room_with_one_verb_takes_its_words_at_once() -> None:
    command, words = tandem.find(["up", "bench", "--episodes", "3"])
    assert (command.module, words) == ("hardware.up", ["bench", "--episodes", "3"])


@pytest.mark.parametrize("flags", [["--config", "FILE"], ["--config=FILE"]])
def test_a_key_that_the_command_lacks_is_named(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("photoss: 3\n")
    words = [flag.replace("FILE", str(file)) for flag in flags]
    assert tandem.main(["bench", "scan", str(tmp_path / "out"), *words]) == 2
    assert "no setting 'photoss'; have: " in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tandem.main(["calibrate", "board", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert str(tmp_path) in said
    assert "Traceback" not in said


def test_brackets_and_colons_in_a_name_stay_in_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert tandem.main(["twin", "info", "scan[red]:zebra:"]) == 2
    assert "scan[red]:zebra:" in capsys.readouterr().err
