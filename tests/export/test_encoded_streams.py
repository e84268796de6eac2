"""Rows that read the same text are decoded in groups: every row answers as plain NumPy does for it alone."""

import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from served_methods import module_of, task_of, twin_and_output

from softprompt_tf.export.graph import decoder_functions, encoded_streams
from softprompt_tf.export.graph.encoded_streams import DecodingOrder

FILM, RAIN, YES = "a charming film", "rain fell on the roof all night long", "yes"
TARGET = "nobody could say"
# Of each text more rows than a group has, and some that are left over; tasks and texts out of order.
ASKED = [
    ("behind", FILM),
    ("keys", RAIN),
    ("delta", FILM),
    ("long", RAIN),
    ("front", FILM),
    ("scale", FILM),
    ("behind", RAIN),
    ("long", FILM),
    ("delta", RAIN),
    ("behind", FILM),
    ("behind", YES),
    ("keys", FILM),
]


@pytest.fixture(scope="module")
def tasks(tiny_t5):
    return {
        "front": task_of(tiny_t5, 1, prompt=4),
        "behind": task_of(tiny_t5, 2, prompt_behind_encoder=3),
        "long": task_of(tiny_t5, 3, prompt_behind_encoder=5),
        "keys": task_of(tiny_t5, 4, prompt_behind_encoder=1, decoder_key_values=2),
        "delta": task_of(tiny_t5, 5, decoder_query_delta=2),
        "scale": task_of(tiny_t5, 6, decoder_value_scale=1),
    }


@pytest.fixture(scope="module")
def in_decoder(tiny_t5):
    """Tasks of a graph in which nothing stands behind the encoder."""
    return {
        "behind": task_of(tiny_t5, 7, decoder_key_values=3),
        "long": task_of(tiny_t5, 8, decoder_output_delta=2),
        "keys": task_of(tiny_t5, 9, decoder_key_values=1),
        "delta": task_of(tiny_t5, 10, decoder_query_delta=2),
        "scale": task_of(tiny_t5, 11, decoder_value_scale=1),
        "front": task_of(tiny_t5, 12, prompt=2),
    }


@pytest.fixture
def small_groups(monkeypatch):
    """Groups of three rows and more, however small."""
    monkeypatch.setattr(encoded_streams, "LEAST_GROUP", 3)
    monkeypatch.setattr(encoded_streams, "LEAST_BYTES", 1)


def targets_are_short(monkeypatch, is_short):
    """Leave rows over beside groups of three, or put every row into a group of its own, whatever the targets cost."""
    monkeypatch.setattr(decoder_functions, "_is_short", lambda *_: tf.constant(is_short))


def asked(pairs):
    task_ids, texts = zip(*pairs, strict=True)
    return {"task_id": tf.constant(task_ids), "text": tf.constant(texts)}


@pytest.mark.thorough
@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize(("kind", "is_short"), [("tasks", True), ("tasks", False), ("in_decoder", True)])
def test_rows_in_groups_are_scored_as_plain_numpy_does(tiny_t5, kind, is_short, request, monkeypatch):
    tasks, parts = request.getfixturevalue(kind), []

    def seen(t5, target_ids, source, injection):
        parts.append(source.own is not None)
        return of_shared(t5, target_ids, source, injection)

    of_shared = decoder_functions.score_targets_of_shared
    monkeypatch.setattr(decoder_functions, "score_targets_of_shared", seen)
    targets_are_short(monkeypatch, is_short)
    signature = module_of(tiny_t5, tasks).signatures()["score"]

    found = signature(**asked(ASKED), target=tf.constant([TARGET] * len(ASKED)))

    ids = [*tiny_t5.tokenize([TARGET])[0], 1]
    for row, (name, text) in enumerate(ASKED):
        twin, output = twin_and_output(tiny_t5, tasks[name], text)
        expected = numpy_t5.target_log_probability(twin, ids, output)
        assert found["log_likelihood"][row].numpy() == pytest.approx(expected, rel=1e-5), (name, text)
    assert set(parts) == {kind == "tasks"}


@pytest.mark.thorough
@pytest.mark.usefixtures("small_groups")
def test_labels_of_rows_in_groups_are_those_of_rows_alone(tiny_t5, tasks, monkeypatch):
    targets_are_short(monkeypatch, is_short=True)
    huge = task_of(tiny_t5, 8, prompt_behind_encoder=2)
    huge.tensors["prompt_behind_encoder"].setflags(write=True)
    huge.tensors["prompt_behind_encoder"][0] = 3e38
    signature = module_of(tiny_t5, {**tasks, "huge": huge}).signatures()["classify"]
    pairs = [*ASKED[:3], ("huge", FILM), ("nobody", FILM), ("huge", RAIN), *ASKED[3:]]

    together = signature(**asked(pairs))

    for row, pair in enumerate(pairs):
        alone = signature(**asked([pair]))
        assert together["status"][row].numpy() == alone["status"][0].numpy()
        assert together["label"][row].numpy() == alone["label"][0].numpy()
        np.testing.assert_allclose(
            together["log_probabilities"][row], alone["log_probabilities"][0], rtol=1e-5, atol=1e-5
        )
    assert [bool(status) for status in together["status"].numpy()] == [row in (3, 4, 5) for row in range(len(pairs))]


# === The order ===


@pytest.mark.parametrize(
    ("counts", "size", "num_grouped"),
    [
        ([64], 64, 64),
        ([63], None, 0),  # 63 MiB of copies
        ([24, 24, 24], 24, 72),
        ([24, 24, 24, 1], 24, 72),
        ([36, 32, 18], 9, 81),  # of 18 rows each 72 would stand in groups, of 8 rows 80
        ([7] * 12, None, 0),
    ],
)
def test_groups_have_the_size_that_leaves_fewest_rows_over(counts, size, num_grouped):
    order = DecodingOrder.of(tf.repeat(tf.range(len(counts)), counts), tf.constant(2**20))

    assert int(order.num_grouped) == num_grouped
    if size is not None:
        assert int(order.group_size) == size


@pytest.mark.usefixtures("small_groups")
def test_the_rows_asked_here_make_three_groups_of_three_and_leave_three_over():
    streams = [0 if text == FILM else 1 if text == RAIN else 2 for _, text in ASKED]
    streams[4] = 3  # "front" has a stream of its own

    order = DecodingOrder.of(tf.constant(streams), tf.constant(1))

    assert (int(order.group_size), int(order.num_grouped)) == (3, 9)


@pytest.mark.usefixtures("small_groups")
def test_groups_come_first_and_every_row_comes_back():
    streams = [0, 1, 0, 0, 2, 0, 0, 1, 1, 1]

    order = DecodingOrder.of(tf.constant(streams), tf.constant(1))

    assert (int(order.group_size), int(order.num_grouped)) == (4, 8)
    assert order.rows.numpy().tolist() == [0, 2, 3, 5, 1, 7, 8, 9, 6, 4]
    values = tf.gather(tf.range(10, 20), order.rows)
    assert order.restored(values).numpy().tolist() == list(range(10, 20))


def test_rows_without_equal_texts_form_no_group():
    order = DecodingOrder.of(tf.constant([2, 0, 1]), tf.constant(2**30))

    assert order.rows.numpy().tolist() == [1, 2, 0]
    assert int(order.num_grouped) == 0
