"""The tasks of a served model are listed as they were exported: values by hand, and over each way to ask."""

import json
import urllib.request

import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.errors import DataError
from softprompt_tf.export import PredictionClient, TaskInfo
from softprompt_tf.export.client.task_info import read_tasks
from softprompt_tf.export.client.wire import TensorValues
from softprompt_tf.export.graph.served_tasks import ServedTask, ServedTasks
from softprompt_tf.export.graph.task_listing import list_tasks
from softprompt_tf.export.graph.task_tables import TaskTables

MOOD = TaskInfo("mood", ("negative", "positive"), 40, 2, 1)
STORY = TaskInfo("story", (), 512, 9, 1)
REPLY = TaskInfo("reply", ("yes", "no", "nobody could say"), 512, 20, 1)


@pytest.fixture(scope="module")
def tables():
    """Three tasks: one that opens its targets with a sentinel, one without labels, an ensemble of two."""

    def task(name, labels=(), **fields):
        ids = tuple((7, 1) for _ in labels)
        return ServedTask(name, {"prompt": 1}, "", "", labels, ids, max_input_tokens=64, max_target_tokens=6, **fields)

    rows = (
        task("film/en", ("bad", "good"), opening_id=9),
        task("f\u00fcr", opening_id=0),
        task("film/de", ("schlecht", "gut", "geht so"), opening_id=0, num_members=2),
    )
    return TaskTables(ServedTasks(rows, {"prompt": np.zeros((4, 2), np.float32)}))


def listed(tables, *prefixes):
    return {name: value.numpy().tolist() for name, value in list_tasks(tables, tf.constant(prefixes)).items()}


def test_each_row_lists_the_tasks_that_its_prefix_begins(tables):
    answer = listed(tables, "film/", "", "f\u00fcr", "films", "film/de")

    names = [b"film/en", "f\u00fcr".encode(), b"film/de"]
    assert answer["task_id"] == [
        [names[0], names[2], b""],
        names,
        [names[1], b"", b""],
        [b"", b"", b""],
        [names[2], b"", b""],
    ]
    assert answer["status"] == [b""] * 5


def test_the_numbers_are_those_of_each_task(tables):
    answer = listed(tables, "", "film/de")

    assert answer["num_labels"] == [[2, 0, 3], [3, 0, 0]]
    assert answer["labels"][0] == [[b"bad", b"good", b""], [b""] * 3, [b"schlecht", b"gut", b"geht so"]]
    assert answer["labels"][1] == [[b"schlecht", b"gut", b"geht so"], [b""] * 3, [b""] * 3]
    assert answer["max_input_tokens"] == [[64, 64, 64], [64, 0, 0]]
    assert answer["max_target_tokens"] == [[5, 6, 6], [6, 0, 0]]  # the opening sentinel is not counted
    assert answer["num_prompts"] == [[1, 1, 2], [2, 0, 0]]


def test_a_prefix_may_end_inside_a_character(tables):
    assert listed(tables, b"f\xc3")["task_id"] == [["f\u00fcr".encode()]]


def test_where_nothing_is_found_there_are_no_columns(tables):
    answer = listed(tables, "x")

    assert answer["task_id"] == [[]]
    assert answer["labels"] == [[]]


@pytest.mark.thorough
def test_a_server_lists_its_tasks(server):
    with PredictionClient(f"127.0.0.1:{server.grpc_port}", model_name="tiny") as client:
        assert client.tasks() == [MOOD, STORY, REPLY]
        assert client.tasks("m") == [MOOD]
        assert client.tasks("moody") == []


@pytest.mark.thorough
def test_rest_lists_them_too(base_directory):
    from softprompt_tf.export import ModelServer

    body = json.dumps({"signature_name": "tasks", "inputs": {"prefix": ["story"]}}).encode()
    with ModelServer(base_directory, model_name="tiny", grpc_port=0, rest_port=0) as server:
        url = f"http://127.0.0.1:{server.rest_port}/v1/models/tiny:predict"
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as response:
            outputs = json.load(response)["outputs"]

    assert outputs["task_id"] == [["story"]]
    assert outputs["max_target_tokens"] == [[9]]


def values(dtype, array):
    return TensorValues(dtype, np.shape(array), np.asarray(array).ravel().tolist())


def test_outputs_that_do_not_match_are_refused():
    outputs = {
        "task_id": values("string", [[b"a"]]),
        "labels": values("string", [[[b"yes"]]]),
        **{
            name: values("int32", [[1]])
            for name in ("num_labels", "max_input_tokens", "max_target_tokens", "num_prompts")
        },
    }

    assert read_tasks(outputs) == [[TaskInfo("a", ("yes",), 1, 1, 1)]]
    for changed, message in (
        ({"labels": values("string", [[[b"yes"]] * 2])}, "must match. Received: labels \\(1, 2, 1\\)"),
        ({"num_prompts": values("float32", [[1.0]])}, "must be whole numbers of rank 2. Received: float32"),
        ({"labels": values("string", [[b"yes"]])}, "must be strings of rank 3"),
    ):
        with pytest.raises(DataError, match=message):
            read_tasks(outputs | changed)
