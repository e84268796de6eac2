"""Cut texts at the matches of a pattern, as a TensorFlow op; in tensorflow_text's own, a text ends at its first NUL character."""

import tensorflow as tf
import tensorflow_text as tf_text

_NONCHARACTER = "\U0010ffff"  # stands for NUL; Unicode will never give it a meaning


def regex_split(texts: tf.Tensor, pattern: str, kept: str) -> tf.RaggedTensor:
    """Cut texts [N] at the matches of a pattern, in RE2's syntax: string [N, (parts)], none of them empty.

    Args:
      texts: string [N].
      pattern: where texts are cut.
      kept: matches that this pattern matches too become parts of their own; "" for none.
    """
    parts = tf_text.regex_split(tf.strings.regex_replace(texts, r"\x00", _NONCHARACTER), pattern, kept)
    return parts.with_values(tf.strings.regex_replace(parts.values, _NONCHARACTER, "\0"))
