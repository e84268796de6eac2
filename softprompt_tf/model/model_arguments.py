"""Check the arguments of a `PromptedT5`."""

from collections.abc import Iterable, Mapping, Set
from typing import Any

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import BackboneError, DataError, PromptError
from softprompt_tf.keras_backend import check_backend
from softprompt_tf.texts.text_arguments import checked_limit


def check_parts(t5: Any, labels: Any) -> tuple[Any, ...] | None:
    """Refuse what is no frozen T5, and what is no sequence of labels; return the labels, of which an iterator is read once.

    Raises:
      BackboneError, PromptError: with what was received.
      BackendError: where Keras is set up for what cannot run here.
    """
    check_backend()
    if not isinstance(t5, FrozenT5):
        raise BackboneError(
            f"`t5` must be a T5 from load_t5. Received: {t5 if isinstance(t5, str) else type(t5).__name__!r}. "
            "Load it first, t5 = load_t5(...); many models may share it."
        )
    if isinstance(labels, (str, bytes)):
        raise PromptError(f"`labels` must be a list of words. Received: labels={labels!r}.")
    if isinstance(labels, Set | Mapping) or not isinstance(labels, Iterable | None):
        raise PromptError(f"`labels` must be a list of words, in their order. Received: labels={labels!r}.")
    return None if labels is None else tuple(labels)


def check_is_dictionary(inputs: Any) -> None:
    """Refuse inputs of a call that are no dictionary of tokens.

    Raises:
      DataError: with the type, and what takes texts.
    """
    if not isinstance(inputs, Mapping):
        raise DataError(
            f"A call takes a dictionary of token ids. Received: a {type(inputs).__name__}. Name the parts; `fit`, `generate`, "
            "`classify` and `score` take texts."
        )


def limit_of(name: str, value: Any, default: int) -> int:
    """Return a limit in tokens, or the default where none was given.

    Raises:
      ConfigError: if it is no whole number above 0.
    """
    return default if value is None else checked_limit(name, value)
