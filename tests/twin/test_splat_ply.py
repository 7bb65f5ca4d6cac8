"""A splat comes back as it was written, the columns are those other tools read, and broken files are named."""

import numpy as np
import plyfile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.errors import BadInput
from twin import splat_ply
from twin.splat import Splat


def random_splat(n: int, coefficients: int = 4, seed: int = 0) -> Splat:
    rng = np.random.default_rng(seed)
    return Splat(
        means_m=rng.normal(size=(n, 3)),
        quats_wxyz=rng.normal(size=(n, 4)),
        scales_m=np.exp(rng.uniform(-8, 1, (n, 3))),
        opacities=rng.uniform(0.01, 0.99, n),
        sh=rng.normal(size=(n, coefficients, 3)),
    )


def rewritten(source, target, change):
    """The PLY with its columns (a dict) changed."""
    rows = plyfile.PlyData.read(str(source))["vertex"].data
    columns = {name: rows[name] for name in rows.dtype.names}
    change(columns)
    table = np.empty(len(rows), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")]).write(str(target))
    return target


@settings(deadline=None, max_examples=20)
@given(n=st.integers(0, 40), coefficients=st.sampled_from([1, 4, 9, 16]), seed=st.integers(0, 99))
def test_what_is_written_comes_back(n, coefficients, seed, tmp_path_factory):
    splat = random_splat(n, coefficients, seed)
    file = tmp_path_factory.mktemp("ply") / "scene.ply"
    splat_ply.write(file, splat)
    back = splat_ply.read(file)
    np.testing.assert_array_equal(back.means_m, splat.means_m)
    np.testing.assert_array_equal(back.quats_wxyz, splat.quats_wxyz)
    np.testing.assert_array_equal(back.sh, splat.sh)
    np.testing.assert_allclose(back.scales_m, splat.scales_m, rtol=2e-6)
    np.testing.assert_allclose(back.opacities, splat.opacities, rtol=2e-6)


def test_the_columns_hold_what_the_reference_code_writes(tmp_path):
    splat = random_splat(2, coefficients=4)
    splat_ply.write(tmp_path / "a.ply", splat)
    rows = plyfile.PlyData.read(str(tmp_path / "a.ply"))["vertex"].data
    assert rows.dtype.names[:9] == ("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2")
    assert rows.dtype.names[18:] == (
        *("opacity", "scale_0", "scale_1", "scale_2"),
        *("rot_0", "rot_1", "rot_2", "rot_3"),
    )
    # f_rest: the three coefficients of red, then of green, then of blue
    assert rows["f_rest_0"][1] == splat.sh[1, 1, 0]
    assert rows["f_rest_2"][1] == splat.sh[1, 3, 0]
    assert rows["f_rest_3"][1] == splat.sh[1, 1, 1]
    assert rows["f_rest_8"][1] == splat.sh[1, 3, 2]
    opacity = float(splat.opacities[0])
    assert rows["opacity"][0] == pytest.approx(np.log(opacity / (1 - opacity)), rel=1e-5)
    assert rows["scale_2"][0] == pytest.approx(np.log(splat.scales_m[0, 2]), rel=1e-5)


def test_opaque_and_invisible_gaussians_stay_finite(tmp_path):
    splat = random_splat(2)
    edge = Splat(splat.means_m, splat.quats_wxyz, np.zeros((2, 3)), np.array([0.0, 1.0]), splat.sh)
    splat_ply.write(tmp_path / "a.ply", edge)
    np.testing.assert_allclose(splat_ply.read(tmp_path / "a.ply").opacities, [0, 1], atol=2e-6)


def test_extra_and_missing_optional_columns_are_read(tmp_path):
    splat = random_splat(5, coefficients=1)
    splat_ply.write(tmp_path / "a.ply", splat)

    def change(columns):
        for name in ("nx", "ny", "nz"):
            del columns[name]
        columns["segment"] = np.arange(5, dtype=np.int32)

    back = splat_ply.read(rewritten(tmp_path / "a.ply", tmp_path / "b.ply", change))
    np.testing.assert_array_equal(back.sh, splat.sh)


def spoil(name, value):
    def change(columns):
        columns[name] = np.full_like(columns[name], value)

    return change


def zero_rotation(columns):
    for part in range(4):
        columns[f"rot_{part}"] = np.zeros_like(columns[f"rot_{part}"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil("x", np.nan), r"means_m\[0\] is not finite"),
        (spoil("scale_1", 1e4), r"scales_m\[0\] is not finite"),
        (zero_rotation, "rotation of length zero"),
        (lambda columns: columns.pop("opacity"), "lacks opacity"),
        (lambda columns: columns.pop("f_rest_3"), "8 f_rest properties"),
        (lambda columns: columns.update(f_rest_77=columns.pop("f_rest_3")), "not numbered 0 … 8"),
        (lambda columns: [columns.pop(n) for n in list(columns) if n not in "xyz"], "positions only"),
    ],
)
def test_a_file_that_is_not_a_finite_splat_is_named(change, message, tmp_path):
    splat_ply.write(tmp_path / "a.ply", random_splat(3))
    with pytest.raises(BadInput, match=message):
        splat_ply.read(rewritten(tmp_path / "a.ply", tmp_path / "bad.ply", change))


@pytest.mark.parametrize("content", [b"", b"hello", b"ply\nformat ascii 1.0\n", b"\xff\xd8\xff\xe0 a jpeg"])
def test_a_file_that_is_no_ply_is_named(content, tmp_path):
    (tmp_path / "bad.ply").write_bytes(content)
    with pytest.raises(BadInput, match=r"bad\.ply"):
        splat_ply.read(tmp_path / "bad.ply")


def test_a_truncated_file_is_named(tmp_path):
    splat_ply.write(tmp_path / "a.ply", random_splat(100))
    whole = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="not a whole PLY"):
        splat_ply.read(tmp_path / "a.ply")


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"cannot read .*none\.ply"):
        splat_ply.read(tmp_path / "none.ply")


def test_a_splat_with_nan_is_not_written(tmp_path):
    splat = random_splat(3)
    splat.means_m[1] = np.nan
    with pytest.raises(BadInput, match=r"means_m\[1\]"):
        splat_ply.write(tmp_path / "a.ply", splat)
    assert not list(tmp_path.iterdir())
