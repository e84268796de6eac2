"""What all tests share: the marks' skips and the places of data that are not part of the project."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of public data sets, from SOFTPROMPT_SHARED_DATA or beside the checkout; skips where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    directory = Path(os.environ.get("SOFTPROMPT_SHARED_DATA", beside))
    if not directory.is_dir():
        pytest.skip(f"needs the public data sets, and there is no directory {directory}; set SOFTPROMPT_SHARED_DATA")
    return directory


@pytest.fixture(scope="session")
def tiny_t5():
    """A small frozen T5 with drawn weights. Shared by all tests: one that changes a T5 makes its own with `make_tiny_t5`."""
    from tiny_t5 import make_tiny_t5  # here, as TensorFlow must not start before the line above has quieted it

    return make_tiny_t5()


@pytest.fixture(scope="session")
def tiny_t5_bfloat16():
    """The same T5 as `tiny_t5`, in bfloat16."""
    from tiny_t5 import make_tiny_t5

    return make_tiny_t5("bfloat16")


@pytest.fixture(params=["absorbed", "keys and values"])
def cross_attention(request, monkeypatch):
    """Which way the decoder looks at the encoder output where there is a choice, whatever the sizes say."""
    from softprompt_tf.t5.frozen_forward import FrozenForward

    monkeypatch.setattr(FrozenForward, "is_short", lambda *sizes: request.param == "absorbed")
    return request.param
