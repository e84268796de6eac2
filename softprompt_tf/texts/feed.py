"""What Keras is handed for one data set of a model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

from softprompt_tf.errors import DataError


@dataclass(frozen=True)
class Feed:
    """What Keras is handed for one data set.

    Args:
      x, y, sample_weight: as `keras.Model.fit` takes them.
      is_batched: whether `x` has batches of its own, so that Keras must not be told their size.
      failures: what went wrong in the user's own data code while TensorFlow read it.
      is_empty: says whether no row has passed yet; None where the rows are known before.
      tell: says once what was noticed in the rows that have passed, and returns whether anything was; None where nothing is
        noticed on the way.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None
    is_batched: bool = True
    failures: list[Exception] = field(default_factory=list)
    tell: Callable[[], bool] | None = None
    is_empty: Callable[[], bool] | None = None


def tell_all(*feeds: Feed | None) -> None:
    """Say what was noticed in the rows of some feeds, each once."""
    for feed in feeds:
        if feed is not None and feed.tell is not None:
            feed.tell()


def check_had_rows(feed: Feed) -> None:
    """Refuse a data set that was read and had no row, such as one that a filter has emptied.

    Raises:
      DataError: where that is so.
    """
    if feed.is_empty is not None and feed.is_empty():
        raise DataError(
            "A data set must have at least one row. Received: one that ended without a row. Look at its filter."
        )


def with_telling(callbacks: Any, *feeds: Feed | None) -> Any:
    """Return the callbacks of `fit`, and one that tells at the end of the first epoch.

    A `CallbackList` stays as it is, as it belongs to the caller: then `fit` tells at its end.
    """
    is_own = isinstance(callbacks, keras.callbacks.CallbackList)
    if is_own or not any(feed is not None and feed.tell is not None for feed in feeds):
        return callbacks
    return [_TellAfterEpoch(feeds), *(keras.tree.flatten(callbacks) if callbacks else ())]


class _TellAfterEpoch(keras.callbacks.Callback):
    """Tells when the next epoch begins, as Keras's progress bar has not ended its line before."""

    def __init__(self, feeds: tuple[Feed | None, ...]):
        super().__init__()
        self._feeds = feeds

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        tell_all(*self._feeds)
