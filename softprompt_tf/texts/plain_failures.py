"""Raises what went wrong in the user's data as it was, without TensorFlow's trace of the graph that read it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from softprompt_tf.errors import DataError
from softprompt_tf.texts.feed import Feed

# How the messages begin that a graph of texts fails with.
_RULE = r"\[((?:`task_id`|`sample_weight`|Markers|A target of a model with label rows) must .*?Received: .*?\.)\]"


@contextmanager
def told_plainly(*feeds: Feed | None) -> Iterator[None]:
    """Raise what went wrong in the user's data, and no trace of the graph that read it."""
    try:
        yield
    except tf.errors.OpError as error:
        for failure in (failure for feed in feeds if feed is not None for failure in feed.failures):
            raise failure from None
        rule = re.search(_RULE, error.message, re.DOTALL)
        if rule is None:
            raise
        raise DataError(rule.group(1).replace("\\'", "'")) from None
