"""An export computes in the dtype that was asked for, or in the one that answers faster and alike."""

import dataclasses

import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2

from softprompt_tf.errors import ExportError
from softprompt_tf.export.graph.served_backbone import ExportRecord
from softprompt_tf.export.graph.served_tasks import without_tasks
from softprompt_tf.export.graph.serving_module import ServingModule
from softprompt_tf.export.versions import compute_dtype
from softprompt_tf.export.versions.compute_dtype import answered, load_for_export
from softprompt_tf.export.versions.keras_comparison import check_comparable
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.runs import precision_choice
from softprompt_tf.runs.precision_choice import Measured

SENTENCE = "A long walk by the river ended at a small café, where everybody was talking about the weather."


@pytest.fixture(autouse=True)
def units(monkeypatch):
    """This machine has units for bfloat16."""
    monkeypatch.setattr(precision_choice, "why_not_bfloat16", lambda: "")


@pytest.mark.parametrize(
    ("seconds", "probabilities", "chosen", "reason"),
    [
        (
            0.5,
            [0.6, 0.4],
            "bfloat16",
            "0.50 times as long as float32; losses differ by 0 %, cosine of the probabilities 1.0000",
        ),
        (2.0, [0.6, 0.4], "float32", "bfloat16 takes 2.00 times as long"),
        # (0.6, 0.4) and (0.4, 0.6): 0.48 / 0.52.
        (
            0.5,
            [0.4, 0.6],
            "float32",
            "bfloat16 does not agree: losses differ by 0 %, cosine of the probabilities 0.9231",
        ),
    ],
    ids=["faster", "slower", "other answers"],
)
def test_auto_takes_what_is_faster_and_answers_alike(
    monkeypatch, task_prompts, capsys, seconds, probabilities, chosen, reason
):
    measured = {
        "float32": Measured(1.0, (0.7,), (np.array([0.6, 0.4]),), "probabilities"),
        "bfloat16": Measured(seconds, (0.7,), (np.array(probabilities),), "probabilities"),
    }
    asked = []
    monkeypatch.setattr(
        compute_dtype, "answered", lambda t5, tasks: asked.append([t.task_id for t in tasks]) or measured[t5]
    )

    loaded = load_for_export(lambda dtype: dtype, "auto", {**task_prompts, "fourth": task_prompts["mood"]})

    assert loaded == chosen
    assert asked == [["mood", "story", "reply"]] * 2
    assert f"compute dtype: {chosen} ({reason})" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_named_dtype_is_not_measured(dtype):
    loaded = []

    assert load_for_export(lambda name: loaded.append(name) or name, dtype, {}) == dtype
    assert loaded == [dtype]


@pytest.mark.thorough
def test_both_dtypes_answer_the_same_texts(tiny_t5, task_prompts):
    found = answered(tiny_t5, [task_prompts["mood"], task_prompts["story"]])

    times = [1, 2, 3, 4, 1, 2, 3, 4]
    model = PromptedT5(tiny_t5, task_prompts["mood"])
    choices = model.classify([f"the film: {' '.join([SENTENCE] * n)} is it good?" for n in times])
    story = PromptedT5(tiny_t5, task_prompts["story"]).score([" ".join([SENTENCE] * n) for n in times], ["yes"] * 8)
    logs = np.array([choice.log_probabilities for choice in choices])
    np.testing.assert_allclose(found.losses, [-logs.mean(), -np.mean(story)], rtol=1e-5)
    first, second = found.vectors
    np.testing.assert_allclose(first / first.sum(), np.exp(logs).ravel() / 8, rtol=1e-4)
    np.testing.assert_allclose(second / second[0], np.exp(np.subtract(story, story[0])), rtol=1e-4)
    assert found.seconds > 0


@pytest.mark.thorough
def test_a_bfloat16_graph_has_the_inputs_and_outputs_of_a_float32_one(tiny_t5_bfloat16, version_directory):
    """So that clients and TF Serving's conversions meet the same names, dtypes and shapes."""
    module = ServingModule(tiny_t5_bfloat16, without_tasks(tiny_t5_bfloat16.hidden_dim))
    stored = saved_model_pb2.SavedModel.FromString((version_directory / "saved_model.pb").read_bytes())
    float32 = stored.meta_graphs[0].signature_def

    for name, function in module.signatures().items():
        inputs = {spec.name: spec for spec in function.structured_input_signature[0]}
        assert _described(inputs) == _stored(float32[name].inputs), name
        assert _described(function.structured_outputs) == _stored(float32[name].outputs), name


def _described(specs):
    return {name: (spec.dtype.as_datatype_enum, spec.shape.as_list()) for name, spec in specs.items()}


def _stored(infos):
    shapes = {
        name: [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim] for name, info in infos.items()
    }
    return {name: (info.dtype, shapes[name]) for name, info in infos.items()}


def test_keras_compares_in_the_dtype_of_the_export(tiny_t5):
    record = ExportRecord({"fingerprint": tiny_t5.fingerprint}, None, "float32", {}, "0.2.0")
    check_comparable(tiny_t5, record)
    with pytest.raises(ExportError, match="`t5` must compute in bfloat16, as the export does. Received: .* in float32"):
        check_comparable(tiny_t5, dataclasses.replace(record, compute_dtype="bfloat16"))
