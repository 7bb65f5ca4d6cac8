"""Files and folders are whole or absent: through errors, kills and a disk that is full."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hardware import artefact
from hardware.gate import Gate


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_is_replaced_as_a_whole(tmp_path: Path):
    file = tmp_path / "new" / "a.txt"
    artefact.write_text(file, "größe")
    artefact.write_bytes(file, b"second")
    assert file.read_bytes() == b"second"
    assert file.stat().st_mode & 0o777 == 0o644
    assert everything_in(tmp_path) == ["new", "new/a.txt"]


def test_a_model_comes_back(tmp_path: Path):
    gate = Gate(name="a", value=1, relation=">=", limit=0)
    artefact.write_model(tmp_path / "gate.json", gate)
    assert Gate.model_validate_json((tmp_path / "gate.json").read_text()) == gate


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    file = tmp_path / "a.txt"
    artefact.write_text(file, "old")
    with pytest.raises(ZeroDivisionError), artefact.staged_file(file) as temporary:
        temporary.write_text(temporary.suffix * (1 // 0))
    assert file.read_text() == "old"
    assert everything_in(tmp_path) == ["a.txt"]


def test_a_folder_takes_the_place_of_the_old_one_as_a_whole(tmp_path: Path):
    folder = tmp_path / "out"
    for round_number in range(2):
        with artefact.staged_folder(folder) as temporary:
            (temporary / f"file{round_number}").touch()
            assert not (folder / f"file{round_number}").exists()
        assert everything_in(tmp_path) == ["out", f"out/file{round_number}"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path):
    folder = tmp_path / "out"
    with artefact.staged_folder(folder) as temporary:
        (temporary / "old").touch()
    with pytest.raises(FileNotFoundError), artefact.staged_folder(folder) as temporary:
        (temporary / "new").rename(temporary / "newer")
    assert everything_in(tmp_path) == ["out", "out/old"]


@pytest.mark.parametrize("name", ["out", "a [draft]", "what?"])
def test_a_killed_writer_leaves_nothing_that_the_next_does_not_clear(tmp_path: Path, name: str):
    folder = tmp_path / name
    code = (
        "import sys, time, pathlib\nfrom hardware import artefact\n"
        f"with artefact.staged_folder(pathlib.Path({str(folder)!r})) as temporary:\n"
        "    (temporary / 'part').write_text('x'); print('writing', flush=True); time.sleep(60)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    try:
        assert running.stdout.readline() == "writing\n"
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        running.stdout.close()
    assert not folder.exists()
    assert len(list(tmp_path.iterdir())) == 1
    with artefact.staged_folder(folder) as temporary:
        (temporary / "whole").touch()
    assert everything_in(tmp_path) == [name, f"{name}/whole"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path):
    file = tmp_path / "a.bin"
    artefact.write_bytes(file, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            artefact.write_bytes(file, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert file.read_bytes() == b"old"
    assert everything_in(tmp_path) == ["a.bin"]


def test_a_removed_folder_is_gone_and_an_absent_one_is_no_error(tmp_path: Path):
    (tmp_path / "out" / "deep").mkdir(parents=True)
    artefact.remove(tmp_path / "out")
    artefact.remove(tmp_path / "out")
    assert everything_in(tmp_path) == []


def test_a_reader_never_sees_a_part(tmp_path: Path):
    file = tmp_path / "a.bin"
    code = (
        "import pathlib\nfrom hardware import artefact\n"
        f"for n in range(400): artefact.write_bytes(pathlib.Path({str(file)!r}), bytes([n % 256]) * 50_000)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code], cwd=Path.cwd())
    looks = 0
    deadline_s = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < deadline_s:
        if file.exists():
            data = file.read_bytes()
            assert data == data[:1] * 50_000
            looks += 1
    assert running.wait() == 0
    assert looks > 0


def test_a_folder_that_a_living_process_is_making_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        theirs, dead = tmp_path / f".out.partial-{other.pid}-x", tmp_path / ".out.partial-x"
        theirs.mkdir()
        dead.mkdir()
        with artefact.staged_folder(tmp_path / "out"):
            assert theirs.is_dir()
            assert not dead.exists()
        other.communicate(b"\n")
    with artefact.staged_folder(tmp_path / "out"):
        assert not theirs.exists()
