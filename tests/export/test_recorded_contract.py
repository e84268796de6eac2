"""The local server against the recorded answers of TF Serving 2.20.0's own code: every row, in code, message and body."""

import dataclasses

import numpy as np
import pytest
from recorded_serving import (
    EXCEPTIONS,
    GrpcCaller,
    ask_rest_case,
    grpc_difference,
    load_cases,
    read_answers,
    rest_difference,
)

import softprompt_tf as sp
from softprompt_tf.export import ModelServer, write_saved_model
from softprompt_tf.export.server.serving_options import ServingOptions

pytestmark = [pytest.mark.shared_data, pytest.mark.thorough]
TASKS = ("topic", "question_type", "sentiment")
DEPLOYED_BATCHING = "export/deploy/config/batching.config"


@pytest.fixture(scope="module")
def records(shared_data):
    return shared_data / "tfserving"


@pytest.fixture(scope="module")
def cases(records):
    return load_cases(records)


@pytest.fixture(scope="module")
def grpc_cases(cases):
    """The requests by name, made once: a second call would draw other prompts."""
    return {case[0]: case for case in cases.grpc_cases()}


@pytest.fixture(scope="module")
def export(records, tmp_path_factory):
    """The recorded prompts on the bundled T5, as when the answers were recorded."""
    base = tmp_path_factory.mktemp("recorded") / "demo"
    prompts = {task: records / "prompts" / f"{task}.safetensors" for task in TASKS}
    write_saved_model(base, sp.load_t5("mini"), prompts, verify=False)
    return base


@pytest.fixture(scope="module")
def plain(export):
    with ModelServer(export, grpc_port=0, rest_port=0) as server:
        yield server


def batching_options(request):
    file = request.config.rootpath / DEPLOYED_BATCHING
    return ServingOptions(enable_batching=True, batching_parameters_file=file)


@pytest.fixture(scope="module")
def batching(export, request):
    with ModelServer(export, grpc_port=0, rest_port=None, options=batching_options(request)) as server:
        yield server


@pytest.fixture(scope="module")
def ensemble(records, request, tmp_path_factory):
    """Two prompts a task in a table of half the bytes: the recorded ones were drawn, so only shapes can be equal."""
    base = tmp_path_factory.mktemp("recorded") / "demo"
    prompts = {}
    for task in TASKS:
        first = sp.load_prompt(records / "prompts" / f"{task}.safetensors")
        noise = np.random.default_rng(3).normal(size=first.prompt.shape).astype(np.float32)
        prompts[task] = [first, dataclasses.replace(first, prompt=first.prompt + 0.01 * noise)]
    write_saved_model(base, sp.load_t5("mini"), prompts, verify=False, table_dtype="bfloat16")
    with ModelServer(base, grpc_port=0, rest_port=None, options=batching_options(request)) as server:
        yield server


@pytest.fixture(scope="module")
def half(records, tmp_path_factory):
    """The recorded prompts on the bundled T5 in bfloat16, whose scores are others."""
    base = tmp_path_factory.mktemp("recorded") / "demo"
    prompts = {task: records / "prompts" / f"{task}.safetensors" for task in TASKS}
    write_saved_model(base, sp.load_t5("mini", dtype="bfloat16"), prompts, verify=False)
    with ModelServer(base, grpc_port=0, rest_port=None) as server:
        yield server


def grpc_differences(server, asked, answers, **how):
    caller = GrpcCaller(server.grpc_port)
    differences = {
        name: grpc_difference(name, caller.ask(asked[name]), recorded, **how) for name, recorded in answers.items()
    }
    return {name: difference for name, difference in differences.items() if difference}


def test_grpc_answers_are_the_recorded_ones(plain, grpc_cases, records):
    assert grpc_differences(plain, grpc_cases, read_answers(records / "grpc_plain.jsonl")) == {}


def test_grpc_answers_with_batching_are_the_recorded_ones(batching, grpc_cases, records):
    assert grpc_differences(batching, grpc_cases, read_answers(records / "grpc_batching.jsonl")) == {}


def test_grpc_answers_of_an_ensemble_have_the_recorded_codes_and_shapes(ensemble, grpc_cases, records):
    answers = read_answers(records / "grpc_ensemble_bf16.jsonl")

    assert grpc_differences(ensemble, grpc_cases, answers, values=False) == {}


@pytest.mark.slow
def test_grpc_answers_of_a_bfloat16_export_have_the_recorded_codes_and_shapes(half, grpc_cases, records):
    answers = read_answers(records / "grpc_plain.jsonl")

    assert grpc_differences(half, grpc_cases, answers, values=False) == {}


def test_rest_answers_are_the_recorded_ones(plain, cases, records):
    asked = {case[0]: case for case in cases.rest_cases()}
    answers = read_answers(records / "rest_plain.jsonl")

    differences = {
        name: rest_difference(name, ask_rest_case(plain.rest_port, asked[name]), recorded)
        for name, recorded in answers.items()
    }

    assert {name: difference for name, difference in differences.items() if difference} == {}


@pytest.mark.parametrize(
    ("old", "new"), [("sport", "sports"), ("-0.0103187561", "-0.0103"), ("        {", "    {"), ("score", "scores")]
)
def test_a_body_that_differs_is_noticed(records, old, new):
    recorded = read_answers(records / "rest_plain.jsonl")["rows"]
    status, reason, headers, body = recorded

    assert rest_difference("rows", recorded, recorded) is None
    assert rest_difference("rows", [status, reason, headers, body.replace(old, new, 1)], recorded)


def test_a_prediction_that_differs_is_noticed(records):
    recorded = read_answers(records / "grpc_plain.jsonl")["ok_one_row"]
    content = {
        "spec": ["demo", 1, "serving_default", ""],
        "out": {"output": [b"sport"], "score": [-0.0016803741455078125], "status": [b""]},
        "fields": {"output": [7, [1], False], "score": [1, [1], False], "status": [7, [1], False]},
    }

    assert grpc_difference("ok_one_row", ["OK", "", content], recorded) is None
    for part, value in (
        ("spec", ["demo", 2, "serving_default", ""]),
        ("fields", {**content["fields"], "score": [1, [1], True]}),
    ):
        assert grpc_difference("ok_one_row", ["OK", "", {**content, part: value}], recorded)


def test_every_exception_is_of_a_row_that_was_recorded(records):
    names = {name for file in records.glob("*.jsonl") for name in read_answers(file)}

    assert set(EXCEPTIONS) <= names
