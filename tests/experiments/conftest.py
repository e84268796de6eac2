"""A place for sweeps."""

import pytest
from tiny_sweep import TinyPlace


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A directory with a preset of the tiny T5 and two tasks."""
    return TinyPlace(tmp_path_factory.mktemp("experiments"))
