"""Refuse weights that are no numbers, block by block as they are read."""

import ml_dtypes
import numpy as np

_FLOATING = ("float32", "float16", "bfloat16", "float64")
_BFLOAT16_EXPONENT = np.uint16(0x7F80)  # all ones in NaN and infinity, in them alone


def check_floating(dtype: np.dtype) -> None:
    """Raise ValueError for weights in integers or in 8 bits, which mean nothing without their scales."""
    if dtype.name not in _FLOATING:
        raise ValueError(f"its dtype must be one of {', '.join(_FLOATING)}, and is {dtype.name}")


def check_finite(values: np.ndarray) -> None:
    """Raise ValueError if a value is NaN or infinite.

    Args:
      values: float32, float16, float64 or bfloat16, of any shape.
    """
    bad = int(values.size) - int(np.count_nonzero(_is_finite(values)))
    if bad:
        raise ValueError(f"{bad} of {values.size} values are NaN or infinite; the checkpoint is damaged")


def _is_finite(values: np.ndarray) -> np.ndarray:
    if values.dtype != ml_dtypes.bfloat16:
        return np.isfinite(values)
    return np.asarray((values.view(np.uint16) & _BFLOAT16_EXPONENT) != _BFLOAT16_EXPONENT)
