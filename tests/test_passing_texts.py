"""What is cut and what is unknown is counted while batches pass, and said with the words of texts in memory."""

import sys
import warnings

import keras
import pytest
import tensorflow as tf
from fed_texts import INPUTS, TARGETS, TextDataset, generator

from softprompt_tf.methods import prompt_tuning
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.texts.passing_texts import PassingTexts
from softprompt_tf.training import TargetCrossEntropy

ROWS = ["a charming film 漢", *INPUTS[1:]]  # one character that the vocabulary does not have


@pytest.fixture(scope="module")
def model(tiny_t5):
    made = PromptedT5(tiny_t5, prompt_tuning(length=1), max_input_tokens=4, max_target_tokens=30)
    made.compile(optimizer="sgd", loss=TargetCrossEntropy())
    return made


def dataset(inputs=ROWS, targets=TARGETS):
    return tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(2)


def sources():
    rows = tuple(zip(ROWS, TARGETS, strict=True))
    yield "dataset", dataset
    yield "PyDataset", lambda: TextDataset(rows)
    yield "PyDataset in threads", lambda: TextDataset(rows, workers=2)
    yield "generator", lambda: generator((ROWS[:2], TARGETS[:2]), (ROWS[2:], TARGETS[2:]))


def said(capsys, run):
    """Return the lines on the standard error stream that start as ours do, and the warnings."""
    capsys.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("Texts", "epoch "))]
    return lines, [str(each.message) for each in caught if str(each.message).startswith("Texts")]


def test_pieces_are_counted_before_they_are_cut(capsys):
    passing = PassingTexts(max_input_tokens=3, max_target_tokens=2)

    passing.note(tf.ragged.constant([[5, 2], [5, 6, 2], []]), tf.ragged.constant([[7], [7, 7], [2]]))
    passing.note(tf.ragged.constant([[2]]), tf.ragged.constant([[7]]))

    assert said(capsys, passing.tell) == (
        [
            "Texts: 4 rows; cut: 1 of 4 (25.0 %) inputs (at 3 tokens), 1 of 4 (25.0 %) targets (at 2 tokens); "
            "unknown: 4 of 11 (36.4 %) tokens"
        ],
        [
            "Texts: Many inputs are cut: 1 of 4 (25.0 %). Raise `max_input_tokens`.",
            "Texts: Many targets are cut: 1 of 4 (25.0 %). Raise `max_target_tokens`.",
            "Texts: Many pieces are unknown to the tokenizer: 4 of 11 (36.4 %). Is this T5 for that language or script?",
        ],
    )


@pytest.mark.parametrize("make", [case[1] for case in sources()], ids=[case[0] for case in sources()])
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_batches_are_reported_as_texts_in_memory_are(model, capsys, method, make):
    in_memory = said(capsys, lambda: model.evaluate(ROWS, TARGETS, verbose=0))

    lines, warned = said(capsys, lambda: getattr(model, method)(make(), verbose=0))

    assert (lines, warned) == in_memory
    assert len(lines) == 1
    assert lines[0].startswith("Texts: 3 rows; cut: 2 of 3 (66.7 %) inputs (at 4 tokens), 0 of 3 (0.0 %) targets")
    assert "unknown: 1 of " in lines[0]
    assert [text.split(":")[1] for text in warned] == [
        " Many inputs are cut",
        " Many pieces are unknown to the tokenizer",
    ]


def mark_epochs():
    return keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: print(f"epoch {epoch}", file=sys.stderr),
    )


def test_fit_says_it_once_for_each_data_set_at_the_end_of_the_first_epoch(model, capsys):
    held_out = dataset(["a film"] * 5 + [INPUTS[2]], ["no"] * 6)

    lines, _ = said(
        capsys, lambda: model.fit(dataset(), validation_data=held_out, epochs=3, verbose=0, callbacks=mark_epochs())
    )

    assert [line[:14] for line in lines] == ["epoch 0", "Texts: 3 rows;", "Texts: 6 rows;", "epoch 1", "epoch 2"]


def test_an_endless_data_set_is_counted_for_the_steps_of_one_epoch(model, capsys):
    endless = dataset().repeat()

    lines, _ = said(
        capsys, lambda: model.fit(endless, epochs=2, steps_per_epoch=4, verbose=0, callbacks=[mark_epochs()])
    )

    assert [line.split(";")[0].split(" ")[0] for line in lines] == ["epoch", "Texts:", "epoch"]
    assert int(lines[1].split(" ")[1]) >= 6  # 2 + 1 + 2 + 1; batches may be made ahead


def test_a_list_of_callbacks_that_keras_made_is_left_as_it_is(model, capsys):
    callbacks = keras.callbacks.CallbackList([mark_epochs()], model=model)

    lines, _ = said(capsys, lambda: model.fit(dataset(), epochs=2, verbose=0, callbacks=callbacks))

    assert [line.split(" ")[0] for line in lines] == ["epoch", "epoch", "Texts:"]
    assert len(callbacks.callbacks) == 1


def test_nothing_is_said_of_whole_batches(model, capsys):
    assert said(capsys, lambda: model.fit(dataset(["a", "no"], ["no", "no"]), verbose=0)) == ([], [])


def test_replicas_count_each_row_once(tiny_t5, capsys):
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        made = PromptedT5(tiny_t5, prompt_tuning(length=1), max_input_tokens=4, max_target_tokens=30)
        made.compile(optimizer="sgd", loss=TargetCrossEntropy())

    lines, _ = said(capsys, lambda: made.evaluate(dataset(), verbose=0))

    assert [line.split(";")[0] for line in lines] == ["Texts: 3 rows"]


def test_a_loop_over_batches_hears_of_the_first_one_that_is_cut(tiny_t5, capsys):
    made = PromptedT5(tiny_t5, prompt_tuning(length=1), max_input_tokens=4, max_target_tokens=30)
    made.compile(optimizer="sgd", loss=TargetCrossEntropy())

    long = "the old miller walks to the river"
    whole = said(capsys, lambda: made.test_on_batch(["a", "no"], ["no", "no"]))
    cut = said(capsys, lambda: made.test_on_batch([long, "no"], ["no", "no"]))
    later = said(capsys, lambda: made.train_on_batch([long, long], ["no", "no"]))

    assert whole == later == ([], [])
    name = "Texts of a batch (later batches are not reported): "
    assert cut[0][0].startswith(name + "2 rows; cut: 1 of 2 (50.0 %) inputs (at 4 tokens), 0 of 2 (0.0 %) targets")
    assert cut[1] == [name + "Many inputs are cut: 1 of 2 (50.0 %). Raise `max_input_tokens`."]
