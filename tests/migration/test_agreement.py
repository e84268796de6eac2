"""Agreement, baseline and divergence by hand; the weights of soft targets; lines that are split."""

import numpy as np
import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.migration.agreement import (
    TaskAgreement,
    agreement_metrics,
    mean_divergence,
    one_answer_share,
    share_of_same,
    table_lines,
)
from softprompt_tf.migration.answers import Answers
from softprompt_tf.migration.lines import lines_of, read_lines, split_lines
from softprompt_tf.migration.soft_targets import WeightedBatches, weighted_rows
from softprompt_tf.tasks import BatchStream, tokenize_examples

OLD = Answers(("a", "b", "a", "a"), np.array([[0.75, 0.25], [0.5, 0.5], [1.0, 0.0], [0.995, 0.005]]))
NEW = Answers(("a", "a", "a", "b"), np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.995, 0.005]]))


def test_agreement_is_the_share_of_equal_answers():
    assert share_of_same(OLD, NEW) == 0.5


def test_one_answer_is_the_share_of_the_training_lines_commonest():
    assert one_answer_share(Answers(("b", "b", "a")), OLD) == 0.25


def test_the_divergence_is_of_the_new_answers_from_the_old_ones_in_nats():
    by_hand = (0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75) + np.log(1 / 0.5)) / 4

    assert mean_divergence(OLD, NEW) == pytest.approx(by_hand, abs=1e-9)
    assert mean_divergence(OLD, OLD) == 0
    assert agreement_metrics(OLD, NEW) == pytest.approx({"agreement": 0.5, "minus_kl": -by_hand})


def test_written_texts_have_no_divergence():
    assert mean_divergence(Answers(("x",)), Answers(("x",))) is None
    assert agreement_metrics(Answers(("x",)), Answers(("x",))) == {"agreement": 1.0}


def test_a_line_becomes_a_row_for_each_likely_label_with_its_probability():
    examples, weights = weighted_rows(["l0", "l1", "l2", "l3"], OLD, ("yes", "no"))

    pairs = [(example.inputs, example.target) for example in examples]
    assert pairs == [("l0", "yes"), ("l0", "no"), ("l1", "yes"), ("l1", "no"), ("l2", "yes"), ("l3", "yes")]
    np.testing.assert_allclose(weights, [0.75, 0.25, 0.5, 0.5, 1.0, 0.995])


def test_of_many_labels_the_likeliest_has_a_row_even_if_it_is_unlikely():
    shares = np.full((1, 200), 0.005)
    shares[0, 7] = 0.0051

    examples, weights = weighted_rows(["line"], Answers(("w7",), shares), tuple(f"w{k}" for k in range(200)))

    assert [example.target for example in examples] == ["w7"]
    np.testing.assert_allclose(weights, [0.0051], rtol=1e-6)


def test_a_written_text_is_one_row_of_weight_one():
    examples, weights = weighted_rows(["l0", "l1"], Answers(("one", "two")), ())

    assert [example.target for example in examples] == ["one", "two"]
    np.testing.assert_array_equal(weights, [1, 1])


def test_each_row_of_a_batch_has_its_own_weight_from_any_step_on():
    inputs = ["x" * (k + 1) for k in range(6)]  # as many tokens as its number
    examples, _ = weighted_rows(inputs, Answers(("t",) * 6), ())
    tokenized = tokenize_examples(
        examples, lambda texts: [[7] * len(text) for text in texts], max_input_tokens=20, max_target_tokens=5
    )
    batches = WeightedBatches(BatchStream(tokenized, batch_size=4, seed=3), np.arange(6, dtype=np.float32))

    for step, (x, _, weights) in enumerate(batches.dataset(first_step=1).take(2), start=1):
        np.testing.assert_array_equal(weights, x["encoder_padding_mask"].numpy().sum(axis=1) - 2)
        np.testing.assert_array_equal(weights, batches.batch(step)[2])


def test_lines_are_split_by_a_seed_and_each_is_in_one_part():
    lines = [f"line {k % 50}" for k in range(100)]

    split = split_lines(lines, held_out=0.2, seed=1, task_id="film")

    assert [len(part) for part in (split.train, split.dev, split.held_out)] == [40, 5, 5]
    assert sorted([*split.train, *split.dev, *split.held_out]) == sorted(set(lines))
    assert split == split_lines(lines, held_out=0.2, seed=1, task_id="film")
    assert split != split_lines(lines, held_out=0.2, seed=2, task_id="film")


@pytest.mark.parametrize("held_out", [0.001, 0.999])
def test_every_part_has_a_line_at_least(held_out):
    split = split_lines([str(k) for k in range(10)], held_out=held_out, seed=1, task_id="film")

    assert min(len(split.train), len(split.dev), len(split.held_out)) >= 1


def test_too_few_different_lines_are_refused():
    with pytest.raises(DataError, match="at least 10 different lines of text. Received: 9 for task 'film'"):
        split_lines([str(k % 9) for k in range(30)], held_out=0.2, seed=1, task_id="film")


def test_lines_are_a_tasks_own_or_those_for_all():
    assert lines_of(["a", "b"], {"": ["x"], "b": ["y"]}) == {"a": ["x"], "b": ["y"]}
    assert lines_of(["a", "b"], {"": (text for text in "xy")}) == {"a": ["x", "y"], "b": ["x", "y"]}
    with pytest.raises(ConfigError, match=r"Lines must be a list of texts. Received: None"):
        lines_of(["a"], {"": None})
    with pytest.raises(ConfigError, match="Every task needs text. Received: none for a"):
        lines_of(["a", "b"], {"b": ["y"]})
    with pytest.raises(ConfigError, match="Lines must be a list of texts. Received: 'texts.txt'"):
        lines_of(["a"], {"": "texts.txt"})
    with pytest.raises(ConfigError, match=r"Lines must be a list of texts. Received: \[1, 2\]"):
        lines_of(["a"], {"a": [1, 2]})
    with pytest.raises(ConfigError, match="for a task of the export. Received: c. Known: a, b"):
        lines_of(["a", "b"], {"": ["x"], "c": ["y"]})


def test_lines_are_read_of_texts_and_of_rows(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"text": "three", "n": 1}\n', encoding="utf-8")

    assert read_lines([tmp_path / "a.txt", tmp_path / "b.jsonl"]) == ["one", "two", "three"]


def test_the_table_shows_each_task_and_says_where_agreement_means_nothing():
    good = TaskAgreement("film", 80, 10, at_start=0.4, agreement=0.9, one_answer=0.6, answers=2, kl=0.1234)
    lines = table_lines(
        [
            good,
            TaskAgreement("all", 80, 10, agreement=0.6, one_answer=0.6, answers=2),
            TaskAgreement("one", 80, 10, agreement=1.0, one_answer=1.0, answers=1),
            TaskAgreement("bad", error="no text"),
        ]
    )

    assert lines == [
        "task  lines  held out  at start  agreement  one answer     KL",
        "film     80        10     0.400      0.900       0.600  0.123",
        "all      80        10     0.000      0.600       0.600      -",
        "one      80        10     0.000      1.000       1.000      -",
        "all: no better than one answer for all",
        "one: the old model gives one answer to all lines: use other text",
        "bad: failed: no text",
    ]


def test_a_task_has_one_line_of_the_table_and_one_note_whatever_its_name():
    tasks = [TaskAgreement(name, 8, 2, agreement=0.5, one_answer=0.5, answers=2) for name in ("two\nlines", "情感")]

    _, *lines = table_lines(tasks)

    assert [line.partition("  ")[0] for line in lines[:2]] == [r"'two\nlines'", "情感"]
    assert lines[2:] == [f"{name}: no better than one answer for all" for name in (r"'two\nlines'", "情感")]
