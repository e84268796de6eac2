"""Texts that are dealt out by length: every row once, neighbours together, a new order each time, the same for a seed."""

import tensorflow as tf

from softprompt_tf.tasks import shuffled_by_length

TEXTS = ["x" * (1 + 5 * number % 16) for number in range(16)]  # the lengths 1 to 16, each once
COLUMNS = {"encoder_text": TEXTS, "decoder_text": [str(len(text)) for text in TEXTS]}


def passes(columns=COLUMNS, *, seed=1, times=3, **settings):
    """Return the lengths of the rows, batch by batch, of several passes over one dataset."""
    tf.keras.utils.set_random_seed(seed)
    dataset = shuffled_by_length(columns, **settings)
    return [[[len(text) for text in batch["encoder_text"].numpy()] for batch in dataset] for _ in range(times)]


def test_one_window_is_cut_into_neighbours():
    neighbours = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]

    epochs = passes(batch_size=4, length_buckets=4)

    assert [sorted(map(sorted, epoch)) for epoch in epochs] == [neighbours] * 3
    assert any(epoch != neighbours for epoch in epochs)


def test_small_windows_are_sorted_each_for_itself():
    (epoch,) = passes(batch_size=2, length_buckets=2, times=1)

    assert all(first <= second for first, second in epoch)
    assert len(epoch) == 8


def test_every_row_comes_once_and_its_columns_stay_together():
    columns = {name: column[:11] for name, column in COLUMNS.items()} | {"task_id": [len(text) for text in TEXTS[:11]]}

    rows = [
        (len(text), int(target), int(task))
        for batch in shuffled_by_length(columns, batch_size=4, length_buckets=2)
        for text, target, task in zip(*(batch[name].numpy() for name in columns), strict=True)
    ]

    assert sorted(rows) == sorted((len(text),) * 3 for text in TEXTS[:11])


def test_order_follows_the_seed_and_is_new_at_every_pass():
    settings = {"batch_size": 2, "length_buckets": 3}

    first, second, third = passes(seed=1, **settings)

    assert passes(seed=1, **settings) == [first, second, third]
    assert passes(seed=2, **settings)[0] != first
    assert first != second != third


def test_one_batch_or_one_bucket_is_merely_shuffled():
    whole = passes(batch_size=16)
    unsorted = passes(batch_size=8, length_buckets=1)

    assert [sorted(epoch[0]) for epoch in whole] == [list(range(1, 17))] * 3
    assert whole[0] != whole[1]
    assert any(batch != sorted(batch) for epoch in unsorted for batch in epoch)
