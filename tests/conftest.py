"""What all tests share: the marks' skips and the places of data that are not part of the project."""

import collections
import gc
import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
gc.disable()  # until all tests are collected: what they import stays, and is looked through again and again

# Files that take longest, where their number of tests does not say so. They come first where several processes share the
# files, so that none of them is left for the end, when the other processes have nothing more to do.
LONGEST = (
    "test_code_blocks.py",
    "test_task_changes.py",
    "test_frozen_forward.py",
    "test_served_ensembles.py",
    "test_sweep.py",
    "test_run.py",
    "test_prompted_t5.py",
    "test_journey.py",
    "test_adapt_killed.py",
    "test_training_on_states.py",
    "test_jax_train_step.py",
    "test_jax_backend.py",
    "test_recorded_contract.py",
    "test_reproduce.py",
    "test_train_step.py",
    "test_answering.py",
    "test_training_directory.py",
    "test_mixed_methods.py",
    "test_fit.py",
    "test_portable_names.py",
    "test_verify_change.py",
    "test_ensemble.py",
)


def pytest_collection_modifyitems(items):
    """Give the longest files to the processes first, and then those of most tests."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    counts = collections.Counter(item.path for item in items)
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (ranks.get(item.path.name, len(LONGEST)), -counts[item.path], str(item.path)))


def pytest_collection_finish(session):
    """Collect garbage again, but not among what was imported, and less often: graphs are many objects that stay."""
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    gc.enable()
    _record_one_stack()
    if all(item.get_closest_marker("thorough") for item in session.items):
        _run_graphs_as_traced()


def _record_one_stack():
    """Let all operations have the same Python stack: TensorFlow records one for each, and pytest's is deep."""
    tf_stack = sys.modules.get("tensorflow.python.util.tf_stack")
    if hasattr(tf_stack, "extract_stack"):
        stack = tf_stack.extract_stack()
        tf_stack.extract_stack = lambda stacklevel=1: stack


def _run_graphs_as_traced():
    """Do not let TensorFlow rewrite graphs before it runs them, which takes an eighth of the time of the thorough tests.

    `make test` and `make test-all` run the graphs as TensorFlow rewrites them, as users do.
    """
    from forked_processes import AS_TRACED

    os.environ[AS_TRACED] = "1"
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def pytest_sessionfinish():
    """Collect garbage once at the end, where pytest does so five times, over all graphs that are still there."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of public data sets, from SOFTPROMPT_SHARED_DATA or beside the checkout; skips where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    directory = Path(os.environ.get("SOFTPROMPT_SHARED_DATA", beside))
    if not directory.is_dir():
        pytest.skip(f"needs the public data sets, and there is no directory {directory}; set SOFTPROMPT_SHARED_DATA")
    return directory


@pytest.fixture(scope="session")
def two_layer_t5():
    """A small frozen T5 with drawn weights. Shared by all tests: one that changes a T5 makes its own with `make_tiny_t5`."""
    yield from _unchanged_t5("float32")


@pytest.fixture(scope="session")
def tiny_t5(two_layer_t5):
    """The T5 of all tests, but of those that say otherwise."""
    return two_layer_t5


@pytest.fixture(scope="session")
def one_layer_t5():
    """One of one layer in each stack, for what is traced, written or loaded more than it is compared."""
    yield from _unchanged_t5("float32", num_layers=1, seed=3)  # its answers differ from prompt to prompt


@pytest.fixture(scope="session")
def tiny_t5_bfloat16():
    """The same T5 as `two_layer_t5`, in bfloat16."""
    yield from _unchanged_t5("bfloat16")


def _unchanged_t5(dtype, **sizes):
    from tiny_t5 import make_tiny_t5  # here, as TensorFlow must not start before the line above has quieted it

    from softprompt_tf.backbones.fingerprint import weights_fingerprint

    t5 = make_tiny_t5(dtype, **sizes)
    drawn = weights_fingerprint(t5.backbone)
    yield t5
    assert weights_fingerprint(t5.backbone) == drawn, f"a test has changed the {dtype} T5 that all tests share"


@pytest.fixture(scope="session")
def forked():
    """Processes of their own that have this library and TensorFlow imported, in which nothing has run yet."""
    from forked_processes import forked_processes

    with forked_processes("softprompt_tf.cli.cli", "softprompt_tf.pretraining.training_directory") as processes:
        yield processes


@pytest.fixture(params=["absorbed", "keys and values"])
def cross_attention(request, monkeypatch):
    """Which way the decoder looks at the encoder output where there is a choice, whatever the sizes say."""
    from softprompt_tf.backbones.passes.frozen_forward import FrozenForward

    monkeypatch.setattr(FrozenForward, "is_short", lambda *sizes: request.param == "absorbed")
    return request.param
