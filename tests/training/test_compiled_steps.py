"""A training step compiled whole by XLA, as on a TPU: it takes the step of one that is not, and is compiled once for each width."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import softprompt_tf as sp
from softprompt_tf.replicas import on_tpu
from softprompt_tf.tasks import BatchStream, TokenizedExamples

STEPS, MULTIPLE = 6, 8
pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def batches():
    """Return batches of rows of 3 to 16 tokens, targets of 1 to 4."""
    rng = np.random.default_rng(3)
    lengths, targets = rng.integers(3, 17, 24), rng.integers(1, 5, 24)
    rows = TokenizedExamples(
        tuple(rng.integers(3, 120, length).astype(np.int32) for length in lengths),
        tuple(rng.integers(3, 120, length).astype(np.int32) for length in targets),
        np.zeros(24, np.int32),
    )
    stream = BatchStream(rows, batch_size=4, seed=1, pad_to_multiple_of=MULTIPLE)
    return [stream.batch(step) for step in range(STEPS)]


def trained(t5, batches, *, compiled_by_xla):
    """Return the prompt after a step on each batch, and how often the step was traced."""
    model = sp.PromptedT5(t5, sp.prompt_tuning(3, seed=2))
    model.compile(keras.optimizers.SGD(0.1), sp.TargetCrossEntropy(), jit_compile=compiled_by_xla)
    model.optimizer.build(model.trainable_variables)
    step = tf.function(lambda x, y: model.train_step((x, y)), jit_compile=compiled_by_xla, autograph=False)
    for x, y in batches:
        step({name: tf.constant(value) for name, value in x.items()}, tf.constant(y))
    return model.prompt_value(), step.experimental_get_tracing_count()


def test_a_compiled_step_is_the_step_and_each_width_is_compiled_once(one_layer_t5, batches):
    widths = {x["encoder_token_ids"].shape + y.shape for x, y in batches}

    prompt, _ = trained(one_layer_t5, batches, compiled_by_xla=False)
    compiled, num_compiled = trained(one_layer_t5, batches, compiled_by_xla=True)

    assert widths == {(4, 8, 4, 4), (4, 16, 4, 4)}  # whole batches, inputs of 8 or 16, targets as the longest of all
    assert num_compiled == 2
    np.testing.assert_allclose(compiled, prompt, atol=1e-5)
    assert np.abs(prompt - sp.PromptedT5(one_layer_t5, sp.prompt_tuning(3, seed=2)).prompt_value()).max() > 1e-3


def test_a_strategy_of_tpus_is_known(monkeypatch):
    assert not on_tpu()

    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: object.__new__(tf.distribute.TPUStrategy))
    assert on_tpu()
