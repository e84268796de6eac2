"""The prompted model: what trains, what it answers, and what it keeps, against T5 written out in NumPy."""

import warnings

import keras
import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from tiny_t5 import HIDDEN_DIM, NUM_PIECES, SENTENCES, make_tiny_t5

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.loading.built_layers import backbone_from_config
from softprompt_tf.errors import (
    BackboneError,
    BackboneMismatchError,
    ConfigError,
    DataError,
    PromptError,
    TrainingError,
)
from softprompt_tf.inference.decoding import Beam, Greedy
from softprompt_tf.methods import init, load_prompt, prompt_tuning
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.training import Adafactor, TargetCrossEntropy

PROMPT_LENGTH, MAX_INPUT, MAX_TARGET = 3, 16, 6
LABELS = ("good", "a bad one", "no")
TEXTS = ["a charming film", "", "the plot is thin and the jokes are tired", "the river"]
TARGETS = ["good", "no", "a bad one", "good"]


def make_model(t5, **kwargs):
    method = prompt_tuning(PROMPT_LENGTH, init.sampled_vocabulary(NUM_PIECES), seed=1)
    limits = {"max_input_tokens": MAX_INPUT, "max_target_tokens": MAX_TARGET}
    return PromptedT5(t5, kwargs.pop("prompt", method), **{**limits, **kwargs})


@pytest.fixture(scope="module")
def model(tiny_t5):
    """A model of one task whose prompt no test changes."""
    return make_model(tiny_t5, labels=LABELS)


@pytest.fixture(scope="module")
def task_model(tiny_t5):
    """A model of two tasks whose prompts no test changes."""
    method = prompt_tuning(PROMPT_LENGTH, init.random_uniform(1.0), task_ids=("mood", "topic"), seed=2)
    return make_model(tiny_t5, prompt=method)


def test_every_layer_is_built_so_that_jax_does_not_trace_the_model_at_every_fit(model):
    assert [layer.name for layer in model._flatten_layers() if not layer.built] == []


@pytest.fixture(scope="module")
def small_t5():
    """A T5 of one layer, for what must be traced but not compared with NumPy."""
    return make_tiny_t5(num_layers=1)


@pytest.fixture(scope="module")
def weights(tiny_t5):
    return numpy_t5.read_weights(tiny_t5.backbone)


def encode_in_numpy(t5, weights, prompt, text):
    ids = [*t5.tokenize([text])[0][: MAX_INPUT - 1], 1]
    return numpy_t5.encode(weights, np.concatenate([prompt, weights.table[ids]]))


def greedy_in_numpy(t5, weights, prompt, text, max_tokens=MAX_TARGET):
    ids, score = numpy_t5.greedy(weights, encode_in_numpy(t5, weights, prompt, text), max_tokens)
    return t5.detokenize([ids])[0], score


def score_in_numpy(t5, weights, prompt, text, target):
    ids = [*t5.tokenize([target])[0][: MAX_TARGET - 1], 1]
    return numpy_t5.target_log_probability(weights, ids, encode_in_numpy(t5, weights, prompt, text)), len(ids)


def mean_loss_in_numpy(t5, weights, prompt):
    scores = [score_in_numpy(t5, weights, prompt, *pair) for pair in zip(TEXTS, TARGETS, strict=True)]
    return -sum(score for score, _ in scores) / sum(length for _, length in scores)


def copy_of(variables):
    return [variable.numpy().copy() for variable in variables]


# === The model ===


def test_only_the_prompt_is_trainable(model, tiny_t5):
    assert [variable.path for variable in model.trainable_variables] == [model.prompt_variable.path]
    assert tuple(model.prompt_variable.shape) == (PROMPT_LENGTH, HIDDEN_DIM)
    assert len(model.non_trainable_variables) == len(tiny_t5.backbone.weights)


def test_logits_are_those_of_numpy_with_the_prompt_in_front(model, tiny_t5, weights):
    tokens, targets = model.text_batches.tokenize(
        {"encoder_text": tf.constant(TEXTS), "decoder_text": tf.constant(TARGETS)}
    )

    logits = model(tokens).numpy()

    for k, text in enumerate(TEXTS):
        output = encode_in_numpy(tiny_t5, weights, model.prompt_value(), text)
        expected = numpy_t5.logits(weights, tokens["decoder_token_ids"][k].numpy(), output)
        np.testing.assert_allclose(logits[k], expected, atol=1e-4)
    assert logits.shape == (*targets.shape, 128)


def test_a_prompt_of_another_kind_is_refused(tiny_t5):
    with pytest.raises(PromptError, match="`prompt` must be a method such as prompt_tuning.*Received: str"):
        PromptedT5(tiny_t5, "sst2.safetensors")


# === Training ===


@pytest.fixture(scope="module")
def sgd_model(tiny_t5):
    """A model whose steps keep nothing, so that one step from one prompt always ends in one place."""
    model = make_model(tiny_t5)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=TargetCrossEntropy(z_loss=0.0))
    return model


def training_data():
    columns = {"encoder_text": TEXTS, "decoder_text": TARGETS}
    yield "dictionary", lambda model: {"x": columns, "shuffle": False}
    yield "lists", lambda model: {"x": TEXTS, "y": TARGETS, "shuffle": False}
    yield "shuffled lists", lambda model: {"x": TEXTS, "y": TARGETS}
    yield "dataset", lambda model: {"x": tf.data.Dataset.from_tensor_slices(columns).batch(4)}
    yield "dataset of pairs", lambda model: {"x": tf.data.Dataset.from_tensor_slices((TEXTS, TARGETS)).batch(4)}
    yield "tokens", lambda model: dict(zip("xy", as_arrays(model, columns), strict=True)) | {"batch_size": 4}
    yield "dataset of tokens", lambda model: {"x": tf.data.Dataset.from_tensors(as_arrays(model, columns))}


def as_tensors(model, columns):
    return model.text_batches.tokenize({key: tf.constant(value) for key, value in columns.items()})


def as_arrays(model, columns):
    tokens, targets = as_tensors(model, columns)
    return {key: value.numpy() for key, value in tokens.items()}, targets.numpy()


@pytest.mark.parametrize("make", [c[1] for c in training_data()], ids=[c[0] for c in training_data()])
def test_fit_takes_texts_and_tokens_and_follows_the_gradient_of_numpy(sgd_model, tiny_t5, weights, make):
    start = np.random.default_rng(8).normal(size=(PROMPT_LENGTH, HIDDEN_DIM)).astype(np.float32)
    sgd_model.prompt_variable.assign(start)

    history = sgd_model.fit(**make(sgd_model), epochs=1, verbose=0).history

    assert history["loss"] == pytest.approx([mean_loss_in_numpy(tiny_t5, weights, start)], rel=1e-4)
    step = sgd_model.prompt_value() - start
    for place in [(0, 0), (1, 7), (2, 15)]:
        moved = np.zeros_like(start, np.float64)
        moved[place] = 1e-4
        above, below = (mean_loss_in_numpy(tiny_t5, weights, start + sign * moved) for sign in (1, -1))
        assert step[place] == pytest.approx(-0.1 * (above - below) / 2e-4, rel=1e-3, abs=1e-6)


def test_validation_data_and_evaluate_give_the_loss_of_numpy(sgd_model, tiny_t5, weights):
    history = sgd_model.fit(TEXTS, TARGETS, validation_data=(TEXTS, TARGETS), epochs=1, verbose=0).history

    expected = mean_loss_in_numpy(tiny_t5, weights, sgd_model.prompt_value())
    assert history["val_loss"] == pytest.approx([expected], rel=1e-4)
    assert sgd_model.evaluate(TEXTS, TARGETS, verbose=0) == pytest.approx(expected, rel=1e-4)
    columns = {"encoder_text": TEXTS, "decoder_text": TARGETS}
    assert sgd_model.evaluate(columns, verbose=0) == pytest.approx(expected, rel=1e-4)
    dataset = tf.data.Dataset.from_tensor_slices(columns).batch(4)
    assert sgd_model.evaluate(dataset, verbose=0) == pytest.approx(expected, rel=1e-4)


def test_fit_moves_the_prompt_keeps_the_backbone_and_has_slots_for_the_prompt_alone(small_t5):
    model = make_model(small_t5)
    model.compile(optimizer=Adafactor(0.3), loss=TargetCrossEntropy(), run_eagerly=True)
    backbone, prompt = copy_of(small_t5.backbone.weights), model.prompt_value()

    history = model.fit(TEXTS, TARGETS, batch_size=2, epochs=6, verbose=0).history

    for old, new in zip(backbone, copy_of(small_t5.backbone.weights), strict=True):
        np.testing.assert_array_equal(new, old)
    assert np.all(model.prompt_value() != prompt)
    slots = [tuple(v.shape) for v in model.optimizer.variables if v.shape != ()]
    assert slots == [(PROMPT_LENGTH, HIDDEN_DIM)]
    assert min(history["loss"]) < history["loss"][0]


def test_a_joint_run_trains_each_prompt_as_a_run_of_its_own_does(small_t5):
    rows = {
        "mood": (["a charming film", "the river"], ["good", "good"]),
        "topic": (["the cold lake", "a"], ["no", "a bad"]),
    }
    method = prompt_tuning(PROMPT_LENGTH, init.random_uniform(1.0), task_ids=tuple(rows), seed=4)
    joint = make_model(small_t5, prompt=method)
    starts = {task: joint.prompt_value(task) for task in rows}
    columns = {
        "encoder_text": [text for inputs, _ in rows.values() for text in inputs],
        "decoder_text": [text for _, targets in rows.values() for text in targets],
        "task_id": ["mood", "mood", "topic", "topic"],
    }
    loss = TargetCrossEntropy(z_loss=1e-4)

    joint.compile(optimizer=Adafactor(0.1), loss=loss, run_eagerly=True)
    joint.fit(columns, epochs=3, shuffle=False, verbose=0)

    single = make_model(small_t5)
    single.compile(optimizer=Adafactor(0.1), loss=loss, run_eagerly=True)
    single.optimizer.build(single.trainable_variables)
    fresh = copy_of(single.optimizer.variables)
    for task, (inputs, targets) in rows.items():
        single.prompt_variable.assign(starts[task])
        for variable, value in zip(single.optimizer.variables, fresh, strict=True):
            variable.assign(value)
        single.fit(inputs, targets, epochs=3, shuffle=False, verbose=0)
        np.testing.assert_allclose(joint.prompt_value(task), single.prompt_value(), atol=1e-3)
        assert np.abs(single.prompt_value() - starts[task]).max() > 0.1


def test_bfloat16_trains_a_float32_prompt():
    model = make_model(make_tiny_t5("bfloat16", num_layers=1))
    model.compile(optimizer=Adafactor(0.3), loss=TargetCrossEntropy(), run_eagerly=True)
    before = model.prompt_value()

    history = model.fit(TEXTS, TARGETS, epochs=2, verbose=0).history

    assert model.prompt_variable.dtype == "float32"
    assert np.isfinite(history["loss"]).all()
    assert np.all(model.prompt_value() != before)
    assert all(isinstance(text, str) for text in model.generate(TEXTS))


def test_int8_leaves_only_the_prompt_trainable_and_gradients_reach_it():
    t5 = make_tiny_t5(num_layers=1)  # its own, as this changes it
    model = make_model(t5)
    tokens, targets = as_tensors(model, {"encoder_text": TEXTS, "decoder_text": TARGETS})
    fingerprint, expected = t5.fingerprint, gradient(model, tokens, targets)

    model.quantize("int8")

    assert [variable.path for variable in model.trainable_variables] == [model.prompt_variable.path]
    assert t5.backbone.decoder_transformer_layers[0].input_projector.kernel.dtype == "int8"
    got = gradient(model, tokens, targets)
    assert np.sum(got * expected) / np.linalg.norm(got) / np.linalg.norm(expected) > 0.98
    assert np.linalg.norm(got) == pytest.approx(np.linalg.norm(expected), rel=0.1)
    assert t5.fingerprint == fingerprint
    np.testing.assert_array_equal(t5.backbone.token_embedding.embeddings.numpy(), t5.embedding_table)


def test_filters_choose_what_is_quantized():
    t5 = make_tiny_t5(num_layers=1)
    attention = t5.backbone.encoder_transformer_layers[0].self_attention

    make_model(t5).quantize("int8", filters=["key", "^query"])

    assert attention.query_projector.kernel.dtype == "int8"
    assert attention.value_projector.kernel.dtype == t5.backbone.token_embedding.embeddings.dtype == "float32"


def gradient(model, tokens, targets):
    with tf.GradientTape() as tape:
        loss = TargetCrossEntropy()(targets, model(tokens))
    return tape.gradient(loss, model.prompt_variable.value).numpy()


def by_its_layers(model, tokens, training=False):
    """Return the logits of the functional model, whatever `call` makes of it."""
    return super(PromptedT5, model).call(tokens, training=training)


def token_batch(model, **columns):
    return model.text_batches.tokenize(
        {"encoder_text": tf.constant(TEXTS), "decoder_text": tf.constant(TARGETS), **columns}
    )


def test_logits_and_prompt_gradient_are_those_of_the_layers(task_model):
    tokens, _ = token_batch(task_model, task_id=tf.constant([1, 0, 1, 1]))

    def gradient(compute):
        with tf.GradientTape() as tape:
            logits = compute(tokens)
            loss = tf.reduce_mean(tf.nn.log_softmax(logits)[..., 7])
        return logits, tape.gradient(loss, task_model.prompt_variable.value)

    logits, found = gradient(task_model)

    expected_logits, expected = gradient(lambda tokens: by_its_layers(task_model, tokens))
    np.testing.assert_allclose(logits, expected_logits, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_dropout_is_honoured_in_training_and_only_there():
    t5 = make_tiny_t5(num_layers=1)
    backbone = backbone_from_config(type(t5.backbone), {**t5.backbone.get_config(), "dropout": 0.5})
    model = make_model(FrozenT5(backbone, t5.tokenizer, name="drops"))
    tokens, _ = token_batch(model)

    training = [model(tokens, training=True).numpy() for _ in range(2)]
    answering = [model(tokens, training=False).numpy() for _ in range(2)]

    assert np.abs(training[0] - training[1]).max() > 0.01
    np.testing.assert_array_equal(answering[0], answering[1])


@pytest.mark.parametrize("mode", [None, "int8"])
def test_gradient_checkpointing_trains_as_without_it(mode):
    t5 = make_tiny_t5(num_layers=1)
    if mode:
        t5.quantize(mode)

    def trained(**settings):
        model = make_model(t5)
        model.compile(optimizer=keras.optimizers.SGD(0.5), loss=TargetCrossEntropy(), **settings)
        model.fit(TEXTS, TARGETS, epochs=3, batch_size=4, shuffle=False, verbose=0)
        return model.prompt_value()

    start, plain = make_model(t5).prompt_value(), trained()

    assert np.abs(plain - start).max() > 1e-3
    np.testing.assert_allclose(trained(gradient_checkpointing=True), plain, rtol=0, atol=1e-6)


def test_gradient_checkpointing_is_refused_with_dropout(small_t5):
    backbone = backbone_from_config(type(small_t5.backbone), {**small_t5.backbone.get_config(), "dropout": 0.5})
    model = make_model(FrozenT5(backbone, small_t5.tokenizer, name="dropping"))

    with pytest.raises(TrainingError, match=r"without dropout. Received: a backbone with dropout=0.5"):
        model.compile(optimizer="sgd", loss=TargetCrossEntropy(), gradient_checkpointing=True)

    assert model.gradient_checkpointing is False


def test_a_step_compiled_by_xla_gives_the_loss_of_one_that_is_not(small_t5):
    losses = []
    for jit_compile in (False, True):
        model = make_model(small_t5)
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss=TargetCrossEntropy(), jit_compile=jit_compile)
        tokens, targets = token_batch(model)
        losses.append([float(model.train_on_batch(tokens, targets)) for _ in range(3)])

    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


# === Answers ===


def test_generate_gives_the_answers_of_numpy(model, tiny_t5, weights):
    expected = [greedy_in_numpy(tiny_t5, weights, model.prompt_value(), text) for text in TEXTS]

    answers = model.generate_scored(TEXTS)

    assert model.generate(TEXTS) == [text for text, _ in expected] == [answer.text for answer in answers]
    np.testing.assert_allclose([answer.score for answer in answers], [score for _, score in expected], rtol=1e-4)


def test_one_string_gives_one_string(model):
    assert model.generate(TEXTS[0]) == model.generate(TEXTS[:1])[0]


def test_no_texts_give_no_answers(model):
    assert model.generate([]) == model.classify([]) == model.score([], []) == []


def test_max_tokens_cuts_answers(model, tiny_t5, weights):
    assert model.generate(TEXTS, max_tokens=2) == [
        greedy_in_numpy(tiny_t5, weights, model.prompt_value(), text, 2)[0] for text in TEXTS
    ]


def test_order_and_neighbours_do_not_change_answers(model, tiny_t5, weights):
    texts = [sentence[: 1 + 2 * k] for k, sentence in enumerate(SENTENCES)]  # 40 rows, of two batches
    order = np.random.default_rng(6).permutation(len(texts))

    answers = model.generate_scored(texts)
    turned = model.generate_scored([texts[k] for k in order])

    assert [answer.text for answer in turned] == [answers[k].text for k in order]
    np.testing.assert_allclose([a.score for a in turned], [answers[k].score for k in order], atol=1e-4)
    for k in (0, 13, 31, 39):
        assert answers[k].text == greedy_in_numpy(tiny_t5, weights, model.prompt_value(), texts[k])[0]


def test_classify_follows_the_log_probabilities_of_numpy(model, tiny_t5, weights):
    results = model.classify(TEXTS)

    for text, result in zip(TEXTS, results, strict=True):
        scores = [score_in_numpy(tiny_t5, weights, model.prompt_value(), text, label)[0] for label in LABELS]
        expected = np.array(scores) - np.log(np.exp(scores).sum())
        np.testing.assert_allclose(result.log_probabilities, expected, atol=2e-4)
        assert sum(np.exp(result.log_probabilities)) == pytest.approx(1.0)
        assert result.label == LABELS[int(np.argmax(scores))]
        assert result.probability == pytest.approx(np.exp(expected.max()), rel=1e-3)
        assert result.labels == LABELS


def test_classify_takes_other_labels_and_needs_some(model, task_model):
    first, second = model.classify(TEXTS[:2], labels=["yes", "no"])

    assert first.labels == second.labels == ("yes", "no")
    with pytest.raises(PromptError, match="`classify` needs labels. Received: none"):
        task_model.classify(TEXTS, task_id="mood")


def test_score_is_the_log_probability_of_numpy(model, tiny_t5, weights):
    expected = [
        score_in_numpy(tiny_t5, weights, model.prompt_value(), text, target)[0]
        for text, target in zip(TEXTS, TARGETS, strict=True)
    ]

    np.testing.assert_allclose(model.score(TEXTS, TARGETS), expected, rtol=1e-4)


def test_score_needs_as_many_targets_as_texts(model):
    with pytest.raises(DataError, match="Received: 4 texts, 1 target"):
        model.score(TEXTS, ["a"])


def test_the_compiled_sampler_answers(tiny_t5, weights):
    model = make_model(tiny_t5)
    model.compile(sampler=Beam(3))
    output = encode_in_numpy(tiny_t5, weights, model.prompt_value(), TEXTS[0])
    ids, score = numpy_t5.beam(weights, output, 4, num_beams=3, length_penalty=0.6)

    model.compile()  # without one: it stays

    (answer,) = model.generate_scored(TEXTS[:1], max_tokens=4)
    assert model.sampler == Beam(3)
    model.compile(sampler="greedy")

    assert answer.text == tiny_t5.detokenize([ids])[0]
    assert answer.score == pytest.approx(score, rel=1e-4)
    assert model.sampler == Greedy()
    with pytest.raises(ConfigError, match="`sampler` must be one of greedy, beam"):
        model.compile(sampler="top_p")


@pytest.mark.parametrize("text", ["word " * 20_000, "\ud800 and \udfff", "\x00", "日本語 ½", "\n\t "], ids=ascii)
def test_any_text_is_answered(model, text):
    assert isinstance(model.generate(text), str)
    assert np.isfinite(model.score([text], [text])).all()


@pytest.mark.parametrize("bad", [3, None, ["nested"]], ids=str)
def test_a_text_that_is_no_string_is_refused(model, bad):
    for ask in (model.generate, model.classify):
        with pytest.raises(DataError, match="Every text must be a string. Received: "):
            ask(["good", bad])
    with pytest.raises(DataError, match="Every text must be a string. Received: "):
        model.score(["good"], [bad])


def test_a_string_where_texts_belong_is_refused(model):
    with pytest.raises(DataError, match="`texts` must be a sequence of strings. Received: the string 'good'"):
        model.classify("good")


# === Several tasks ===


def test_rows_of_different_tasks_answer_as_in_a_model_of_their_task(task_model, tiny_t5, weights):
    tasks = ["topic", "mood", "topic", "mood"]
    expected = [
        greedy_in_numpy(tiny_t5, weights, task_model.prompt_value(task), text)[0]
        for task, text in zip(tasks, TEXTS, strict=True)
    ]

    assert task_model.generate(TEXTS, task_id=tasks) == expected
    assert task_model.generate(TEXTS, task_id=[1, 0, 1, 0]) == expected
    assert task_model.generate(TEXTS[0], task_id="topic") == expected[0]
    scores = task_model.score(TEXTS, TARGETS, task_id=tasks)
    assert scores[1] == pytest.approx(
        score_in_numpy(tiny_t5, weights, task_model.prompt_value("mood"), TEXTS[1], TARGETS[1])[0], rel=1e-4
    )
    assert task_model.classify(TEXTS, task_id=tasks, labels=LABELS)[0].labels == LABELS


def test_a_task_is_needed_and_must_be_known(task_model, model):
    with pytest.raises(DataError, match=r"must say which of \['mood', 'topic'\]"):
        task_model.generate(TEXTS)
    with pytest.raises(DataError, match=r"one of \['mood', 'topic'\].*Received: 'moods'"):
        task_model.generate(TEXTS, task_id="moods")
    with pytest.raises(DataError, match="for a model of several prompts"):
        model.generate(TEXTS, task_id="mood")
    with pytest.raises(PromptError, match=r"one of \['mood', 'topic'\]. Received: task_id=None"):
        task_model.prompt_value()
    with pytest.raises(DataError, match="must say which of"):
        task_model.fit(TEXTS, TARGETS)


# === Keeping ===


def test_a_saved_prompt_answers_the_same_in_a_new_model(model, tiny_t5, tmp_path):
    model.save_prompt(tmp_path / "p.safetensors", task_id="mood", template="say: {text}", metrics={"accuracy": 0.5})

    prompt = load_prompt(tmp_path / "p.safetensors")
    again = PromptedT5(tiny_t5, prompt)

    assert (prompt.task_id, prompt.template, prompt.metrics) == ("mood", "say: {text}", {"accuracy": 0.5})
    assert (again.labels, again.max_input_tokens, again.max_target_tokens) == (LABELS, MAX_INPUT, MAX_TARGET)
    np.testing.assert_array_equal(again.prompt_value(), model.prompt_value())
    assert again.generate_scored(TEXTS) == model.generate_scored(TEXTS)


def test_each_task_saves_its_own_prompt(task_model, tmp_path):
    task_model.save_prompt(tmp_path / "t.safetensors", task_id="topic")

    np.testing.assert_array_equal(load_prompt(tmp_path / "t.safetensors").prompt, task_model.prompt_variable.numpy()[1])


def test_a_prompt_of_another_backbone_is_refused(model, small_t5):
    with pytest.raises(
        BackboneMismatchError, match="'mood' was made for tiny-0-2-layers .*Received: model tiny-0-1-layers"
    ):
        PromptedT5(small_t5, model.task_prompt("mood"))


@pytest.fixture(scope="module")
def reloaded(small_t5, tmp_path_factory):
    """Return a trained model of two tasks and what `load_model` makes of its file."""
    method = prompt_tuning(PROMPT_LENGTH, init.random_uniform(1.0), task_ids=("mood", "topic"))
    model = make_model(small_t5, prompt=method, labels=LABELS)
    model.compile(
        optimizer=Adafactor(0.3),
        loss=TargetCrossEntropy(z_loss=1e-3),
        sampler=Beam(2, 0.3),
        gradient_checkpointing=True,
    )
    model.fit({"encoder_text": TEXTS, "decoder_text": TARGETS, "task_id": [0, 1, 0, 1]}, epochs=2, verbose=0)
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    model.save(path)
    return model, keras.models.load_model(path)


def test_a_saved_model_answers_the_same(reloaded):
    model, again = reloaded

    assert again.generate(TEXTS, task_id="topic") == model.generate(TEXTS, task_id="topic")
    np.testing.assert_allclose(
        again.score(TEXTS, TARGETS, task_id="mood"), model.score(TEXTS, TARGETS, task_id="mood"), rtol=1e-6
    )
    assert (again.task_ids, again.labels) == (("mood", "topic"), LABELS)
    assert (again.max_input_tokens, again.max_target_tokens) == (MAX_INPUT, MAX_TARGET)
    assert again.gradient_checkpointing is True


def test_a_saved_model_is_frozen_and_knows_its_backbone(reloaded):
    model, again = reloaded

    assert len(again.trainable_variables) == 1
    assert (again.t5.name, again.t5.fingerprint) == (model.t5.name, model.t5.fingerprint)
    np.testing.assert_array_equal(again.t5.embedding_table, model.t5.embedding_table)


def test_a_saved_model_goes_on_training_where_it_stopped(reloaded):
    model, again = reloaded
    columns = {"encoder_text": TEXTS, "decoder_text": TARGETS, "task_id": [0, 1, 0, 1]}

    for each in (model, again):
        each.fit(columns, epochs=1, shuffle=False, verbose=0)

    assert again.sampler == Beam(2, 0.3)
    assert again.loss.z_loss == 1e-3
    assert int(again.optimizer.iterations) == int(model.optimizer.iterations) == 3
    np.testing.assert_allclose(again.prompt_variable.numpy(), model.prompt_variable.numpy(), atol=1e-5)


# === Which pass trains ===


def of_kerashubs_form(t5, **settings):
    """Return a T5 as KerasHub's converter wrote its presets: exact GELU, and dropout if it is asked for."""
    backbone = type(t5.backbone).from_config({**t5.backbone.get_config(), "activation": "gelu", **settings})
    for weight, own in zip(backbone.weights, t5.backbone.weights, strict=True):
        weight.assign(own)
    return FrozenT5(backbone, t5.tokenizer, name="kerashub")


def lines_of_summary(model):
    lines = []
    model.summary(print_fn=lines.append)
    return "\n".join(lines)


def test_the_summary_tells_the_pass_that_trains(small_t5):
    dropping = of_kerashubs_form(small_t5, dropout=0.1)

    assert "Training pass: fused" in lines_of_summary(make_model(of_kerashubs_form(small_t5)))
    assert "Training pass: layers (the T5 has dropout=0.1;" in lines_of_summary(make_model(dropping))


def test_fit_warns_once_that_it_takes_the_slower_pass(small_t5):
    model = make_model(of_kerashubs_form(small_t5, dropout=0.1))
    model.compile(optimizer="sgd", loss=TargetCrossEntropy())

    with pytest.warns(
        UserWarning, match=r"longer than the fused pass, because the T5 has dropout=0\.1; .*dropout=0\.0"
    ):
        model.fit(TEXTS, TARGETS, epochs=1, verbose=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The prompt is trained")
        model.fit(TEXTS, TARGETS, epochs=1, verbose=0)


def test_a_t5_of_kerashubs_form_trains_with_gradient_checkpointing_and_says_nothing(small_t5):
    t5 = of_kerashubs_form(small_t5)

    def trained(**settings):
        model = make_model(t5)
        model.compile(optimizer=keras.optimizers.SGD(0.5), loss=TargetCrossEntropy(), **settings)
        model.fit(TEXTS, TARGETS, epochs=2, batch_size=4, shuffle=False, verbose=0)
        return model.prompt_value()

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The prompt is trained")
        plain = trained()

    np.testing.assert_allclose(trained(gradient_checkpointing=True), plain, rtol=0, atol=1e-6)


def test_a_layer_that_is_changed_after_the_first_answer_is_used_or_refused(small_t5):
    model = make_model(of_kerashubs_form(small_t5))
    model.compile(optimizer="sgd", loss=TargetCrossEntropy())
    encoder, decoder = model.t5.backbone.encoder_transformer_layers[0], model.t5.backbone.decoder_transformer_layers[0]

    def answers():
        loss = model.evaluate(TEXTS, TARGETS, verbose=0)
        return [loss, *model.score(TEXTS[:2], TARGETS[:2]), model.train_on_batch(TEXTS, TARGETS)]

    def patch(layer):
        original = layer.call
        layer.call = lambda states, *args, **kwargs: original(states * 0.5, *args, **kwargs)

    before = answers()
    patch(encoder.self_attention)
    with pytest.warns(
        UserWarning, match=r"because it runs no changed layer: \S*self_attention \(a `call` of its own\)"
    ):
        after = answers()
    patch(encoder.self_attention)  # again, which reads like the first time
    again = [model.evaluate(TEXTS, TARGETS, verbose=0), *model.score(TEXTS[:2], TARGETS[:2])]
    patch(decoder)

    assert np.abs(np.subtract(after, before)).min() > 1e-3
    assert np.abs(np.subtract(again, after[:-1])).min() > 1e-3
    with pytest.raises(BackboneError, match="decode through the projections"):
        model.generate(TEXTS)
    with pytest.raises(BackboneError, match="decode through the projections"):
        model.classify(TEXTS, labels=["yes", "no"])
