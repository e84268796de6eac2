"""Training on cached states beside training without them, and answers from states beside answers from texts."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp
from softprompt_tf.errors import ConfigError, DataError, TrainingError
from softprompt_tf.states import ENCODER_STATES
from softprompt_tf.states.state_batches import StateBatchStream
from softprompt_tf.tasks import BatchStream, Example, Row, tokenize_examples

TEXTS = [
    "a charming film",
    "the soup was warm, the bread was fresh, the talk was good",
    "a cold wind",
    "rain fell on the roof",
    "two brothers shared one bicycle for years",
]
TARGETS = ["yes", "no", "yes", "a slow ending", "no"]
METHODS = {
    "layer 1": lambda **task_ids: sp.late_prompts(3, layer=1, seed=1, **task_ids),
    "output": lambda **task_ids: sp.late_prompts(3, seed=1, decoder=True, **task_ids),
    "decoder's key/values": lambda **task_ids: sp.p_tuning_v2(3, encoder=False, seed=1, **task_ids),
}


def made(method="output", t5=None, **task_ids):
    keras.utils.set_random_seed(4)
    model = sp.PromptedT5(t5 or make_tiny_t5(), METHODS[method](**task_ids), max_target_tokens=6, labels=["yes", "no"])
    model.compile(keras.optimizers.Adam(0.01), sp.TargetCrossEntropy())
    return model


def assert_same_task(model, other):
    for name, value in other.task_tensors().items():
        np.testing.assert_allclose(model.task_tensors()[name], value, rtol=0, atol=1e-6 * np.abs(value).max())


def tokenized(t5, task_index=0):
    examples = [
        Example(text, target, row=Row({}, "here")) for text, target in zip(TEXTS, TARGETS, strict=True)
    ]
    return tokenize_examples(examples, t5.tokenize, max_input_tokens=9, max_target_tokens=6, task_index=task_index)


# === fit ===


@pytest.mark.parametrize("method", METHODS)
def test_fit_on_float32_states_gives_the_same_prompt(method):
    plain, cached = made(method), made(method)
    data = {"encoder_text": TEXTS, "decoder_text": TARGETS}

    for model, on in ((plain, False), (cached, "float32")):
        keras.utils.set_random_seed(7)
        model.losses_seen = model.fit(data, batch_size=2, epochs=2, verbose=0, cached_states=on).history["loss"]

    assert_same_task(cached, plain)
    assert cached.losses_seen == pytest.approx(plain.losses_seen, rel=1e-6)
