"""What the pages name exists: paths, make targets, commands, benchmark results."""

import re
from pathlib import Path

import pytest

import tandem

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "robot_ws/README.md"]
PATH = re.compile(r"^(?:[\w.-]+/)+[\w.-]*$|^[\w-]+\.(?:py|md|toml|yaml|lock)$")


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_path_in_backticks_or_links_exists(page: str) -> None:
    named = re.findall(r"`([^`\n]+)`", text(page)) + re.findall(r"\]\(([^)#\s]+)\)", text(page))
    paths = [name for name in named if PATH.match(name) and "<" not in name and not name.startswith("http")]
    inside = [name for name in paths if not name.startswith(("out/", "my_"))]
    missing = [name for name in inside if not any((base / name).exists() for base in (ROOT, (ROOT / page).parent))]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)`", text(page))) <= targets


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists(page: str) -> None:
    for room, verbs in re.findall(r"tandem (\w+) (\w[\w-]*(?:(?: ?\| ?)\w[\w-]*)*)", text(page)):
        if room in tandem.COMMANDS and tandem.ONLY not in tandem.COMMANDS[room]:
            assert set(re.split(r" ?\| ?", verbs)) <= set(tandem.COMMANDS[room])


def test_the_version_is_said_once() -> None:
    assert re.search(r'^version = "\d+\.\d+\.\d+"$', text("pyproject.toml"), re.MULTILINE)
