"""Nearest neighbours of prompt rows."""

import numpy as np
import pytest

from softprompt_tf.errors import PromptError
from softprompt_tf.methods import nearest_neighbours, neighbours


def test_the_nearest_come_first_with_their_cosines():
    embeddings = np.array([[0, 1], [1, 0], [2, 2], [-1, 0]], np.float32)
    prompt = np.array([[5, 0], [0, -3]], np.float32)

    ids, cosine = nearest_neighbours(prompt, embeddings, count=3)

    np.testing.assert_array_equal(ids, [[1, 2, 0], [1, 3, 2]])
    np.testing.assert_allclose(cosine, [[1, 0.5**0.5, 0], [0, 0, -(0.5**0.5)]], atol=1e-6)


@pytest.mark.parametrize("chunk_rows", [1, 7, 50, 1000])
def test_chunks_change_nothing(chunk_rows, monkeypatch):
    generator = np.random.default_rng(0)
    prompt, embeddings = generator.normal(size=(6, 8)), generator.normal(size=(100, 8))
    monkeypatch.setattr(neighbours, "CHUNK_ROWS", chunk_rows)

    ids, cosine = nearest_neighbours(prompt, embeddings, count=9)

    full = prompt @ embeddings.T / np.outer(np.linalg.norm(prompt, axis=1), np.linalg.norm(embeddings, axis=1))
    np.testing.assert_array_equal(ids, np.argsort(-full, axis=1)[:, :9])
    np.testing.assert_allclose(cosine, -np.sort(-full, axis=1)[:, :9], atol=1e-6)


def test_a_row_of_zeros_is_near_to_nothing():
    ids, cosine = nearest_neighbours(np.zeros((1, 2)), np.array([[1, 0], [0, 0]]), count=2)

    np.testing.assert_array_equal(ids, [[0, 1]])
    np.testing.assert_array_equal(cosine, [[0, 0]])


def test_an_embedding_is_its_own_neighbour_with_a_cosine_of_at_most_1():
    embeddings = np.random.default_rng(1).normal(size=(500, 64)).astype(np.float32)

    ids, cosine = nearest_neighbours(embeddings, embeddings, count=1)

    np.testing.assert_array_equal(ids[:, 0], np.arange(500))
    assert cosine.max() <= 1
    assert cosine.dtype == np.float32


def test_widths_must_agree():
    with pytest.raises(PromptError, match=r"Received: prompt \[2, 3\], embeddings \[5, 4\]"):
        nearest_neighbours(np.ones((2, 3)), np.ones((5, 4)))


@pytest.mark.parametrize("count", [0, 6])
def test_count_must_be_within_the_vocabulary(count):
    with pytest.raises(PromptError, match=rf"`count` must be 1 to V=5\. Received: count={count}"):
        nearest_neighbours(np.ones((2, 4)), np.ones((5, 4)), count=count)
