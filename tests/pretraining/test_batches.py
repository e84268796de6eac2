"""Batches: a pure function of seed and step, their padding, ends and shift, and the lengths of each objective."""

import itertools
import math

import numpy as np
import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.pretraining import batches
from softprompt_tf.pretraining.batches import Mixture, PretrainingBatches, pad_batch
from softprompt_tf.pretraining.corpus import Corpus
from softprompt_tf.pretraining.instruction_tasks import INSTRUCTION_TASKS
from softprompt_tf.pretraining.objectives import span_corruption
from softprompt_tf.pretraining.passages import PassageSource

FIRST_SENTINEL = 119
ALL = Mixture(
    span_corruption=1.0, prefix_lm=1.0, instructions=2.0, rows=5, instruction_rows=7, window=32,
    max_instruction_tokens=40,
)  # fmt: skip
KEYS = {"encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "targets"}
OBJECTIVES = ("span_corruption", "prefix_lm", "instructions")


@pytest.fixture(scope="module")
def make(corpus, tokenizer):
    def make(mixture=ALL, seed=3):
        source = PassageSource(corpus)
        return PretrainingBatches(source, tokenizer, mixture, first_sentinel=FIRST_SENTINEL, seed=seed)

    return make


def assert_same(first, second):
    assert first[0] == second[0]
    for key in KEYS:
        np.testing.assert_array_equal(first[1][key], second[1][key])


def without_padding(row):
    return row[row != 0].tolist()


# === Padding ===


def test_pad_batch_by_hand():
    batch = pad_batch([[5, 6, 7], [8]], [[9], np.array([10, 11])])

    assert set(batch) == KEYS
    assert batch["encoder_token_ids"].tolist() == [[5, 6, 7, 1], [8, 1, 0, 0]]
    assert batch["encoder_padding_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["targets"].tolist() == [[9, 1, 0], [10, 11, 1]]
    assert batch["decoder_token_ids"].tolist() == [[0, 9, 1], [0, 10, 11]]
    assert all(array.dtype == np.int32 for array in batch.values())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_row_has_one_end_and_the_decoder_sees_the_targets_shifted(make, objective):
    batch = make().batch_of(objective, np.random.default_rng(0))

    num_rows = 7 if objective == "instructions" else 5
    for side, multiple in (("encoder_token_ids", 8), ("targets", 4)):
        longest = max(len(without_padding(row)) for row in batch[side])
        assert batch[side].shape == (num_rows, math.ceil(longest / multiple) * multiple)
        for row in batch[side]:
            length = len(without_padding(row))
            assert row[length - 1] == 1
            assert not row[length:].any()
            assert (row == 1).sum() == 1
    np.testing.assert_array_equal(batch["encoder_padding_mask"], batch["encoder_token_ids"] != 0)
    assert not batch["decoder_token_ids"][:, 0].any()
    np.testing.assert_array_equal(batch["decoder_token_ids"][:, 1:], batch["targets"][:, :-1])


# === A function of seed and step ===


def test_batch_depends_on_seed_and_step_alone(make):
    one, other = make(), make()
    in_order = [one.batch(step) for step in range(8)]

    for step in (5, 0, 7, 5):
        assert_same(other.batch(step), in_order[step])


def test_other_steps_and_other_seeds_give_other_batches(make):
    texts = [make(seed=seed).batch(step)[1]["encoder_token_ids"].tobytes() for seed in (3, 4) for step in range(6)]

    assert len(set(texts)) == 12


def test_prefetch_yields_the_batches_of_its_steps_in_order(make):
    batches = make()

    made = list(batches.prefetch(3, 9, depth=2))

    assert [step for step, _, _ in made] == list(range(3, 9))
    for step, objective, batch in made:
        assert_same((objective, batch), make().batch(step))


def test_error_of_the_thread_reaches_the_reader(make, monkeypatch):
    batches = make()
    monkeypatch.setattr(batches, "batch", lambda step: 1 // (2 - step))

    with pytest.raises(ZeroDivisionError):
        list(batches.prefetch(2, 5))


def test_rows_that_are_drawn_together_are_dealt_out_by_length(make):
    batches = make(Mixture(instructions=1.0, prefix_lm=0.0, instruction_rows=6, max_instruction_tokens=200))

    lengths = [(batches.batch(step)[1]["encoder_token_ids"] != 0).sum(axis=1) for step in range(64)]

    # 64 batches of 6 rows, sorted: each batch's range lies wholly before or behind any other's, in a drawn order.
    ranges = [(row.min(), row.max()) for row in lengths]
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(sorted(ranges)))
    assert ranges != sorted(ranges)
    drawn = np.concatenate(lengths)
    together = sum(6 * high for _, high in ranges)
    one_by_one = sum(6 * drawn[k : k + 6].max() for k in range(0, 384, 6))
    assert together == one_by_one  # the batches are what was drawn
    shuffled = np.random.default_rng(0).permutation(drawn)
    assert together < 0.9 * sum(6 * shuffled[k : k + 6].max() for k in range(0, 384, 6))


# === The objectives ===


def test_shares_are_the_weights_over_their_sum():
    names, shares = ALL.objectives

    assert names == OBJECTIVES
    np.testing.assert_allclose(shares, [0.25, 0.25, 0.5])


def test_objectives_are_drawn_by_their_shares(make):
    mixture = Mixture(span_corruption=0.0, prefix_lm=1.0, instructions=3.0, rows=1, instruction_rows=1, window=32)
    batches = make(mixture)

    drawn = [batches.batch(step)[0] for step in range(400)]

    assert drawn.count("span_corruption") == 0
    assert drawn.count("instructions") == pytest.approx(300, abs=40)


def test_prefix_lm_rows_are_stretches_of_the_corpus_cut_in_two(make, corpus, tokenizer):
    batches = make()
    whole = {" ".join(map(str, tokenizer.encode(text))) for text in itertools.chain(*corpus.documents)}
    for seed in range(20):
        batch = batches.batch_of("prefix_lm", np.random.default_rng(seed))

        for inputs, targets in zip(batch["encoder_token_ids"], batch["targets"], strict=True):
            ids = without_padding(inputs)[:-1] + without_padding(targets)[:-1]
            assert 16 <= len(ids) <= 32
            assert any(" ".join(map(str, ids[1:])) in text for text in whole)  # the first piece may begin elsewhere


def test_span_corruption_rows_open_with_the_first_sentinel(make):
    batch = make().batch_of("span_corruption", np.random.default_rng(0))

    assert (batch["targets"][:, 0] == FIRST_SENTINEL).all()
    assert ((batch["encoder_token_ids"] == FIRST_SENTINEL).sum(axis=1) == 1).all()
    # 32 tokens: 5 of noise in 2 spans, and the end; inputs are padded to a multiple of 8, targets of 4.
    assert {len(without_padding(row)) for row in batch["encoder_token_ids"]} == {27 + 2 + 1}
    assert batch["encoder_token_ids"].shape == (5, 32)
    assert batch["targets"].shape == (5, 5 + 2 + 1)


class HeardTexts:
    """A tokenizer that keeps the texts that it is given."""

    def __init__(self):
        self.texts = []

    def encode(self, texts):
        self.texts.append(texts)
        return [[3] for _ in texts]


def test_instruction_tasks_are_drawn_by_the_weights_of_the_mixture(corpus):
    weights = {**dict.fromkeys(INSTRUCTION_TASKS, 0.0), "first_words": 1.0, "kind_of_text": 3.0}
    tokenizer = HeardTexts()
    batches = PretrainingBatches(
        PassageSource(corpus),
        tokenizer,
        Mixture(instruction_rows=200, task_weights=weights),
        first_sentinel=FIRST_SENTINEL,
        seed=3,
    )

    batches.batch_of("instructions", np.random.default_rng(0))

    inputs, targets = tokenizer.texts
    ask_for_words = [text.startswith(("The first", "The last")) for text in inputs]
    assert 30 <= sum(ask_for_words) <= 70  # a quarter of 200: 50, standard deviation 6.1
    kinds = {target for target, words in zip(targets, ask_for_words, strict=True) if not words}
    assert kinds == set(corpus.kinds)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"remarks": 1.0}, r"must be one of missing_word, .*, remark\. Received: 'remarks'\."),
        ({"remark": -1.0}, r"must be a number of at least 0\. Received: remark=-1\.0\."),
        ({"remark": math.nan}, r"must be a number of at least 0\. Received: remark=nan\."),
        (dict.fromkeys(INSTRUCTION_TASKS, 0.0), r"At least one instruction task must have a weight above 0\."),
    ],
)
def test_wrong_weights_of_tasks_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        Mixture(task_weights=weights)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_wrong_weights_of_objectives_are_refused(weight):
    with pytest.raises(ConfigError, match="Weights of objectives must be at least 0, and one above 0"):
        Mixture(span_corruption=weight, prefix_lm=0.0, instructions=0.0)


def test_the_longest_window_of_span_corruption_has_a_sentinel_for_each_span():
    mixture = Mixture(span_corruption=1.0, window=2000)
    window = np.full(mixture.window, 5)

    _, targets = span_corruption(window, np.random.default_rng(0), first_sentinel=199)

    assert sorted(set(targets)) == [5, *range(100, 200)]
    with pytest.raises(ConfigError, match="at most 2000 tokens for span corruption"):
        Mixture(span_corruption=1.0, window=2001)
    assert Mixture(span_corruption=0.0, window=2001).window == 2001


def test_inputs_of_instructions_are_cut_and_their_targets_are_not(make):
    short, long = (
        make(Mixture(instruction_rows=7, max_instruction_tokens=length)).batch_of(
            "instructions", np.random.default_rng(1)
        )
        for length in (10, 10_000)
    )

    assert short["encoder_token_ids"].shape == (7, 16)
    assert not short["encoder_token_ids"][:, 11:].any()
    np.testing.assert_array_equal(short["encoder_token_ids"][:, :10], long["encoder_token_ids"][:, :10])
    np.testing.assert_array_equal(short["targets"], long["targets"])


def test_documents_that_are_all_too_short_end_in_an_error(tokenizer, monkeypatch):
    """Such as those of a script that the vocabulary lacks, which are one unknown piece each: it drew for ever."""
    monkeypatch.setattr(batches, "_MOST_DRAWS", 5)
    source = PassageSource(Corpus(kinds=("text",), documents=(("字" * 100,),)))
    made = PretrainingBatches(source, tokenizer, ALL, first_sentinel=FIRST_SENTINEL, seed=3)

    with pytest.raises(DataError, match="must have 16 tokens or more. Received: 5 drawn in a row"):
        made.batch_of("prefix_lm", np.random.default_rng(0))
