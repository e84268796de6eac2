"""A long run of Keras calls that each collect garbage, made quick: what is there before need not be looked through each time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def spared_garbage() -> Iterator[None]:
    """Keep the collector's hands off all that exists now; Keras collects after every layer that becomes int8."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
