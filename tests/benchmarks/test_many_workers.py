"""The arithmetic of the model for more workers."""

import pytest

from benchmarks.measured_tables.many_workers import sums_s


@pytest.mark.parametrize(
    ("count", "size", "expected_s"),
    [(2, 0, 4 * 1e-4), (4, 0, 12 * 1e-4), (2, 1.25e9, 4 * 1e-4 + 1.0), (4, 1.25e9, 12 * 1e-4 + 1.5)],
)
def test_a_ring_has_two_rounds_of_all_workers_but_one(count, size, expected_s):
    assert sums_s(count, size) == pytest.approx(expected_s)
