"""Rows out of TensorFlow: datasets of dictionaries, and TFDS with mocked data."""

import configparser
import re
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets

from softprompt_tf.errors import DataError
from softprompt_tf.tasks import read_rows, tfds_builder


def test_dataset_rows_are_plain_python_values():
    data = tf.data.Dataset.from_tensor_slices({"text": ["a", "é"], "label": np.array([0, 1])})

    rows = read_rows(data)

    assert [dict(row.values) for row in rows] == [{"text": "a", "label": 0}, {"text": "é", "label": 1}]
    assert rows[1].location == "row 2"
    assert type(rows[1].values["label"]) is int


def test_dataset_text_must_be_utf8():
    with pytest.raises(DataError, match="row 1: field `text` must be UTF-8 text"):
        read_rows(tf.data.Dataset.from_tensor_slices({"text": [b"\xff"]}))


def test_dataset_elements_must_be_dictionaries():
    with pytest.raises(DataError, match="row 1: must be a dictionary of fields. Received: "):
        read_rows(tf.data.Dataset.range(3))


@pytest.fixture
def mocked_tfds():
    tfds = tensorflow_datasets
    with tfds.testing.mock_data(num_examples=4):
        yield tfds


def test_tfds_rows_hold_text_and_class_names(mocked_tfds):
    rows = read_rows("glue/sst2", split="train", limit=3)

    assert len(rows) == 3
    assert rows[2].location == "glue/sst2@train row 3"
    assert {row.values["label"] for row in rows} <= {"negative", "positive"}
    assert all(isinstance(row.values["sentence"], str) for row in rows)


def test_tfds_name_may_say_its_split(mocked_tfds):
    assert read_rows("glue/sst2@validation", split="train")[0].location == "glue/sst2@validation row 1"


def test_tfds_name_without_split_is_refused(mocked_tfds):
    with pytest.raises(DataError, match="needs a split. Received: 'glue/sst2'. Write for example glue/sst2@train"):
        read_rows("glue/sst2")


class FakeBuilder:
    """A TFDS builder of which one step fails."""

    info = types.SimpleNamespace(splits={"train": None, "test": None}, features={})

    def __init__(self, *, fetch_error=None, split_error=None):
        self.errors = {"fetch": fetch_error, "split": split_error}

    def download_and_prepare(self):
        if self.errors["fetch"]:
            raise self.errors["fetch"]

    def as_dataset(self, **_):
        raise self.errors["split"]


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (
            {"fetch_error": ConnectionError("no route")},
            "cannot be fetched. Received: glue/sst2. ConnectionError: no route",
        ),
        ({"fetch_error": AssertionError("manual download\nlong text")}, "AssertionError: manual download$"),
        ({"fetch_error": ImportError("no mwparserfromhell")}, "cannot be fetched. .* ImportError: no mwparserfromhell"),
        ({"split_error": ValueError("?")}, "glue/sst2 has no split of this name. Received: 'dev'. Known: train, test."),
    ],
)
def test_failures_of_tfds_are_named(monkeypatch, errors, message):
    tfds = tensorflow_datasets
    monkeypatch.setattr(tfds, "builder", lambda _: FakeBuilder(**errors))

    with pytest.raises(DataError, match=message):
        read_rows("glue/sst2@dev")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ModuleNotFoundError("No module named 'importlib_resources'"),
            "needs a package that is not installed: No module named",
        ),
        (
            TypeError("'NoneType' object is not iterable"),
            "neither a file nor a TFDS data set .* TypeError: 'NoneType' object",
        ),
        (
            AssertionError("no version 9\nmore"),
            "neither a file nor a TFDS data set of this name. .* AssertionError: no version 9$",
        ),
    ],
)
def test_whatever_a_name_meets_in_tfds_is_one_line(monkeypatch, error, message):
    def builder(name):
        raise error

    tfds = tensorflow_datasets
    monkeypatch.setattr(tfds, "builder", builder)

    with pytest.raises(DataError, match=message) as caught:
        read_rows("glue/sst2@dev")
    assert "\n" not in str(caught.value)


def test_without_a_network_tfds_tries_once_and_the_host_is_named(monkeypatch):
    def unknown(host, port):
        raise OSError("Name or service not known")

    class Offline(FakeBuilder):
        url_infos = types.MappingProxyType({"https://host.example/a.zip": None})

        def download_and_prepare(self):
            tries.append(downloader.MAX_RETRIES)
            raise ConnectionError("no route")

    tries, tfds, downloader = [], tensorflow_datasets, tensorflow_datasets.core.download.downloader
    before = downloader.MAX_RETRIES
    monkeypatch.setattr(tfds, "builder", lambda _: Offline())
    monkeypatch.setattr(tfds_builder.socket, "getaddrinfo", unknown)
    for name in tfds_builder._PROXIES:
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(DataError, match="No network: the host host.example cannot be found. ConnectionError: no route"):
        read_rows("glue/sst2@dev")
    assert (tries, downloader.MAX_RETRIES) == ([0], before)


@pytest.mark.parametrize("name", ["super_glue/boolq", "glue/stsb", "ag_news_subset"])
def test_a_real_name_has_a_builder_in_this_environment(name):
    assert tfds_builder.tfds_builder(name).name == name.partition("/")[0]


def test_what_tfds_imports_is_a_dependency_of_this_library():
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(Path(__file__).parents[2] / "setup.cfg")

    named = {re.split("[<>=]", line)[0] for line in setup["options"]["install_requires"].split()}

    assert {"tensorflow-datasets", "importlib_resources", "pyarrow"} <= named


def test_hidden_class_number_has_no_value():
    from softprompt_tf.tasks.tensorflow_sources import dataset_rows

    data = tf.data.Dataset.from_tensor_slices({"label": [-1, 1]})

    rows = list(dataset_rows(data, class_names={"label": lambda number: ["no", "yes"][number]}))

    assert [row.values["label"] for row in rows] == [None, "yes"]


def test_name_that_is_neither_file_nor_data_set_is_refused():
    with pytest.raises(
        DataError, match="neither a file nor a TFDS data set of this name. Received: 'no_such_thing_at_all'"
    ):
        read_rows("no_such_thing_at_all", split="train")


def test_nested_features_and_lists_of_texts_are_plain_python_values():
    element = {"idx": {"query": 3}, "answers": {"text": ["a", "é"], "start": [1, 2]}, "entities": ["x"]}
    data = tf.data.Dataset.from_tensors(element)

    (row,) = read_rows(data)

    assert row.values["idx"] == {"query": 3}
    assert type(row.values["idx"]["query"]) is int
    assert row.values["answers"]["text"] == ["a", "é"]
    assert row.values["answers"]["start"].tolist() == [1, 2]
    assert row.values["entities"] == ["x"]


def test_nested_text_must_be_utf8():
    with pytest.raises(DataError, match="row 1: field `a.b` must be UTF-8 text"):
        read_rows(tf.data.Dataset.from_tensors({"a": {"b": [b"\xff"]}}))
