"""A version is written whole or not at all, holds every weight once, and answers over gRPC."""

import dataclasses
import os
import resource
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from softprompt_tf import PromptedT5, load_t5
from softprompt_tf.backbones import write_preset
from softprompt_tf.errors import (
    BackboneMismatchError,
    ConfigError,
    DataError,
    ExportError,
    PromptFileError,
    RowError,
    VerificationError,
)
from softprompt_tf.export import PredictionClient, write_saved_model
from softprompt_tf.export.graph.served_backbone import ExportRecord
from softprompt_tf.export.session.session_process import run_in_process
from softprompt_tf.export.versions import saved_model
from softprompt_tf.methods import write_npy, write_prompt

pytestmark = pytest.mark.thorough

PROMPTS = "tables/prompts/.ATTRIBUTES/VARIABLE_VALUE"

# === Writing ===


class OneVariable(tf.Module):
    """Stands in for the serving module where only the writing is looked at."""

    def __init__(self, t5, tasks, **options):
        super().__init__()
        self.weight = tf.Variable(1.0)

    def signatures(self):
        spec = tf.TensorSpec([None], tf.string, name="text")
        function = tf.function(lambda text: {"output": text, "size": tf.size(self.weight)}, input_signature=[spec])
        return {"serving_default": function.get_concrete_function()}


@pytest.fixture
def light(monkeypatch):
    """Write a module of one variable in place of the T5, and check nothing."""
    monkeypatch.setattr(saved_model, "ServingModule", OneVariable)
    monkeypatch.setattr(saved_model, "verify_saved_model", lambda *arguments, **keywords: None)


def content_of(directory):
    """Return every file and directory below, hidden ones too, with the files' bytes."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")
    }


def test_a_version_has_the_files_that_a_server_reads(version_directory):
    files = {str(path.relative_to(version_directory)) for path in version_directory.rglob("*") if path.is_file()}

    assert version_directory.name == "1"
    assert files == {
        "saved_model.pb",
        "fingerprint.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00003",
        "variables/variables.data-00001-of-00003",
        "variables/variables.data-00002-of-00003",
        "assets.extra/softprompt_tf.json",
        "assets.extra/tf_serving_warmup_requests",
    }
    assert os.stat(version_directory).st_mode & 0o777 == 0o755
    assert [entry.name for entry in version_directory.parent.iterdir()] == ["1"]


def test_an_int4_t5_is_served_as_it_answers_in_memory(tmp_path, tiny_t5, task_prompts):
    write_preset(tiny_t5.backbone, tiny_t5.tokenizer.proto, tmp_path / "preset", dtype="float32")
    t5 = load_t5(tmp_path / "preset", quantization="int4")
    rows = {"task_id": ["mood", "story"], "text": ["a charming film", "seven boats left the harbour"]}
    requests = [{"signature": name, "inputs": rows} for name in ("classify", "serving_default")]

    version = write_saved_model(tmp_path / "served", t5, task_prompts, verify=False)
    classified, generated = run_in_process(version, requests)

    (expected,), (plain,) = (
        PromptedT5(each, task_prompts["mood"]).classify(["the film: a charming film is it good?"])
        for each in (t5, tiny_t5)
    )
    (answer,) = PromptedT5(t5, task_prompts["story"]).generate_scored(rows["text"][1:])
    found = classified["log_probabilities"][0, :2]
    np.testing.assert_allclose(found, expected.log_probabilities, atol=1e-4)
    assert np.abs(found - plain.log_probabilities).max() > 1e-3
    assert generated["output"][1].decode() == answer.text
    assert generated["score"][1] == pytest.approx(answer.score, abs=1e-4)


def test_every_weight_is_stored_once(version_directory, tiny_t5):
    prefix = version_directory / "variables" / "variables"
    shapes = dict(tf.train.list_variables(str(prefix)))
    stored = [shape for name, shape in shapes.items() if not name.startswith(("_", "tables/"))]

    weights = {id(variable.value): int(np.prod(variable.shape)) for variable in tiny_t5.backbone.variables}
    assert sum(int(np.prod(shape)) for shape in stored) == sum(weights.values())
    # Beside the values, the file holds one record of the module's structure: kilobytes for a model of any width.
    size = prefix.with_name("variables.data-00000-of-00003").stat().st_size
    assert 0 < size - 4 * sum(weights.values()) < 10_000
    assert shapes[PROMPTS] == [1 + 3 + 7 + 12, 16]
    assert prefix.with_name("variables.data-00002-of-00003").stat().st_size == 4 * (1 + 3 + 7 + 12) * 16


def test_versions_count_up_from_the_highest(light, tiny_t5, task_prompts, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "4").mkdir()

    assert write_saved_model(tmp_path, tiny_t5, task_prompts) == tmp_path / "5"
    assert write_saved_model(tmp_path, tiny_t5, task_prompts, version=9) == tmp_path / "9"
    assert write_saved_model(tmp_path, tiny_t5, task_prompts) == tmp_path / "10"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["10", "4", "5", "9", "notes"]


def test_the_first_version_is_1_in_a_directory_that_is_made(light, tiny_t5, task_prompts, tmp_path):
    assert write_saved_model(tmp_path / "a" / "b", tiny_t5, task_prompts) == tmp_path / "a" / "b" / "1"


def test_the_record_names_bfloat16(light, tiny_t5_bfloat16, tmp_path, task_prompts):
    prompt = dataclasses.replace(task_prompts["mood"], backbone_fingerprint=tiny_t5_bfloat16.fingerprint)

    version = write_saved_model(tmp_path, tiny_t5_bfloat16, {"mood": prompt})

    assert ExportRecord.read(version).compute_dtype == "bfloat16"


def test_an_existing_version_is_never_overwritten(light, tiny_t5, task_prompts, tmp_path):
    write_saved_model(tmp_path, tiny_t5, task_prompts)
    before = content_of(tmp_path)

    with pytest.raises(ExportError, match="never overwritten. Received: .*/1. Leave `version` out."):
        write_saved_model(tmp_path, tiny_t5, task_prompts, version=1)

    assert content_of(tmp_path) == before


def test_a_negative_version_is_refused(light, tiny_t5, task_prompts, tmp_path):
    with pytest.raises(ExportError, match="`version` must be from 0 to 9223372036854775807. Received: version=-1."):
        write_saved_model(tmp_path / "base", tiny_t5, task_prompts, version=-1)

    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize(
    ("step", "error", "raised"),
    [
        ("write_warmup_requests", OSError("No space left on device"), ExportError),
        ("write_tasks", tf.errors.ResourceExhaustedError(None, None, "disk full"), ExportError),
        ("verify_saved_model", VerificationError("it answers otherwise"), VerificationError),
        ("verify_saved_model", KeyboardInterrupt(), KeyboardInterrupt),
        ("publish", OSError("Input/output error"), ExportError),
    ],
    ids=["disk full", "TensorFlow error", "verification", "interrupt", "sync"],
)
def test_a_failure_in_the_middle_leaves_the_directory_as_it_was(
    light, monkeypatch, tiny_t5, task_prompts, tmp_path, step, error, raised
):
    write_saved_model(tmp_path, tiny_t5, task_prompts)
    before = content_of(tmp_path)

    def fail(*arguments, **keywords):
        assert [entry.name for entry in tmp_path.iterdir() if entry.name.isdecimal()] == ["1"]
        raise error

    monkeypatch.setattr(saved_model, step, fail)
    with pytest.raises(raised):
        write_saved_model(tmp_path, tiny_t5, task_prompts)

    assert content_of(tmp_path) == before


def test_an_unwritable_export_is_told_in_one_line(light, monkeypatch, tiny_t5, task_prompts, tmp_path):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved_model, "write_warmup_requests", full)

    with pytest.raises(ExportError, match=r"The export to .*/base cannot be written: .*No space left on device\.$"):
        write_saved_model(tmp_path / "base", tiny_t5, task_prompts)


def test_a_disk_that_is_full_leaves_the_versions_as_they_were(light, tiny_t5, task_prompts, tmp_path):
    write_saved_model(tmp_path, tiny_t5, task_prompts, verify=False)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))  # the system refuses what is larger, as a full disk does
    try:
        with pytest.raises(ExportError, match=r"The export to .* cannot be written: .*(File too large|write)"):
            write_saved_model(tmp_path, tiny_t5, task_prompts, verify=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_an_output_that_is_a_file_is_refused(tiny_t5, task_prompts, tmp_path):
    file = tmp_path / "exports"
    file.write_text("mine")

    with pytest.raises(ExportError, match="must be a directory. Received: .*exports, which is a file."):
        write_saved_model(file, tiny_t5, task_prompts)
    with pytest.raises(ExportError, match="cannot be written"):
        write_saved_model(file / "below", tiny_t5, task_prompts)

    assert file.read_text() == "mine"


def test_a_prompt_of_another_backbone_is_refused_before_anything_is_written(tiny_t5, unlike_backbone, tmp_path):
    with pytest.raises(BackboneMismatchError, match="t5_elsewhere"):
        write_saved_model(tmp_path / "base", tiny_t5, {"mood": unlike_backbone})

    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_prompt_file_is_refused_before_anything_is_written(tiny_t5, task_prompts, tmp_path, share):
    file = write_prompt(tmp_path / "mood.safetensors", task_prompts["mood"])
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])

    with pytest.raises(PromptFileError, match="mood.safetensors"):
        write_saved_model(tmp_path / "base", tiny_t5, {"mood": file})

    assert not (tmp_path / "base").exists()


def test_an_unknown_sampler_is_refused_and_nothing_stays(light, tiny_t5, task_prompts, tmp_path):
    with pytest.raises(ConfigError, match="sampl"):
        write_saved_model(tmp_path, tiny_t5, task_prompts, sampler="beams")

    assert list(tmp_path.iterdir()) == []


def test_prompts_may_be_files_of_any_format(light, tiny_t5, task_prompts, tmp_path):
    prompts = {
        "object": task_prompts["mood"],
        "text path": str(write_prompt(tmp_path / "story.safetensors", task_prompts["story"])),
        "array": write_npy(tmp_path / "reply.npy", task_prompts["reply"]),
    }

    version = write_saved_model(tmp_path / "base", tiny_t5, prompts)

    stored = tf.train.load_variable(str(version / "variables" / "variables"), PROMPTS)
    np.testing.assert_array_equal(stored[4:11], task_prompts["story"].prompt)
    np.testing.assert_array_equal(stored[11:], task_prompts["reply"].prompt)


# === Served over gRPC ===

MIXED = [("mood", "a charming film"), ("reply", "is the answer yes"), ("mood", "the plot is thin"), ("reply", "")]


@pytest.fixture(scope="module")
def client(server):
    with PredictionClient(f"127.0.0.1:{server.grpc_port}", model_name="tiny") as client:
        yield client


def test_a_mixed_request_over_grpc_has_the_labels_of_keras(client, keras_models):
    answers = client.classify([text for _, text in MIXED], task_id=[task for task, _ in MIXED])

    for (task, text), answer in zip(MIXED, answers, strict=True):
        rendered = f"the film: {text} is it good?" if task == "mood" else text
        (choice,) = keras_models[task].classify([rendered])
        assert (answer.label, answer.labels) == (choice.label, choice.labels)
        np.testing.assert_allclose(answer.log_probabilities, choice.log_probabilities, rtol=1e-6, atol=1e-4)


def test_generation_over_grpc_is_that_of_keras(client, keras_models):
    texts = ["seven boats left the harbour", "", "rain fell on the roof all night long"]

    answers = client.generate(texts, task_id="story")

    expected = keras_models["story"].generate_scored(texts)
    assert [answer.text for answer in answers] == [answer.text for answer in expected]
    np.testing.assert_allclose(
        [answer.score for answer in answers], [answer.score for answer in expected], rtol=0, atol=1e-4
    )


def test_a_bad_row_raises_and_keeps_the_good_answers(client):
    good = client.generate(["a film", "a cold wind"], task_id=["mood", "story"])

    with pytest.raises(
        RowError, match="1 of 3 rows.* row 1: Unknown task id 'mod'. Known: mood, story, reply."
    ) as info:
        client.generate(["a film", "a film", "a cold wind"], task_id=["mood", "mod", "story"])

    assert info.value.answers[1] is None
    assert [answer.text for answer in (info.value.answers[0], info.value.answers[2])] == [row.text for row in good]


def test_a_prompt_may_come_with_the_request(client, task_prompts, keras_models):
    texts = ["a film", "the soup was warm"]

    answers = client.generate_with_prompt(task_prompts["reply"].prompt, texts)

    expected = keras_models["reply"].generate_scored(texts, max_tokens=32)
    assert [answer.text for answer in answers] == [answer.text for answer in expected]


def test_a_wrong_dtype_over_grpc_is_an_invalid_argument(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny"
    request.inputs["task_id"].CopyFrom(tf.make_tensor_proto(["mood"]))
    request.inputs["text"].CopyFrom(tf.make_tensor_proto([1.5]))

    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as info:
            stub.Predict(request, timeout=20)

    assert info.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_prompt_of_another_width_is_not_sent(client):
    with pytest.raises(DataError, match="must be as wide as the served T5, H=16. Received: H=8"):
        client.generate_with_prompt(np.zeros((2, 8), np.float32), ["a film"])


def test_a_prompt_that_is_not_finite_is_a_bad_row(client):
    with pytest.raises((RowError, DataError), match="finite"):
        client.generate_with_prompt(np.full((2, 16), np.nan, np.float32), ["a film"])


def test_the_server_has_one_version(client, version_directory: Path):
    assert client.status() == [(1, "AVAILABLE")]
