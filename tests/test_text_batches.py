"""Texts of every form that `fit` and `generate` take become the same token dictionaries."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_t5 import SENTENCES

from softprompt_tf.errors import DataError
from softprompt_tf.text_batches import TextBatches

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


def check_batch(t5, batch, inputs, targets):
    tokens, target_ids = batch
    expected, expected_targets = rows(t5, inputs, 12), rows(t5, targets, 5)
    np.testing.assert_array_equal(target_ids, expected_targets)
    np.testing.assert_array_equal(tokens["encoder_token_ids"], expected)
    np.testing.assert_array_equal(tokens["encoder_padding_mask"], expected != 0)
    shifted = np.concatenate([np.zeros((len(targets), 1), int), expected_targets[:, :-1]], axis=1)
    np.testing.assert_array_equal(tokens["decoder_token_ids"], shifted)
    np.testing.assert_array_equal(tokens["decoder_padding_mask"], expected_targets != 0)
    assert {part.dtype for part in [*tokens.values(), target_ids]} == {tf.int32}


def in_memory():
    yield "dict", {"encoder_text": INPUTS, "decoder_text": TARGETS}, None
    yield "dict and y", {"encoder_text": INPUTS}, TARGETS
    yield "lists", INPUTS, TARGETS
    yield "tuples", tuple(INPUTS), tuple(TARGETS)
    yield "arrays", np.array(INPUTS), np.array(TARGETS)
    yield "object arrays", np.array(INPUTS, object), np.array(TARGETS, object)
    yield "bytes", [text.encode() for text in INPUTS], [text.encode() for text in TARGETS]
    yield "tensors", tf.constant(INPUTS), tf.constant(TARGETS)


@pytest.mark.parametrize(("x", "y"), [case[1:] for case in in_memory()], ids=[case[0] for case in in_memory()])
def test_texts_in_memory_become_batches_in_their_order(tiny_t5, batches, x, y):
    dataset, none, made = batches.convert(x, y, batch_size=2, shuffle=False)

    assert (none, made) == (None, True)
    first, second = list(dataset)
    check_batch(tiny_t5, first, INPUTS[:2], TARGETS[:2])
    check_batch(tiny_t5, second, INPUTS[2:], TARGETS[2:])


@pytest.mark.parametrize("form", ["dict", "pair", "dict and target"])
def test_datasets_of_texts_are_tokenized(tiny_t5, batches, form):
    element = {
        "dict": {"encoder_text": INPUTS, "decoder_text": TARGETS},
        "pair": (INPUTS, TARGETS),
        "dict and target": ({"encoder_text": INPUTS}, TARGETS),
    }[form]

    dataset, none, made = batches.convert(
        tf.data.Dataset.from_tensor_slices(element).batch(3), None, batch_size=1, shuffle=True
    )

    assert (none, made) == (None, True)
    (batch,) = list(dataset)
    check_batch(tiny_t5, batch, INPUTS, TARGETS)


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_end_of_an_iteration_waits_for_no_tuner(batches, shuffle):
    dataset, _, _ = batches.convert(INPUTS, TARGETS, batch_size=2, shuffle=shuffle)

    assert dataset.options().autotune.enabled is False


def test_shuffling_changes_the_order_but_not_the_pairs_and_follows_the_seed(tiny_t5, batches):
    texts = list(SENTENCES[:30])

    def order(seed):
        tf.keras.utils.set_random_seed(seed)
        dataset, *_ = batches.convert(texts, texts, batch_size=30, shuffle=True)
        (tokens, targets), *_ = list(dataset)
        for ids, target in zip(tokens["encoder_token_ids"].numpy(), targets.numpy(), strict=True):
            np.testing.assert_array_equal(ids[:2], target[:2])
        return tokens["encoder_token_ids"].numpy().tolist()

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == sorted(rows(tiny_t5, texts, 12).tolist())


def test_what_holds_no_texts_comes_back_as_it_is(batches):
    tokens = {"encoder_token_ids": np.ones((2, 3))}
    dataset = tf.data.Dataset.from_tensors((tokens, np.ones((2, 3))))

    assert batches.convert(tokens, "y", batch_size=2, shuffle=True) == (tokens, "y", False)
    assert batches.convert(dataset, None, batch_size=2, shuffle=True) == (dataset, None, True)
    assert batches.of_pair((tokens, "y"), 2) == (tokens, "y")
    assert batches.of_pair((tokens, "y", "weights"), 2) == (tokens, "y", "weights")
    assert batches.of_pair(dataset, 2) is dataset


def test_validation_texts_may_be_a_pair_a_dictionary_or_a_dataset(tiny_t5, batches):
    columns = {"encoder_text": INPUTS, "decoder_text": TARGETS}

    for data in [(INPUTS, TARGETS), columns, tf.data.Dataset.from_tensor_slices(columns).batch(3)]:
        (batch,) = list(batches.of_pair(data, 3))
        check_batch(tiny_t5, batch, INPUTS, TARGETS)


def test_inputs_without_targets_are_refused(batches):
    dataset = tf.data.Dataset.from_tensor_slices({"encoder_text": INPUTS}).batch(2)

    for x in [INPUTS, {"encoder_text": INPUTS}, dataset]:
        with pytest.raises(DataError, match="Texts must come with encoder_text and decoder_text"):
            batches.convert(x, None, batch_size=2, shuffle=False)


def test_sample_weights_beside_texts_are_refused_and_not_dropped(batches):
    dataset = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS, [1.0, 2.0, 3.0])).batch(2)

    with pytest.raises(DataError, match="take no sample weights"):
        batches.convert(dataset, None, batch_size=2, shuffle=False)
    with pytest.raises(DataError, match="take no sample weights"):
        batches.of_pair((INPUTS, TARGETS, [1.0, 2.0, 3.0]), 2)


def test_columns_of_different_lengths_are_refused(batches):
    with pytest.raises(DataError, match="same number of rows.*'encoder_text': 3, 'decoder_text': 1"):
        batches.convert(INPUTS, ["a"], batch_size=2, shuffle=False)


def test_no_rows_are_refused(batches):
    for x in [{"encoder_text": [], "decoder_text": []}, []]:
        with pytest.raises(DataError, match="at least one"):
            batches.convert(x, None if x else [], batch_size=2, shuffle=False)


@pytest.mark.parametrize("bad", [None, 3, ["nested"]])
def test_a_text_that_is_no_string_is_refused(batches, bad):
    with pytest.raises(DataError, match="Every text must be a string. Received: "):
        batches.convert(["good", bad], ["a", "b"], batch_size=2, shuffle=False)
    with pytest.raises(DataError, match="Every text must be a string. Received: "):
        batches.convert({"encoder_text": [bad, "b"]}, ["a", "b"], batch_size=2, shuffle=False)
    with pytest.raises(DataError, match="Every text must be a string. Received: "):
        list(batches.inference(["good", bad], None, batch_size=2))
    with pytest.raises(DataError, match="Every text must be a string. Received: "):
        batches.target_ids([["good", bad]])


def test_an_unbatched_dataset_is_refused(batches):
    with pytest.raises(DataError, match=r"must be batched.*Call .batch\(32\)"):
        batches.convert(tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)), None, batch_size=2, shuffle=False)


def test_lone_surrogates_become_question_marks(tiny_t5, batches):
    ((_, tokens),) = batches.inference(["a \ud800 b"], None, batch_size=1)
    dataset, *_ = batches.convert(["a \ud800 b"], ["\udfff"], batch_size=1, shuffle=False)
    ((trained, targets),) = list(dataset)

    np.testing.assert_array_equal(tokens["encoder_token_ids"], rows(tiny_t5, ["a ? b"], 12))
    np.testing.assert_array_equal(trained["encoder_token_ids"], tokens["encoder_token_ids"])
    np.testing.assert_array_equal(targets, batches.target_ids([["\udfff"]])[0])


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


def test_inference_and_training_make_the_same_ids(batches):
    dataset, *_ = batches.convert(INPUTS, INPUTS, batch_size=3, shuffle=False)
    ((tokens, _),) = list(dataset)

    ((order, batch),) = batches.inference(INPUTS, None, batch_size=3)

    np.testing.assert_array_equal(batch["encoder_token_ids"], tokens["encoder_token_ids"].numpy()[order])


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


def test_several_tasks_need_a_task_id(task_batches):
    with pytest.raises(DataError, match=r"must say which of \['mood', 'topic'\] each row asks for"):
        list(task_batches.inference(INPUTS, None, batch_size=2))
    with pytest.raises(DataError, match="each row asks for"):
        task_batches.convert(INPUTS, TARGETS, batch_size=2, shuffle=False)
    dataset = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(2)
    with pytest.raises(DataError, match="each row asks for"):
        task_batches.convert(dataset, None, batch_size=2, shuffle=False)


def test_one_task_takes_no_task_id(batches):
    with pytest.raises(DataError, match="is for a model of several prompts. Received: task_id='mood'"):
        list(batches.inference(INPUTS, "mood", batch_size=2))
    columns = {"encoder_text": INPUTS, "decoder_text": TARGETS, "task_id": ["mood"] * 3}
    with pytest.raises(DataError, match="is for a model of several prompts"):
        batches.convert(columns, None, batch_size=2, shuffle=False)


@pytest.mark.parametrize("task_id", [["topic", "mood", "topic"], [1, 0, 1]], ids=["names", "indices"])
def test_training_texts_carry_their_tasks(task_batches, task_id):
    columns = {"encoder_text": INPUTS, "decoder_text": TARGETS, "task_id": task_id}

    for x in [columns, tf.data.Dataset.from_tensor_slices(columns).batch(3)]:
        dataset, *_ = task_batches.convert(x, None, batch_size=3, shuffle=False)
        ((tokens, _),) = list(dataset)
        assert tokens["task_id"].dtype == tf.int32
        np.testing.assert_array_equal(tokens["task_id"], [1, 0, 1])


def test_an_unknown_name_in_a_dataset_stops_the_run(task_batches):
    columns = {"encoder_text": INPUTS, "decoder_text": TARGETS, "task_id": ["topic", "moods", "mood"]}
    dataset, *_ = task_batches.convert(
        tf.data.Dataset.from_tensor_slices(columns).batch(3), None, batch_size=3, shuffle=False
    )

    with pytest.raises(tf.errors.InvalidArgumentError, match="`task_id` must be one of.*mood.*topic.*Received.*moods"):
        list(dataset)


def test_inference_gives_each_row_its_own_task(task_batches):
    got = list(task_batches.inference(["aaaaaaaa", "b", "cccc"], ["topic", "mood", "topic"], batch_size=2))

    tasks = np.zeros(3, int)
    for numbers, batch in got:
        tasks[numbers] = batch["task_id"]
    np.testing.assert_array_equal(tasks, [1, 0, 1])
