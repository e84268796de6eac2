"""Map data sets without AutoGraph."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


def mapped(batches: "tf.data.Dataset", function: Callable[..., Any], **settings: Any) -> "tf.data.Dataset":
    """Return `batches.map(function)`, traced as it is: AutoGraph reads and rewrites each function below it, which takes 0.7 s.

    Settings are those of `tf.data.Dataset.map`.
    """
    import tensorflow as tf

    return batches.map(tf.autograph.experimental.do_not_convert(function), **settings)
