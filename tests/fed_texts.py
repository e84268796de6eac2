"""The rows, and the forms that they come in, of the tests of what `fit` is fed."""

import keras
import numpy as np
import tensorflow as tf

INPUTS = ["a charming film", "", "the plot is thin and the jokes are tired"]
TARGETS = ["good", "no", "a bad one"]
COLUMNS = {"encoder_text": INPUTS, "decoder_text": TARGETS}
TOKENS = {"encoder_token_ids": np.ones((2, 3), np.int32)}


class TextDataset(keras.utils.PyDataset):
    """Texts in batches of two; remembers when an epoch began and ended."""

    def __init__(self, rows=None, size=2, **kwargs):
        super().__init__(**kwargs)
        rows = tuple(zip(INPUTS, TARGETS, strict=True)) if rows is None else rows
        self.rows, self.size, self.events = rows, size, []

    def __len__(self):
        return -(-len(self.rows) // self.size)

    def __getitem__(self, k):
        return tuple(map(list, zip(*self.rows[k * self.size :][: self.size], strict=True)))

    def on_epoch_begin(self):
        self.events.append("begin")

    def on_epoch_end(self):
        self.events.append("end")


def generator(*batches):
    yield from batches or [(INPUTS[:2], TARGETS[:2]), (INPUTS[2:], TARGETS[2:])]


def expected_ids(t5, texts, limit):
    """Return ids padded on the right [B, T], by the rule: cut to the limit less one, then the end of sequence."""
    ended = [[*ids[: limit - 1], 1] for ids in t5.tokenize(texts)]
    width = max(len(row) for row in ended)
    return np.array([row + [0] * (width - len(row)) for row in ended])


def check_batch(t5, batch, inputs, targets, weights=None, *, width=0):
    """`width` is that of the targets; 0: the longest's of the batch."""
    tokens, target_ids, *weight = batch
    expected, expected_targets = expected_ids(t5, inputs, 12), expected_ids(t5, targets, 5)
    expected_targets = np.pad(expected_targets, [(0, 0), (0, max(0, width - expected_targets.shape[1]))])
    np.testing.assert_array_equal(target_ids, expected_targets)
    np.testing.assert_array_equal(tokens["encoder_token_ids"], expected)
    np.testing.assert_array_equal(tokens["encoder_padding_mask"], expected != 0)
    shifted = np.concatenate([np.zeros((len(targets), 1), int), expected_targets[:, :-1]], axis=1)
    np.testing.assert_array_equal(tokens["decoder_token_ids"], shifted)
    np.testing.assert_array_equal(tokens["decoder_padding_mask"], expected_targets != 0)
    assert {tf.as_dtype(part.dtype) for part in [*tokens.values(), target_ids]} == {tf.int32}
    np.testing.assert_array_equal(weight, [] if weights is None else [weights])


def check_both(t5, made, weights=None):
    first, second = list(made.x)
    width = made.x.element_spec[1].shape[1] or 0  # of rows in memory that of the longest target, which is short
    assert width in (0, max(expected_ids(t5, [target], 5).shape[1] for target in TARGETS))
    check_batch(t5, first, INPUTS[:2], TARGETS[:2], weights and weights[:2], width=width)
    check_batch(t5, second, INPUTS[2:], TARGETS[2:], weights and weights[2:], width=width)
    assert int(made.x.cardinality()) in (2, tf.data.UNKNOWN_CARDINALITY)
    assert (made.y, made.sample_weight, made.is_batched) == (None, None, True)


def train(feed, *args, **kwargs):
    return feed.training(*args, **{"shuffle": False, **kwargs})[0]
