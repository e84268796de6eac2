"""Refuse texts where a method answers with logits."""

from typing import Any

import tensorflow as tf

from softprompt_tf.errors import DataError
from softprompt_tf.texts.text_datasets import has_texts
from softprompt_tf.texts.text_rows import holds_texts
from softprompt_tf.texts.text_streams import Stream, is_stream, is_text_batch


def without_texts(x: Any, name: str) -> Any:
    """Return the data of a method that answers with logits; refuse texts there.

    Raises:
      DataError: naming the method that was called and those that answer texts.
    """
    if isinstance(x, tf.data.Dataset):
        is_text = has_texts(x)
    elif is_stream(x):
        stream = Stream(x, shuffle=False)
        is_text, x = is_text_batch(stream.first), stream.as_it_came()
    else:
        is_text = holds_texts(x)
    if is_text:
        raise DataError(
            f"`{name}` returns logits of token dictionaries. Received: texts. Use generate, classify or score for texts."
        )
    return x
