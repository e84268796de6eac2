"""Token ids of examples and the padded arrays of a batch, against arrays written by hand."""

import numpy as np
import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks import Example, Row, TokenizedExamples, tokenize_examples


def code_points(texts):
    return [[ord(character) for character in text] for text in texts]


def examples(*pairs):
    return [Example(inputs, target, None, Row({}, "row 1")) for inputs, target in pairs]


def tokenized(*pairs, max_input_tokens=4, max_target_tokens=3, **settings):
    return tokenize_examples(
        examples(*pairs),
        code_points,
        max_input_tokens=max_input_tokens,
        max_target_tokens=max_target_tokens,
        **settings,
    )


def test_texts_are_cut_before_the_end_of_sequence_is_added():
    rows = tokenized(("abcdef", "xyz"), ("ab", "x"), ("abc", "xy"))

    assert [ids.tolist() for ids in rows.encoder_token_ids] == [[97, 98, 99, 1], [97, 98, 1], [97, 98, 99, 1]]
    assert [ids.tolist() for ids in rows.target_token_ids] == [[120, 121, 1], [120, 1], [120, 121, 1]]
    assert {ids.dtype for ids in rows.encoder_token_ids} == {np.dtype(np.int32)}


def test_an_opening_id_stands_in_front_of_targets_alone_and_costs_them_nothing():
    rows = tokenized(("abcdef", "xyz"), ("ab", "x"), ("abc", ""), opening_id=77)

    assert [ids.tolist() for ids in rows.target_token_ids] == [[77, 120, 121, 1], [77, 120, 1], [77, 1]]
    assert [ids.tolist() for ids in rows.encoder_token_ids] == [[97, 98, 99, 1], [97, 98, 1], [97, 98, 99, 1]]


@pytest.mark.parametrize(
    ("text", "ids"), [("", [9]), ("\0", [0, 9]), ("a" * 100_000, [97, 97, 97, 9])], ids=["empty", "NUL", "long"]
)
def test_odd_texts_are_fine(text, ids):
    assert tokenized((text, ""), eos_id=9).encoder_token_ids[0].tolist() == ids


def test_limit_of_one_leaves_the_end_of_sequence():
    assert tokenized(("abc", "x"), max_input_tokens=1).encoder_token_ids[0].tolist() == [1]


def test_more_texts_than_fit_one_call_keep_their_order():
    rows = tokenized(*((chr(2 + number), "x") for number in range(2_500)))

    assert [int(ids[0]) for ids in rows.encoder_token_ids] == list(range(2, 2_502))


def test_concatenate_keeps_order_and_task_indices():
    joined = TokenizedExamples.concatenate([tokenized(("a", "x"), ("b", "y")), tokenized(("c", "z"), task_index=1)])

    assert len(joined) == 3
    assert [int(ids[0]) for ids in joined.encoder_token_ids] == [97, 98, 99]
    assert joined.task_indices.tolist() == [0, 0, 1]


def test_batch_pads_masks_and_shifts():
    rows = tokenized(("ab", "x"), ("", ""), ("c", "yz"), task_index=5)

    x, y = rows.batch(np.array([0, 2]), with_task_id=True, pad_id=7, start_id=8)

    expected = {
        "encoder_token_ids": [[97, 98, 1], [99, 1, 7]],
        "encoder_padding_mask": [[1, 1, 1], [1, 1, 0]],
        "decoder_token_ids": [[8, 120, 7], [8, 121, 122]],
        "decoder_padding_mask": [[1, 1, 0], [1, 1, 1]],
        "task_id": [5, 5],
    }
    assert {key: value.tolist() for key, value in x.items()} == expected
    assert y.tolist() == [[120, 1, 0], [121, 122, 1]]
    assert {value.dtype for value in (*x.values(), y)} == {np.dtype(np.int32)}


def test_batch_without_task_id_has_four_keys():
    x, _ = tokenized(("a", "x")).batch(np.array([0]), with_task_id=False, pad_id=0, start_id=0)

    assert "task_id" not in x
    assert len(x) == 4


@pytest.mark.parametrize("name", ["max_input_tokens", "max_target_tokens"])
def test_limits_below_one_are_refused(name):
    with pytest.raises(ConfigError, match=f"`{name}` must be a whole number above 0. Received: 0"):
        tokenized(("a", "x"), **{name: 0})


def test_uneven_parts_are_refused():
    with pytest.raises(DataError, match=r"must be equally many. Received: \(1, 1, 2\)"):
        TokenizedExamples((np.array([1]),), (np.array([1]),), np.array([0, 0]))


def test_concatenate_of_nothing_is_refused():
    with pytest.raises(DataError, match="at least one part to concatenate"):
        TokenizedExamples.concatenate([])
