"""What is timed beside PEFT, in the order of importance: the run takes as many as its budget lets it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from benchmarks.accelerator.precisions import PRECISIONS

ROWS, TARGETS, RATE = 32, 8, 0.1
GENERATED = 32
# Seconds that a case takes, mostly to load and to compile: what must be left for it to begin.
EXPECTED_S = {"tiny": 5, "small": 15, "base": 25, "large": 45}


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
      shape: a key of `inputs.SHAPES`.
      precision: a key of `PRECISIONS`.
      kind: "training_step" or "generate".
      prompt: P.
      length: T.
      rows: B.
      tokens: that are written by generation.
    """

    shape: str
    precision: str
    kind: str
    prompt: int
    length: int
    rows: int = ROWS
    tokens: int = GENERATED

    @property
    def group(self) -> tuple[str, str]:
        """What the cases of one pair of workers have in common: shape and dtype."""
        return self.shape, PRECISIONS[self.precision].dtype

    @property
    def name(self) -> str:
        """What a report calls it."""
        what = f"{self.tokens} tokens written" if self.kind == "generate" else "training step"
        precision = PRECISIONS[self.precision].words
        return f"{self.shape}, {precision}, {what}, prompt {self.prompt}, input {self.length}"

    @property
    def settings(self) -> dict[str, Any]:
        """What both workers are told, and what the operations are counted from."""
        shared = {"shape": self.shape, "precision": self.precision, "kind": self.kind, "prompt": self.prompt}
        sizes = {"length": self.length, "rows": self.rows, "tokens": self.tokens, "targets": TARGETS, "rate": RATE}
        return {**shared, **sizes}


def _steps(shape: str, precision: str, *sizes: tuple[int, int]) -> list[Case]:
    return [Case(shape, precision, "training_step", prompt, length) for prompt, length in sizes]


# Within a group the memory that is needed grows, so that each case's peak shows.
CASES = [
    *_steps("base", "bfloat16", (20, 128), (100, 128)),
    Case("base", "bfloat16", "generate", 100, 128),
    *_steps("base", "bfloat16", (100, 512)),
    *_steps("small", "float32", (100, 128)),
    *_steps("small", "tf32", (100, 128)),
    *_steps("large", "bfloat16", (100, 128), (100, 512)),
    *_steps("base", "tf32", (100, 128)),
    *_steps("base", "float32", (100, 128)),
    *_steps("small", "bfloat16", (20, 128), (100, 512)),
    Case("small", "bfloat16", "generate", 20, 128),
    *_steps("large", "tf32", (100, 128)),
    *_steps("large", "float32", (100, 128)),
]
QUICK_CASES = [
    Case("tiny", "float32", "training_step", 5, 16, rows=4),
    Case("tiny", "float32", "generate", 5, 16, rows=4, tokens=4),
    Case("tiny", "bfloat16", "training_step", 5, 16, rows=4),
]


def groups(cases: Sequence[Case]) -> list[list[Case]]:
    """Return the cases that stand together and share their workers."""
    return [list(group) for _, group in groupby(cases, key=lambda case: case.group)]


def shapes(cases: Sequence[Case]) -> list[str]:
    """Return the shapes of the cases, in the order in which they are needed."""
    return list(dict.fromkeys(case.shape for case in cases))
