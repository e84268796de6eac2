"""The examples of docs/examples against a local model server of a tiny export, each run as a user runs it."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.thorough

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
TEXTS = ["a charming film", "a dull film"]


@pytest.fixture(scope="module")
def served(base_directory):
    """A server with both ports open."""
    from softprompt_tf.export import ModelServer

    with ModelServer(base_directory, model_name="tiny", grpc_port=0, rest_port=0) as running:
        yield running


def rendered(texts):
    """What the template of "mood" makes of the texts: the server applies it, Keras takes what is rendered."""
    return [f"the film: {text} is it good?" for text in texts]


def run(*command, text=""):
    return subprocess.run(
        [str(part) for part in command],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def run_grpc(served, *, task_id, texts=TEXTS):
    arguments = [f"--text={text}" for text in texts]
    target = f"127.0.0.1:{served.grpc_port}"
    return run(
        sys.executable, EXAMPLES / "grpc_client.py", target, "--model-name=tiny", f"--task-id={task_id}", *arguments
    )


def run_asyncio(served, *, task_id, texts=TEXTS):
    target = f"127.0.0.1:{served.grpc_port}"
    command = [sys.executable, EXAMPLES / "asyncio_client.py", target, "--model-name=tiny", f"--task-id={task_id}"]
    return run(*command, text="\n".join(texts))


def run_rest(served, *, model_name="tiny"):
    return run("sh", EXAMPLES / "rest_client.sh", f"http://127.0.0.1:{served.rest_port}", model_name, "mood")


def test_the_grpc_example_prints_the_labels_that_keras_gives(served, keras_models):
    result = run_grpc(served, task_id="mood")

    expected = keras_models["mood"].classify(rendered(TEXTS))
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [label for label, _ in rows] == [answer.label for answer in expected]
    np.testing.assert_allclose([float(p) for _, p in rows], [answer.probability for answer in expected], atol=2e-4)
    assert result.returncode == 0


def test_the_grpc_example_tells_a_bad_row(served):
    result = run_grpc(served, task_id="nobody", texts=["one"])

    assert result.returncode == 1
    assert result.stdout == ""
    assert "nobody" in result.stderr.splitlines()[-1]


def test_the_grpc_example_uses_no_more_than_it_says():
    lines = (EXAMPLES / "grpc_client.py").read_text(encoding="utf-8").splitlines()
    imported = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))}

    assert imported - set(sys.stdlib_module_names) == {"grpc", "tensorflow_serving"}


def test_the_asyncio_example_answers_every_line_in_order(served, keras_models):
    texts = [f"text\u2028number {row}" for row in range(70)]  # a separator that ends no line

    result = run_asyncio(served, task_id="mood", texts=texts)

    rows = [json.loads(line) for line in result.stdout.rstrip("\n").split("\n")]
    assert result.returncode == 0, result.stderr
    assert [row["text"] for row in rows] == texts
    assert [row["label"] for row in rows] == [answer.label for answer in keras_models["mood"].classify(rendered(texts))]


def test_the_asyncio_example_tells_bad_rows_in_their_place(served):
    result = run_asyncio(served, task_id="nobody")

    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [set(row) for row in rows] == [{"text", "error"}] * 2
    assert "nobody" in rows[0]["error"]


def test_the_asyncio_example_says_in_one_line_that_nobody_is_there():
    command = [sys.executable, EXAMPLES / "asyncio_client.py", "127.0.0.1:1", "--model-name=tiny", "--task-id=mood"]

    result = run(*command, text="x")

    assert result.returncode == 1
    assert "UNAVAILABLE" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_load_test_measures_each_task_and_tells_a_bad_one(served):
    command = [sys.executable, EXAMPLES / "load_test.py", f"127.0.0.1:{served.grpc_port}", "--model-name=tiny"]

    result = run(*command, "--task-id=mood", "--seconds=0.5", "--rows=2", text="\n".join(TEXTS))
    written = run(*command, "--task-id=story", "--seconds=0.2", "--callers=1", "--generate", text="x")
    failed = run(*command, "--task-id=mood", "--task-id=nobody", "--callers=16", text="x")

    head, line = result.stdout.splitlines()
    task, requests, median, most = line.split()
    assert (head, task) == ("task  requests/s  median ms  95 % ms", "mood")
    assert float(requests) > 0
    assert 0 < float(median) <= float(most)
    assert (written.returncode, written.stdout.split()[-4]) == (0, "story")
    assert failed.returncode == 1
    assert failed.stderr.startswith(
        "load_test: 1 of 1 rows could not be answered. Received: row 0: Unknown task id 'nobody'."
    )


def test_a_line_of_the_load_test_exceeds_no_time_that_was_taken():
    line = runpy.run_path(str(EXAMPLES / "load_test.py"))["line"]

    assert line("mood", [0.0, 0.1], 4.0) == "mood  0.5  50  95"
    assert line("mood", [0.02], 4.0) == "mood  0.2  20  20"
    assert line("mood", [], 4.0) == "mood  0.0  nan  nan"


def test_the_rest_example_prints_versions_rows_and_columns(served, keras_models):
    result = run_rest(served)

    decoder, documents, rest = json.JSONDecoder(), [], result.stdout.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        documents.append(document)
        rest = rest[end:].strip()
    status, rows, columns = documents
    assert result.returncode == 0, result.stderr
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    assert [row["label"] for row in rows["predictions"]] == [
        answer.label for answer in keras_models["mood"].classify(rendered(TEXTS))
    ]
    assert columns["outputs"]["output"] == keras_models["mood"].generate(rendered(TEXTS))


def test_the_rest_example_stops_with_the_words_of_the_server(served):
    result = run_rest(served, model_name="nobody")

    assert result.returncode != 0
    assert "nobody" in result.stdout
