"""A small compiled model whose prompt hardly moves, so that its losses can be told by hand."""

import keras
import numpy as np
import numpy_t5
import pytest
from keras_user import INPUTS, TARGETS, make_model
from tiny_t5 import make_tiny_t5

import softprompt_tf as sp


@pytest.fixture(scope="session")
def t5():
    """A T5 of one layer; no test changes it."""
    return make_tiny_t5(num_layers=1)


@pytest.fixture(scope="session")
def model(t5):
    """A model compiled with all metrics; its learning rate is 0, so that each loss is that of the start."""
    model = make_model(t5)
    model.compile(
        optimizer=keras.optimizers.SGD(0.0),
        loss=sp.TargetCrossEntropy(z_loss=0.0),
        metrics=["accuracy", "exact_match", "label_accuracy"],
        weighted_metrics=[sp.TokenAccuracy(name="weighted_accuracy")],
    )
    return model


@pytest.fixture(scope="session")
def row_losses(t5, model):
    """The loss of each row of `INPUTS` and `TARGETS`, and its tokens, by T5 written out in NumPy."""
    weights = numpy_t5.read_weights(t5.backbone)
    losses, tokens = [], []
    for text, target in zip(INPUTS, TARGETS, strict=True):
        ids = [*t5.tokenize([text])[0], 1]
        output = numpy_t5.encode(weights, np.concatenate([model.prompt_value(), weights.table[ids]]))
        target_ids = [*t5.tokenize([target])[0], 1]
        losses.append(-numpy_t5.target_log_probability(weights, target_ids, output))
        tokens.append(len(target_ids))
    return np.array(losses), np.array(tokens)
