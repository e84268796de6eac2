"""The methods that a search tries, and the check of those that it may try."""

from collections.abc import Sequence

from softprompt_tf.errors import ConfigError
from softprompt_tf.settings.spelling import nearest

LATE, ADAPTERS, IA3 = "late_prompts", "adapters", "ia3"  # adapters in the decoder alone, (IA)^3 everywhere
METHODS_TRIED = ("prompt_tuning", ADAPTERS, IA3, "superpos", "residual", LATE)


def check_methods(methods: Sequence[str]) -> None:
    """Check the methods that a search may try.

    Raises:
      ConfigError: for none, or one that a search does not try, or a single name that is no list.
    """
    if isinstance(methods, str):
        raise ConfigError(f"`methods` must be a list of names. Received: {methods!r}. Write [{methods!r}].")
    for name in methods:
        if name not in METHODS_TRIED:
            raise ConfigError(
                f"`methods` must be methods that a search tries. Received: {name!r}.{nearest(name, METHODS_TRIED)} Train others "
                "with `softprompt train`."
            )
    if not methods:
        raise ConfigError(f"`methods` must name one method or more of {', '.join(METHODS_TRIED)}. Received: none.")
