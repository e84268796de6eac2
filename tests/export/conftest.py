"""What the tests of an export share: three small tasks on the tiny T5, and their SavedModel, written once."""

import contextlib
import dataclasses
import fcntl
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from echo_model import export_echo

PROMPT_LENGTHS = {"mood": 3, "story": 7, "reply": 12}


@pytest.fixture(scope="session")
def tiny_t5(one_layer_t5):
    """Of one layer: a graph of two takes twice as long to trace, to write, to load and to run first. Some files ask for two."""
    return one_layer_t5


@pytest.fixture(scope="session")
def task_prompts(tiny_t5):
    """Three tasks: labels and a template of one field; generation with no template; three labels and two fields."""
    from softprompt_tf.methods import TaskPrompt

    generator = np.random.default_rng(11)

    def task(name, **fields):
        return TaskPrompt(
            prompt=1.5 * generator.normal(size=(PROMPT_LENGTHS[name], tiny_t5.hidden_dim)).astype(np.float32),
            task_id=name,
            backbone=tiny_t5.name,
            backbone_fingerprint=tiny_t5.fingerprint,
            tokenizer_fingerprint=tiny_t5.tokenizer_fingerprint,
            **fields,
        )

    return {
        "mood": task(
            "mood",
            template="the film: {text} is it good?",
            labels=("negative", "positive"),
            max_input_tokens=40,
            max_target_tokens=2,  # fewer than the words of its labels have
        ),
        "story": task("story", max_target_tokens=9),
        "reply": task(
            "reply",
            template="{first} and then {second}",
            labels=("yes", "no", "nobody could say"),
            max_target_tokens=20,
        ),
    }


@contextlib.contextmanager
def _place_of_all_workers(tmp_path_factory, name):
    """Give a directory that the processes of `pytest --numprocesses` have in common, to one of them at a time."""
    own = tmp_path_factory.getbasetemp()
    place = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield place


@pytest.fixture(scope="session")
def base_directory(tmp_path_factory: pytest.TempPathFactory, tiny_t5, task_prompts):
    """A model's base directory that holds version 1, checked by `verify_saved_model` when it was written. No test changes it."""
    from asked_versions import asked_once, content_digest

    from softprompt_tf.export import write_saved_model

    with _place_of_all_workers(tmp_path_factory, "served") as place:
        base = place / "tiny"
        if not (base / "1").exists():
            with asked_once():
                write_saved_model(base, tiny_t5, task_prompts)
    written = content_digest(base)
    yield base
    assert content_digest(base) == written, "a test has changed the export that all tests share"


@pytest.fixture(scope="module")
def asked_once():
    """The module's checks of exports ask nothing twice; see `asked_versions`."""
    from asked_versions import asked_once

    with asked_once():
        yield


@pytest.fixture(scope="session")
def version_directory(base_directory: Path) -> Path:
    return base_directory / "1"


@pytest.fixture(scope="session")
def signatures(version_directory: Path):
    """Signature name -> function of lists and arrays, as `tf.saved_model.load` gives it; answers are NumPy arrays."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  registers the tokenizer's ops

    loaded = tf.saved_model.load(str(version_directory))

    def asked(function):
        def ask(**inputs):
            tensors = {
                name: tf.constant(value, function.structured_input_signature[1][name].dtype)
                for name, value in inputs.items()
            }
            return {name: value.numpy() for name, value in function(**tensors).items()}

        ask.loaded = loaded  # the functions do not keep the variables alive
        return ask

    return {name: asked(function) for name, function in loaded.signatures.items()}


@pytest.fixture(scope="session")
def keras_models(tiny_t5, task_prompts):
    """Task name -> the Keras model that the served answers must equal."""
    from asked_versions import twin_of

    return {name: twin_of(tiny_t5, [prompt]) for name, prompt in task_prompts.items()}


@pytest.fixture(scope="session")
def unlike_backbone(task_prompts):
    """A prompt that says that it was made for another backbone."""
    return dataclasses.replace(task_prompts["mood"], backbone="t5_elsewhere", backbone_fingerprint="0" * 16)


@pytest.fixture(scope="session")
def server(base_directory: Path):
    """A model server of the export on a free port."""
    from softprompt_tf.export import ModelServer

    with ModelServer(base_directory, model_name="tiny", grpc_port=0, rest_port=None) as running:
        yield running


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Directories of version 1 and 2 of the echo model, to copy into a place that is served."""
    directory = tmp_path_factory.mktemp("exported")
    for version in (1, 2):
        export_echo(directory / str(version), version)
    return directory


@pytest.fixture
def base(exported, tmp_path):
    """A base directory with version 1 of the echo model."""
    shutil.copytree(exported / "1", tmp_path / "echo" / "1")
    return tmp_path / "echo"
