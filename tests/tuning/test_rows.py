"""Which rows train, which choose, and which have the last word."""

from collections import Counter

import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks import Row, Task, sample
from softprompt_tf.tuning.rows import divided, hold_out, read_rows_of


def rows(count, start=0):
    return [
        {"text": f"text {number}", "label": "good" if number % 2 else "bad"} for number in range(start, start + count)
    ]


def task(**splits):
    return Task("mood", "{text}", labels={"bad": "bad", "good": "good"}, **splits)


def parts(found):
    return [{example.inputs for example in part} for part in (found.train, found.dev, found.test)]


def divide(seed=1, **splits):
    made = task(**splits)
    return divided(made, read_rows_of(made), seed=seed)


def test_a_task_with_three_splits_keeps_them():
    found = divide(train=rows(40), validation=rows(30, 40), test=rows(30, 70))

    assert [len(part) for part in parts(found)] == [40, 30, 30]
    assert found.notes == ()


def test_without_a_test_split_half_of_many_dev_rows_are_held_out():
    found = divide(train=rows(40), validation=rows(200, 40))

    assert [len(part) for part in parts(found)] == [40, 100, 100]
    assert parts(found)[1].isdisjoint(parts(found)[2])
    assert "100 of 200 dev rows are held out for the test (drawn with seed 1)" in found.notes[0]


def test_few_dev_rows_stay_and_train_rows_are_held_out():
    found = divide(train=rows(200), validation=rows(50, 200))

    assert [len(part) for part in parts(found)] == [160, 50, 40]
    assert "40 of 200 train rows are held out for the test" in found.notes[0]


def test_texts_alone_are_divided_in_three():
    found = divide(train=rows(200))

    train, dev, test = parts(found)
    assert (len(train), len(dev), len(test)) == (128, 32, 40)
    assert len(train | dev | test) == len(train) + len(dev) + len(test)


def test_rows_of_one_text_are_never_on_two_sides():
    found = divide(train=rows(50) * 4)

    train, dev, test = parts(found)
    assert len(train | dev | test) == len(train) + len(dev) + len(test)


def test_rows_of_one_text_are_never_on_two_sides_where_their_groups_differ():
    made = Task("mood", "{text}", labels={"bad": "bad", "good": "good"}, group_by=("group",))
    pairs = [made.example(Row({**row, "group": n}, "")) for n, row in enumerate(rows(50) * 2)]

    kept, held = hold_out(pairs, 20, seed=1)

    assert len(held) == 20
    assert {each.inputs for each in kept}.isdisjoint(each.inputs for each in held)


def test_rows_that_are_held_out_have_no_text_of_the_rows_that_choose():
    found = divide(train=rows(200), validation=rows(50))

    train, dev, test = parts(found)
    assert (len(train), len(dev), len(test)) == (160, 50, 40)
    assert test.isdisjoint(dev | train)


def test_rows_that_are_trained_on_and_choose_are_told():
    found = divide(train=rows(200), validation=rows(50, 190), test=rows(50, 300))

    assert found.notes == (
        "10 of 50 dev rows have the text of a train row, so their scores are too good. Take these rows out of one of the two.",
    )


def test_a_label_without_rows_is_told():
    good = [row for row in rows(100, 200) if row["label"] == "good"]

    assert divide(train=rows(200), validation=good, test=rows(50, 300)).notes == (
        "No dev row has the label 'bad'. If the rows of the file are sorted, shuffle them before you divide them.",
    )


def test_a_sample_has_all_rows_of_a_group():
    made = Task("mood", "{text}", labels={"bad": "bad", "good": "good"}, group_by=("group",))
    examples = [made.example(Row({**row, "group": n // 3}, "")) for n, row in enumerate(rows(30))]

    drawn = sample(examples, 7, seed=1)

    groups = Counter(each.group for each in drawn)
    assert (len(drawn), set(groups.values())) == (9, {3})


def test_the_draw_follows_the_seed():
    splits = {"train": rows(200)}

    assert parts(divide(1, **splits)) == parts(divide(1, **splits))
    assert parts(divide(1, **splits)) != parts(divide(2, **splits))


def test_a_draw_from_many_rows_stops_at_a_thousand():
    assert len(divide(train=rows(9_000), validation=rows(50, 9_000)).test) == 1_000


def test_few_rows_are_called_rough():
    assert "Scores are rough: there are only 8 dev and 10 test rows" in divide(train=rows(50)).notes[-1]


def test_rows_of_one_text_alone_cannot_be_divided():
    with pytest.raises(DataError, match=r"with different texts\. Received: 20 train rows of task mood"):
        divide(train=rows(1) * 20)


def test_a_task_without_train_rows_is_refused():
    with pytest.raises(
        ConfigError, match="A search for a prompt needs a train split. Received: task 'mood' without train"
    ):
        read_rows_of(task(validation=rows(10)))


def test_a_test_split_that_cannot_be_read_is_told(tmp_path):
    made = task(train=rows(50), test=str(tmp_path / "gone.jsonl"))

    with pytest.warns(UserWarning, match="The test rows of task mood are left out: No such file"):
        assert set(read_rows_of(made)) == {"train"}


def test_held_out_rows_keep_their_order():
    examples = read_rows_of(task(train=rows(20)))["train"]

    kept, held = hold_out(examples, 5, seed=3)

    numbers = {example.inputs: place for place, example in enumerate(examples)}
    for part in (kept, held):
        assert [numbers[each.inputs] for each in part] == sorted(numbers[each.inputs] for each in part)
    assert (len(kept), len(held)) == (15, 5)


def test_a_sample_keeps_the_order_of_the_rows():
    examples = read_rows_of(task(train=rows(20)))["train"]

    drawn = sample(examples, 7, seed=1)

    assert [examples.index(each) for each in drawn] == sorted(examples.index(each) for each in drawn)
