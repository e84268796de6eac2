"""Batches that processes of their own make: the same ones in the same order, and an error reaches the reader."""

import numpy as np
import pytest

from softprompt_tf.pretraining.batches import GROUP, Mixture, PretrainingBatches
from softprompt_tf.pretraining.corpus import Corpus
from softprompt_tf.pretraining.parallel_batches import ParallelBatches
from softprompt_tf.pretraining.passages import PassageSource

MIXTURE = Mixture(prefix_lm=1.0, instructions=1.0, rows=2, instruction_rows=2, window=24, max_instruction_tokens=24)


@pytest.fixture(scope="module")
def batches(corpus, tokenizer):
    return PretrainingBatches(
        PassageSource(corpus), tokenizer, MIXTURE, first_sentinel=99, seed=1, input_multiple=16, target_multiple=8
    )


@pytest.fixture(scope="module")
def parallel(batches):
    with ParallelBatches(batches, processes=2, groups_ahead=3) as parallel:
        yield parallel


@pytest.mark.parametrize(
    ("first", "last"), [(0, 3), (GROUP - 2, GROUP + 2), (3 * GROUP + 5, 4 * GROUP), (5, 5)], ids=str
)
def test_the_batches_are_those_of_one_process(batches, parallel, first, last):
    made = list(parallel.prefetch(first, last))

    assert [step for step, *_ in made] == list(range(first, last))
    for step, objective, batch in made:
        wanted_objective, wanted = batches.batch(step)
        assert objective == wanted_objective
        for name, array in wanted.items():
            np.testing.assert_array_equal(batch[name], array)


def test_lengths_are_multiples_of_what_was_asked_for(parallel):
    for _, _, batch in parallel.prefetch(0, GROUP):
        assert batch["encoder_token_ids"].shape[1] % 16 == 0
        assert batch["targets"].shape[1] % 8 == 0


def test_an_error_in_a_process_reaches_the_reader(tokenizer):
    empty = Corpus(kinds=("book",), documents=((),))
    unfit = PretrainingBatches(PassageSource(empty), tokenizer, MIXTURE, first_sentinel=99, seed=1)

    with ParallelBatches(unfit, processes=1) as parallel, pytest.raises(ValueError, match="high <= 0"):
        next(parallel.prefetch(0, 1))
