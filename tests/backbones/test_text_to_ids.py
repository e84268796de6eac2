"""Tokens made in a graph: cut to the length less one, then the end of sequence, padded to the longest row."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_t5 import SENTENCES

from softprompt_tf.backbones.tokenization.text_to_ids import pieces_to_ids, text_to_ids

TEXTS = ["a charming film with a slow ending", "", "the river"]


def expected_rows(t5, texts, limits):
    return [[*ids[: limit - 1], 1] for ids, limit in zip(t5.tokenize(texts), limits, strict=True)]


def check(t5, result, texts, limits):
    ids, mask = (part.numpy() for part in result)
    rows = expected_rows(t5, texts, limits)
    width = max(len(row) for row in rows)
    assert ids.dtype == mask.dtype == np.int32
    np.testing.assert_array_equal(ids, [row + [0] * (width - len(row)) for row in rows])
    np.testing.assert_array_equal(mask, [[1] * len(row) + [0] * (width - len(row)) for row in rows])


@pytest.mark.parametrize("limit", [512, 8, 2, 1])
def test_rows_are_cut_and_end(tiny_t5, limit):
    check(tiny_t5, text_to_ids(tiny_t5, tf.constant(TEXTS), limit), TEXTS, [limit] * 3)


def test_each_row_may_have_a_limit_of_its_own(tiny_t5):
    check(tiny_t5, text_to_ids(tiny_t5, tf.constant(TEXTS), tf.constant([3, 9, 2])), TEXTS, [3, 9, 2])


def test_a_row_of_exactly_the_limit_is_not_cut(tiny_t5):
    (ids,) = tiny_t5.tokenize(["the river"])

    rows, _ = text_to_ids(tiny_t5, tf.constant(["the river"]), len(ids) + 1)

    np.testing.assert_array_equal(rows, [[*ids, 1]])


def test_empty_texts_are_one_end_of_sequence(tiny_t5):
    ids, mask = text_to_ids(tiny_t5, tf.constant(["", ""]), 9)

    np.testing.assert_array_equal(ids, [[1], [1]])
    np.testing.assert_array_equal(mask, [[1], [1]])


def test_no_texts_are_no_rows(tiny_t5):
    ids, mask = text_to_ids(tiny_t5, tf.constant([], tf.string), 9)

    assert ids.shape == mask.shape == (0, 1)


def test_it_agrees_with_the_tokenizer_outside_of_the_graph(tiny_t5):
    texts = [*SENTENCES, "Ünïcode ½ ﬁ …", "tabs\tand\nlines ", "日本語", "a" * 300]

    check(tiny_t5, text_to_ids(tiny_t5, tf.constant(texts), 512), texts, [512] * len(texts))


def test_it_runs_in_a_function_of_unknown_batch_size(tiny_t5):
    function = tf.function(
        lambda texts, limits: text_to_ids(tiny_t5, texts, limits),
        input_signature=[tf.TensorSpec((None,), tf.string), tf.TensorSpec((None,), tf.int32)],
    )

    check(tiny_t5, function(tf.constant(TEXTS), tf.constant([5, 5, 5])), TEXTS, [5, 5, 5])
    assert function(tf.constant([], tf.string), tf.constant([], tf.int32))[0].shape == (0, 1)


def test_it_runs_in_a_data_pipeline(tiny_t5):
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(2).map(lambda texts: text_to_ids(tiny_t5, texts, 6))

    batches = list(dataset)

    check(tiny_t5, batches[0], TEXTS[:2], [6, 6])
    check(tiny_t5, batches[1], TEXTS[2:], [6])


def test_a_long_text_does_not_widen_the_rows_beside_it(monkeypatch):
    made, to_tensor = [], tf.RaggedTensor.to_tensor

    def kept(*arguments, **settings):
        made.append(to_tensor(*arguments, **settings))
        return made[-1]

    monkeypatch.setattr(tf.RaggedTensor, "to_tensor", kept)

    ids, mask = pieces_to_ids(tf.ragged.constant([[5] * 900, [6], []], tf.int32), 4)

    np.testing.assert_array_equal(ids, [[5, 5, 5, 1], [6, 1, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(mask, [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    assert [tuple(each.shape) for each in made] == [(3, 4)]
