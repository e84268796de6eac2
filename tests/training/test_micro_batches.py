"""A step on a batch in parts is the step on the whole batch."""

import keras
import numpy as np
import pytest
from killed_training import whole_and_resumed
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.training import Distillation

TEXTS = ["a charming film", "a dull film", "the soup was warm", "rain fell on the roof all night long", "an awful mess"]
TARGETS = ["yes", "no it is not so at all", "maybe", "no", "yes or no? nobody could say"]  # of unequal lengths


def trained(t5, *, jit_compile=False, weights=None, method=None, **settings):
    model = sp.PromptedT5(t5, method or sp.prompt_tuning(length=3, seed=1), max_target_tokens=8)
    model.compile(
        keras.optimizers.SGD(0.5), sp.TargetCrossEntropy(), metrics=["accuracy"], jit_compile=jit_compile, **settings
    )
    start = model.task_tensors()
    fitted = model.fit(TEXTS, TARGETS, sample_weight=weights, batch_size=5, epochs=2, shuffle=False, verbose=0)
    moved = {name: np.abs(value - start[name]).max() for name, value in model.task_tensors().items()}
    assert max(moved.values()) > 1e-3
    return model.task_tensors(), fitted.history


@pytest.fixture(scope="module")
def whole_batch(one_layer_t5):
    return trained(one_layer_t5)


@pytest.mark.parametrize("rows", [np.int64(2), 9], ids="{} rows".format)
def test_parts_train_as_the_whole_batch(one_layer_t5, whole_batch, rows):
    whole, history = whole_batch
    parts, of_parts = trained(one_layer_t5, micro_batch_size=rows)

    np.testing.assert_allclose(parts["prompt"], whole["prompt"], rtol=0, atol=1e-6)
    assert of_parts["loss"] == pytest.approx(history["loss"], rel=1e-6)
    assert of_parts["accuracy"] == pytest.approx(history["accuracy"])


def test_weighted_rows_train_as_the_whole_batch(one_layer_t5):
    weights = np.array([1.0, 0.0, 2.0, 0.5, 3.0])
    teacher = sp.PromptedT5(one_layer_t5, sp.prompt_tuning(length=2, seed=5)).task_prompt("it")
    terms = [Distillation(teacher, hidden_weight=2.0)]
    whole, _ = trained(one_layer_t5, weights=weights, loss_terms=terms)

    parts, _ = trained(one_layer_t5, weights=weights, loss_terms=terms, micro_batch_size=2, gradient_checkpointing=True)

    np.testing.assert_allclose(parts["prompt"], whole["prompt"], rtol=0, atol=1e-6)


def test_accumulation_by_keras_weights_batches_and_not_tokens(one_layer_t5):
    """What micro-batches are for: one token and eight tokens count the same there."""
    method = sp.prompt_tuning(length=3, seed=1)

    def one_step(optimizer, rows):
        model = sp.PromptedT5(one_layer_t5, method, max_target_tokens=8)
        model.compile(optimizer, sp.TargetCrossEntropy())
        model.fit(TEXTS[:2], TARGETS[:2], batch_size=rows, epochs=1, shuffle=False, verbose=0)
        return model.prompt_value()

    whole = one_step(keras.optimizers.SGD(0.5), 2)
    by_keras = one_step(keras.optimizers.SGD(0.5, gradient_accumulation_steps=2), 1)

    assert np.abs(by_keras - whole).max() > 1e-4


@pytest.mark.parametrize("value", [0, -1, True, 2.0], ids=str)
def test_other_sizes_are_refused(one_layer_t5, value):
    with pytest.raises(ConfigError, match="`micro_batch_size` must be a whole number above 0"):
        trained(one_layer_t5, micro_batch_size=value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"prompt_dropout": 0.1}, "prompt dropout"), ({"jit_compile": True}, "jit_compile=True")],
    ids=["prompt dropout", "xla"],
)
def test_what_does_not_go_with_micro_batches_is_refused(one_layer_t5, settings, words):
    with pytest.raises(TrainingError, match=f"Micro-batches and {words} do not go together"):
        trained(one_layer_t5, micro_batch_size=2, **settings)


def test_a_t5_with_dropout_is_refused():
    with pytest.raises(TrainingError, match="Micro-batches and a T5 with dropout"):
        trained(make_tiny_t5(num_layers=1, dropout=0.1), micro_batch_size=2)


def test_a_resumed_training_ends_with_the_same_bits(one_layer_t5, tmp_path):
    def make(seed):
        model = sp.PromptedT5(one_layer_t5, sp.prompt_tuning(length=3, seed=seed), max_target_tokens=8)
        model.compile(sp.Adafactor(0.3), sp.TargetCrossEntropy(), micro_batch_size=2)
        return model

    whole, resumed = whole_and_resumed(tmp_path, make, {"encoder_text": TEXTS, "decoder_text": TARGETS})

    assert int(resumed.optimizer.iterations) == 2
    np.testing.assert_array_equal(resumed.prompt_value(), whole.prompt_value())
