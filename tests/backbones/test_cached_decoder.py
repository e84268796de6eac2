"""The cached decoder: step by step it gives what the whole decoder gives in NumPy, and targets score as they do alone."""

import numpy as np
import numpy_t5
import pytest
import tensorflow as tf
from tiny_t5 import VOCABULARY_SIZE, make_tiny_t5

from softprompt_tf.backbones.passes.cached_decoder import decode_step, empty_cache, position_biases
from softprompt_tf.backbones.passes.encoder_views import absorb_encoder_output, project_encoder_output
from softprompt_tf.backbones.passes.target_scores import score_targets

pytestmark = pytest.mark.thorough

LENGTHS = (6, 2, 4)


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def case(request):
    """Return a T5, its encoder output and mask for three rows of different lengths, and what NumPy needs of them."""
    t5 = make_tiny_t5(tie=request.param, seed=1)
    weights = numpy_t5.read_weights(t5.backbone)
    generator = np.random.default_rng(3)
    ids, mask = np.full((3, 6), 50), np.zeros((3, 6), np.int32)
    for k, length in enumerate(LENGTHS):
        ids[k, :length], mask[k, :length] = generator.integers(3, VOCABULARY_SIZE, size=length), 1
    encoded = (t5.encode(t5.embed(ids), mask), mask)
    outputs = [numpy_t5.encode(weights, weights.table[row[:length]]) for row, length in zip(ids, LENGTHS, strict=True)]
    return t5, encoded, weights, outputs


@pytest.mark.parametrize("view_of", [absorb_encoder_output, project_encoder_output])
def test_steps_give_the_logits_of_the_whole_decoder(case, view_of):
    t5, encoded, weights, outputs = case
    encoder = view_of(t5, *encoded)
    tokens = np.random.default_rng(4).integers(3, VOCABULARY_SIZE, size=(3, 2, 20))  # two beams of each row, [B, G, U]
    tokens[:, :, 0] = 0
    cache, biases = empty_cache(t5, 6, 20), position_biases(t5, 20)
    steps = []

    for index in range(20):
        logits, cache = decode_step(t5, tokens[:, :, index], index, cache, biases, encoder)
        steps.append(logits.numpy())

    for k, output in enumerate(outputs):
        expected = numpy_t5.logits(weights, tokens[k], output)  # [G, U, V]
        np.testing.assert_allclose(np.stack([step[k] for step in steps], axis=1), expected, atol=1e-4)


def test_a_step_fills_its_own_slot_of_the_cache_only(case):
    t5, encoded, _, _ = case
    encoder = project_encoder_output(t5, *encoded)
    marked = tuple(part + 3.0 for part in empty_cache(t5, 3, 5))

    _, cache = decode_step(t5, np.full((3, 1), 9), 2, marked, position_biases(t5, 5), encoder)

    assert len(cache) == 2 * 2  # keys and values of two layers
    for part in cache:
        assert np.all(part.numpy()[:, :, [0, 1, 3, 4]] == 3.0)
        assert np.all(part.numpy()[:, :, 2] != 3.0)


@pytest.mark.usefixtures("cross_attention")
def test_every_target_scores_as_it_does_alone(case):
    t5, encoded, weights, outputs = case
    targets = np.array([[[9, 8, 7, 1], [9, 1, 0, 0], [1, 0, 0, 0], [5, 5, 1, 0], [9, 8, 7, 6]]] * 3)
    targets[1, :, 0] = [20, 1, 30, 40, 50]

    scores = score_targets(t5, targets, *encoded).numpy()

    for k, output in enumerate(outputs):
        expected = [numpy_t5.target_log_probability(weights, row[row != 0], output) for row in targets[k]]
        np.testing.assert_allclose(scores[k], expected, rtol=1e-4)


def test_targets_of_one_token_are_scored_by_the_first_step(case):
    t5, encoded, weights, outputs = case
    ids = [1, 20, 30]

    scores = score_targets(t5, np.array([[[token] for token in ids]] * 3), *encoded).numpy()

    for k, output in enumerate(outputs):
        np.testing.assert_allclose(scores[k], numpy_t5.log_probabilities(weights, [0], output)[0, ids], rtol=1e-4)


def test_targets_of_a_row_share_its_first_step(case, monkeypatch):
    t5, encoded, _, _ = case
    decode, lengths = t5.forward.decode, []

    def counted(states, *rest, **how):
        lengths.append(states.shape[1])
        return decode(states, *rest, **how)

    monkeypatch.setattr(t5.forward, "decode", counted)

    score_targets(t5, np.array([[[9, 8, 1], [9, 1, 0], [7, 1, 0]]] * 3), *encoded)

    assert lengths == [1 + 3 * 2]


@pytest.mark.usefixtures("cross_attention")
def test_scores_are_the_same_inside_a_graph_of_unknown_sizes(case):
    t5, encoded, _, _ = case
    targets = np.array([[[9, 8, 1], [9, 1, 0]]] * 3, np.int32)
    eager = score_targets(t5, targets, *encoded)

    graph = tf.function(
        lambda ids: score_targets(t5, ids, *encoded),
        input_signature=[tf.TensorSpec((None, None, None), tf.int32)],
        autograph=False,
    )

    np.testing.assert_allclose(graph(targets), eager, rtol=1e-5)
    np.testing.assert_allclose(graph(targets[:, :1, :]), eager[:, :1], rtol=1e-5)


@pytest.mark.usefixtures("cross_attention")
def test_bfloat16_scores_are_close_to_float32(tiny_t5, tiny_t5_bfloat16):
    def scores(t5):
        ids = np.array([[9, 80, 33, 1]])
        encoded = (t5.encode(t5.embed(ids), np.ones_like(ids)), np.ones_like(ids))
        return score_targets(t5, np.array([[[9, 1], [30, 1]]]), *encoded)

    half = scores(tiny_t5_bfloat16)

    assert half.dtype == tf.float32
    np.testing.assert_allclose(half, scores(tiny_t5), atol=0.5)
