"""What Keras is handed for one data set of a model."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Feed:
    """What Keras is handed for one data set.

    Args:
      x, y, sample_weight: as `keras.Model.fit` takes them.
      is_batched: whether `x` has batches of its own, so that Keras must not be told their size.
      failures: what went wrong in the user's own data code while TensorFlow read it.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None
    is_batched: bool = True
    failures: list[Exception] = field(default_factory=list)
