"""Rows that read the same text are decoded in groups: every row answers as plain NumPy does for it alone."""

import dataclasses

import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from served_methods import module_of, task_of, twin_and_output

import softprompt_tf as sp
from softprompt_tf.export.graph import decoder_functions, serving_module
from softprompt_tf.export.graph.encoded_streams import DecodingOrder, WorthSharing
from softprompt_tf.inference import decoding

FILM, RAIN, YES = "a charming film", "rain fell on the roof all night long", "yes"
TARGET = "nobody could say"
SMALL = WorthSharing(rows=3, bytes=1)
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


@pytest.fixture(scope="module")
def of_queries(tiny_t5):
    """Tasks that change the attention to the encoder output, but no key and no value that rows of other tasks see."""
    return {
        "behind": task_of(tiny_t5, 14, prompt_behind_encoder=3, cross_output_scale=1),
        "long": task_of(tiny_t5, 15, prompt_behind_encoder=5, cross_attention_adapter=2),
        "keys": task_of(tiny_t5, 16, cross_key_scale=1, cross_query_scale=1),
        "delta": task_of(tiny_t5, 17, cross_query_delta=2, cross_output_delta=1),
        "scale": task_of(tiny_t5, 18, cross_value_scale=1, cross_output_delta=2),
        "front": task_of(tiny_t5, 19, prompt=2, cross_key_scale=1, cross_value_scale=1),
    }


@pytest.fixture
def small_groups(monkeypatch):
    """Groups of three rows and more, however small."""
    for name in ("FOR_SCORES", "FOR_ANSWERS"):
        monkeypatch.setattr(serving_module, name, SMALL)


def targets_are_short(monkeypatch, is_short):
    """Leave rows over beside groups of three, or put every row into a group of its own, whatever the targets cost."""
    monkeypatch.setattr(decoder_functions, "_is_short", lambda *_: tf.constant(is_short))


def asked(pairs):
    task_ids, texts = zip(*pairs, strict=True)
    return {"task_id": tf.constant(task_ids), "text": tf.constant(texts)}


@pytest.mark.thorough
@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize(
    ("kind", "is_short"), [("tasks", True), ("tasks", False), ("in_decoder", True), ("of_queries", True)]
)
def test_rows_in_groups_are_scored_as_plain_numpy_does(tiny_t5, kind, is_short, request, monkeypatch):
    tasks, parts = request.getfixturevalue(kind), []

    def seen(t5, target_ids, source, injection):
        parts.append(source.own is not None)
        return of_shared(t5, target_ids, source, injection)

    of_shared = decoder_functions.score_targets_of_shared
    monkeypatch.setattr(decoder_functions, "score_targets_of_shared", seen)
    targets_are_short(monkeypatch, is_short)
    signature = module_of(tiny_t5, tasks).signature("score")

    found = signature(**asked(ASKED), target=tf.constant([TARGET] * len(ASKED)))

    ids = [*tiny_t5.tokenize([TARGET])[0], 1]
    for row, (name, text) in enumerate(ASKED):
        twin, output = twin_and_output(tiny_t5, tasks[name], text)
        expected = numpy_t5.target_log_probability(twin, ids, output)
        assert found["log_likelihood"][row].numpy() == pytest.approx(expected, rel=1e-5), (name, text)
    assert set(parts) == {kind != "in_decoder"}


@pytest.mark.thorough
@pytest.mark.usefixtures("small_groups")
def test_labels_of_rows_in_groups_are_those_of_rows_alone(tiny_t5, tasks, monkeypatch):
    targets_are_short(monkeypatch, is_short=True)
    huge = task_of(tiny_t5, 8, prompt_behind_encoder=2)
    huge.tensors["prompt_behind_encoder"].setflags(write=True)
    huge.tensors["prompt_behind_encoder"][0] = 3e38
    signature = module_of(tiny_t5, {**tasks, "huge": huge}).signature("classify")
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


# === Answers that are written ===


@pytest.fixture(scope="module")
def in_cross(tiny_t5, tasks):
    """Tasks of a graph in which one injects into the attention to the encoder output: no row shares it in its batches."""
    return {**tasks, "scale": task_of(tiny_t5, 13, cross_key_values=2)}


@pytest.mark.thorough
@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("sampler", [sp.Greedy(), sp.Beam(num_beams=3)], ids=repr)
@pytest.mark.parametrize("kind", ["tasks", "in_decoder", "in_cross", "of_queries"])
def test_rows_in_groups_are_answered_as_plain_numpy_does(tiny_t5, kind, sampler, request, monkeypatch):
    tasks, seen = dict(request.getfixturevalue(kind)), []
    tasks["long"] = dataclasses.replace(tasks["long"], max_target_tokens=3, labels=())  # the others write six tokens

    def noted(t5, source, injection):
        seen.append((source.own is not None, injection.moves_cross_keys))
        return of_shared(t5, source, injection)

    of_shared = decoding.project_shared
    monkeypatch.setattr(decoding, "project_shared", noted)
    signature = module_of(tiny_t5, tasks, sampler=sampler).signature("serving_default")

    found = signature(**asked(ASKED))

    for row, (name, text) in enumerate(ASKED):
        twin, output = twin_and_output(tiny_t5, tasks[name], text)
        ids, score = _searched(sampler, twin, output, tasks[name].max_target_tokens)
        assert found["output"][row].numpy().decode() == tiny_t5.detokenize([ids])[0], (name, text)
        assert found["score"][row].numpy() == pytest.approx(score, rel=1e-4, abs=1e-5), (name, text)
    assert set(seen) == {(kind != "in_decoder", False)}


def _searched(sampler, twin, output, max_tokens):
    if isinstance(sampler, sp.Greedy):
        return numpy_t5.greedy(twin, output, max_tokens)
    return numpy_t5.beam(twin, output, max_tokens, num_beams=3, length_penalty=0.6)


@pytest.mark.thorough
@pytest.mark.usefixtures("small_groups")
def test_a_sampler_of_ones_own_gets_the_encoder_output_of_each_row(tiny_t5, tasks):
    shapes = []

    class Noting(sp.Greedy):
        def __call__(self, t5, encoder_output, *rest, **others):
            shapes.append(encoder_output.shape.rank)
            return super().__call__(t5, encoder_output, *rest, **others)

    signature = module_of(tiny_t5, tasks, sampler=Noting()).signature("serving_default")

    found = signature(**asked(ASKED))

    assert set(shapes) == {3}
    for row in (0, 3):
        twin, output = twin_and_output(tiny_t5, tasks[ASKED[row][0]], ASKED[row][1])
        assert found["score"][row].numpy() == pytest.approx(numpy_t5.greedy(twin, output, 6)[1], rel=1e-4, abs=1e-5)


@pytest.mark.thorough
@pytest.mark.usefixtures("small_groups")
def test_a_bad_row_of_a_group_is_told_and_hurts_no_neighbour(tiny_t5, tasks):
    huge = task_of(tiny_t5, 8, prompt_behind_encoder=2)
    huge.tensors["prompt_behind_encoder"].setflags(write=True)
    huge.tensors["prompt_behind_encoder"][0] = 3e38
    pairs = [*ASKED[:3], ("huge", FILM), ("nobody", FILM), ("huge", RAIN), *ASKED[3:]]

    found = module_of(tiny_t5, {**tasks, "huge": huge}).signature("serving_default")(**asked(pairs))

    assert [bool(status) for status in found["status"].numpy()] == [row in (3, 4, 5) for row in range(len(pairs))]
    for row in (0, 2, 6, 7):
        twin, output = twin_and_output(tiny_t5, tasks[pairs[row][0]], pairs[row][1])
        assert found["score"][row].numpy() == pytest.approx(numpy_t5.greedy(twin, output, 6)[1], rel=1e-4, abs=1e-5)


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
    order = DecodingOrder.of(tf.repeat(tf.range(len(counts)), counts), tf.constant(2**20), WorthSharing(8, 64 * 2**20))

    assert int(order.num_grouped) == num_grouped
    if size is not None:
        assert int(order.group_size) == size


def test_the_rows_asked_here_make_three_groups_of_three_and_leave_three_over():
    streams = [0 if text == FILM else 1 if text == RAIN else 2 for _, text in ASKED]
    streams[4] = 3  # "front" has a stream of its own

    order = DecodingOrder.of(tf.constant(streams), tf.constant(1), SMALL)

    assert (int(order.group_size), int(order.num_grouped)) == (3, 9)


def test_groups_come_first_and_every_row_comes_back():
    streams = [0, 1, 0, 0, 2, 0, 0, 1, 1, 1]

    order = DecodingOrder.of(tf.constant(streams), tf.constant(1), SMALL)

    assert (int(order.group_size), int(order.num_grouped)) == (4, 8)
    assert order.rows.numpy().tolist() == [0, 2, 3, 5, 1, 7, 8, 9, 6, 4]
    values = tf.gather(tf.range(10, 20), order.rows)
    assert order.restored(values).numpy().tolist() == list(range(10, 20))


def test_rows_without_equal_texts_form_no_group():
    order = DecodingOrder.of(tf.constant([2, 0, 1]), tf.constant(2**30), SMALL)

    assert order.rows.numpy().tolist() == [1, 2, 0]
    assert int(order.num_grouped) == 0
