"""Makes the helpers beside the tests importable by name, and builds one small bundle for all that only read it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read it, or copy it first."""
    import small_build

    return small_build.bundle(tmp_path_factory.mktemp("small"))
