"""Times in, medians with quartiles and ratios pair by pair out; no dependencies."""

import statistics
from collections.abc import Sequence


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile, with linear interpolation between the values."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return above / below of each round."""
    return [a / b for a, b in zip(above, below, strict=True)]
