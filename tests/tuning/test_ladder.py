"""The plan of a search by hand numbers: candidates, seconds, steps and rows."""

import pytest

from softprompt_tf.tuning.ladder import (
    Reserve,
    Speed,
    coarse_steps,
    is_short,
    ladder_of,
    minutes_for,
    reserve_of,
    rows_in,
    rows_to_encode,
    slot,
)

FAST = Speed(step_s=0.1, row_s=0.001, trace_s=5.0)


def test_seconds_are_shared_by_rungs_and_the_last_leg():
    # 0.4 of 410 s for two rungs, 0.6 for the last leg.
    ladder = ladder_of(410.0, FAST, dev_rows=500, most=20)

    assert ladder.counts == (9, 3)
    assert ladder.rung_s == pytest.approx(82.0)
    assert ladder.last_s == pytest.approx(246.0)


# A rung of n candidates needs 5 s of tracing, n * 80 steps of 0.1 s and n * 500 rows of 1 ms: 107 s for twelve candidates, 81.5 for
# nine, 56 for six, 39 for four, 30.5 for three, 22 for two. The rungs share 0.4 of all seconds.
@pytest.mark.parametrize(
    ("seconds", "counts"),
    [
        (803.0, (12, 4, 2)),
        (802.0, (9, 3)),
        (408.0, (9, 3)),
        (407.0, (6, 2)),
        (279.0, (4, 2)),
        (194.0, (3,)),
        (76.0, (2,)),
        (54.0, ()),
    ],
)
def test_more_time_means_more_candidates(seconds, counts):
    assert ladder_of(seconds, FAST, dev_rows=500, most=20).counts == counts


def test_a_search_has_no_more_candidates_than_there_are():
    assert ladder_of(1e6, FAST, dev_rows=500, most=5).counts == (5, 2)


def test_one_candidate_has_all_seconds():
    ladder = ladder_of(20.0, FAST, dev_rows=500, most=20)

    assert (ladder.rung_s, ladder.last_s) == (0.0, 20.0)


def test_a_large_dev_split_is_sampled_in_fifties():
    # 9 candidates in 100 s, 5 s of them for tracing, have 10.56 s each. A fifth of it is 2,111 rows of 1 ms, 2,100 in fifties.
    ladder = ladder_of(500.0, FAST, dev_rows=10_000, most=20)

    assert ladder.counts == (9, 3)
    assert ladder.sample == 2_100


def test_a_small_dev_split_is_scored_whole():
    assert ladder_of(200.0, FAST, dev_rows=37, most=20).sample == 37


def test_scorings_of_the_last_leg_take_a_fifth_of_it_at_most():
    # One candidate has half of 12 s for its sample's share: 0.2 * 6 s are 120 rows of 10 ms, 100 in fifties, which take 1 s.
    # 0.2 * 12 s of the last leg are enough for two of these.
    slow = Speed(step_s=0.1, row_s=0.01, trace_s=0.0)

    assert ladder_of(12.0, slow, dev_rows=200, most=1).scorings == 2


def test_a_slot_is_what_tracing_leaves():
    # 60 s, less two graphs of 5 s, for four candidates.
    assert slot(60.0, 4, 2, FAST) == 12.5


def test_graphs_that_must_be_traced_leave_fewer_candidates():
    assert ladder_of(408.0, FAST, dev_rows=500, most=9, graphs=lambda count: 1).counts == (9, 3)
    assert ladder_of(408.0, FAST, dev_rows=500, most=9, graphs=lambda count: count).counts == (6, 2)


@pytest.mark.parametrize(("seconds", "steps"), [(1.99, 19), (2.0, 20), (2.9, 20), (3.0, 30), (0.0, 0), (-1.0, 0)])
def test_steps_are_coarse_from_twenty_on(seconds, steps):
    assert coarse_steps(seconds, 0.1) == steps


def test_the_end_is_kept_free_for_rows_that_nobody_has_scored():
    # 872 dev rows of which 500 are scored before, 2,000 test rows: 2,372 rows of 1 ms, a tenth more. The files take 1.5 s,
    # 0.3 of the 5 s of tracing, and 1 %.
    reserve = reserve_of(600.0, FAST, dev_rows=872, test_rows=2_000, sample=500)

    assert (reserve.dev_rows, reserve.test_rows) == (372, 2_000)
    assert reserve.seconds == pytest.approx(1.1 * 2.372 + 1.5 + 1.5 + 6.0)


def test_a_large_test_split_takes_fifteen_percent_at_most():
    # 15 % of 100 s are 15 s: 15,000 rows.
    assert reserve_of(100.0, FAST, dev_rows=10, test_rows=50_000, sample=10).test_rows == 15_000


def test_some_test_rows_are_scored_however_slow_they_are():
    slow = Speed(step_s=1.0, row_s=10.0, trace_s=0.0)

    assert reserve_of(60.0, slow, dev_rows=10, test_rows=500, sample=10).test_rows == 50


@pytest.mark.parametrize(
    ("seconds", "rows"),
    [(9.0, (100, 200)), (2.7, (100, 200)), (2.5, (50, 200)), (1.5, (0, 150)), (0.1, (0, 50)), (-1.0, (0, 50))],
)
def test_at_the_end_test_rows_come_first(seconds, rows):
    # 300 rows of 10 ms were planned; 2.7 s are nine tenths of them.
    assert rows_in(seconds, Reserve(100, 200, 9.0), 0.01) == rows


def test_minutes_that_are_enough():
    # 10 s spent, 160 steps of 0.1 s, 5 s of tracing, 200 rows of 1 ms, 9 s at the end: 40.2 s, up to the next half minute.
    assert minutes_for(FAST, spent_s=10.0, reserve_s=9.0) == 1.0


def test_time_is_short_below_a_thousand_steps():
    assert is_short(99.0, FAST)
    assert not is_short(100.0, FAST)


def test_rows_are_encoded_in_eight_percent_of_the_time():
    # 8 % of 120 s are 9.6 s. A row's part of a step is 0.1 s / 32; encoding takes a third of it.
    assert rows_to_encode(120.0, FAST, batch_size=32) == 9_216
