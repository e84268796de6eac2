"""Greedy and beam search against searches in NumPy that run the whole answer anew at every step."""

import itertools

import keras_hub
import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from tiny_t5 import SENTENCES, VOCABULARY_SIZE

from softprompt_tf.errors import ConfigError
from softprompt_tf.inference.decoding import Beam, Greedy, get_sampler

MAX_TOKENS = 9


@pytest.fixture(scope="module")
def weights(tiny_t5):
    return numpy_t5.read_weights(tiny_t5.backbone)


@pytest.fixture(scope="module")
def texts(tiny_t5):
    """Return ids of texts of different lengths, some of whose answers end early, some late, and some not at all."""
    return [[*ids[: 3 + 2 * k], 1] for k, ids in enumerate(tiny_t5.tokenize(SENTENCES[:10]))]


@pytest.fixture(scope="module")
def outputs(weights, texts):
    return [numpy_t5.encode(weights, weights.table[row]) for row in texts]


def encoded(t5, texts):
    """Return the encoder output and the mask of texts padded on the right."""
    width = max(len(row) for row in texts)
    ids = np.array([row + [0] * (width - len(row)) for row in texts], np.int32)
    mask = (ids != 0).astype(np.int32)
    return t5.encode(t5.embed(ids), mask), mask


def check(result, expected):
    ids, scores = result
    assert ids.dtype == tf.int32
    assert scores.dtype == tf.float32
    np.testing.assert_array_equal(ids, [row for row, _ in expected])
    np.testing.assert_allclose(scores, [score for _, score in expected], rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("cross_attention")
def test_greedy_is_that_of_numpy(tiny_t5, weights, texts, outputs):
    expected = [numpy_t5.greedy(weights, output, MAX_TOKENS) for output in outputs]
    ends = {len(np.trim_zeros(row)) for row, _ in expected}

    result = Greedy()(tiny_t5, *encoded(tiny_t5, texts), MAX_TOKENS)

    check(result, expected)
    assert len(ends) > 2  # rows that end at different steps
    assert any(1 not in row for row, _ in expected)  # and one that is cut


@pytest.mark.usefixtures("cross_attention")
def test_greedy_is_the_same_in_a_graph_of_unknown_batch_and_length(tiny_t5, weights, texts, outputs):
    function = tf.function(
        lambda output, mask: Greedy()(tiny_t5, output, mask, MAX_TOKENS),
        input_signature=[tf.TensorSpec((None, None, 16), tf.float32), tf.TensorSpec((None, None), tf.int32)],
        autograph=False,
    )

    check(function(*encoded(tiny_t5, texts)), [numpy_t5.greedy(weights, output, MAX_TOKENS) for output in outputs])
    check(
        function(*encoded(tiny_t5, texts[:1])), [numpy_t5.greedy(weights, output, MAX_TOKENS) for output in outputs[:1]]
    )


@pytest.mark.parametrize("sampler", [Greedy(), Beam(3)], ids=["greedy", "beam"])
def test_the_longest_answer_may_be_a_tensor(tiny_t5, texts, sampler):
    function = tf.function(
        lambda output, mask, limits: sampler(tiny_t5, output, mask, tf.reduce_max(limits), row_limits=limits),
        input_signature=[
            tf.TensorSpec((None, None, 16), tf.float32),
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((None,), tf.int32),
        ],
        autograph=False,
    )
    output, mask = encoded(tiny_t5, texts[:4])

    for limits in ([3, 9, 1, 4], [2, 1, 1, 2], [1, 1, 1, 1]):
        ids, scores = function(output, mask, tf.constant(limits))
        wide_ids, wide_scores = sampler(tiny_t5, output, mask, 12, row_limits=np.array(limits, np.int32))

        assert ids.shape == (4, max(limits))
        np.testing.assert_array_equal(ids, wide_ids[:, : max(limits)])
        assert not np.any(wide_ids[:, max(limits) :])
        np.testing.assert_allclose(scores, wide_scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sampler", [Greedy(), Beam(3)], ids=["greedy", "beam"])
def test_a_row_answers_the_same_alone_and_in_any_order(tiny_t5, texts, sampler):
    ids, scores = sampler(tiny_t5, *encoded(tiny_t5, texts[:4]), 4)

    turned_ids, turned_scores = sampler(tiny_t5, *encoded(tiny_t5, texts[3::-1]), 4)
    alone_ids, alone_scores = sampler(tiny_t5, *encoded(tiny_t5, texts[:1]), 4)

    np.testing.assert_array_equal(turned_ids[::-1], ids)
    np.testing.assert_allclose(turned_scores[::-1], scores, atol=1e-4)
    np.testing.assert_array_equal(alone_ids, ids[:1])
    np.testing.assert_allclose(alone_scores, scores[:1], atol=1e-4)


def test_greedy_cuts_each_row_at_its_own_limit(tiny_t5, weights, texts, outputs):
    limits = [1, 2, 3, 9, 1, 4, 9, 2, 5, 6]
    expected = [numpy_t5.greedy(weights, output, limit) for output, limit in zip(outputs, limits, strict=True)]

    result = Greedy()(tiny_t5, *encoded(tiny_t5, texts), MAX_TOKENS, row_limits=np.array(limits, np.int32))

    check(result, [(row + [0] * (MAX_TOKENS - len(row)), score) for row, score in expected])


def test_beam_cuts_each_row_at_its_own_limit(tiny_t5, weights, texts, outputs):
    limits = [1, 4, 2]
    expected = [
        numpy_t5.beam(weights, output, limit, num_beams=3, length_penalty=0.6)
        for output, limit in zip(outputs, limits, strict=False)
    ]

    result = Beam(3)(tiny_t5, *encoded(tiny_t5, texts[:3]), 4, row_limits=np.array(limits, np.int32))

    check(result, [(row + [0] * (4 - len(row)), score) for row, score in expected])


@pytest.mark.usefixtures("cross_attention")
@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 2.0])
def test_beam_is_that_of_numpy(tiny_t5, weights, texts, outputs, length_penalty):
    expected = [numpy_t5.beam(weights, output, 6, num_beams=4, length_penalty=length_penalty) for output in outputs]

    check(Beam(4, length_penalty)(tiny_t5, *encoded(tiny_t5, texts), 6), expected)


@pytest.mark.usefixtures("cross_attention")
def test_beam_in_a_graph_is_that_of_numpy(tiny_t5, weights, texts, outputs):
    function = tf.function(
        lambda output, mask: Beam(2)(tiny_t5, output, mask, 5),
        input_signature=[tf.TensorSpec((None, None, 16), tf.float32), tf.TensorSpec((None, None), tf.int32)],
        autograph=False,
    )
    expected = [numpy_t5.beam(weights, output, 5, num_beams=2, length_penalty=0.6) for output in outputs[:3]]

    check(function(*encoded(tiny_t5, texts[:3])), expected)


def test_as_many_beams_as_pieces_find_the_best_of_all_answers_of_two_tokens(tiny_t5, weights, texts, outputs):
    alpha = 0.6
    pairs = [ids for ids in itertools.product(range(VOCABULARY_SIZE), repeat=2) if ids[0] != 1]
    expected = []
    for output in outputs[:3]:
        first = numpy_t5.log_probabilities(weights, [0], output)[0]
        after = numpy_t5.log_probabilities(weights, [[0, k] for k in range(VOCABULARY_SIZE)], output)[:, 1]
        answers = [((1,), first[1]), *((ids, first[ids[0]] + after[ids]) for ids in pairs)]
        ids, score = max(answers, key=lambda answer: numpy_t5.penalized(answer, alpha))
        expected.append(([*ids, 0][:2], score))

    check(Beam(VOCABULARY_SIZE, alpha)(tiny_t5, *encoded(tiny_t5, texts[:3]), 2), expected)


def test_beam_finds_what_greedy_misses(tiny_t5, texts):
    encoder = encoded(tiny_t5, texts)

    _, greedy = Greedy()(tiny_t5, *encoder, 6)
    _, beam = Beam(4, 0.0)(tiny_t5, *encoder, 6)

    assert np.all(beam.numpy() >= greedy.numpy() - 1e-4)
    assert np.any(beam.numpy() > greedy.numpy() + 0.1)


def test_one_beam_is_greedy(tiny_t5, texts):
    encoder = encoded(tiny_t5, texts)
    ids, scores = Greedy()(tiny_t5, *encoder, 5)

    check(Beam(1)(tiny_t5, *encoder, 5), list(zip(ids.numpy(), scores.numpy(), strict=True)))


def test_search_stops_as_soon_as_every_row_has_ended(monkeypatch, tiny_t5, texts):
    from softprompt_tf.inference import greedy

    steps = []
    step = greedy.decode_step
    monkeypatch.setattr(greedy, "decode_step", lambda *args: steps.append(1) or step(*args))
    ids, _ = Greedy()(tiny_t5, *encoded(tiny_t5, texts), MAX_TOKENS)
    short = [k for k, row in enumerate(ids.numpy()) if 1 in row]
    longest = max(len(np.trim_zeros(ids.numpy()[k])) for k in short)
    steps.clear()

    Greedy()(tiny_t5, *encoded(tiny_t5, [texts[k] for k in short]), 500)

    assert len(steps) == longest


def test_bfloat16_takes_the_same_clear_choices(tiny_t5, tiny_t5_bfloat16, texts):
    expected_ids, expected_scores = Greedy()(tiny_t5, *encoded(tiny_t5, texts), 1)
    half = tiny_t5_bfloat16

    ids, scores = Greedy()(half, *encoded(half, texts), 1)

    assert scores.dtype == tf.float32
    same = ids.numpy()[:, 0] == expected_ids.numpy()[:, 0]
    assert same.mean() >= 0.8
    np.testing.assert_allclose(scores.numpy()[same], expected_scores.numpy()[same], atol=0.3)
    assert np.isfinite(Beam(2)(half, *encoded(half, texts), 3)[1]).all()


def test_names_make_samplers():
    own = Beam(8)

    assert get_sampler("greedy") == Greedy()
    assert get_sampler("beam") == Beam(num_beams=4, length_penalty=0.6)
    assert get_sampler(own) is own


def test_an_unknown_sampler_is_refused():
    with pytest.raises(ConfigError, match="must be one of greedy, beam or an object such as Beam.8.*Received: 'top_k'"):
        get_sampler("top_k")


@pytest.mark.parametrize(
    "sampler", [4, None, Beam, keras_hub.samplers.TopKSampler(5)], ids=["number", "none", "class", "of KerasHub"]
)
def test_a_sampler_that_is_no_sampler_is_refused(sampler):
    with pytest.raises(ConfigError, match="`sampler` must be one of greedy, beam"):
        get_sampler(sampler)


@pytest.mark.parametrize("num_beams", [0, -1, 2.5])
def test_beams_must_be_one_or_more(num_beams):
    with pytest.raises(ConfigError, match=f"Received: num_beams={num_beams}"):
        Beam(num_beams)
