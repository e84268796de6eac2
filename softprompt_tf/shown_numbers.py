"""Write numbers as people do: "1 row", "1,200 rows", "22.3 GB"."""

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def counted(count: float, noun: str) -> str:
    """Return how many of something there are; the noun gets an s unless there is exactly one.

    Args:
      count: how many; a whole number is written in full, a float with six digits at most.
      noun: the singular, such as "row" or "bad row".
    """
    number = f"{count:g}" if isinstance(count, float) else f"{count:,}"
    return f"{number} {noun}" if count == 1 else f"{number} {noun}s"


def bytes_text(value: float) -> str:
    """Write bytes with three digits: "22.3 GB"."""
    return f"{with_prefix(value)}B"


def with_prefix(value: float) -> str:
    """Write a number with three digits and a prefix: "1.25 T"."""
    for size, prefix in _PREFIXES:
        if value >= 0.9995 * size:  # what would be written as 1000 of the prefix below
            number = value / size
            return f"{number:.0f} {prefix}" if number >= 100 else f"{number:.3g} {prefix}"
    return f"{value:.0f} "
