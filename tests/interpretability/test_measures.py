"""Clusters, shared words, class labels and distances on arrays small enough for a hand."""

import numpy as np
import pytest

from softprompt_tf.errors import PromptError
from softprompt_tf.interpretability import cluster_rows, label_share, matched_cosine, mean_cosine, shared_words

# Directions of 0, 20, 90, 100 and 180 degrees, of different lengths.
DEGREES = np.array([0, 20, 90, 100, 180])
FAN = np.stack([np.cos(np.radians(DEGREES)), np.sin(np.radians(DEGREES))], axis=1) * [[1], [5], [2], [0.1], [3]]


def test_words_of_several_vectors_are_counted_without_case_and_word_start():
    pieces = [["▁Good", "▁bad"], ["good", "▁film"], ["▁film", "GOOD"], ["▁", "x"], ["▁", "x", "▁X"]]

    words = shared_words(pieces)

    assert list(words.items()) == [("good", (0, 1, 2)), ("film", (1, 2)), ("x", (3, 4))]


@pytest.mark.parametrize(
    ("min_cosine", "groups"),
    [
        (0.95, [(2, 3), (0,), (1,), (4,)]),  # cos 10 degrees = 0.985, cos 20 = 0.940
        (0.9, [(0, 1), (2, 3), (4,)]),
        # (0, 1) to (2, 3): the mean of cos 90, 100, 70, 80 is 0.085; (2, 3) to 4: of cos 90, 80, 0.087.
        (0.0868, [(2, 3, 4), (0, 1)]),
        (0.2, [(0, 1), (2, 3), (4,)]),
    ],
)
def test_vectors_of_a_high_mean_cosine_are_one_cluster(min_cosine, groups):
    assert cluster_rows(FAN, min_cosine=min_cosine) == groups


def test_a_vector_of_zeros_is_a_cluster_of_its_own():
    assert cluster_rows(np.array([[1.0, 0], [0, 0], [2, 0]]), min_cosine=0.5) == [(0, 2), (1,)]


def test_one_vector_is_one_cluster():
    assert cluster_rows(np.ones((1, 4))) == [(0,)]


@pytest.mark.parametrize("min_cosine", [-1, 1, 2, float("nan")])
def test_a_cosine_out_of_range_is_refused(min_cosine):
    with pytest.raises(PromptError, match="`min_cosine` must be above -1 and below 1"):
        cluster_rows(FAN, min_cosine=min_cosine)


def test_label_share_counts_words_found_and_those_that_persisted():
    labels = {"positive": ["▁posit", "ive"], "negative": ["▁negat", "ive"], "mixed": ["▁", "mixed"]}

    share = label_share(labels, [["Ive", "▁film"], ["▁MIXED"]], [["▁posit", "ive"], ["▁old", "mixed"]])

    assert share.words == ("posit", "ive", "negat", "mixed")
    assert share.found == ("ive", "mixed")
    assert share.share == 0.5
    assert share.found_at_start == ("posit", "ive", "mixed")
    assert share.persisted == ("ive", "mixed")


def test_nothing_is_said_of_persistence_where_the_start_is_not_known():
    assert label_share({"yes": ["▁yes"]}, [["▁no"]]).persisted is None


def test_a_task_without_label_words_has_no_share():
    assert label_share({}, [["a"]]) is None


def test_cosine_between_mean_vectors():
    first, second = np.array([[2.0, 0], [0, 0]]), np.array([[1.0, 0], [0, 1], [-1, 0], [0, 1]])  # means (1, 0), (0, .5)
    third = np.array([[3.0, 3]])

    table = mean_cosine([first, second, third])

    half = 0.5**0.5
    np.testing.assert_allclose(table, [[1, 0, half], [0, 1, half], [half, half, 1]], atol=1e-12)


def test_cosine_over_best_matching_pairs():
    first, second = np.array([[1.0, 0], [0, 1]]), np.array([[0.0, 3], [0, -1], [2, 2]])

    table = matched_cosine([first, second])

    # First to second: (1, 0) is nearest to (2, 2), 0.7071, and (0, 1) to (0, 3), 1. Second to first: 1, 0 and 0.7071.
    half = 0.5**0.5
    expected = ((half + 1) / 2 + (1 + 0 + half) / 3) / 2
    np.testing.assert_allclose(table[0, 1], expected, atol=1e-12)
    np.testing.assert_allclose(table[1, 0], expected, atol=1e-12)
    np.testing.assert_allclose(np.diag(table), 1, atol=1e-12)


def test_the_order_of_the_vectors_does_not_matter_for_pairs():
    prompt = np.random.default_rng(0).normal(size=(7, 5))

    np.testing.assert_allclose(matched_cosine([prompt, prompt[::-1] * 3]), 1, atol=1e-12)


@pytest.mark.parametrize("measure", [mean_cosine, matched_cosine])
@pytest.mark.parametrize("prompts", [[], [np.ones((2, 3)), np.ones((2, 4))], [np.ones(3)], [np.ones((0, 3))]])
def test_prompts_that_cannot_be_compared_are_refused(measure, prompts):
    with pytest.raises(PromptError, match="must be \\[P, H\\] arrays of one width"):
        measure(prompts)
