"""The whole demo is commands that a person could type; a finished stage is not run again, a failed one is named."""

import importlib
from pathlib import Path

import pytest
import tyro

import tandem
from rl_online import demo
from rl_online.demo import Stage, StageDone, StageFailed, WholeDemo, in_words, run, stages

EVERY = [words for stage in stages(WholeDemo(output=Path("out"))) for words in stage.commands]


@pytest.mark.parametrize("words", EVERY, ids=lambda words: " ".join(words[:3]))
def test_every_stage_says_flags_that_its_command_knows(words: tuple[str, ...]) -> None:
    command, flags = tandem.find(list(words))
    kind = getattr(importlib.import_module(command.module), command.config)
    tyro.cli(kind, args=flags)


def test_each_stage_hands_on_what_the_next_one_reads() -> None:
    said = " ".join(word for words in EVERY for word in words)
    for made in ("out/demos", "out/wide/store", "out/sft/policy", "out/rft/policy", "out/rl/policy", "out/judge"):
        assert made in said


def test_a_finished_stage_is_not_run_again_and_a_failed_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def pretend(stage: Stage, logs: Path) -> StageDone:
        ran.append(stage.name)
        if stage.name == "expand" and len(ran) < 4:
            raise StageFailed("stage 'expand' ended with 4: no", "read its log")
        return StageDone(name=stage.name, commands=(), seconds=60.0, found="")

    monkeypatch.setattr(demo, "run", pretend)
    config = WholeDemo(output=tmp_path, until="expand")
    with pytest.raises(StageFailed, match="'expand' ended"):
        demo.demo(config)
    assert demo.demo(config) == 0
    assert ran == ["twin", "demos", "expand", "expand"]


def test_a_command_that_fails_is_told_by_its_last_words(tmp_path: Path) -> None:
    wrong = Stage("wrong", "nothing", (("twin", "biuld"),))
    with pytest.raises(StageFailed, match=r"stage 'wrong' ended with 2: .*no verb 'biuld'"):
        run(wrong, tmp_path)


def test_a_stage_says_its_figures(tmp_path: Path) -> None:
    (tmp_path / "expand.json").write_text('{"kept": 7, "tried": 9}')
    assert in_words(tmp_path / "expand.json") == "7 of 9 kept"
    assert in_words(None) == ""
