"""Tell numbers from other values that a caller gives as a setting."""

from typing import Any

import numpy as np


def is_number(value: Any) -> bool:
    """Say whether a value is a real number of Python or NumPy; a bool is none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
