"""Batches: an endless stream that is a function of seed and step, and one pass for evaluation."""

import numpy as np
import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks import BatchStream, TokenizedExamples, evaluation_batches


def rows_of_length(*lengths):
    """Row k holds its own number, so that a batch shows which rows it is made of."""
    return TokenizedExamples(
        tuple(np.full(length, number, np.int32) for number, length in enumerate(lengths)),
        tuple(np.array([number, 1], np.int32) for number in range(len(lengths))),
        np.arange(len(lengths), dtype=np.int32) % 2,
    )


MANY = rows_of_length(*(1 + number * 7 % 23 for number in range(50)))


def stream(examples=MANY, *, batch_size=8, seed=3, **settings):
    return BatchStream(examples, batch_size=batch_size, seed=seed, **settings)


def rows_of_epoch(batches, epoch):
    first = epoch * batches.steps_per_epoch
    return np.concatenate([batches.rows(first + step) for step in range(batches.steps_per_epoch)])


def test_every_batch_is_full_and_every_epoch_sees_every_row():
    batches = stream()

    assert batches.steps_per_epoch == 7  # 50 rows, 8 per batch
    for epoch in range(3):
        rows = rows_of_epoch(batches, epoch)
        assert len(rows) == 56
        assert set(rows) == set(range(50))


def test_filler_is_the_start_of_the_next_permutation():
    batches = stream(length_buckets=1)
    twice = sorted(rows_of_epoch(batches, 0).tolist())
    for row in range(50):
        twice.remove(row)

    permutation = np.random.Generator(np.random.Philox(key=np.array([3, 1], np.uint64))).permutation(50)

    assert twice == sorted(permutation[:6].tolist())


def test_batch_depends_on_seed_and_step_alone():
    one, other = stream(), stream()

    later = one.rows(20).tolist()
    for step in range(20):
        other.rows(step)

    assert other.rows(20).tolist() == later
    assert stream(seed=4).rows(20).tolist() != later
    assert one.rows(20 + one.steps_per_epoch).tolist() != later


def test_seed_zero_is_a_seed():
    assert stream(seed=0).rows(0).tolist() != stream(seed=1).rows(0).tolist()


def test_windows_leave_little_padding_and_mix_lengths_over_the_epoch():
    batches = stream(rows_of_length(*(1 + number % 64 for number in range(512))), batch_size=8, length_buckets=16)
    lengths = np.array([[1 + row % 64 for row in batches.rows(step)] for step in range(64)])

    # 128 rows of 64 lengths, sorted: 8 neighbours span about 4 lengths; unsorted they span about 50.
    assert np.mean(lengths.max(axis=1) - lengths.min(axis=1)) < 8
    assert np.any(np.diff(lengths[:, 0]) < 0)


def test_windows_by_hand():
    """16 rows of the lengths 1 to 16 in one window of four batches: each batch holds four neighbours, in a drawn order."""
    batches = stream(rows_of_length(*range(1, 17)), batch_size=4, length_buckets=4)

    epochs = [[sorted(1 + batches.rows(4 * epoch + step)) for step in range(4)] for epoch in range(4)]

    neighbours = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]
    assert [sorted(epoch) for epoch in epochs] == [neighbours] * 4
    assert any(epoch != neighbours for epoch in epochs)


def test_the_end_of_an_iteration_waits_for_no_tuner():
    dataset = stream().dataset()

    assert dataset.options().autotune.enabled is False


@pytest.mark.parametrize("length_buckets", [1, 2, 7, 100])
def test_every_window_shows_each_row_once_where_batches_come_out_even(length_buckets):
    batches = stream(rows_of_length(*(1 + number * 7 % 23 for number in range(48))), length_buckets=length_buckets)

    assert batches.steps_per_epoch == 6
    for epoch in range(3):
        assert sorted(rows_of_epoch(batches, epoch).tolist()) == list(range(48))


def test_inputs_are_padded_to_the_longest_row_or_to_a_multiple():
    examples = rows_of_length(5, 9)

    widths = [stream(examples, batch_size=2, pad_to_multiple_of=k).batch(0) for k in (1, 4, 9)]

    assert [x["encoder_token_ids"].shape for x, _ in widths] == [(2, 9), (2, 12), (2, 9)]
    assert [y.shape for _, y in widths] == [(2, 2)] * 3
    for x, _ in widths:
        assert sorted(x["encoder_padding_mask"].sum(axis=1).tolist()) == [5, 9]
        assert not x["encoder_token_ids"][x["encoder_padding_mask"] == 0].any()


@pytest.mark.parametrize(("longest", "width"), [(1, None), (2, 2), (8, 8), (9, None)])
def test_short_targets_have_one_width_that_a_graph_knows(longest, width):
    """Rows of 1 token and one of the longest; a width of 1 is left open, as Keras warns of a softmax over one score."""
    targets = (np.full(longest, 7, np.int32), *[np.array([1], np.int32)] * 3)
    examples = TokenizedExamples(rows_of_length(2, 2, 2, 2).encoder_token_ids, targets, np.zeros(4, np.int32))
    batches = stream(examples, batch_size=1)

    widths = {batches.batch(step)[1].shape[1] for step in range(4)}
    x, y = batches.dataset().element_spec

    assert widths == ({width} if width else {1, longest})
    assert [spec.shape.as_list() for spec in (x["decoder_token_ids"], x["decoder_padding_mask"], y)] == [
        [None, width]
    ] * 3
    assert x["encoder_token_ids"].shape.as_list() == [None, None]


def test_batch_size_above_the_number_of_rows_repeats_them():
    batches = stream(rows_of_length(1, 2, 3), batch_size=8)

    rows = batches.rows(0)

    assert batches.steps_per_epoch == 1
    assert np.bincount(rows).sum() == 8
    assert np.bincount(rows, minlength=3).min() >= 2


def test_batch_holds_the_rows_that_it_names():
    batches = stream(with_task_id=True, pad_id=-1)

    x, y = batches.batch(5)

    assert x["encoder_token_ids"][:, 0].tolist() == batches.rows(5).tolist()
    assert y[:, 0].tolist() == batches.rows(5).tolist()
    assert x["task_id"].tolist() == (batches.rows(5) % 2).tolist()
    assert x["encoder_token_ids"].shape == x["encoder_padding_mask"].shape
    assert ((x["encoder_token_ids"] == -1) == (x["encoder_padding_mask"] == 0)).all()


def test_dataset_starts_at_any_step_and_never_ends():
    batches = stream(with_task_id=True)

    for step, (x, y) in enumerate(batches.dataset(first_step=12).take(10), start=12):
        expected_x, expected_y = batches.batch(step)
        assert {key: value.numpy().tolist() for key, value in x.items()} == {
            key: value.tolist() for key, value in expected_x.items()
        }
        assert y.numpy().tolist() == expected_y.tolist()


def test_far_step_costs_no_more_than_its_own_epoch():
    batches = stream()
    planned = []
    plan = batches._generator
    batches._generator = lambda epoch: (planned.append(epoch), plan(epoch))[1]

    batches.rows(7 * 1_000_000)

    assert planned == [1_000_000, 1_000_001]


def test_evaluation_sees_every_row_once_by_length():
    seen = list(evaluation_batches(MANY, batch_size=8, with_task_id=True))
    rows = np.concatenate([numbers for _, _, numbers in seen])
    lengths = [len(MANY.encoder_token_ids[row]) for row in rows]

    assert sorted(rows.tolist()) == list(range(50))
    assert lengths == sorted(lengths)
    assert [len(numbers) for _, _, numbers in seen] == [8] * 6 + [2]


def test_evaluation_row_numbers_restore_the_order():
    answers = np.zeros(50, np.int64)

    for x, _, numbers in evaluation_batches(MANY, batch_size=7):
        answers[numbers] = x["encoder_token_ids"][:, 0]

    assert answers.tolist() == list(range(50))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be a whole number above 0. Received: 0"),
        ({"length_buckets": 0}, "`length_buckets` must be a whole number above 0. Received: 0"),
        ({"pad_to_multiple_of": 0}, "`pad_to_multiple_of` must be a whole number above 0. Received: 0"),
        ({"seed": -1}, "`seed` must be a whole number from 0 up to 2.64. Received: -1"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        stream(**settings)


def test_negative_step_is_refused():
    with pytest.raises(ConfigError, match="`step` must be a whole number from 0 up. Received: -1"):
        stream().batch(-1)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="at least one row"):
        stream(rows_of_length())
    with pytest.raises(DataError, match="at least one row"):
        evaluation_batches(rows_of_length(), batch_size=2)
