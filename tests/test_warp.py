"""WARP: rows of labels score them in the place of their words. Answers against plain NumPy, gradients, files, settings."""

import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from finite_differences import check_gradients
from served_methods import placed_embeddings
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.errors import ConfigError, DataError, PromptError, PromptFileError
from softprompt_tf.evaluation import PromptEnsemble
from softprompt_tf.methods import METHODS
from softprompt_tf.methods.family.method_config import TaskStart

LABELS = ["yes", "no", "so dull"]
TEXTS = ["a film {prompt:2} the soup", "so"]


@pytest.fixture(scope="session")
def tiny_t5(one_layer_t5):
    """Of one layer, as nothing enters between layers here."""
    return one_layer_t5


@pytest.fixture(scope="module")
def model(tiny_t5):
    """Shared by tests that do not change it."""
    return sp.PromptedT5(tiny_t5, sp.warp(4, position="marked", seed=1), labels=LABELS)


def logs_of(t5, tensors, text):
    """Return the log-probabilities [C] of labels that have rows, in plain NumPy."""
    weights = numpy_t5.read_weights(t5.backbone)
    output = numpy_t5.encode(weights, placed_embeddings(t5, weights.table, text, in_text=tensors["prompt_in_text"]))
    state = numpy_t5.decode(weights, [0], output)[0]
    scale = t5.hidden_dim**-0.5 if t5.backbone.tie_embedding_weights else 1.0
    scores = tensors["label_rows"] @ (scale * state)
    return scores - np.logaddexp.reduce(scores)


def tokens_of(model, targets=("no", "so dull")):
    return model.text_batches.tokenize({"encoder_text": tf.constant(TEXTS), "decoder_text": tf.constant(targets)})


@pytest.mark.parametrize("is_tied", [False, True], ids=["own head", "tied head"])
def test_answers_are_those_of_plain_numpy(tiny_t5, model, is_tied):
    t5 = make_tiny_t5(tie=True, num_layers=1) if is_tied else tiny_t5
    model = sp.PromptedT5(t5, sp.warp(4, position="marked", seed=1), labels=LABELS) if is_tied else model
    expected = np.stack([logs_of(t5, model.task_tensors(), text) for text in TEXTS])

    found = model.classify(TEXTS)
    written = model.generate_scored(TEXTS)

    np.testing.assert_allclose([each.log_probabilities for each in found], expected, atol=1e-4)
    assert [each.text for each in written] == [LABELS[best] for best in expected.argmax(axis=1)]
    np.testing.assert_allclose([each.score for each in written], expected.max(axis=1), atol=1e-4)
    np.testing.assert_allclose(model.score(TEXTS, ["no", "yes"]), [expected[0, 1], expected[1, 0]], atol=1e-4)


def test_label_rows_start_from_the_output_embeddings_of_the_words(tiny_t5, model):
    head = np.asarray(tiny_t5.backbone.token_embedding.reverse_embeddings).T
    expected = [head[ids].mean(axis=0) for ids in tiny_t5.tokenize(LABELS)]

    np.testing.assert_allclose(model.task_tensors()["label_rows"], expected, atol=1e-6)


def test_the_loss_is_the_cross_entropy_over_the_labels(tiny_t5, model):
    tokens, targets = tokens_of(model)
    logs = [logs_of(tiny_t5, model.task_tensors(), text) for text in TEXTS]

    loss = sp.TargetCrossEntropy(z_loss=0.0)

    assert targets.numpy().tolist() == [[2], [3]]  # 0 is padding
    for logits in (model(tokens, training=True), model.predict(tokens, verbose=0)):
        assert float(loss(targets, logits)) == pytest.approx(-(logs[0][1] + logs[1][2]) / 2, abs=1e-4)


def test_every_trained_variable_has_the_gradient_of_finite_differences(tiny_t5):
    model = sp.PromptedT5(tiny_t5, sp.warp(3, seed=1), labels=LABELS)

    check_gradients(model, *tokens_of(model))


def test_training_moves_prompt_and_label_rows(tiny_t5):
    model = sp.PromptedT5(tiny_t5, sp.warp(3, seed=1), labels=LABELS)
    before = model.task_tensors()
    model.compile(sp.Adafactor(0.1), sp.TargetCrossEntropy(), metrics=["label_accuracy"], run_eagerly=True)

    history = model.fit(TEXTS, ["no", "so dull"], epochs=8, verbose=0).history

    assert history["label_accuracy"][-1] == 1.0
    assert [each.label for each in model.classify(TEXTS)] == ["no", "so dull"]
    assert all(np.any(value != before[name]) for name, value in model.task_tensors().items())


def test_files_answer_as_the_model(tmp_path, tiny_t5, model):
    model.save_prompt(tmp_path / "it.safetensors", task_id="it")
    model.save(tmp_path / "it.keras")

    task = sp.load_prompt(tmp_path / "it.safetensors")

    assert (task.method, list(task.tensors), task.labels) == ("warp", ["prompt_in_text", "label_rows"], tuple(LABELS))
    tokens, _ = tokens_of(model)
    for again in (sp.PromptedT5(tiny_t5, task), sp.load_model(tmp_path / "it.keras")):
        np.testing.assert_allclose(again(tokens), model(tokens), atol=1e-5)
        assert again.text_batches.label_words == tuple(LABELS)


def test_members_vote(tiny_t5):
    models = [sp.PromptedT5(tiny_t5, sp.warp(4, position="marked", seed=k), labels=LABELS) for k in (1, 2)]
    logs = [logs_of(tiny_t5, each.task_tensors(), TEXTS[0]) for each in models]

    (found,) = PromptEnsemble(tiny_t5, [each.task_prompt("it") for each in models]).classify(TEXTS[:1])

    np.testing.assert_allclose(found.log_probabilities, np.logaddexp(*logs) - np.log(2), atol=1e-4)


def test_several_tasks_have_rows_for_the_same_labels(tiny_t5):
    model = sp.PromptedT5(tiny_t5, sp.warp(3, labels=LABELS, task_ids=["a", "b"], seed=1), labels=())
    alone = sp.PromptedT5(tiny_t5, model.task_prompt("b"))

    found = model.classify(TEXTS, task_id="b")

    np.testing.assert_allclose(
        [each.log_probabilities for each in found],
        [each.log_probabilities for each in alone.classify(TEXTS)],
        atol=1e-5,
    )


# === What is refused ===


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: model.score(["so"], ["nope"]),
        lambda model: model.classify(["so"], labels=["yes", "nope"]),
        lambda model: model.fit(["so"], ["nope"], verbose=0),
    ],
    ids=["score", "classify", "fit"],
)
def test_a_target_that_is_no_label_is_an_error(tiny_t5, ask):
    model = sp.PromptedT5(tiny_t5, sp.warp(3, seed=1), labels=LABELS)
    model.compile(sp.Adafactor(0.1), sp.TargetCrossEntropy(), run_eagerly=True)

    with pytest.raises(DataError, match=r"must be one of its labels: yes, no, so dull\. Received: 'nope'"):
        ask(model)


def test_labels_that_have_no_rows_are_an_error(tiny_t5, model):
    with pytest.raises(PromptError, match=r"`warp` needs labels\. Received: none"):
        sp.PromptedT5(tiny_t5, sp.warp())
    with pytest.raises(PromptError, match=r"those that have rows: yes, no\. Received: labels \['yes', 'so'\]"):
        sp.PromptedT5(tiny_t5, sp.warp(labels=["yes", "no"]), labels=["yes", "so"])
    with pytest.raises(PromptError, match=r"a label for each of its label rows\. Received: 3 rows, labels \['yes'\]"):
        model.task_prompt("it", labels=["yes"])
    with pytest.raises(PromptError, match="`labels` must be non-empty strings"):
        sp.warp(labels=["yes", ""])


def test_a_config_takes_the_labels_of_its_tasks():
    section = METHODS["warp"].config(method="warp")
    tasks = [TaskStart("a", ("yes", "no")), TaskStart("b", ("yes", "no"))]

    assert section.make(tasks, seed=1).label_words == ("yes", "no")
    with pytest.raises(ConfigError, match=r"must have labels, and the same ones\. Received: a: yes, no; b: none"):
        section.make([tasks[0], TaskStart("b")], seed=1)


def test_other_formats_do_not_hold_label_rows(tmp_path, tiny_t5):
    task = sp.PromptedT5(tiny_t5, sp.warp(3), labels=LABELS).task_prompt("it")

    with pytest.raises(PromptFileError, match="holds a prompt alone. Received: a task with label_rows too"):
        sp.methods.write_peft_adapter(tmp_path / "it", task)
    with pytest.raises(PromptError, match="Label rows go with a prompt alone. Received: decoder_key_values too"):
        sp.methods.TaskPrompt(
            tensors={**task.tensors, "decoder_key_values": np.ones((1, 1, 2, 2, 6), np.float32)}, method="any"
        )
