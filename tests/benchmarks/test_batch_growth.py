"""Batches of several sizes in turn, from any step on, and the rows that a run has taken."""

import pytest
import tensorflow as tf

from benchmarks.batch_growth import ROWS, SCORED_EVERY, SIZES, StagedBatches, rows_after


class Numbers:
    """Endless batches of so many rows, each with its own number."""

    def __init__(self, size):
        self.size = size

    def dataset(self, *, first_step=0):
        return tf.data.Dataset.counter(first_step).map(lambda step: tf.fill([self.size], step))


@pytest.mark.parametrize("first_step", [0, 1, 2, 4])
def test_sizes_follow_each_other_from_any_step_on(first_step):
    batches = StagedBatches([(Numbers(2), 2), (Numbers(3), 3)])

    found = [batch.tolist() for batch in batches.dataset(first_step=first_step).as_numpy_iterator()]

    assert found == [[0, 0], [1, 1], [0, 0, 0], [1, 1, 1], [2, 2, 2]][first_step:]


def test_rows_are_counted_by_size():
    assert [rows_after(step, [(2, 2), (3, 3)]) for step in range(6)] == [0, 2, 4, 7, 10, 13]


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_every_kind_takes_the_same_rows_and_is_scored_after_the_same(sizes):
    steps = sum(count for _, count in sizes)
    every = min(SCORED_EVERY // size for size, _ in sizes)

    scored = {rows_after(step, sizes) for step in range(every, steps + 1, every)}

    assert rows_after(steps, sizes) == ROWS
    assert set(range(SCORED_EVERY, ROWS + 1, SCORED_EVERY)) <= scored
