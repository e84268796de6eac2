"""Soft prompt tuning of a frozen T5 in TensorFlow and Keras 3, and one SavedModel that serves every task."""

from softprompt_tf.version import __version__

__all__ = ["__version__"]
