"""How many steps one timed round has."""

from typing import Any

ROUND_S = 0.4
MOST_STEPS = 60


def steps_of_a_round(step_s: float, case: dict[str, Any]) -> int:
    """Return how many steps take about `ROUND_S`, so that what a round costs besides its steps does not show.

    Args:
      step_s: what one step took.
      case: the settings; "round_s" changes how long a round is.
    """
    return max(1, min(MOST_STEPS, round(case.get("round_s", ROUND_S) / max(step_s, 1e-6))))
