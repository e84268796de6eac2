"""The vote in a graph, by hand and against the vote in Python."""

import math

import numpy as np
import pytest
import tensorflow as tf

from softprompt_tf.evaluation.ensemble import vote_for_label, vote_for_text
from softprompt_tf.export.graph.member_rows import MemberRows, mean_likelihood, vote_for_labels, vote_for_texts
from softprompt_tf.inference.answers import Classification, Generation

LN2 = math.log(2)


def rows(*counts):
    return MemberRows.of(tf.constant(counts, tf.int32))


def logs(*probabilities):
    return tf.math.log(tf.constant(probabilities, tf.float32))


def test_each_member_has_a_row():
    spread = rows(1, 3, 2)

    assert spread.request.numpy().tolist() == [0, 1, 1, 1, 2, 2]
    assert spread.member.numpy().tolist() == [0, 0, 1, 2, 0, 1]
    assert spread.spread(tf.constant(["a", "b", "c"])).numpy().tolist() == [b"a", b"b", b"b", b"b", b"c", b"c"]


def test_requests_of_one_prompt_come_back_as_they_were():
    values = tf.random.stateless_normal([7, 3], seed=(1, 2))
    texts, scores = tf.constant(["a", "b", "a", "", "c", "a", "b"]), tf.random.stateless_normal([7], seed=(3, 4))
    single = rows(*[1] * 7)

    best, probabilities = vote_for_labels(single, values)
    voted, voted_scores = vote_for_texts(single, texts, scores)

    np.testing.assert_array_equal(best, tf.argmax(values, -1))
    np.testing.assert_array_equal(probabilities, values)  # bit for bit
    np.testing.assert_array_equal(voted, texts)
    np.testing.assert_array_equal(voted_scores, scores)
    np.testing.assert_array_equal(mean_likelihood(single, scores), scores)


def test_the_majority_wins_against_a_surer_minority():
    best, log_mean = vote_for_labels(rows(3), logs([0.6, 0.4], [0.6, 0.4], [0.01, 0.99]))

    assert best.numpy().tolist() == [0]
    np.testing.assert_allclose(tf.exp(log_mean), [[1.21 / 3, 1.79 / 3]], rtol=1e-5)


def test_equal_votes_are_decided_by_the_mean_log_probability():
    # (ln .4 + ln .9) / 2 = -0.51 > (ln .6 + ln .1) / 2 = -1.41
    best, _ = vote_for_labels(rows(2), logs([0.6, 0.4], [0.1, 0.9]))

    assert best.numpy().tolist() == [1]


def test_a_label_without_most_votes_never_wins_a_tie_of_others():
    values = logs([0.34, 0.33, 0.33], [0.33, 0.34, 0.33], [0.5, 0.01, 0.49], [0.01, 0.5, 0.49])

    best, _ = vote_for_labels(rows(4), values)

    assert best.numpy()[0] in (0, 1)


def test_tasks_of_fewer_labels_stand_beside_others():
    minus = -math.inf
    values = tf.constant([[-LN2, -LN2, minus], [0.0, minus, minus], [minus, 0.0, minus], [minus, minus, minus]])

    best, log_mean = vote_for_labels(rows(1, 2, 1), values)

    assert best.numpy().tolist()[1] == 0  # of two with one vote each the first
    np.testing.assert_allclose(
        log_mean.numpy(), [[-LN2, -LN2, minus], [-LN2, -LN2, minus], [minus, minus, minus]], rtol=1e-6
    )


def test_the_text_of_most_members_wins_with_their_mean_score():
    texts = tf.constant(["blue", "green", "blue", "red"])

    voted, scores = vote_for_texts(rows(3, 1), texts, tf.constant([-1.0, -0.1, -3.0, -7.0]))

    assert voted.numpy().tolist() == [b"blue", b"red"]
    assert scores.numpy().tolist() == [-2.0, -7.0]


def test_texts_with_equal_votes_are_decided_by_score_then_by_place():
    texts = tf.constant(["blue", "green", "red", "grey"])

    voted, _ = vote_for_texts(rows(2, 2), texts, tf.constant([-1.0, -0.1, -5.0, -5.0]))

    assert voted.numpy().tolist() == [b"green", b"red"]


def test_the_same_text_of_another_request_is_no_vote():
    texts = tf.constant(["blue", "green", "green", "green"])

    voted, _ = vote_for_texts(rows(2, 2), texts, tf.constant([-1.0, -2.0, -1.0, -1.0]))

    assert voted.numpy().tolist() == [b"blue", b"green"]


def test_scores_that_are_no_numbers_do_not_fail_the_batch():
    texts, scores = tf.constant(["a", "b", "c"]), tf.constant([math.nan, math.nan, -1.0])

    voted, _ = vote_for_texts(rows(2, 1), texts, scores)

    assert voted.numpy().tolist()[1] == b"c"


def test_a_request_without_a_score_keeps_its_own_text():
    texts, scores = tf.constant(["a", "b", "c", "d"]), tf.constant([-1.0, math.nan, math.nan, -2.0])

    voted, means = vote_for_texts(rows(1, 2, 1), texts, scores)

    assert voted.numpy().tolist() == [b"a", b"b", b"d"]
    np.testing.assert_array_equal(means.numpy(), [-1.0, math.nan, -2.0])


@pytest.mark.parametrize("seed", range(5))
def test_votes_are_those_of_the_ensemble_in_python(seed):
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 6, 20)
    total = int(counts.sum())
    # Coarse values, so that votes and scores are often equal.
    probabilities = generator.integers(1, 5, (total, 3)).astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    words = np.array(["red", "blue", "green"])[generator.integers(0, 3, total)]
    scores = -generator.integers(1, 4, total).astype(np.float64)
    starts = np.cumsum(counts) - counts

    best, log_mean = vote_for_labels(rows(*counts), tf.constant(np.log(probabilities), tf.float32))
    texts, means = vote_for_texts(rows(*counts), tf.constant(words), tf.constant(scores, tf.float32))

    labels = ("x", "y", "z")
    for k, (start, count) in enumerate(zip(starts, counts, strict=True)):
        members = range(start, start + count)
        answers = []
        for m in members:
            chosen = int(np.argmax(np.log(probabilities[m]).astype(np.float32)))
            answers.append(Classification(labels[chosen], 0.0, labels, tuple(np.log(probabilities[m]))))
        expected = vote_for_label(answers)
        np.testing.assert_allclose(log_mean[k], expected.log_probabilities, atol=1e-5)
        tied = [sum(a.label == label for a in answers) for label in labels]
        means_of_logs = np.mean([a.log_probabilities for a in answers], axis=0)
        ranked = [m for m, votes in zip(means_of_logs, tied, strict=True) if votes == max(tied)]
        if len(ranked) == 1 or np.diff(sorted(ranked))[-1] > 1e-5:  # else rounding decides
            assert labels[int(best[k])] == expected.label
        text = vote_for_text([Generation(str(words[m]), float(scores[m])) for m in members])
        assert (texts.numpy()[k].decode(), means.numpy()[k]) == (text.text, pytest.approx(text.score))


def test_requests_of_a_batch_of_any_size_have_ballots_of_their_own():
    """Numbers of requests times rows are beyond int32, in which requests 0 and 32,768 came to the same here."""
    scores = tf.range(2**17, dtype=tf.float32)

    _, voted = vote_for_texts(MemberRows.of(tf.ones(2**17, tf.int32)), tf.fill([2**17], "a"), scores)

    np.testing.assert_array_equal(voted, scores)
