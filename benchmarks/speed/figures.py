"""Times in, medians with quartiles, ratios pair by pair and exponents of growth out."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile, with linear interpolation between the values."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return above / below of each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Return "median (lower quartile to upper quartile)"."""
    low, middle, high = (format(value, form) for value in quartiles(values))
    return f"{middle} ({low} to {high})"


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return k of the power law cost = c * size^k that fits best: the slope of a straight line through the logarithms."""
    import numpy as np

    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


@dataclass(frozen=True)
class Target:
    """What the project has set itself, and what was measured.

    Args:
      name: what is measured.
      limit: the target.
      values: one ratio or share per round.
      is_floor: whether the median must be at least `limit`; else at most.
      unit: "x" for a ratio, "%" for a share.
    """

    name: str
    limit: float
    values: Sequence[float]
    is_floor: bool = True
    unit: str = "x"

    @property
    def is_reached(self) -> bool:
        """Whether the median keeps the limit."""
        median = quartiles(self.values)[1]
        return not math.isnan(median) and (median >= self.limit if self.is_floor else median <= self.limit)

    def row(self) -> str:
        """Return the Markdown row: name, target, measured, reached or not."""
        percent = self.unit == "%"
        limit = f"{self.limit:.0%}" if percent else f"{self.limit:g} x"
        measured = spread(self.values, ".0%") if percent else f"{spread(self.values)} x"
        bound = "at least" if self.is_floor else "at most"
        return f"| {self.name} | {bound} {limit} | {measured} | {'yes' if self.is_reached else 'no'} |"
