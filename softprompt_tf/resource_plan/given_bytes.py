"""Read numbers of bytes as people write them: "16GB" is 16e9 bytes, "16GiB" is 16 * 2^30."""

import re

from softprompt_tf.errors import ConfigError

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{letter}B": 10 ** (3 * k) for k, letter in enumerate("KMGT", start=1)}
_UNITS |= {f"{letter}IB": 2 ** (10 * k) for k, letter in enumerate("KMGT", start=1)}
_UNITS |= {letter: 10 ** (3 * k) for k, letter in enumerate("KMGT", start=1)}
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def as_bytes(value: int | str) -> int:
    """Return a number of bytes.

    Args:
      value: a number, or such as "16GB", "24GiB", "512 MB".

    Raises:
      ConfigError: for anything else, and for 0.
    """
    found = _NUMBER.fullmatch(str(value))
    unit = _UNITS.get(found[2].upper()) if found and not isinstance(value, bool) else None
    number = float(found[1]) * unit if found and unit else 0
    if number < 1:
        raise ConfigError(f"A memory must be bytes or such as 16GB or 24GiB. Received: {value!r}.")
    return int(number)
