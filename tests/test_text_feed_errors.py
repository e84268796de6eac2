"""Texts and weights that do not fit are refused in one line, before the run or from inside it."""

import numpy as np
import pytest
import tensorflow as tf
from fed_texts import COLUMNS, INPUTS, TARGETS, TOKENS, TextDataset, generator, train

from softprompt_tf.errors import DataError
from softprompt_tf.texts.feed import check_had_rows
from softprompt_tf.texts.plain_failures import told_plainly
from softprompt_tf.texts.refused_texts import without_texts
from softprompt_tf.texts.text_batches import TextBatches
from softprompt_tf.texts.text_feed import TextFeed


@pytest.fixture(scope="module")
def feed(tiny_t5):
    return TextFeed(TextBatches(tiny_t5, max_input_tokens=12, max_target_tokens=5), labels=("good", "no", "a bad one"))


@pytest.fixture(scope="module")
def task_feed(tiny_t5):
    batches = TextBatches(tiny_t5, max_input_tokens=12, max_target_tokens=5, task_ids=("mood", "topic"))
    return TextFeed(batches)


# === Refused ===


def as_data(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0]).batch(2)


NO_TOKENS = {"encoder_token_ids": np.zeros((0, 4), np.int32)}
ONE_ROW = {"encoder_token_ids": np.zeros(4, np.int32)}
REFUSED = {
    "no targets": (lambda f: train(f, INPUTS), "must come with encoder_text and decoder_text"),
    "no targets in a dictionary": (lambda f: train(f, {"encoder_text": INPUTS}), "must come with encoder_text and"),
    "no targets in a dataset": (
        lambda f: train(f, as_data({"encoder_text": INPUTS})),
        "must come with encoder_text and",
    ),
    "no inputs": (lambda f: train(f, {"decoder_text": TARGETS}), r"Received: \['decoder_text'\]"),
    "other names": (lambda f: train(f, {"text": INPUTS, "label": TARGETS}), r"Received: \['label', 'text'\]"),
    "targets twice": (lambda f: train(f, COLUMNS, TARGETS), "Targets must come once"),
    "weights as a column": (lambda f: train(f, {**COLUMNS, "sample_weight": [1, 2, 3]}), "Weights are no column"),
    "fewer targets": (lambda f: train(f, INPUTS, ["a"]), "same number of rows.*'encoder_text': 3, 'decoder_text': 1"),
    "fewer weights": (lambda f: train(f, INPUTS, TARGETS, [1.0]), "same number of rows.*'sample_weight': 1"),
    "no rows": (lambda f: train(f, [], []), "at least one"),
    "no rows in a dictionary": (lambda f: train(f, {"encoder_text": [], "decoder_text": []}), "at least one"),
    "no rows of tokens": (lambda f: train(f, NO_TOKENS, 1), "at least one row. Received: none in encoder_token_ids"),
    "no rows of tokens to evaluate": (lambda f: f.evaluation(NO_TOKENS, 1), "none in encoder_token_ids"),
    "no rows of tokens in a batch": (lambda f: f.one_batch(NO_TOKENS, 1), "none in encoder_token_ids"),
    "no batch in a dataset": (lambda f: train(f, as_data(INPUTS, TARGETS).take(0)), "Received: none in _TakeDataset"),
    "None": (
        lambda f: train(f, [None], ["a"]),
        r"Every text must be a string. Received: None \(NoneType\). It is a missing value",
    ),
    "not a number": (lambda f: train(f, [float("nan")], ["a"]), r"Received: nan \(float\). It is a missing value"),
    "None alone": (lambda f: train(f, [None]), "must come with encoder_text and decoder_text"),
    "numbers": (lambda f: train(f, [1, 2], ["a", "b"]), "Every text must be a string. Received: 1"),
    "labels as numbers": (
        lambda f: train(f, INPUTS, [0, 1, 0]),
        r"string. Received: 0 \(int\). Map label numbers to words",
    ),
    "pairs": (
        lambda f: train(f, list(zip(INPUTS, TARGETS, strict=True))),
        "as columns. Received: a list with a tuple for",
    ),
    "dictionaries": (lambda f: train(f, [{"encoder_text": "a"}]), "Received: a list with a dict for each.*`x` and `y`"),
    "one row of a generator": (
        lambda f: train(f, generator(("a", "no"))),
        r"one row, \('a', 'no'\). Put rows together",
    ),
    "pandas.NA": (
        lambda f: train(f, [pytest.importorskip("pandas").NA], ["a"]),
        r"Received: <NA> \(NAType\). It is a missing value",
    ),
    "nested arrays": (
        lambda f: train(f, {"encoder_text": [np.array(["a", "b"])], "decoder_text": ["a"]}),
        r"Received: an array of shape \[2\] in its place.*dataset.unbatch",
    ),
    "nested": (lambda f: train(f, [["a"], ["b"]], ["a", "b"]), r"Every text must be a string. Received: \['a'\]"),
    "one string": (lambda f: train(f, "good", TARGETS), "must be a sequence.*Received: the string 'good'"),
    "a table": (lambda f: train(f, np.array([INPUTS, INPUTS]), TARGETS), r"Received: shape \[2, 3\]"),
    "unbatched": (
        lambda f: train(f, tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS))),
        r"must be batched.*Call .batch\(32\)",
    ),
    "numbers in a dataset": (
        lambda f: train(f, as_data(INPUTS, [0, 1, 0])),
        "`decoder_text` of a.*must be strings.*int32",
    ),
    "weights of words": (
        lambda f: train(f, as_data(INPUTS, TARGETS, TARGETS)),
        "`sample_weight` of a.*must be numbers",
    ),
    "weights of positions": (
        lambda f: train(f, as_data(INPUTS, TARGETS, np.ones((3, 4)))),
        "one entry for each row. Received: shape",
    ),
    "y beside a dataset": (lambda f: train(f, as_data(COLUMNS), TARGETS), "Received: y beside a BatchDataset"),
    "weights beside a dataset": (lambda f: train(f, as_data(COLUMNS), None, [1]), "Received: sample_weight beside"),
    "batch size beside a PyDataset": (
        lambda f: train(f, TextDataset(), batch_size=2),
        "Received: batch_size beside a Text",
    ),
    "a validation batch size beside a dataset": (
        lambda f: f.validation(as_data(COLUMNS), batch_size=2),
        "Received: batch_size beside a BatchDataset",
    ),
    "split of a generator": (
        lambda f: train(f, generator(), validation_split=0.5),
        "Received: validation_split beside",
    ),
    "processes": (lambda f: list(TextDataset(use_multiprocessing=True) and _read(f)), "loads in threads"),
    "an empty generator": (lambda f: train(f, (batch for batch in [])), "The generator must give at least one batch"),
    "a batch size of 0": (lambda f: train(f, INPUTS, TARGETS, batch_size=0), "`batch_size` must be a whole number"),
    "a negative weight": (lambda f: train(f, INPUTS, TARGETS, [1, -1, 1]), "finite numbers, 0 or more.*Received: -1"),
    "weights of 0": (lambda f: train(f, INPUTS, TARGETS, [0, 0, 0]), "At least one row must count"),
    "an unknown class": (lambda f: train(f, INPUTS, TARGETS, class_weight={"goods": 2}), "Received: 'goods'"),
    "a class number too high": (
        lambda f: train(f, INPUTS, TARGETS, class_weight={3: 2}),
        "an index into them. Received: 3",
    ),
    "a class twice": (lambda f: train(f, INPUTS, TARGETS, class_weight={0: 2, "good": 3}), "each label once"),
    "a list of classes": (lambda f: train(f, INPUTS, TARGETS, class_weight=[1, 2]), "must be a dictionary"),
    "classes and weights": (lambda f: train(f, INPUTS, TARGETS, [1, 1, 1], class_weight={0: 2}), "weighed once"),
    "classes and weights of a dataset": (
        lambda f: train(f, as_data(INPUTS, TARGETS, [1, 1, 1]), class_weight={0: 2}),
        "weighed once. Received: class_weight, and a dataset with weights",
    ),
    "no such target": (lambda f: train(f, ["a"], ["good"], class_weight={"no": 2}), "no row with such a target"),
    "one row of tokens": (
        lambda f: train(f, ONE_ROW, 1),
        r"in batches: .*\[B, T\]. Received: shape \[4\]. Call .batch\(32\)",
    ),
    "a dataset of tokens without batches": (
        lambda f: train(f, tf.data.Dataset.from_tensors((ONE_ROW, 1))),
        r"in batches: .* Received: shape \[4\]",
    ),
    "classes of tokens": (lambda f: train(f, TOKENS, 1, class_weight={0: 2}), "`class_weight` needs target texts"),
    "classes of a dataset of tokens": (
        lambda f: train(f, tf.data.Dataset.from_tensors((TOKENS, 1)), class_weight={0: 2}),
        "`class_weight` needs target texts",
    ),
}


def _read(feed):
    made = train(feed, TextDataset(use_multiprocessing=True))
    with told_plainly(made):
        list(made.x)


@pytest.mark.parametrize(("ask", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(feed, ask, message):
    with pytest.raises(DataError, match=message):
        ask(feed)


@pytest.mark.parametrize("x", [INPUTS, COLUMNS, np.array(INPUTS), tf.constant(INPUTS), as_data(COLUMNS), TextDataset()])
def test_logits_of_texts_are_refused_with_what_to_call(x):
    with pytest.raises(DataError, match="`predict` returns logits.*Use generate, classify or score"):
        without_texts(x, "predict")


def test_a_generator_looked_at_loses_no_batch():
    assert list(without_texts(generator((TOKENS,), (TOKENS,)), "predict")) == [(TOKENS,), (TOKENS,)]


# === Errors from inside ===


def read(made):
    with told_plainly(made):
        return list(made.x)


def test_an_error_in_a_later_batch_is_raised_as_it_was(feed):
    def batches():
        yield INPUTS[:1], TARGETS[:1]
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        read(train(feed, batches()))
    with pytest.raises(DataError, match="Every text must be a string. Received: 3"):
        read(train(feed, generator((INPUTS, TARGETS), ([3], ["a"]))))
    with pytest.raises(DataError, match="Either every batch has weights or none"):
        read(train(feed, generator((INPUTS, TARGETS), (INPUTS, TARGETS, [1, 2, 3]))))


@pytest.mark.parametrize(("weight", "told"), [(-2.0, "-2"), (np.nan, "nan"), (np.inf, "inf")], ids=str)
def test_a_weight_of_a_dataset_is_a_finite_number_0_or_more(feed, weight, told):
    made = train(feed, as_data(INPUTS, TARGETS, [1.0, weight, 1.0]))

    with pytest.raises(DataError, match=rf"^`sample_weight` must have finite numbers, 0 or more.*Received: {told}\.$"):
        read(made)


def test_what_ended_without_a_row_is_known(feed):
    for filtered, is_empty in ((lambda *_: False, True), (lambda *_: True, False)):
        made = train(feed, as_data(INPUTS, TARGETS).filter(filtered))
        list(made.x)

        assert made.is_empty() is is_empty
    with pytest.raises(DataError, match="at least one row. Received: one that ended without a row"):
        check_had_rows(train(feed, as_data(INPUTS, TARGETS)))


def test_a_generator_that_has_ended_is_no_epoch_of_nothing(feed):
    made = train(feed, generator())

    assert len(read(made)) == 2
    with pytest.raises(DataError, match="A generator can be read once"):
        read(made)


# === Several tasks ===


@pytest.mark.parametrize("task_id", [["topic", "mood", "topic"], [1, 0, 1]], ids=["names", "indices"])
def test_training_texts_carry_their_tasks(task_feed, task_id):
    columns = {**COLUMNS, "task_id": task_id}

    for x in [columns, tf.data.Dataset.from_tensor_slices(columns).batch(3), generator(columns)]:
        ((tokens, _),) = list(train(task_feed, x).x)
        assert tokens["task_id"].dtype == tf.int32
        np.testing.assert_array_equal(tokens["task_id"], [1, 0, 1])


@pytest.mark.parametrize(("wrong", "told"), [(["topic", "moods", "mood"], "moods"), ([1, 2, -1], "2, -1")], ids=str)
def test_an_unknown_task_in_a_dataset_is_one_line(task_feed, wrong, told):
    made = train(task_feed, as_data({**COLUMNS, "task_id": wrong}).unbatch().batch(3))

    with pytest.raises(DataError, match=rf"^`task_id` must be one of \['mood', 'topic'\].*Received: {told}.$"):
        read(made)


def test_tasks_must_be_there_where_there_are_several_and_only_there(feed, task_feed):
    for x in [COLUMNS, as_data(COLUMNS), generator(COLUMNS)]:
        with pytest.raises(DataError, match=r"must say which of \['mood', 'topic'\] each row asks for"):
            train(task_feed, x)
    for x in [{**COLUMNS, "task_id": ["mood"] * 3}, as_data({**COLUMNS, "task_id": ["mood"] * 3})]:
        with pytest.raises(DataError, match="is for a model of several prompts"):
            train(feed, x)
    with pytest.raises(DataError, match="`task_id` of a dataset of texts must be names or indices"):
        train(task_feed, as_data({**COLUMNS, "task_id": [0.5, 1.0, 0.0]}))
