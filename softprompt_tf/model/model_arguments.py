"""Check the arguments of a `PromptedT5`."""

from typing import Any

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import BackboneError, PromptError
from softprompt_tf.texts.text_arguments import checked_limit


def check_parts(t5: Any, labels: Any) -> None:
    """Refuse what is no frozen T5, and one text in the place of several labels.

    Raises:
      BackboneError, PromptError: with what was received.
    """
    if not isinstance(t5, FrozenT5):
        raise BackboneError(
            f"`t5` must be a T5 from load_t5. Received: {t5 if isinstance(t5, str) else type(t5).__name__!r}. "
            "Load it first, t5 = load_t5(...); many models may share it."
        )
    if isinstance(labels, (str, bytes)):
        raise PromptError(f"`labels` must be a list of words. Received: labels={labels!r}.")


def limit_of(name: str, value: Any, default: int) -> int:
    """Return a limit in tokens, or the default where none was given.

    Raises:
      ConfigError: if it is no whole number above 0.
    """
    return default if value is None else checked_limit(name, value)
