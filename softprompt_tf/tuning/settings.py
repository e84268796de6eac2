"""What a search is asked for, checked."""

from dataclasses import dataclass
from pathlib import Path

from softprompt_tf.errors import ConfigError
from softprompt_tf.runs.precision_choice import AUTO, PRECISIONS
from softprompt_tf.tuning.methods_tried import METHODS_TRIED, check_methods


@dataclass(frozen=True)
class SearchSettings:
    """What a search is asked for.

    Args:
      backbone: what the T5 is loaded from.
      output: the directory.
      minutes: the budget, loading and writing included.
      seed: of the first values, the order of the rows, and all draws.
      sources: a directory of trained prompts to start from; None: those that ship with the backbone, if there are any.
      methods: that may be tried.
      precision: of the T5: "float32", "bfloat16", or "auto": bfloat16 where it is faster and agrees.
    """

    backbone: str
    output: Path
    minutes: float = 10.0
    seed: int = 1
    sources: Path | None = None
    methods: tuple[str, ...] = METHODS_TRIED
    precision: str = "float32"

    def __post_init__(self) -> None:
        if isinstance(self.minutes, bool) or not isinstance(self.minutes, (int, float)) or not 0 < self.minutes < 1e6:
            raise ConfigError(f"`minutes` must be a number above 0. Received: minutes={self.minutes!r}.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise ConfigError(f"`seed` must be a whole number from 0 up to 2^32. Received: seed={self.seed!r}.")
        check_methods(self.methods)
        if self.precision not in (*PRECISIONS, AUTO):
            raise ConfigError(
                f"`precision` must be one of {', '.join((*PRECISIONS, AUTO))}. Received: precision={self.precision!r}."
            )
