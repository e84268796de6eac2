"""What else a Keras user does: callbacks, optimizers, XLA, two models of one T5, threads, and answers to any form of texts."""

import json
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_user import INPUTS, TARGETS, make_model

import softprompt_tf as sp
from softprompt_tf.errors import BackboneError, BackendError, ConfigError, DataError, PromptError, TrainingError

pytestmark = pytest.mark.thorough

HERE = Path(__file__).parent


def flat(value):
    """Return all numbers of a report, in the order of their names."""
    if isinstance(value, dict):
        return [number for name in sorted(value) for number in flat(value[name])]
    return [number for part in value for number in flat(part)] if isinstance(value, list) else [value]


def test_two_devices_report_what_one_reports_and_refuse_what_keras_cannot(forked):
    done = forked.run(HERE / "two_replicas.py")

    assert done.returncode == 0, done.stderr
    one, two, refused = json.loads(done.stdout.strip().splitlines()[-1])
    for name, expected in one.items():
        assert flat(two[name]) == pytest.approx(flat(expected), rel=1e-4, abs=1e-5), name
    assert len({round(loss, 4) for loss, *_ in one["evaluate"]}) == 1
    for said, setting in zip(refused, ("gradient_accumulation_steps=2", "steps_per_execution=3"), strict=True):
        assert said.startswith(
            f"Keras takes each step of several replicas alone. Received: {setting} and 2 replicas. Leave"
        )


@pytest.mark.parametrize(
    "optimizer", ["adam", keras.optimizers.AdamW(0.1), sp.Adafactor(0.3)], ids=["adam", "AdamW", "Adafactor"]
)
def test_optimizers_of_keras_train_the_prompt(t5, optimizer):
    model = make_model(t5)
    before = model.prompt_value()
    model.compile(optimizer=optimizer, loss=sp.TargetCrossEntropy(), run_eagerly=True)

    history = model.fit(INPUTS, TARGETS, epochs=3, verbose=0).history

    assert history["loss"][-1] < history["loss"][0]
    assert np.all(model.prompt_value() != before)


@pytest.mark.parametrize("call", ["fit", "train_on_batch", "evaluate", "test_on_batch"])
def test_a_model_must_be_compiled_first(t5, call):
    with pytest.raises(ValueError, match=r"You must call `compile\(\)` before"):
        getattr(make_model(t5), call)(INPUTS, TARGETS)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_the_global_policy_of_keras_does_not_round_the_weights(t5, row_losses, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = make_model(t5)
        model.compile("sgd", loss=sp.TargetCrossEntropy(z_loss=0.0), run_eagerly=True)
        loss = model.evaluate(INPUTS, TARGETS, verbose=0)
    finally:
        keras.config.set_dtype_policy(before)

    losses, tokens = row_losses
    assert loss == pytest.approx(losses.sum() / tokens.sum(), rel=1e-5)
    assert not isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


@pytest.mark.parametrize("floatx", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("make", ["T5", "model"])
def test_another_global_float_type_is_refused_before_a_kernel_fails(t5, floatx, make):
    keras.config.set_floatx(floatx)
    try:
        with pytest.raises(
            BackendError, match=rf"must be float32. Received: keras.config.floatx\(\)='{floatx}'. Leave"
        ):
            sp.load_t5("mini") if make == "T5" else make_model(t5)
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.parametrize(
    "inner", [sp.training.ScheduleFreeAdam(0.1), sp.training.AutoPrompt()], ids=["average", "search"]
)
def test_an_optimizer_that_works_with_fit_is_not_hidden_in_another(t5, inner):
    with pytest.raises(TrainingError, match="Received: it in a LossScaleOptimizer"):
        make_model(t5).compile(keras.optimizers.LossScaleOptimizer(inner), sp.TargetCrossEntropy())


def test_callbacks_see_the_masked_accuracy_and_stop_on_it(t5, tmp_path):
    model = make_model(t5)
    model.compile(optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy(), metrics=["accuracy"], run_eagerly=True)
    best = tmp_path / "best.weights.h5"

    history = model.fit(
        INPUTS,
        TARGETS,
        validation_split=0.4,
        epochs=4,
        verbose=0,
        callbacks=[
            keras.callbacks.EarlyStopping("val_accuracy", min_delta=2.0, patience=1, mode="max"),
            keras.callbacks.ModelCheckpoint(best, monitor="val_loss", save_weights_only=True),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        ],
    ).history

    assert len(history["val_accuracy"]) == 2  # the first is the best so far, and no gain follows
    assert best.is_file()
    assert (tmp_path / "log.csv").read_text().startswith("epoch,accuracy,loss,val_accuracy,val_loss")


def test_a_step_compiled_by_xla_takes_texts(t5):
    losses = []
    for jit_compile in (False, True):
        model = make_model(t5)
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss=sp.TargetCrossEntropy(), jit_compile=jit_compile)
        losses.append(model.fit(INPUTS, TARGETS, batch_size=3, epochs=2, shuffle=False, verbose=0).history["loss"])

    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_fit_traces_its_step_once(t5, monkeypatch):
    traced = []
    monkeypatch.setattr(
        sp.PromptedT5, "train_step", lambda self, data: traced.append(1) or keras.Model.train_step(self, data)
    )
    model = make_model(t5)
    model.compile(optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy(), metrics=["label_accuracy", "exact_match"])

    model.fit(INPUTS, TARGETS, epochs=2, verbose=0)

    assert len(traced) == 1


def test_two_models_of_one_t5_train_apart(t5):
    first, second = make_model(t5), make_model(t5, prompt=sp.prompt_tuning(2, seed=5))
    for model in (first, second):
        model.compile(optimizer=sp.Adafactor(0.3), loss=sp.TargetCrossEntropy(), run_eagerly=True)
    untouched = second.prompt_value()

    first.fit(INPUTS, TARGETS, verbose=0)

    np.testing.assert_array_equal(second.prompt_value(), untouched)
    second.fit(INPUTS, TARGETS, verbose=0)
    assert np.all(second.prompt_value() != untouched)


def test_threads_get_the_answers_of_one(model):
    expected, answers = model.generate(INPUTS), {}
    threads = [threading.Thread(target=lambda k=k: answers.update({k: model.generate(INPUTS)})) for k in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(answers.values()) == [expected] * 4


# === Answers ===


def test_any_form_of_texts_is_answered(model):
    expected = model.generate(INPUTS)

    for texts in (tuple(INPUTS), np.array(INPUTS), np.array(INPUTS, object), tf.constant(INPUTS)):
        assert model.generate(texts) == expected
    for text in (INPUTS[0].encode(), tf.constant(INPUTS[0]), np.array(INPUTS[0])):
        assert model.generate(text) == expected[0]
    assert model.classify(tf.constant(INPUTS)) == model.classify(INPUTS)
    assert model.score(tf.constant(INPUTS), np.array(TARGETS)) == model.score(INPUTS, TARGETS)


def test_a_series_is_answered_whatever_its_index(model):
    pd = pytest.importorskip("pandas")

    assert model.generate(pd.Series(INPUTS, index=range(7, 12))) == model.generate(INPUTS)


@pytest.mark.parametrize("texts", [3, {"encoder_text": INPUTS}, np.array([INPUTS, INPUTS]), None], ids=str)
def test_what_is_no_row_of_texts_is_refused(model, texts):
    with pytest.raises(DataError, match="`texts` must .*one entry for each row"):
        model.generate(texts)


@pytest.mark.parametrize("wrong", [0, -1, 1.5], ids=str)
def test_limits_are_whole_numbers_above_0(t5, model, wrong):
    for ask in (model.generate, model.generate_scored):
        with pytest.raises(ConfigError, match="`max_tokens` must be a whole number above 0. Received: max_tokens="):
            ask(INPUTS, max_tokens=wrong)
    for name in ("max_input_tokens", "max_target_tokens"):
        with pytest.raises(ConfigError, match=f"`{name}` must be a whole number above 0"):
            make_model(t5, **{name: wrong})


# === Making a model ===


@pytest.mark.parametrize("wrong", ["mini", None, 3], ids=str)
def test_a_t5_must_be_loaded_first(wrong):
    with pytest.raises(BackboneError, match="`t5` must be a T5 from load_t5. Received: .*Load it first"):
        sp.PromptedT5(wrong)


def test_a_backbone_of_keras_hub_is_no_t5_yet(t5):
    with pytest.raises(BackboneError, match="Received: 'T5Backbone'"):
        sp.PromptedT5(t5.backbone)


def test_one_word_is_no_list_of_labels(t5, model):
    with pytest.raises(PromptError, match="`labels` must be a list of words. Received: labels='positive'"):
        make_model(t5, labels="positive")
    with pytest.raises(PromptError, match="`labels` must be a list of words"):
        model.classify(INPUTS, labels="positive")


@pytest.mark.parametrize("labels", [{"yes", "no"}, {"yes": 1, "no": 0}, 5], ids=["set", "mapping", "number"])
def test_labels_without_an_order_are_refused(t5, model, labels):
    with pytest.raises(PromptError, match="`labels` must be a list of words, in their order. Received: labels="):
        make_model(t5, labels=labels)
    with pytest.raises(PromptError, match="`labels` must be a sequence of strings, in their order. Received: "):
        model.classify(INPUTS, labels=labels)


def test_adafactor_has_one_weight_decay():
    with pytest.raises(ConfigError, match="Received: weight_decay=0.01. Pass weight_decay_rate"):
        sp.Adafactor(0.3, weight_decay=0.01)


def test_padding_may_be_no_id_of_the_vocabulary():
    loss = sp.TargetCrossEntropy(z_loss=0.0, pad_id=-100)

    assert float(loss(np.array([[1, -100]]), np.zeros((1, 2, 4), np.float32))) == pytest.approx(np.log(4))
    assert np.asarray(loss.call(np.array([[1, -100]]), np.zeros((1, 2, 4), np.float32))).tolist() == [
        pytest.approx([np.log(4), 0.0])
    ]
