"""Which Keras backend runs: TensorFlow for everything, JAX for a model on token arrays."""

import keras

from softprompt_tf.errors import BackendError

SUPPORTED = ("tensorflow", "jax")


def is_tensorflow() -> bool:
    """Return whether Keras runs on TensorFlow."""
    return bool(keras.backend.backend() == "tensorflow")


def check_backend() -> None:
    """Refuse a Keras backend, and a global float type of Keras, under which no model of this library runs.

    Raises:
      BackendError: under any other backend than those in `SUPPORTED`; on TensorFlow under another float type than float32,
        as Keras makes its whole numbers as wide.
    """
    backend, floatx = keras.backend.backend(), keras.config.floatx()
    if backend not in SUPPORTED:
        raise BackendError(
            f"The Keras backend must be one of {', '.join(SUPPORTED)}. Received: {backend!r}. Set KERAS_BACKEND=tensorflow "
            "before Keras is imported."
        )
    if is_tensorflow() and floatx != "float32":
        raise BackendError(
            f"Keras's global float type must be float32. Received: keras.config.floatx()={floatx!r}. Leave "
            '`keras.config.set_floatx` out; `load_t5(..., dtype="bfloat16")` gives a T5 that computes in bfloat16.'
        )


def require_tensorflow(what: str) -> None:
    """Refuse what needs TensorFlow ops where Keras runs on another backend.

    Args:
      what: the start of the message, a plural such as "Texts".

    Raises:
      BackendError: unless Keras runs on TensorFlow.
    """
    if not is_tensorflow():
        raise BackendError(
            f"{what} need TensorFlow. Received: the Keras backend {keras.backend.backend()!r}, which trains a prompt on token "
            "arrays. Set KERAS_BACKEND=tensorflow before Keras is imported."
        )
