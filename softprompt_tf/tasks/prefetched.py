"""Make batches ahead of time, without TensorFlow's tuner."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

_BATCHES_AHEAD = 2


def prefetched(batches: "tf.data.Dataset") -> "tf.data.Dataset":
    """Make two batches ahead of time, and let nothing be tuned.

    TensorFlow's tuner looks at a running iteration after 10 ms, then after twice as long, up to a minute, and now and then the end
    of the iteration waits for its next look: of seven runs of `fit` that took 13 to 15 seconds, three ended only after 20.5
    seconds, at the tuner's eleventh look (TensorFlow 2.21).
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(_BATCHES_AHEAD).with_options(options)
