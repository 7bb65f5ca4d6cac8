"""The scan as a command: whole or not at all, the same every time, and careful with other people's files."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tandem
from hardware.bench import task_scene
from hardware.bench.plant import Plant
from hardware.bench.plant_config import PlantConfig
from hardware.bench.scan import Manifest, ScanBench, scan
from hardware.bench.truth import read_truth
from hardware.config import read
from hardware.errors import BadInput

SMALL = {"photos": 2, "width_px": 320, "height_px": 240, "seed": 3}


def test_the_same_seed_gives_the_same_files_and_another_does_not(tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    scan(ScanBench(output=first, **SMALL))
    scan(ScanBench(output=again, **SMALL))
    scan(ScanBench(output=other, **(SMALL | {"seed": 4})))
    names = [file.relative_to(first) for file in sorted(first.rglob("*")) if file.is_file()]
    assert len(names) == 4
    assert all((first / name).read_bytes() == (again / name).read_bytes() for name in names)
    assert all((first / name).read_bytes() != (other / name).read_bytes() for name in names)


def test_a_finished_scan_is_kept_and_other_settings_replace_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    scan(ScanBench(output=out, **SMALL))
    photo = out / "scan/IMG_0001.jpg"
    made_ns = photo.stat().st_mtime_ns
    scan(ScanBench(output=out, **SMALL))
    assert photo.stat().st_mtime_ns == made_ns
    photo.unlink()  # an incomplete one is no finished scan
    scan(ScanBench(output=out, **SMALL))
    assert photo.is_file()
    scan(ScanBench(output=out, **(SMALL | {"seed": 9})))
    assert read(Manifest, out / "scan.json").seed == read_truth(out / "truth.json").seed == 9


def test_a_killed_scan_leaves_nothing_and_the_next_one_clears_its_remains(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tandem", "bench", "scan", str(out), "--photos", "500"]
    size = ["--width-px", "320", "--height-px", "240"]
    running = subprocess.Popen([*command, *size], cwd=Path(tandem.__file__).parent, stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + 60
        while not list(tmp_path.glob(".out.partial-*/scan/*.jpg")):
            assert time.monotonic() < deadline_s
            assert running.poll() is None
            time.sleep(0.05)
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    assert not out.exists()
    scan(ScanBench(output=out, photos=1, width_px=320, height_px=240))
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_other_peoples_files_are_never_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match=r"holds other files \(thesis\.txt\)"):
        scan(ScanBench(output=mine, photos=1))
    with pytest.raises(BadInput, match="is a file"):
        scan(ScanBench(output=mine / "thesis.txt", photos=1))
    (mine / "thesis.txt").rename(mine / "scan")
    with pytest.raises(BadInput, match="no scan of the bench wrote"):
        scan(ScanBench(output=mine, photos=1))


@pytest.mark.parametrize("flags", [["--photos", "0"], ["--width-px", "20"], ["--seed", "-1"], ["--colour", "red"]])
def test_bad_flags_are_refused_before_anything_is_written(tmp_path: Path, flags: list[str]) -> None:
    with pytest.raises((SystemExit, BadInput, ValueError)) as stop:
        tandem.main(["bench", "scan", str(tmp_path / "out"), *flags])
    assert getattr(stop.value, "code", 2) == 2
    assert not (tmp_path / "out").exists()


def test_a_spoilt_truth_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text('{"seed": 0}')
    with pytest.raises(BadInput, match=r"truth\.json is not a Truth: camera"):
        read_truth(tmp_path / "truth.json")


@pytest.mark.parametrize(
    ("task", "thing", "mark"), [("pick_place", "block", "tray"), ("wiping", "sponge", "stain")]
)
def test_a_filmed_task_shows_its_things_where_the_live_cell_puts_them(task: str, thing: str, mark: str) -> None:
    plant = Plant(PlantConfig(task=task, seed=5, cameras={}))
    cell = task_scene.build(5, task)
    assert cell.T_base_objects[thing].distance_to(plant.truth()[thing]) == pytest.approx((0.0, 0.0), abs=0.003)
    assert cell.landmarks[mark] == plant.truth()[mark]
    assert {"mug", "book"} <= set(cell.T_base_objects)
    data = cell.at_rest()
    touching = {cell.model.body(cell.model.geom_bodyid[geom]).name for geom in data.contact.geom.ravel()}
    assert not any(name.startswith("arm_") for name in touching)


def test_a_scan_of_a_task_is_another_scan_and_its_truth_has_the_task(tmp_path: Path) -> None:
    out = tmp_path / "out"
    scan(ScanBench(output=out, photos=1, width_px=320, height_px=240))
    plain = (out / "scan/IMG_0001.jpg").read_bytes()
    scan(ScanBench(output=out, photos=1, width_px=320, height_px=240, task="peg_insertion"))
    assert (out / "scan/IMG_0001.jpg").read_bytes() != plain
    truth = read_truth(out / "truth.json")
    assert "peg" in {thing.name for thing in truth.objects}
    assert "socket" in truth.landmarks
    assert truth.q_rad["shoulder_lift"] == pytest.approx(-1.5708, abs=1e-3)
