"""What a model answered to lines."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Answers:
    """What a model answered to N lines.

    Args:
      texts: the chosen labels, or the written texts.
      probabilities: float64 [N, C] of each label; None for a task without labels.
    """

    texts: tuple[str, ...]
    probabilities: np.ndarray | None = None
