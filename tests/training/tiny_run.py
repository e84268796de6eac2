"""A prompted model small enough for tests, its batches, and runs of it that a test starts in a process of its own."""

import os
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

from softprompt_tf.training import Adafactor, TargetCrossEntropy, train_prompt

VOCABULARY, HIDDEN, PROMPT_LENGTH = 13, 8, 3
BATCH, INPUT_LENGTH, TARGET_LENGTH = 6, 5, 4


class Prompted(keras.layers.Layer):
    """Mixes a prompt [P, H] into the mean of the inputs [B, T, H]; the only trainable layer."""

    def build(self, *shapes):
        initializer = keras.initializers.RandomNormal(stddev=1.0, seed=3)
        self.prompt = self.add_weight(shape=(PROMPT_LENGTH, HIDDEN), initializer=initializer, name="prompt")

    def call(self, embeddings, mask):
        mask = keras.ops.cast(mask, "float32")[..., None]
        total = keras.ops.sum(embeddings * mask, axis=1) + keras.ops.sum(keras.ops.tanh(self.prompt), axis=0)
        return total / (keras.ops.sum(mask, axis=1) + PROMPT_LENGTH)  # [B, H]


def make_model(optimizer=None, *, dropout=0.0, loss=None):
    """Return a compiled functional model with the inputs and the output of a prompted T5."""
    keys = ["encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask"]
    inputs = {key: keras.Input((None,), dtype="int32", name=key) for key in keys}
    frozen = {"trainable": False}
    embed = keras.layers.Embedding(
        VOCABULARY, HIDDEN, embeddings_initializer=keras.initializers.RandomNormal(stddev=1.0, seed=1), **frozen
    )
    head = keras.layers.Dense(
        VOCABULARY, kernel_initializer=keras.initializers.RandomNormal(stddev=0.5, seed=2), **frozen
    )
    prompted = Prompted()
    context = prompted(embed(inputs["encoder_token_ids"]), inputs["encoder_padding_mask"])
    context = keras.layers.Dropout(dropout, seed=5)(context)
    hidden = keras.ops.tanh(embed(inputs["decoder_token_ids"]) + context[:, None, :])
    model = keras.Model(inputs, head(hidden))
    model.prompt_variable = prompted.prompt
    model.compile(optimizer=optimizer or Adafactor(0.3), loss=loss or TargetCrossEntropy())
    return model


class RandomBatches:
    """Batches drawn from (seed, step), with rows of different lengths; the last row has one target, the first all."""

    def __init__(self, seed=0, last_step=None):
        self.seed = seed
        self.last_step = last_step

    def batch(self, step):
        def draw(shape, low, high, salt):
            return tf.random.stateless_uniform(shape, [self.seed * 10 + salt, step], low, high, "int32")

        tokens = draw([BATCH, INPUT_LENGTH], 1, VOCABULARY, 1)
        mask = tf.sequence_mask(draw([BATCH], 1, INPUT_LENGTH + 1, 2), INPUT_LENGTH, dtype="int32")
        lengths = tf.constant([4, 4, 3, 2, 1, 1])
        target_mask = tf.sequence_mask(lengths, TARGET_LENGTH, dtype="int32")
        targets = draw([BATCH, TARGET_LENGTH], 1, VOCABULARY, 3) * target_mask
        inputs = {
            "encoder_token_ids": tokens * mask,
            "encoder_padding_mask": mask,
            "decoder_token_ids": tf.pad(targets[:, :-1], [[0, 0], [1, 0]]),
            "decoder_padding_mask": target_mask,
        }
        return inputs, targets

    def dataset(self, *, first_step):
        dataset = tf.data.Dataset.counter(start=first_step).map(self.batch)
        return dataset if self.last_step is None else dataset.take(self.last_step - first_step)


class DieAt(keras.callbacks.Callback):
    """Send this process a signal after so many steps."""

    def __init__(self, step, sent=signal.SIGKILL):
        super().__init__()
        self.step = step
        self.sent = sent

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self.step:
            os.kill(os.getpid(), self.sent)


def prompt_mean(model):
    """Return a dev score that goes up and down as the prompt moves."""
    return lambda: {"mean": float(np.sin(5 * np.mean(model.prompt_variable.numpy())))}


def run(directory, *, steps=12, die_at=0, sent=signal.SIGKILL):
    """Train 12 steps with dropout, evaluations and checkpoints; return the result and the final prompt."""
    model = make_model(dropout=0.3)
    result = train_prompt(
        model,
        RandomBatches(),
        steps=steps,
        seed=0,
        evaluate=prompt_mean(model),
        evaluate_every=3,
        checkpoint_dir=directory,
        checkpoint_every=2,
        config_digest="abc",
        callbacks=[DieAt(die_at, sent)] if die_at else [],
    )
    return result, model.prompt_variable.numpy()


if __name__ == "__main__":
    run(sys.argv[1], die_at=int(sys.argv[2]))
