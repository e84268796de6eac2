"""Texts of every form that `fit` takes become the same batches of token dictionaries, with the right weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from fed_texts import (
    COLUMNS,
    INPUTS,
    TARGETS,
    TOKENS,
    TextDataset,
    check_batch,
    check_both,
    expected_ids,
    generator,
    train,
)
from tiny_t5 import SENTENCES

from softprompt_tf.errors import DataError
from softprompt_tf.texts.text_batches import TextBatches
from softprompt_tf.texts.text_feed import Feed, TextFeed


@pytest.fixture(scope="module")
def feed(tiny_t5):
    return TextFeed(TextBatches(tiny_t5, max_input_tokens=12, max_target_tokens=5), labels=("good", "no", "a bad one"))


# === Forms ===


def in_memory():
    pd = pytest.importorskip("pandas")
    yield "dict", COLUMNS, None
    yield "dict and y", {"encoder_text": INPUTS}, TARGETS
    yield "lists", INPUTS, TARGETS
    yield "tuples", tuple(INPUTS), tuple(TARGETS)
    yield "arrays", np.array(INPUTS), np.array(TARGETS)
    yield "object arrays", np.array(INPUTS, object), np.array(TARGETS, object)
    yield "columns of arrays", np.array(INPUTS)[:, None], np.array(TARGETS)[:, None]
    yield "bytes", [text.encode() for text in INPUTS], [text.encode() for text in TARGETS]
    yield "tensors", tf.constant(INPUTS), tf.constant(TARGETS)
    yield "series", pd.Series(INPUTS, index=[7, 8, 9]), pd.Series(TARGETS)
    yield "string series", pd.Series(INPUTS, dtype="string"), pd.Series(TARGETS, dtype="category")
    yield "columns of a frame", {"encoder_text": pd.Series(INPUTS), "decoder_text": pd.Series(TARGETS)}, None
    yield "frame", pd.DataFrame({**COLUMNS, "source": ["web"] * 3}), None
    yield "frame and series", pd.DataFrame({"film": INPUTS}), pd.Series(TARGETS)
    yield "two frames", pd.DataFrame({"encoder_text": INPUTS}), pd.DataFrame({"label": TARGETS})


@pytest.mark.parametrize(("x", "y"), [case[1:] for case in in_memory()], ids=[case[0] for case in in_memory()])
def test_texts_in_memory_become_batches_in_their_order(tiny_t5, feed, x, y):
    made = train(feed, x, y, batch_size=2)

    assert int(made.x.cardinality()) == 2
    assert made.x.element_spec[1].shape.as_list() == [None, 4]  # "a bad one" has three tokens
    check_both(tiny_t5, made)


def data_sets():
    as_data = tf.data.Dataset.from_tensor_slices
    yield "dataset of dictionaries", lambda: as_data(COLUMNS).batch(2)
    yield "dataset of pairs", lambda: as_data((INPUTS, TARGETS)).batch(2)
    yield "dataset of dictionary and target", lambda: as_data(({"encoder_text": INPUTS}, TARGETS)).batch(2)
    yield "dataset of columns", lambda: as_data((np.array(INPUTS)[:, None], np.array(TARGETS)[:, None])).batch(2)
    yield "PyDataset", TextDataset
    yield "PyDataset in threads", lambda: TextDataset(workers=2)
    yield "generator", generator
    yield (
        "generator of dictionaries",
        lambda: generator(*({k: v[s] for k, v in COLUMNS.items()} for s in (slice(2), slice(2, 3)))),
    )


@pytest.mark.parametrize("make", [case[1] for case in data_sets()], ids=[case[0] for case in data_sets()])
def test_batches_of_texts_are_tokenized(tiny_t5, feed, make):
    check_both(tiny_t5, train(feed, make()))
    check_both(tiny_t5, feed.evaluation(make()))
    check_both(tiny_t5, feed.validation(make(), else_size=7))


@pytest.mark.parametrize(
    "data",
    [(INPUTS, TARGETS), [INPUTS, TARGETS], COLUMNS, ({"encoder_text": INPUTS}, TARGETS)],
    ids=["pair", "list", "dictionary", "dictionary and target"],
)
def test_validation_texts_may_be_a_pair_a_list_or_a_dictionary(tiny_t5, feed, data):
    check_both(tiny_t5, feed.validation(data, batch_size=2))


def test_what_holds_no_texts_comes_back_as_it_is(feed):
    dataset = tf.data.Dataset.from_tensors((TOKENS, np.ones((2, 3))))
    py_dataset = TextDataset(rows=[(TOKENS, 1)])
    py_dataset.__class__ = type("Tokens", (TextDataset,), {"__getitem__": lambda self, k: (TOKENS, np.ones((2, 3)))})

    assert train(feed, TOKENS, "y", "w") == Feed(TOKENS, "y", "w", is_batched=False)
    assert feed.validation((TOKENS, "y", "w")) == Feed(TOKENS, "y", "w", is_batched=False)
    assert train(feed, dataset) == Feed(dataset)
    assert train(feed, py_dataset) == Feed(py_dataset)
    assert list(train(feed, generator((TOKENS, 1), (TOKENS, 2))).x) == [(TOKENS, 1), (TOKENS, 2)]


def test_the_end_of_an_iteration_waits_for_no_tuner(feed):
    for shuffle in (False, True):
        assert train(feed, INPUTS, TARGETS, shuffle=shuffle).x.options().autotune.enabled is False


def test_shuffling_changes_the_order_but_not_the_pairs_and_follows_the_seed(tiny_t5, feed):
    texts = list(SENTENCES[:30])

    def order(seed):
        keras.utils.set_random_seed(seed)
        weights = [len(text) for text in texts]
        made = train(feed, texts, texts, weights, batch_size=30, shuffle=True)
        assert int(made.x.cardinality()) == 1
        ((tokens, targets, weight),) = list(made.x)
        for ids, target in zip(tokens["encoder_token_ids"].numpy(), targets.numpy(), strict=True):
            np.testing.assert_array_equal(ids[:2], target[:2])
        return tokens["encoder_token_ids"].numpy().tolist(), weight.numpy().tolist()

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)[0]) == sorted(expected_ids(tiny_t5, texts, 12).tolist())
    paired = dict(zip(map(tuple, expected_ids(tiny_t5, texts, 12)), map(len, texts), strict=True))
    assert [paired[tuple(ids)] for ids in order(1)[0]] == order(1)[1]


def test_a_py_dataset_keeps_its_hooks_and_follows_the_seed(feed):
    dataset = TextDataset(rows=[(text, "good") for text in SENTENCES], size=1)

    def order(seed):
        keras.utils.set_random_seed(seed)
        return [tokens["encoder_token_ids"].numpy().tolist() for tokens, _ in train(feed, dataset, shuffle=True).x]

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == sorted(order(2))
    assert dataset.events == ["begin", "end"] * 5


# === Steps ===


def test_steps_set_the_batch_size_of_rows_in_memory_as_of_arrays(feed):
    batches = list(train(feed, INPUTS * 3, TARGETS * 3, steps=4).x.take(6))

    assert [len(targets) for _, targets in batches] == [
        3,
        3,
        3,
        3,
        3,
        3,
    ]  # 9 rows in 4 steps: 3 a step, and on from the start
    assert [len(targets) for _, targets in feed.evaluation(INPUTS, TARGETS, steps=2).x] == [2, 1]


def test_steps_beyond_the_rows_begin_again(tiny_t5, feed):
    _, second, third = list(train(feed, INPUTS, TARGETS, batch_size=2, steps=3).x.take(3))

    check_batch(tiny_t5, second, INPUTS[2:], TARGETS[2:])
    check_batch(tiny_t5, third, INPUTS[:2], TARGETS[:2], width=4)


def test_a_split_keeps_the_last_rows_apart_before_any_shuffling(tiny_t5, feed):
    first, last = feed.training(
        [*INPUTS, "it"], [*TARGETS, "no"], [1, 2, 3, 4], batch_size=2, shuffle=True, validation_split=0.3
    )

    ((_, _, weights),) = list(first.x)
    assert sorted(weights.numpy()) == [1, 2]  # of 4 rows floor(4 * 0.7) = 2 train
    ((_, held_out, held_out_weights),) = list(last.x)
    np.testing.assert_array_equal(held_out, expected_ids(tiny_t5, ["a bad one", "no"], 5))
    np.testing.assert_array_equal(held_out_weights, [3, 4])


@pytest.mark.parametrize("share", [1.0, -0.1, 0.9, 2])
def test_a_split_must_leave_rows_on_both_sides(feed, share):
    with pytest.raises(DataError, match="must leave rows on both sides. Received: validation_split="):
        feed.training(INPUTS, TARGETS, validation_split=share)


# === Weights ===


def weighted():
    weights, as_data = [1.0, 0.5, 2.0], tf.data.Dataset.from_tensor_slices
    rows = tuple(zip(INPUTS, TARGETS, weights, strict=True))
    yield "list", lambda feed: train(feed, INPUTS, TARGETS, weights, batch_size=2)
    yield "integers", lambda feed: train(feed, INPUTS, TARGETS, np.array([[2], [1], [4]]) / 2, batch_size=2)
    yield "evaluation", lambda feed: feed.evaluation(COLUMNS, sample_weight=np.array(weights), batch_size=2)
    yield "validation", lambda feed: feed.validation((INPUTS, TARGETS, weights), batch_size=2)
    yield "dataset", lambda feed: train(feed, as_data((INPUTS, TARGETS, weights)).batch(2))
    yield "dictionaries", lambda feed: train(feed, as_data(({"encoder_text": INPUTS}, TARGETS, weights)).batch(2))
    yield "PyDataset", lambda feed: train(feed, TextDataset(rows))
    yield "generator", lambda feed: train(feed, generator(*TextDataset(rows)))
    by_class = {"no": 0.5, "a bad one": 2}
    yield "class words", lambda feed: train(feed, INPUTS, TARGETS, batch_size=2, class_weight=by_class)
    yield (
        "class indices",
        lambda feed: train(feed, INPUTS, TARGETS, batch_size=2, class_weight={1: 0.5, np.int64(2): 2.0}),
    )
    yield "classes of a dataset", lambda feed: train(feed, as_data(COLUMNS).batch(2), class_weight=by_class)
    yield "classes of a PyDataset", lambda feed: train(feed, TextDataset(), class_weight=by_class)


@pytest.mark.parametrize("make", [case[1] for case in weighted()], ids=[case[0] for case in weighted()])
def test_weights_stay_with_their_rows(tiny_t5, feed, make):
    check_both(tiny_t5, make(feed), [1.0, 0.5, 2.0])


def test_classes_are_weighed_in_training_alone(feed):
    _, held_out = feed.training(INPUTS, TARGETS, class_weight={"good": 2}, validation_split=0.5)

    assert [len(batch) for batch in held_out.x] == [2]


def test_one_batch_has_its_weights(tiny_t5, feed):
    plain, weighed = feed.one_batch(INPUTS, TARGETS), feed.one_batch(INPUTS, TARGETS, class_weight={0: 3})

    check_batch(tiny_t5, (plain.x, plain.y), INPUTS, TARGETS)
    check_batch(tiny_t5, (weighed.x, weighed.y, weighed.sample_weight), INPUTS, TARGETS, [3, 1, 1])
    assert feed.one_batch(TOKENS, 1, 2) == Feed(TOKENS, 1, 2, is_batched=False)
