"""The small Hugging Face T5s of `tests/parity/t5_models.py`, each written and read once for all tests here."""

import functools

import pytest
import t5_models
from tiny_t5 import tiny_vocabulary

from softprompt_tf.backbones import load_t5


@pytest.fixture(scope="session")
def vocabulary_file(tmp_path_factory):
    """A SentencePiece file with fewer pieces than each of the small models has rows."""
    path = tmp_path_factory.mktemp("vocabulary") / "tiny.spm"
    path.write_bytes(tiny_vocabulary())
    return path


@pytest.fixture(scope="session")
def hugging_face(tmp_path_factory):
    """A function: a case's name to its directory, with a vocabulary in it. A test that changes one makes its own copy."""

    @functools.cache
    def write(case):
        directory = t5_models.write_model(tmp_path_factory.mktemp("hugging_face") / case, case)
        (directory / "spiece.model").write_bytes(tiny_vocabulary())
        return directory

    return write


@pytest.fixture(scope="session")
def loaded(hugging_face):
    """A function: a case's name to the `FrozenT5` that its directory is read as."""
    return functools.cache(lambda case: load_t5(hugging_face(case)))
