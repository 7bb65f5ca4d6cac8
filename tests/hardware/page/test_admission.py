"""No other site's page, no foreign name and nobody without the token reaches the robot."""

from pathlib import Path

import pytest

from hardware.errors import BadInput
from hardware.page.admission import Admission, token

HERE = Admission("127.0.0.1")
SECRET = "a-secret-of-some-length"
AWAY = Admission("0.0.0.0", SECRET)


@pytest.mark.parametrize("host", ["localhost:8090", "127.0.0.1:8090", "[::1]:8090", "localhost:9999"])
def test_this_pages_own_origin_is_welcome_also_through_a_tunnel(host: str) -> None:
    assert HERE.refusal(host, f"http://{host}", "", is_socket=True) is None


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://localhost:3000", "null", "https://localhost.evil"]
)
def test_another_origin_opens_no_socket(origin: str) -> None:
    assert HERE.refusal("localhost:8090", origin, "", is_socket=True) is not None


def test_a_foreign_name_that_points_here_is_refused_even_the_page() -> None:
    assert HERE.refusal("evil.example:8090", "http://evil.example:8090", "", is_socket=False) is not None


def test_beyond_loopback_the_token_is_needed() -> None:
    origin = "http://robot:8090"
    assert AWAY.refusal("robot:8090", origin, "", is_socket=True) is not None
    assert AWAY.refusal("robot:8090", origin, "token=wrong", is_socket=True) is not None
    assert AWAY.refusal("robot:8090", origin, f"token={SECRET}", is_socket=True) is None
    assert AWAY.refusal("robot:8090", "http://evil.example", f"token={SECRET}", is_socket=True) is not None
    assert AWAY.refusal("robot:8090", None, "", is_socket=False) is None


def test_a_token_file_is_made_private_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "token"
    made = token("0.0.0.0", file)
    assert made == token("0.0.0.0", file)
    assert file.stat().st_mode & 0o077 == 0


def test_an_open_address_without_a_token_is_refused(tmp_path: Path) -> None:
    assert token("127.0.0.1", None) is None
    with pytest.raises(BadInput, match="anyone who reaches"):
        token("0.0.0.0", None)
    (tmp_path / "short").write_text("1234")
    with pytest.raises(BadInput, match="shorter"):
        token("0.0.0.0", tmp_path / "short")
