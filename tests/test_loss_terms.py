"""Terms of the loss: their values and gradients, that training alone has them, and that a run keeps them."""

import numpy as np
import pytest
import tensorflow as tf
from finite_differences import two_rows
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.backbones.passes.cheaper_passes import HiddenStates
from softprompt_tf.config import load_config
from softprompt_tf.errors import ConfigError, PromptError, TrainingError
from softprompt_tf.model.divergences import divergences, hidden_distances, mean_over_targets
from softprompt_tf.runs.configured import make_loss_terms
from softprompt_tf.runs.run_identity import RunRecord, config_digest
from softprompt_tf.states import ENCODER_STATES
from softprompt_tf.training import Distillation, NearText

TEXT = "yes or no"


def model_of(t5, *terms, method=None, compiled=True, **settings):
    model = sp.PromptedT5(t5, method or sp.prompt_tuning(12, seed=3), labels=["yes", "no"], max_target_tokens=6)
    if compiled:
        model.compile(sp.Adafactor(0.1), sp.TargetCrossEntropy(), loss_terms=terms, **settings)
    return model


def teacher_of(t5, seed=5, method=None, **fields):
    return sp.PromptedT5(t5, method or sp.prompt_tuning(4, seed=seed), labels=["yes", "no"]).task_prompt("it", **fields)


def term_of(model, training=True, sample_weight=None, tokens=None):
    """What the model's terms add to its loss of two rows."""
    own, targets = two_rows()
    tokens = own if tokens is None else tokens
    logits = model(tokens, training=True)
    plain = model.loss(targets, logits, sample_weight)
    return model.compute_loss(tokens, targets, logits, sample_weight, training=training) - plain


def slope_of(model, variable, direction, step=2e-2):
    before = variable.numpy()
    losses = []
    for sign in (1, -1):
        variable.assign(before + sign * step * direction)
        losses.append(float(term_of(model)))
    variable.assign(before)
    return (losses[0] - losses[1]) / (2 * step)


# === Near words ===


@pytest.mark.parametrize("method", [sp.prompt_tuning, sp.residual], ids=["prompt_tuning", "residual"])
def test_the_distance_to_the_words_is_the_mean_over_their_rows(one_layer_t5, method):
    model = model_of(one_layer_t5, NearText(TEXT, weight=0.5), method=method(12, seed=3))
    (ids,) = one_layer_t5.tokenize([TEXT])

    rows = model.prompt_value()[: len(ids)]  # folded, where a network makes them
    expected = 0.5 * np.mean(np.sum((rows - one_layer_t5.embedding_table[ids]) ** 2, axis=1))
    assert len(ids) < 12
    assert float(term_of(model)) == pytest.approx(expected, rel=1e-4)


def test_rows_are_drawn_to_their_words_and_others_are_free(one_layer_t5):
    model = model_of(one_layer_t5, NearText(TEXT, weight=0.5))
    (ids,) = one_layer_t5.tokenize([TEXT])

    with tf.GradientTape() as tape:
        term = term_of(model)
    gradient = tape.gradient(term, model.prompt_variable.value)

    expected = np.zeros((12, one_layer_t5.hidden_dim))
    expected[: len(ids)] = 0.5 * 2 * (model.prompt_value()[: len(ids)] - one_layer_t5.embedding_table[ids]) / len(ids)
    np.testing.assert_allclose(gradient, expected, atol=1e-4)


def test_a_fitted_prompt_reads_as_the_text(one_layer_t5):
    (ids,) = one_layer_t5.tokenize([TEXT])
    prompt = sp.prompt_tuning(len(ids), sp.init.from_text(TEXT), seed=1)
    free, near = (
        model_of(one_layer_t5, method=prompt),
        model_of(one_layer_t5, NearText(TEXT, weight=50.0), method=prompt),
    )
    for model in (free, near):
        model.fit(["a film", "a story"], ["yes", "no"], epochs=3, verbose=0)

    moved = [np.abs(model.prompt_value() - one_layer_t5.embedding_table[ids]).max() for model in (near, free)]
    assert sp.found_words(near)[0] == TEXT
    assert moved[0] < moved[1]


# === Near the answers of a teacher ===


def divergence(taught, logits, weights):
    """KL(teacher, student) in NumPy: its weighted mean over the target tokens."""
    log_p, log_q = (np.asarray(each, np.float64) for each in (taught, logits))
    log_p, log_q = (each - np.log(np.exp(each).sum(axis=-1, keepdims=True)) for each in (log_p, log_q))
    return np.sum(np.sum(np.exp(log_p) * (log_p - log_q), axis=-1) * weights) / np.sum(weights)


def mean_divergence(taught, logits, targets, sample_weight=None):
    return mean_over_targets(divergences(taught, logits), targets, sample_weight)


def test_the_divergence_is_the_mean_over_target_tokens():
    generator = np.random.default_rng(0)
    taught, logits = generator.normal(size=(2, 2, 3, 7)).astype(np.float32)
    targets = np.array([[4, 1, 0], [5, 6, 1]])

    assert float(mean_divergence(taught, logits, targets)) == pytest.approx(divergence(taught, logits, targets > 0))
    weighted = (targets > 0) * np.array([[3.0], [0.5]])
    found = mean_divergence(taught, logits, targets, np.array([3.0, 0.5]))
    assert float(found) == pytest.approx(divergence(taught, logits, weighted))
    assert float(mean_divergence(taught, logits, 0 * targets)) == 0.0


@pytest.mark.parametrize("method", [None, sp.lora(2, seed=1)], ids=["prompt", "lora"])
def test_the_term_is_the_divergence_from_the_teachers_answers(one_layer_t5, method):
    teacher = teacher_of(one_layer_t5, method=method)
    model = model_of(one_layer_t5, Distillation(teacher, weight=0.25))
    tokens, targets = two_rows()

    taught = np.asarray(sp.PromptedT5(one_layer_t5, teacher)(tokens))
    expected = 0.25 * divergence(taught, np.asarray(model(tokens)), np.asarray(targets) > 0)
    assert float(term_of(model)) == pytest.approx(expected, rel=1e-3)
    assert float(term_of(model, training=False)) == 0.0
    assert expected > 1e-3


@pytest.mark.parametrize("weights", [{}, {"weight": 1e-3, "hidden_weight": 1.0}], ids=["answers", "states"])
def test_the_gradient_is_the_slope_and_a_student_that_is_its_teacher_has_none(one_layer_t5, weights):
    model = model_of(one_layer_t5, Distillation(teacher_of(one_layer_t5), **weights))
    same = model_of(one_layer_t5, Distillation(model.task_prompt("own"), **weights))
    direction = np.random.default_rng(1).normal(size=model.prompt_variable.shape).astype(np.float32)
    direction /= np.linalg.norm(direction)

    with tf.GradientTape() as tape:
        term = term_of(model)
    gradient = np.asarray(tape.gradient(term, model.prompt_variable.value))

    assert slope_of(model, model.prompt_variable, direction) == pytest.approx(
        np.sum(gradient * direction), rel=0.05, abs=1e-3
    )
    assert np.abs(gradient).max() > 1e-4
    assert float(term_of(same)) == pytest.approx(0.0, abs=1e-5)


def states_of(t5, prompt, tokens, *, is_behind=False):
    """The last hidden states of the text's tokens and of the decoder, by KerasHub's layers; a prompt behind the encoder, or not."""
    mask, front = np.asarray(tokens["encoder_padding_mask"]), np.repeat(prompt[None], 2, axis=0)
    wider = np.concatenate([np.ones(front.shape[:2], np.int32), mask], axis=1)
    embeddings = t5.embed(tokens["encoder_token_ids"])
    if is_behind:
        encoded = np.concatenate([front, t5.encode(embeddings, mask)], axis=1)
    else:
        encoded = t5.encode(np.concatenate([front, embeddings], axis=1), wider)
    decoded = t5.decode(tokens["decoder_token_ids"], encoded, wider)
    return np.asarray(encoded)[:, prompt.shape[0] :], np.asarray(decoded)


def distance(first, second, texts, targets):
    """The mean squared difference in NumPy: `texts` are each row's tokens, of which it has a mean for each of its targets."""
    of_text, of_targets = (np.mean((a - b) ** 2, axis=-1) for a, b in zip(first, second, strict=True))  # [B, T], [B, U]
    sums = [len(row) * np.mean(of_text[k, : texts[k]]) + np.sum(of_targets[k, row]) for k, row in enumerate(targets)]
    return sum(sums) / sum(map(len, targets))


def test_the_hidden_states_of_texts_and_targets_are_near_the_teachers(one_layer_t5):
    teacher = teacher_of(one_layer_t5)  # of 4 rows, its student of 12
    both = model_of(one_layer_t5, Distillation(teacher, weight=0.25, hidden_weight=2.0))
    plain = model_of(one_layer_t5, Distillation(teacher, weight=0.25))
    tokens, targets = two_rows()
    found = float(term_of(both)) - float(term_of(plain))

    prompts = both.prompt_value(), teacher.tensors["prompt"]
    states = [states_of(one_layer_t5, prompt, tokens) for prompt in prompts]
    expected = 2.0 * distance(*states, texts=[4, 2], targets=[[0, 1, 2], [0, 1]])
    assert found == pytest.approx(expected, rel=1e-3)
    assert expected > 1e-2
    tokens["encoder_token_ids"] = tf.constant([[9, 80, 33, 1], [12, 1, 77, 78]])  # other padding
    logits = both(tokens, training=True)
    again = both.compute_loss(tokens, targets, logits) - both.loss(targets, logits)
    assert float(again) == pytest.approx(float(term_of(both)), rel=1e-4)


def test_rows_of_prompts_and_padding_are_no_text():
    inputs = {"encoder_token_ids": np.array([[-2, 7, 1, 0]]), "encoder_padding_mask": np.array([[1, 1, 1, 0]])}
    rows_in_front = [[100, 100], [100, 100]]
    states = HiddenStates(
        np.array([[*rows_in_front, [50, 50], [1, 3], [2, 0], [9, 9]]], np.float32),
        np.array([[[2, 2], [0, 2], [99, 99]]], np.float32),  # one more than there are targets, as with label rows
    )
    taught = HiddenStates(np.zeros([1, 4, 2], np.float32), np.zeros([1, 3, 2], np.float32))

    found = hidden_distances(taught, states, inputs, 2)

    np.testing.assert_allclose(found, [[(5 + 2) / 2 + 4, (5 + 2) / 2 + 2]])


def test_each_task_has_its_own_teacher(one_layer_t5):
    teachers = {"a": teacher_of(one_layer_t5, 5), "b": teacher_of(one_layer_t5, 6)}
    model = model_of(one_layer_t5, Distillation(teachers), method=sp.mpt(12, task_ids=["b", "a"], seed=1))
    tokens, targets = two_rows()
    tokens["task_id"] = tf.constant([1, 0])  # a, b

    logits = model(tokens, training=True)
    found = float(model.compute_loss(tokens, targets, logits) - model.loss(targets, logits))

    plain = {name: value for name, value in tokens.items() if name != "task_id"}
    each = [np.asarray(sp.PromptedT5(one_layer_t5, teachers[name])(plain)) for name in ("a", "b")]
    taught = np.stack([each[0][0], each[1][1]])
    assert found == pytest.approx(divergence(taught, np.asarray(logits), np.asarray(targets) > 0), rel=1e-3)


def test_a_student_on_cached_states_has_a_teacher_that_reads_the_texts(one_layer_t5):
    model = model_of(one_layer_t5, Distillation(teacher_of(one_layer_t5)), method=sp.late_prompts(3, seed=2))
    tokens, targets = two_rows()
    logits = model(tokens, training=True)

    with_states = {**tokens, ENCODER_STATES: tf.zeros([2, 4, one_layer_t5.hidden_dim])}
    found = [float(model.compute_loss(inputs, targets, logits)) for inputs in (tokens, with_states)]

    assert found[0] == found[1] != float(model.loss(targets, logits))


def on_states(t5):
    """The tokens of two rows with the encoder output that a cache would bring."""
    tokens, _ = two_rows()
    states = t5.encode(t5.embed(tokens["encoder_token_ids"]), tokens["encoder_padding_mask"])
    return {**tokens, ENCODER_STATES: states}


@pytest.mark.parametrize(
    "method", [sp.late_prompts(3, seed=2), sp.ia3(encoder=False, seed=2)], ids=["late prompt", "ia3 in the decoder"]
)
def test_hidden_states_on_cached_states_are_near_the_teachers(one_layer_t5, method):
    teacher = teacher_of(one_layer_t5)
    both = model_of(one_layer_t5, Distillation(teacher, weight=0.25, hidden_weight=2.0), method=method)
    plain = model_of(one_layer_t5, Distillation(teacher, weight=0.25), method=method)
    cached = on_states(one_layer_t5)
    found = float(term_of(both, tokens=cached)) - float(term_of(plain, tokens=cached))

    tensors = both.task_prompt("it").tensors  # (IA)^3 starts as the frozen T5
    prompt = tensors.get("prompt_behind_encoder", np.zeros([0, one_layer_t5.hidden_dim], np.float32))
    states = states_of(one_layer_t5, prompt, cached, is_behind=True)
    taught = states_of(one_layer_t5, teacher.tensors["prompt"], cached)
    expected = 2.0 * distance(states, taught, texts=[4, 2], targets=[[0, 1, 2], [0, 1]])
    assert found == pytest.approx(expected, rel=1e-3)
    assert expected > 1e-2


def test_a_late_prompt_follows_its_teachers_hidden_states(one_layer_t5):
    distillation = Distillation(teacher_of(one_layer_t5), weight=1e-3, hidden_weight=1.0)
    model = model_of(one_layer_t5, distillation, method=sp.late_prompts(3, seed=2))
    (variable,) = model.trainable_variables
    direction = np.random.default_rng(1).normal(size=variable.shape).astype(np.float32)
    direction /= np.linalg.norm(direction)

    with tf.GradientTape() as tape:
        term = term_of(model, tokens=on_states(one_layer_t5))
    gradient = np.asarray(tape.gradient(term, variable.value))

    assert np.abs(gradient).max() > 1e-4
    assert slope_of(model, variable, direction) == pytest.approx(np.sum(gradient * direction), rel=0.05, abs=1e-3)


# === Kept and refused ===


def test_a_saved_model_goes_on_with_its_terms(one_layer_t5, tmp_path):
    teacher = teacher_of(one_layer_t5)
    assert teacher.backbone_fingerprint == one_layer_t5.fingerprint
    distillation = Distillation(teacher, weight=0.25, hidden_weight=2.0)
    model = model_of(one_layer_t5, NearText(TEXT, weight=0.5), distillation)
    model.save(tmp_path / "model.keras")

    again = sp.load_model(tmp_path / "model.keras")

    assert float(term_of(again)) == pytest.approx(float(term_of(model)), rel=1e-4)
    assert again.task_prompt("it").backbone_fingerprint == one_layer_t5.fingerprint


def two_passes(model):
    tokens, targets = two_rows()
    first, _ = model(tokens, training=True), model(tokens, training=True)
    model.compute_loss(tokens, targets, first)


REFUSED = {
    "empty": (lambda t5: NearText(" ", weight=1.0), ConfigError, "`text` must have a word. Received: text=' '"),
    "weight": (
        lambda t5: NearText("a", weight=0),
        ConfigError,
        "`weight` must be a number above 0. Received: weight=0",
    ),
    "no number": (lambda t5: Distillation(teacher_of(t5), weight=float("nan")), ConfigError, "Received: weight=nan"),
    "hidden": (
        lambda t5: Distillation(teacher_of(t5), hidden_weight=-1),
        ConfigError,
        "`hidden_weight` must be a number, 0 or above. Received: hidden_weight=-1",
    ),
    "other logits": (
        lambda t5: two_passes(model_of(t5, Distillation(teacher_of(t5), hidden_weight=1.0))),
        TrainingError,
        "needs the logits of the last training pass. Received: other logits",
    ),
    "source": (
        lambda t5: Distillation(3),
        ConfigError,
        "`source` must be a prompt file or a loaded prompt. Received: int",
    ),
    "long": (
        lambda t5: model_of(t5, NearText(f"{TEXT} {TEXT} {TEXT}", weight=1.0)),
        TrainingError,
        "12 rows. Use a longer prompt",
    ),
    "no prompt": (
        lambda t5: model_of(t5, NearText(TEXT, weight=1.0), method=sp.ia3()),
        TrainingError,
        "NearText needs a method that makes a prompt. Received: one of encoder_key_scale",
    ),
    "tasks": (
        lambda t5: model_of(t5, Distillation({"a": teacher_of(t5)})),
        TrainingError,
        r"a source for each task of the model. Received: sources \['a'\], tasks \[\]",
    ),
    "shapes": (
        lambda t5: model_of(
            t5,
            Distillation({"a": teacher_of(t5), "b": teacher_of(t5, method=sp.lora(1))}),
            method=sp.prompt_tuning(12, task_ids=["a", "b"]),
        ),
        PromptError,
        "must have one method and one shape",
    ),
    "places": (
        lambda t5: model_of(t5, Distillation(teacher_of(t5)), method=sp.prompt_tuning(3, position="end")),
        TrainingError,
        "Received: prompt and prompt_at_end. Train with the same `position`",
    ),
    "labels": (
        lambda t5: model_of(t5, Distillation(teacher_of(t5, method=sp.warp(3)))),
        TrainingError,
        "A teacher with label rows is for a student with rows of the same labels. Received: warp",
    ),
    "search": (
        lambda t5: model_of(t5, compiled=False).compile(
            sp.AutoPrompt(), sp.TargetCrossEntropy(), loss_terms=[NearText(TEXT, weight=1.0)]
        ),
        TrainingError,
        "need an optimizer that takes steps. Received: AutoPrompt",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_terms_that_do_not_go_with_a_model_are_refused(one_layer_t5, make, error, message):
    with pytest.raises(error, match=message):
        make(one_layer_t5)


def test_a_t5_with_dropout_has_no_teacher():
    t5 = make_tiny_t5(num_layers=1, dropout=0.2)

    with pytest.raises(TrainingError, match="Distillation needs a T5 without dropout. Received: dropout=0.2"):
        model_of(t5, Distillation(teacher_of(t5)))


# === Configs ===


def config_of(directory, training=""):
    (directory / "task.yaml").write_text("name: mood\ninputs: '{text}'\nlabels: {a: yes, b: no}\n", encoding="utf-8")
    text = f"backbone: mini\ntask: task.yaml\noutput_dir: out\ntraining: {{{training}}}\n"
    (directory / "run.yaml").write_text(text, encoding="utf-8")
    return load_config(directory / "run.yaml")


def test_a_config_makes_the_terms_that_it_asks_for(one_layer_t5, tmp_path):
    sp.PromptedT5(one_layer_t5, sp.prompt_tuning(4)).save_prompt(tmp_path / "film.safetensors", task_id="film")
    unused = "near_text_weight: 2.0, distill_weight: 3.0, distill_hidden_weight: 1.0"
    plain, weights = config_of(tmp_path), config_of(tmp_path, unused)
    near = config_of(tmp_path, "near_text: is it good, near_text_weight: 2.0")
    both = config_of(tmp_path, "near_text: is it good, distill_from: film.safetensors, distill_weight: 0.5")
    hidden = config_of(tmp_path, "distill_from: film.safetensors, distill_hidden_weight: 0.25")

    terms = make_loss_terms(both.training)
    assert both.training.distill_from == str(tmp_path / "film.safetensors")
    assert [(type(term), term.weight) for term in terms] == [(NearText, 0.1), (Distillation, 0.5)]
    assert make_loss_terms(plain.training) == make_loss_terms(weights.training) == []
    assert [(term.weight, term.hidden_weight) for term in (terms[1], *make_loss_terms(hidden.training))] == [
        (0.5, 0),
        (1, 0.25),
    ]
    assert config_digest(plain) == config_digest(weights)  # weights of no term
    assert len({config_digest(each) for each in (plain, near, both, hidden)}) == 4


def test_a_mapping_of_a_config_names_a_file_for_each_task(tmp_path):
    config = config_of(tmp_path, "distill_from: {a: one.safetensors, b: /two.safetensors}")

    assert config.training.distill_from == {"a": str(tmp_path / "one.safetensors"), "b": "/two.safetensors"}
    named = load_config(tmp_path / "run.yaml", ["training.distill_from=/own.safetensors"])
    assert named.training.distill_from == "/own.safetensors"
    with pytest.raises(ConfigError, match=r"`training.near_text_weight`.*a number above 0"):
        config_of(tmp_path, "near_text_weight: 0")


def test_a_run_goes_on_with_the_teacher_that_it_began_with(tmp_path):
    file = tmp_path / "film.safetensors"
    file.write_bytes(b"one")
    RunRecord(tmp_path, has_begun=False).check_teachers({"mood": str(file)})
    file.write_bytes(b"two")

    with pytest.raises(
        TrainingError, match=r"the teachers that it began with. Received: .*film.safetensors with digest"
    ):
        RunRecord(tmp_path, has_begun=True).check_teachers({"mood": str(file)})
