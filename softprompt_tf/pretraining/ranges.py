"""Refuse numbers that no pretraining can be made with, before any text is read."""

from softprompt_tf.errors import ConfigError


def check_least(least: int, **values: int) -> None:
    """Check that whole numbers, by their names, are not below the least one.

    Raises:
      ConfigError: for the first that is.
    """
    for name, value in values.items():
        if value < least:
            raise ConfigError(f"`{name}` must be a whole number from {least} up. Received: {value}.")
