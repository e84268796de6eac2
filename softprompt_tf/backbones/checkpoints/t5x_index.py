"""The index file of a T5X checkpoint, recognized without the packages that read one."""

from pathlib import Path

INDEX = "checkpoint"


def is_t5x_index(path: Path) -> bool:
    """Tell a msgpack map from the text file of the same name that TensorFlow writes."""
    try:
        with open(path, "rb") as file:
            first = file.read(1)
    except OSError:
        return False
    return bool(first) and (0x80 <= first[0] <= 0x8F or first[0] in (0xDE, 0xDF))  # msgpack's maps
