"""How a search uses its time: how many candidates it begins with, how long each rung takes, and what is kept for the end.

Successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943) with seconds as the resource: in a rung every candidate has the
same seconds, whatever its steps cost, and the best ones go on. All functions are of plain numbers, so that equal measurements
give equal plans.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

SEARCH_SHARE = 0.4  # of the seconds of training: for the rungs; the rest is the last leg, of the best candidate alone
COUNTS = ((12, 4, 2), (9, 3), (6, 2), (4, 2), (3,), (2,))  # candidates of each rung, the largest search first
LEAST_STEPS = 80  # of a candidate in the first rung; with fewer, what learns fastest is not what ends best
LEAST_TOTAL_STEPS = 10  # of a training without a search
SCORING_SHARE = 0.2  # of a candidate's seconds in a rung
LEAST_SAMPLE = 100  # dev rows
TEST_SHARE = 0.15  # of all seconds: what scoring the test rows may take
LEAST_TEST_ROWS = 50
SHORT_STEPS = 1_000  # a time in which one candidate in front of the input takes fewer steps is short
MOST_SCORINGS = 8  # of the last leg
ENCODING_SHARE = 0.08  # of all seconds: what encoding training rows for candidates on cached states may take
ENCODING = 1 / 3  # of a row's part of a step in front of the input: forward, and no gradient


@dataclass(frozen=True)
class Speed:
    """What was measured on this machine with this backbone and task.

    Args:
      step_s: seconds of a step of one candidate.
      row_s: seconds of scoring one row.
      trace_s: seconds until the first step of a new graph is done.
    """

    step_s: float
    row_s: float
    trace_s: float


@dataclass(frozen=True)
class Reserve:
    """What is kept for the end.

    Args:
      dev_rows: how many dev rows are scored then.
      test_rows: how many test rows.
      seconds: for both, and for writing the files.
    """

    dev_rows: int
    test_rows: int
    seconds: float


@dataclass(frozen=True)
class Ladder:
    """The plan of a search.

    Args:
      counts: candidates of each rung; () where there is time for one candidate alone.
      rung_s: seconds of each rung.
      last_s: seconds of the last leg.
      sample: dev rows that a candidate is scored on.
      scorings: of the last leg.
    """

    counts: tuple[int, ...]
    rung_s: float
    last_s: float
    sample: int
    scorings: int


def reserve_of(total_s: float, speed: Speed, *, dev_rows: int, test_rows: int, sample: int) -> Reserve:
    """Return what the end needs: the dev rows that no candidate was scored on, the test rows, and writing.

    Args:
      total_s: the complete budget.
      speed: as measured.
      dev_rows: all of them.
      test_rows: all of them; as many are scored as fit into `TEST_SHARE` of the budget.
      sample: dev rows that are scored in the rungs.
    """
    rest = dev_rows - min(sample, dev_rows)
    rest = min(rest, _affordable(TEST_SHARE * total_s, speed.row_s, least=0))
    test = min(test_rows, _affordable(TEST_SHARE * total_s, speed.row_s, least=LEAST_TEST_ROWS))
    writing_s = 1.5 + 0.3 * speed.trace_s + 0.01 * total_s  # and the end of the process
    return Reserve(rest, test, 1.1 * speed.row_s * (rest + test) + writing_s)


def rows_in(seconds: float, kept: Reserve, row_s: float) -> tuple[int, int]:
    """Return how many dev rows and how many test rows are scored at the end in the seconds that are left.

    All that were planned, where nine of ten fit: a few rows less would be worth nothing. Else the test rows come first, and
    some of them are scored in any case.
    """
    left = max(0, math.floor(seconds / row_s))
    if left >= 0.9 * (kept.dev_rows + kept.test_rows):
        return kept.dev_rows, kept.test_rows
    test_rows = max(min(LEAST_TEST_ROWS, kept.test_rows), min(kept.test_rows, left))
    return max(0, min(kept.dev_rows, left - test_rows)), test_rows


def ladder_of(
    seconds: float, speed: Speed, *, dev_rows: int, most: int, graphs: Callable[[int], int] = lambda count: 1
) -> Ladder:
    """Return the plan with the most candidates that have `LEAST_STEPS` steps each in the first rung.

    Args:
      seconds: for training and the scoring of candidates.
      speed: as measured.
      dev_rows: all of them.
      most: how many candidates there are.
      graphs: how many graphs the training of the first so many candidates needs.
    """
    for first, *others in COUNTS:
        counts = (min(first, most), *others)
        if counts[0] < 2 * max([1, *others[:1]]):
            continue
        rung_s = SEARCH_SHARE * seconds / len(counts)
        slot_s = slot(rung_s, counts[0], graphs(counts[0]), speed)
        sample = _sample(slot_s, speed, dev_rows)
        if coarse_steps(slot_s - sample * speed.row_s, speed.step_s) >= LEAST_STEPS:
            return _ladder(counts, rung_s, (1 - SEARCH_SHARE) * seconds, sample, speed)
    return _ladder((), 0.0, seconds, _sample(seconds / 2, speed, dev_rows), speed)


def rows_to_encode(total_s: float, speed: Speed, *, batch_size: int) -> int:
    """Return how many training rows may be encoded for candidates on cached states, in all legs together.

    Args:
      total_s: the complete budget.
      speed: as measured.
      batch_size: rows of a step.
    """
    return int(ENCODING_SHARE * total_s / (ENCODING * speed.step_s / batch_size))


def slot(rung_s: float, count: int, graphs: int, speed: Speed) -> float:
    """Return the seconds of each candidate of a rung, for steps and scoring, when its graphs are traced."""
    return max(0.0, rung_s - graphs * speed.trace_s) / count


def coarse_steps(seconds: float, step_s: float) -> int:
    """Return how many steps fit into seconds, down to a multiple of 10 from 20 on, so that small differences do not count."""
    steps = max(0, math.floor(seconds / step_s))
    return steps if steps < 20 else steps // 10 * 10


def minutes_for(speed: Speed, *, spent_s: float, reserve_s: float) -> float:
    """Return how many minutes are enough for a short training on this machine, up to the next half minute."""
    training = 2 * LEAST_STEPS * speed.step_s + speed.trace_s + 2 * LEAST_SAMPLE * speed.row_s
    return max(0.5, math.ceil((spent_s + training + reserve_s) / 30) / 2)


def is_short(seconds: float, speed: Speed) -> bool:
    """Return whether a time of training is so short that prompts behind the encoder are tried early."""
    return seconds / speed.step_s < SHORT_STEPS


def _ladder(counts: tuple[int, ...], rung_s: float, last_s: float, sample: int, speed: Speed) -> Ladder:
    scoring_s = max(1e-9, sample * speed.row_s)
    scorings = min(MOST_SCORINGS, max(1, math.floor(SCORING_SHARE * last_s / scoring_s)))
    return Ladder(counts, rung_s, last_s, sample, scorings)


def _sample(slot_s: float, speed: Speed, dev_rows: int) -> int:
    """Return how many dev rows a candidate is scored on: all, or a multiple of 50."""
    rows = _affordable(SCORING_SHARE * slot_s, speed.row_s, least=LEAST_SAMPLE)
    return dev_rows if rows >= dev_rows else rows // 50 * 50


def _affordable(seconds: float, row_s: float, *, least: int) -> int:
    return max(least, math.floor(seconds / max(row_s, 1e-9)))
