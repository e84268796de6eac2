"""Span corruption and prefix LM: one case by hand, what always holds, and the statistics that Raffel et al. 2020 ask for."""

import numpy as np
import pytest

from softprompt_tf.pretraining.objectives import prefix_lm, span_corruption

FIRST_SENTINEL = 999


class ScriptedDraws:
    """Stands in for a NumPy generator: answers every `choice` from a list and keeps what it was asked."""

    def __init__(self, *answers):
        self._answers = iter(answers)
        self.asked = []

    def choice(self, count, *, size, replace):
        self.asked.append((count, size, replace))
        return np.array(next(self._answers))


def put_back(inputs, targets, *, first_sentinel):
    """Return the ids that inputs and targets were made from: every sentinel gives way to what follows it in the targets."""
    spans = {}
    for token in targets.tolist():
        if token > first_sentinel:
            spans[token] = span = []
        else:
            span.append(token)
    return [token for place in inputs.tolist() for token in spans.get(place, [place])]


# === Span corruption ===


def test_span_corruption_by_hand():
    ids = np.arange(100, 140)  # 40 tokens: 15 % are 6 tokens, of mean length 3: two spans
    rng = ScriptedDraws([1], [9])  # one border each: noise of 2 and 4 tokens, kept text of 10 and 24

    inputs, targets = span_corruption(ids, rng, first_sentinel=FIRST_SENTINEL)

    assert inputs.tolist() == [*range(100, 110), 999, *range(112, 136), 998]
    assert targets.tolist() == [999, 110, 111, 998, 136, 137, 138, 139]
    assert rng.asked == [(5, 1, False), (33, 1, False)]


def test_two_tokens_keep_one_and_lose_one():
    inputs, targets = span_corruption(np.array([7, 8]), np.random.default_rng(0), first_sentinel=FIRST_SENTINEL)

    assert inputs.tolist() == [7, 999]
    assert targets.tolist() == [999, 8]


@pytest.mark.parametrize("length", [2, 3, 16, 57, 128, 400])
def test_inputs_and_targets_together_are_the_original(length):
    ids = np.random.default_rng(length).integers(3, 900, length).astype(np.int32)
    for seed in range(50):
        inputs, targets = span_corruption(ids, np.random.default_rng(seed), first_sentinel=FIRST_SENTINEL)

        assert put_back(inputs, targets, first_sentinel=900) == ids.tolist()
        assert inputs.dtype == targets.dtype == np.int32


def test_sentinels_count_down_and_stand_once_on_either_side():
    ids = np.zeros(400, np.int32)  # 60 tokens of noise, 20 spans
    for seed in range(50):
        for side in span_corruption(ids, np.random.default_rng(seed), first_sentinel=FIRST_SENTINEL):
            assert side[side > 0].tolist() == list(range(999, 979, -1))


def test_noise_is_15_percent_in_spans_of_mean_length_3():
    ids = np.zeros(20_000, np.int32)

    inputs, targets = span_corruption(ids, np.random.default_rng(0), first_sentinel=FIRST_SENTINEL * 10)

    starts = np.flatnonzero(targets)
    lengths = np.diff([*starts, len(targets)]) - 1
    assert (targets == 0).sum() == 3000
    assert (inputs == 0).sum() == 17_000
    assert len(lengths) == 1000
    assert lengths.mean() == 3
    # All splits are equally likely, so a length is nearly geometric: P(1) = 999 / 2999, and P(2) is two thirds of it.
    assert (lengths == 1).mean() == pytest.approx(0.333, abs=0.05)
    assert (lengths == 2).mean() == pytest.approx(0.222, abs=0.05)


def test_density_and_span_length_are_settings():
    ids = np.zeros(1000, np.int32)

    _, targets = span_corruption(
        ids, np.random.default_rng(0), first_sentinel=FIRST_SENTINEL, noise_density=0.5, mean_span_length=10.0
    )

    assert (targets == 0).sum() == 500
    assert (targets > 0).sum() == 50


# === Prefix LM ===


def test_prefix_and_rest_together_are_the_ids():
    ids = np.arange(100, 120)
    for seed in range(100):
        inputs, targets = prefix_lm(ids, np.random.default_rng(seed), shortest=3)

        np.testing.assert_array_equal(np.concatenate([inputs, targets]), ids)
        assert min(len(inputs), len(targets)) >= 3


@pytest.mark.parametrize(("shortest", "cuts"), [(1, range(1, 11)), (4, range(4, 8))])
def test_every_cut_is_equally_likely(shortest, cuts):
    rng = np.random.default_rng(0)

    drawn = [len(prefix_lm(np.arange(11), rng, shortest=shortest)[0]) for _ in range(5000)]

    values, counts = np.unique(drawn, return_counts=True)
    expected = 5000 / len(cuts)
    assert values.tolist() == list(cuts)
    np.testing.assert_allclose(counts, expected, atol=4.5 * np.sqrt(expected))
