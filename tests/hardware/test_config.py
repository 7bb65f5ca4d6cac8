"""Configs are frozen and closed, and a wrong file is named together with its wrong keys."""

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from hardware.config import Config, read
from hardware.errors import BadInput


class Lens(Config):
    focal_px: float = Field(gt=0)
    """Focal length."""


class Rig(Config):
    name: str = "rig"
    lenses: tuple[Lens, ...] = ()


def test_an_unknown_key_is_an_error():
    with pytest.raises(ValidationError, match=r"focal_mm\n.*Extra inputs"):
        Lens(focal_px=1, focal_mm=2)


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Lens(focal_px=1).focal_px = 2


def test_a_changed_copy_is_checked():
    lens = Lens(focal_px=1)
    assert lens.but(focal_px=2.0) == Lens(focal_px=2)
    assert lens == Lens(focal_px=1)
    with pytest.raises(ValidationError, match="greater than 0"):
        lens.but(focal_px=-1)
    with pytest.raises(ValidationError, match="Extra inputs"):
        lens.but(focal_mm=3)
    rig = Rig(lenses=(lens,)).but(name="other")
    assert rig.lenses == (lens,)


def test_docstrings_are_the_flags_help():
    assert Lens.model_fields["focal_px"].description == "Focal length."


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_file_is_read_in_either_format(tmp_path: Path, suffix: str):
    file = tmp_path / f"rig{suffix}"
    rig = Rig(name="größe", lenses=(Lens(focal_px=1.5), Lens(focal_px=2)))
    file.write_text(rig.model_dump_json(), encoding="utf-8")  # JSON is YAML
    assert read(Rig, file) == rig


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "lenses: [{focal_px: -1}]", r"a\.yaml is not a Rig: lenses\.0\.focal_px: .*greater than 0"),
        ("a.yaml", "lens: 3\nnames: 4", r"lens: Extra inputs .*; names: Extra inputs"),
        ("a.yaml", "", r"a\.yaml is not a Rig: file: "),
        ("a.yaml", "a: [", r"a\.yaml is not well-formed YAML"),
        ("a.json", '{"name": "x"', r"a\.json is not well-formed JSON"),
        ("a.json", "[]", r"a\.json is not a Rig: file: "),
    ],
)
def test_a_wrong_file_is_named_with_its_wrong_keys(tmp_path: Path, name: str, text: str, message: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=message):
        read(Rig, tmp_path / name)


def test_what_is_no_text_file_is_named(tmp_path: Path):
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    for file in (tmp_path / "picture.yaml", tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(BadInput, match=f"cannot read {file}"):
            read(Rig, file)
