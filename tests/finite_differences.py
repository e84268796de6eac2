"""Gradients of a model's trained variables against slopes that two losses tell."""

import numpy as np
import pytest
import tensorflow as tf

import softprompt_tf as sp


def two_rows():
    """Return tokens of two rows, one of them shorter, as a model takes them, and their targets."""
    tokens = {
        "encoder_token_ids": tf.constant([[9, 80, 33, 1], [12, 1, 0, 0]]),
        "encoder_padding_mask": tf.constant([[1, 1, 1, 1], [1, 1, 0, 0]]),
        "decoder_token_ids": tf.constant([[0, 40, 41], [0, 50, 1]]),
        "decoder_padding_mask": tf.ones([2, 3], tf.int32),
    }
    return tokens, tf.constant([[40, 41, 1], [50, 1, 0]])


def check_gradients(model, tokens, targets, *, width=2e-2):
    """Assert that each trained variable has a gradient, and that it is the slope of the loss in a drawn direction.

    `width` is how far apart the two losses are taken, in half.
    """
    loss = sp.TargetCrossEntropy()

    def value():
        return loss(targets, model(tokens, training=True))

    if len(model.trainable_variables) > 8:  # a graph pays
        value = tf.function(value, autograph=False)
    with tf.GradientTape() as tape:
        tape.watch(model.trainable_variables[0].value)
        now = value()
    gradients = tape.gradient(now, [variable.value for variable in model.trainable_variables])

    rng = np.random.default_rng(4)
    assert model.trainable_variables
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        before = variable.numpy()
        direction = rng.normal(size=before.shape).astype(np.float32)
        step = width / np.linalg.norm(direction)
        losses = []
        for sign in (1, -1):
            variable.assign(before + sign * step * direction)
            losses.append(float(value()))
        variable.assign(before)
        slope = (losses[0] - losses[1]) / (2 * step)
        assert np.abs(gradient).max() > 1e-6, variable.path
        assert slope == pytest.approx(float(np.sum(gradient * direction)), rel=0.05, abs=2e-3), variable.path
