"""The two ways in which a target starts: with its text, or with a sentinel in front of it."""

from typing import Literal, get_args

TargetFormat = Literal["text", "sentinel"]
TARGET_FORMATS: tuple[str, ...] = get_args(TargetFormat)
