"""Groups of rows of alike length: which rows they are, by hand, and that the encoder output is that of all rows at once."""

import numpy as np
import pytest
import tensorflow as tf
from numpy_t5 import encode as numpy_encode
from numpy_t5 import read_weights

from softprompt_tf.export.graph.length_groups import GROUP_TOKENS, encode_by_length, rows_of_group
from softprompt_tf.methods import prepend


@pytest.mark.parametrize(
    ("widths", "rows"),
    [
        ([100], 1),
        ([100, 100, 100], 3),
        ([100, 50], 2),  # apart they cost 150 + 64, together 200
        ([150, 50], 1),  # 200 + 64 and 300
        ([500, 100, 90], 1),  # 500 + 200 + 93 and 1,500
        ([500, 490, 100, 90], 2),  # 1,000 + 200 + 125 (2,000 / 16) and 2,000; cut behind one row: 500 + 1,470 + 125
        ([320, 160, 10], 1),  # 320 + 320 + 64 and 960; cut behind two rows: 640 + 10 + 64, a little more
        ([20_000, 18_900], 2),  # 38,900 + 2,500 (40,000 / 16) and 40,000
        ([20_000, 17_000], 1),  # 37,000 + 2,500
    ],
)
def test_rows_in_front_are_those_that_cost_least(widths, rows):
    assert GROUP_TOKENS == 64  # which the figures above are made with
    assert int(rows_of_group(tf.constant(widths))) == rows


def random_rows(lengths, *, hidden=4, num_vectors=3, seed=0):
    """Return prompts, their mask, ids and their mask, of rows of these lengths."""
    generator = np.random.default_rng(seed)
    ids, mask = np.zeros((len(lengths), max(lengths)), np.int32), np.zeros((len(lengths), max(lengths)), np.int32)
    for row, length in enumerate(lengths):
        ids[row, :length], mask[row, :length] = generator.integers(3, 100, length), 1
    prompt = generator.normal(size=(len(lengths), num_vectors, hidden)).astype(np.float32)
    return prompt, np.ones(prompt.shape[:2], np.int32), ids, mask


@pytest.mark.parametrize(
    ("lengths", "shapes"),
    [
        ((5, 3, 4), [(3, 5)]),
        ((7,), [(1, 7)]),
        ((10, 300, 12, 290, 9), [(2, 300), (3, 12)]),
        ((1, 900, 1, 300), [(1, 900), (1, 300), (2, 1)]),
    ],
)
def test_every_row_comes_back_to_its_place_from_a_group_of_its_length(lengths, shapes):
    seen = []

    def encode(prompt, prompt_mask, ids, mask):
        """Stand in for the encoder: a row's output is its own prompt and, at each token, its id."""
        seen.append(tuple(ids.shape))
        tokens = tf.repeat(tf.cast(ids, tf.float32)[..., None], 4, axis=2)
        return tf.concat([prompt, tokens], axis=1), tf.concat([prompt_mask, mask], axis=1)

    rows = random_rows(lengths)

    output, mask = encode_by_length(encode, *map(tf.constant, rows), dtype="float32")

    expected, expected_mask = encode(*map(tf.constant, rows))
    assert seen[:-1] == shapes
    np.testing.assert_array_equal(output, expected)
    np.testing.assert_array_equal(mask, expected_mask)


def test_the_encoder_output_is_that_of_each_row_alone(tiny_t5):
    lengths = (200, 2, 9, 190, 30)
    prompt, prompt_mask, ids, mask = random_rows(lengths, hidden=16, seed=1)
    prompt_mask[1, 0] = 0  # a shorter prompt
    calls = []

    @tf.function(input_signature=[tf.TensorSpec([None, None, 16]), *[tf.TensorSpec([None, None], tf.int32)] * 3])
    def grouped(prompt, prompt_mask, ids, mask):
        def encode(prompt, prompt_mask, ids, mask):
            calls.append(1)
            embeddings, mask = prepend(prompt, tiny_t5.embed(ids), mask, prompt_mask=prompt_mask)
            return tiny_t5.encode(embeddings, mask), mask

        return encode_by_length(encode, prompt, prompt_mask, ids, mask, dtype="float32")

    output, _ = grouped(prompt, prompt_mask, ids, mask)

    assert len(calls) == 1  # the graph holds the encoder once
    weights = read_weights(tiny_t5.backbone)
    for row, length in enumerate(lengths):
        first = 1 if row == 1 else 0
        alone = np.concatenate([prompt[row, first:], weights.table[ids[row, :length]]])
        np.testing.assert_allclose(output[row, first : 3 + length], numpy_encode(weights, alone), atol=1e-4)
