"""A small twin that can be simulated: a brick and a wedge on a table, beside an SO-101 or with a pusher alone."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import small_contact

from twin.export import mjcf


@pytest.fixture(scope="session")
def armed(tmp_path_factory) -> Path:
    bundle = small_contact.write(tmp_path_factory.mktemp("armed") / "twin", robot=True)
    mjcf.write(bundle)
    return bundle


@pytest.fixture(scope="session")
def armless(tmp_path_factory) -> Path:
    bundle = small_contact.write(tmp_path_factory.mktemp("armless") / "twin")
    mjcf.write(bundle)
    return bundle
