"""Prompts recycled from one embedding table to another, against maps that are known."""

import numpy as np
import pytest

from softprompt_tf.errors import PromptError
from softprompt_tf.methods import embedding_network, recycling
from softprompt_tf.methods.recycling import WAYS, EmbeddedPieces, Recycler, recycled_rows, shared_embeddings

PIECES = ("<pad>", "</s>", "<unk>", *(f"▁w{k}" for k in range(40)), "<extra_id_0>")
GENERATOR = np.random.default_rng(5)
TABLE = GENERATOR.normal(size=(len(PIECES) + 2, 6)).astype(np.float32)  # two rows belong to no piece
SOURCE = EmbeddedPieces("old", PIECES, TABLE)
MAP = GENERATOR.normal(size=(6, 9))
TARGET = EmbeddedPieces("new", PIECES, (TABLE @ MAP).astype(np.float32))
PROMPT = GENERATOR.normal(size=(4, 6)).astype(np.float32)


@pytest.mark.parametrize("way", ["v2v-lin", "lin-comb"])
def test_a_table_that_is_a_linear_map_of_the_other_maps_the_prompt_too(way):
    rows = recycled_rows(PROMPT, SOURCE, TARGET, way=way)

    assert (rows.shape, rows.dtype) == ((4, 9), np.float32)
    np.testing.assert_allclose(rows, PROMPT @ MAP, atol=1e-4)


def test_v2v_lin_is_the_least_squares_map_and_lin_comb_the_combination_of_smallest_weights():
    new = EmbeddedPieces("new", PIECES, GENERATOR.normal(size=(len(PIECES), 5)))
    old_rows, new_rows = TABLE[3:43].astype(np.float64), new.embeddings[3:43]
    normal_map = np.linalg.solve(old_rows.T @ old_rows, old_rows.T @ new_rows)
    weights = PROMPT @ np.linalg.inv(old_rows.T @ old_rows) @ old_rows.T  # the pseudo-inverse, by hand

    np.testing.assert_allclose(recycled_rows(PROMPT, SOURCE, new), PROMPT @ normal_map, atol=1e-5)
    np.testing.assert_allclose(recycled_rows(PROMPT, SOURCE, new, way="lin-comb"), weights @ new_rows, atol=1e-5)


def test_the_combination_of_smallest_weights_is_the_linear_map_where_the_rank_is_full():
    new = EmbeddedPieces("new", PIECES, GENERATOR.normal(size=(len(PIECES), 5)))
    flat = EmbeddedPieces("flat", PIECES, np.repeat(TABLE[:, :1], 6, axis=1))  # of rank one

    np.testing.assert_allclose(
        recycled_rows(PROMPT, SOURCE, new), recycled_rows(PROMPT, SOURCE, new, way="lin-comb"), atol=1e-5
    )
    assert np.isfinite(recycled_rows(PROMPT, flat, new, way="lin-comb")).all()


def test_the_network_learns_the_map_and_a_seed_gives_it_again():
    old, new = shared_embeddings(SOURCE, TARGET)
    network = embedding_network.fitted_network(old, new, seed=1, epochs=200, learning_rate=1e-2)

    assert np.mean((network(old) - new) ** 2) < 0.05 * new.var()
    first, again, other = (recycled_rows(PROMPT, SOURCE, TARGET, way="v2v-nn", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_an_interrupt_ends_the_fit_of_the_network(monkeypatch):
    """Scikit-learn goes on with what is fitted so far, which was taken for the complete network."""
    from sklearn.neural_network import MLPRegressor

    taken = []
    step = MLPRegressor._backprop

    def interrupted(self, *args, **how):
        taken.append(1)
        if len(taken) == 3:
            raise KeyboardInterrupt
        return step(self, *args, **how)

    monkeypatch.setattr(MLPRegressor, "_backprop", interrupted)

    with pytest.raises(KeyboardInterrupt):
        recycled_rows(PROMPT, SOURCE, TARGET, way="v2v-nn")
    assert len(taken) == 3


def test_one_network_is_fitted_for_several_prompts(monkeypatch):
    fits = []

    def fit(old, new, *, seed):
        fits.append(seed)
        return lambda rows: rows @ MAP

    monkeypatch.setattr(recycling, "fitted_network", fit)
    recycler = Recycler(SOURCE, TARGET, way="v2v-nn", seed=3)

    np.testing.assert_allclose(recycler.rows(PROMPT), PROMPT @ MAP, atol=1e-5)
    np.testing.assert_allclose(recycler.rows(2 * PROMPT[:1]), 2 * PROMPT[:1] @ MAP, atol=1e-5)
    assert fits == [3]


def test_pieces_are_matched_by_their_texts_and_special_ones_are_left_out():
    turned = EmbeddedPieces("turned", PIECES[::-1], TARGET.embeddings[: len(PIECES)][::-1])

    old, new = shared_embeddings(SOURCE, turned)

    assert len(old) == 40
    np.testing.assert_allclose(old, TABLE[3:43])
    np.testing.assert_allclose(new, TARGET.embeddings[3:43])


def test_the_most_frequent_pieces_are_skipped_where_enough_are_left(monkeypatch):
    monkeypatch.setattr(recycling, "SKIPPED", 5)
    monkeypatch.setattr(recycling, "USED", 20)

    old, _ = shared_embeddings(SOURCE, TARGET)

    np.testing.assert_allclose(old, TABLE[8:28])


@pytest.mark.parametrize("way", WAYS)
def test_vocabularies_that_share_too_little_are_refused(way):
    other = EmbeddedPieces("other", (*PIECES[:8], *(f"x{k}" for k in range(30))), np.ones((38, 9)))

    with pytest.raises(PromptError, match=r"at least as many as the source is wide. Received: 5 shared pieces of old"):
        recycled_rows(PROMPT, SOURCE, other, way=way)


def test_what_does_not_fit_is_refused():
    with pytest.raises(PromptError, match="`way` must be one of v2v-lin.*Did you mean `v2v-nn`"):
        recycled_rows(PROMPT, SOURCE, TARGET, way="v2v-n")
    with pytest.raises(PromptError, match=r"as wide as its own backbone. Received: prompt \[4, 5\], old with H=6"):
        recycled_rows(PROMPT[:, :5], SOURCE, TARGET)
    with pytest.raises(PromptError, match=r"a row for each piece. Received: table \[5, 6\], 44 pieces of short"):
        EmbeddedPieces("short", PIECES, TABLE[:5])
