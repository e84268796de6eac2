"""The T5 that all tests of a search share."""

from typing import Any

import pytest
from tiny_t5 import make_tiny_t5


@pytest.fixture(scope="session")
def tiny() -> Any:
    """The T5 of all searches."""
    return make_tiny_t5(num_layers=1)
