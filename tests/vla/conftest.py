"""Makes the helpers beside the tests importable by name, and one small taught policy for all of them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `taught_policy`; not to be changed."""
    import taught_policy

    folder = tmp_path_factory.mktemp("taught")
    taught_policy.write(folder)
    return folder
