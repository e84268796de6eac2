"""Texts for `generate` and the like become token ids, tasks become indices, and limits are checked."""

import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.texts.text_batches import TextBatches

INPUTS = ["a charming film", "", "the plot is thin and the jokes are tired"]
TARGETS = ["good", "no", "a bad one"]


@pytest.fixture(scope="module")
def batches(tiny_t5):
    return TextBatches(tiny_t5, max_input_tokens=12, max_target_tokens=5)


@pytest.fixture(scope="module")
def task_batches(tiny_t5):
    return TextBatches(tiny_t5, max_input_tokens=12, max_target_tokens=5, task_ids=("mood", "topic"))


def rows(t5, texts, limit):
    """Return ids padded on the right [B, T], by the rule: cut to the limit less one, then the end of sequence."""
    ended = [[*ids[: limit - 1], 1] for ids in t5.tokenize(texts)]
    width = max(len(row) for row in ended)
    return np.array([row + [0] * (width - len(row)) for row in ended])


@pytest.mark.parametrize("bad", [None, 3, float("nan"), ["nested"]], ids=str)
def test_a_text_that_is_no_string_is_refused(batches, bad):
    with pytest.raises(DataError, match="Every text must be a string. Received: "):
        list(batches.inference(["good", bad], None, batch_size=2))
    with pytest.raises(DataError, match="Every text must be a string. Received: "):
        batches.target_ids([["good", bad]])


def test_lone_surrogates_become_question_marks(tiny_t5, batches):
    ((_, tokens),) = batches.inference(["a \ud800 b"], None, batch_size=1)

    np.testing.assert_array_equal(tokens["encoder_token_ids"], rows(tiny_t5, ["a ? b"], 12))
    np.testing.assert_array_equal(batches.target_ids([["\udfff"]]), batches.target_ids([["?"]]))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3"], ids=repr)
def test_an_answer_has_a_whole_number_of_tokens(batches, wrong):
    with pytest.raises(ConfigError, match="`max_tokens` must be a whole number above 0. Received: max_tokens="):
        batches.answer_tokens(wrong)


def test_an_answer_is_as_long_as_asked_or_as_a_target(batches):
    assert (batches.answer_tokens(3), batches.answer_tokens(np.int64(3)), batches.answer_tokens()) == (3, 3, 5)


# === Inference ===


def test_inference_pads_each_batch_to_its_own_longest_row_and_covers_every_row(tiny_t5, batches):
    texts = ["a" * k for k in (9, 0, 30, 3, 1)]

    got = list(batches.inference(texts, None, batch_size=2))

    assert sorted(np.concatenate([numbers for numbers, _ in got])) == [0, 1, 2, 3, 4]
    for numbers, batch in got:
        expected = rows(tiny_t5, [texts[k] for k in numbers], 12)
        np.testing.assert_array_equal(batch["encoder_token_ids"], expected)
        np.testing.assert_array_equal(batch["encoder_padding_mask"], expected != 0)
        assert set(batch) == {"encoder_token_ids", "encoder_padding_mask"}


def test_inference_of_no_texts_has_no_batches(batches):
    assert list(batches.inference([], None, batch_size=2)) == []


def test_target_ids_are_cut_and_end_and_are_as_wide_as_the_longest(tiny_t5, batches):
    targets = [["good", "a very long answer"], ["", "no"]]

    ids = batches.target_ids(targets)

    flat = rows(tiny_t5, [text for row in targets for text in row], 5)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, flat.reshape(2, 2, -1))
    assert batches.target_ids([]).shape == (0, 1, 1)


# === Several tasks ===


@pytest.mark.parametrize(
    ("task_id", "expected"),
    [
        ("topic", [1, 1, 1]),
        (0, [0, 0, 0]),
        (np.int64(1), [1, 1, 1]),
        (b"topic", [1, 1, 1]),
        (["mood", "topic", "mood"], [0, 1, 0]),
        ([1, 0, 1], [1, 0, 1]),
        ((b"mood", "topic", 1), [0, 1, 1]),
        (np.array(["topic", "mood", "mood"]), [1, 0, 0]),
        (np.array([1, 0, 0]), [1, 0, 0]),
        (tf.constant(["topic", "mood", "mood"]), [1, 0, 0]),
    ],
    ids=str,
)
def test_tasks_are_named_or_counted_for_all_rows_or_for_each(task_batches, task_id, expected):
    indices = task_batches.task_indices(task_id, 3)

    assert indices.dtype == np.int32
    np.testing.assert_array_equal(indices, expected)


@pytest.mark.parametrize("wrong", ["moods", 2, -1, None, 1.5, True, ["mood"]], ids=str)
def test_an_unknown_task_is_refused_with_the_known_ones(task_batches, wrong):
    with pytest.raises(DataError, match=r"must be one of \['mood', 'topic'\] or an index into them. Received"):
        task_batches.task_indices(["mood", wrong], 2)


def test_a_task_for_each_row_must_be_as_many_as_the_rows(task_batches):
    with pytest.raises(DataError, match="Received: 2 for 3 rows"):
        task_batches.task_indices(["mood", "topic"], 3)


def test_inference_gives_each_row_its_own_task(task_batches):
    got = list(task_batches.inference(["aaaaaaaa", "b", "cccc"], ["topic", "mood", "topic"], batch_size=2))

    tasks = np.zeros(3, int)
    for numbers, batch in got:
        tasks[numbers] = batch["task_id"]
    np.testing.assert_array_equal(tasks, [1, 0, 1])


def test_labels_have_a_short_width_and_long_or_many_targets_have_none(tiny_t5, batches):
    """Each has the tokens of its text and the end of sequence, and is cut at 5."""
    assert batches.short_width(["good", "no", "good"]) == rows(tiny_t5, ["good", "no"], 5).shape[1]
    assert batches.short_width([*TARGETS, "a warm and charming film"]) == 5
    assert TextBatches(tiny_t5, 12, 9).short_width([*TARGETS, "one that is much longer than the others"]) is None
    assert batches.short_width([""]) is None  # of one token
    assert batches.short_width([f"text {k}" for k in range(1_001)]) is None


def test_targets_are_padded_to_a_known_width(tiny_t5, batches):
    texts = {"encoder_text": tf.constant(["a", "b"]), "decoder_text": tf.constant(["", "no"])}
    tokenize = tf.function(lambda columns: batches.tokenize(columns, target_width=5), autograph=False)

    tokens, targets = tokenize(texts)

    no = [*tiny_t5.tokenize(["no"])[0], 1]
    expected = [[1, 0, 0, 0, 0], no + [0] * (5 - len(no))]
    assert tokenize.get_concrete_function(texts).structured_outputs[1].shape[1] == 5
    assert targets.numpy().tolist() == expected
    assert tokens["decoder_token_ids"].numpy().tolist() == [[0, *row[:-1]] for row in expected]
    assert tokens["decoder_padding_mask"].numpy().tolist() == [[1, 0, 0, 0, 0], [1] * len(no) + [0] * (5 - len(no))]
