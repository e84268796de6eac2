"""The examples in the docstrings of the reference pages, run page by page: each page in a directory of its own.

Every example starts with the names that the pages say. A small T5 takes the place of `mini`, and a scripted server that of the one
at localhost:8500. Examples that load an export are skipped, as tests/export does that.
"""

import contextlib
import doctest
import importlib
import inspect
import re

import numpy as np
import pytest
import tensorflow as tf
from fake_model_server import FakeServer, generations, strings
from page_blocks import ROOT

PAGES = sorted((ROOT / "docs" / "reference" / "api").glob("*.md"))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LABELS = ("negative", "positive")
FILES = {
    "run.yaml": "{backbone: mini, task: film.yaml, output_dir: runs/film}",
    "film.yaml": """
name: film
inputs: "{text}"
labels: {negative: negative, positive: positive}
train: train.csv
validation: train.csv
""",
    "train.csv": "text,label\na charming film,positive\na dull film,negative\n",
    "ca.crt": "-----BEGIN CERTIFICATE-----\n",
}
# What a user calls most. An example that is here runs; one that is missing shows.
WITH_EXAMPLE = {
    "model": (
        "load_t5",
        "PromptedT5",
        "fit",
        "classify",
        "generate",
        "save_prompt",
        "load_prompt",
        "prompt_tuning",
        "lora",
    ),
    "training": ("Adafactor", "TargetCrossEntropy", "train_prompt"),
    "evaluation": ("evaluate_examples", "PromptEnsemble"),
    "export": ("write_saved_model", "add_tasks", "PredictionClient", "AsyncPredictionClient", "ModelServer"),
    "tasks": ("Task", "load_task", "read_rows", "load_config"),
}


def shown_objects(page):
    """Return what a page shows: (object, the names of its members that are shown with it)."""
    entries = re.findall(r"^::: ([\w.]+)\n((?: {4}.*\n)*)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for name, options in entries:
        members = re.search(r"^\s+members: \[([^\]]*)\]", options, flags=re.MULTILINE)
        yield resolved(name), [] if members is None else re.findall(r"\w+", members[1])


def resolved(name):
    package, _, attribute = name.rpartition(".")
    try:
        return importlib.import_module(name)
    except ImportError:
        return getattr(importlib.import_module(package), attribute)


def examples_of(page):
    """Return the doctests of a page from top to bottom."""
    found = []
    for shown, members in shown_objects(page):
        every = inspect.isclass(shown) and not members
        finder = doctest.DocTestFinder(exclude_empty=True, recurse=every)
        for each in (shown, *(getattr(shown, member) for member in members)):
            found += sorted(
                (test for test in finder.find(each, globs={}) if test.examples), key=lambda test: test.lineno
            )
    return found


@pytest.fixture
def model(one_layer_t5):
    """The model that the examples ask, compiled."""
    import softprompt_tf as sp

    prompt = sp.prompt_tuning(length=5, init=sp.init.class_labels(LABELS), seed=1)
    model = sp.PromptedT5(one_layer_t5, prompt, labels=LABELS)
    model.compile(optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy(), metrics=["label_accuracy"])
    return model


@pytest.fixture
def names(model, tmp_path, monkeypatch):
    """The names that every example starts with, in a directory with the files that the pages name."""
    import softprompt_tf as sp
    from softprompt_tf.export import PredictionClient
    from softprompt_tf.export.versions import changed_version, saved_model

    # Checks load an export in a process of its own; tests/export has them.
    for module, check in ((saved_model, "verify_saved_model"), (changed_version, "verify_change")):
        monkeypatch.setattr(module, check, lambda *arguments, **options: None)
    with contextlib.chdir(tmp_path):
        for name in ("film", "film_1", "film_2", "book"):
            model.save_prompt(f"{name}.safetensors", task_id=name.partition("_")[0])
        for name, text in FILES.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        yield {"sp": sp, "np": np, "t5": model.t5, "model": model, "PredictionClient": PredictionClient}


@pytest.fixture(scope="module")
def server():
    fake = FakeServer()
    fake.predict = answered
    yield fake
    fake.stop()


def answered(inputs):
    """Answer for the signature that takes these inputs."""
    if "prefix" in inputs:
        return listed()
    return {**generations(inputs), **labelled(len(inputs["text"]))}


def listed():
    numbers = {"num_labels": 2, "max_input_tokens": 512, "max_target_tokens": 32, "num_prompts": 1}
    return {
        "task_id": np.array([[b"film"]], object),
        "labels": np.array([[[label.encode() for label in LABELS]]], object),
        "status": strings(b""),
        **{name: np.array([[number]], np.int32) for name, number in numbers.items()},
    }


def labelled(rows):
    return {
        "label": strings(*[b"positive"] * rows),
        "probability": np.full(rows, 0.75, np.float32),
        "labels": np.array([[label.encode() for label in LABELS]] * rows, object),
        "log_probabilities": np.log(np.array([[0.25, 0.75]] * rows, np.float32)),
    }


@pytest.fixture
def untraced():
    """Run functions as they are: tracing them takes longer than running them once."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.filterwarnings("ignore:Even though the")  # of tf.data, whose functions are traced all the same
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_examples_of_the_page_run(page, names, server, untraced):
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    prompt, told = names["model"].prompt_variable, []
    first = prompt.numpy()

    for test in examples_of(page):
        prompt.assign(first)
        test.globs = dict(names)
        for example in test.examples:
            example.source = example.source.replace("localhost:8500", server.target)
        runner.run(test, out=told.append)

    assert not told, "".join(told)


@pytest.mark.parametrize("page", WITH_EXAMPLE)
def test_what_is_called_most_has_an_example(page):
    found = {test.name.rpartition(".")[2] for test in examples_of(ROOT / f"docs/reference/api/{page}.md")}

    assert set(WITH_EXAMPLE[page]) <= found
