"""Check the rows of a request, and give each bad row a status."""

from collections.abc import Callable

import tensorflow as tf

from softprompt_tf.inference.answers import NO_SCORE


def with_a_row(method: Callable[..., dict[str, tf.Tensor]]) -> Callable[..., dict[str, tf.Tensor]]:
    """Let a signature answer an empty batch: KerasHub's attention cannot reshape one, so a row is added and cut off."""

    def padded(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        num_rows = tf.shape(values[0])[0]
        missing = tf.maximum(1 - num_rows, 0)
        filled = [
            tf.pad(value, [[0, missing], *[[0, 0]] * (value.shape.rank - 1)], constant_values=_zero(value))
            for value in values
        ]
        return {name: value[:num_rows] for name, value in method(*filled).items()}

    return padded


def _zero(value: tf.Tensor) -> object:
    return "" if value.dtype == tf.string else 0


def valid_text(text: tf.Tensor, name: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Return texts that are valid UTF-8, and a status that says which were not."""
    valid = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
    return valid, tf.where(valid == text, "", f"`{name}` must be valid UTF-8.")


def first_of(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Return the first status of each row that says something."""
    return tf.where(first != "", first, second)


def finite_status(scores: tf.Tensor, counts: tf.Tensor | bool = True) -> tf.Tensor:
    """Return a status [B] for rows with a score that is no number, as from a prompt of huge values.

    Args:
      scores: [B] or [B, C].
      counts: which of them count, of the same shape.
    """
    is_bad = tf.logical_and(~tf.math.is_finite(scores), counts)
    if is_bad.shape.rank == 2:
        is_bad = tf.reduce_any(is_bad, axis=1)
    return tf.where(is_bad, "The scores must be finite. Received: NaN or infinity. Check the values of the prompt.", "")


def written_answers(texts: tf.Tensor, scores: tf.Tensor, status: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return what a signature that writes answers with; where there is a status, text and score mean nothing."""
    status = first_of(status, finite_status(scores))
    is_good = status == ""
    return {
        "output": tf.where(is_good, texts, ""),
        "score": tf.where(is_good, scores, NO_SCORE),
        "status": status,
    }
