"""What is compared, and what counts as agreement: names, settings and targets of the cases."""

from dataclasses import dataclass
from typing import Any

SHARED: dict[str, Any] = {"rows": 16, "length": 128, "rate": 0.1}
LABELS = 2  # of the classification case, each of two pieces and the end of sequence
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
      name: as the table shows it.
      settings: what both workers are told; "kind" says what a round does.
      target: the speed, as a multiple of the peer's, that the project has set itself; None for none.
      is_quick: whether the short run has it.
    """

    name: str
    settings: dict[str, Any]
    target: float | None
    is_quick: bool = True


def _step(prompt: int, target: float | None, *, is_quick: bool, recomputes: bool = False) -> Case:
    settings = {"kind": "training_step", "prompt": prompt, "targets": 8, "gradient_checkpointing": recomputes}
    name = f"training step, prompt {prompt}"
    return Case(f"{name}, gradient checkpointing" if recomputes else name, settings, target, is_quick)


def _generation(tokens: int, *, is_quick: bool) -> Case:
    settings = {"kind": "generate", "prompt": 20, "tokens": tokens}
    return Case(f"greedy generation, {tokens} tokens", settings, 1.4, is_quick)


CASES = (
    _step(20, 2.0, is_quick=True),
    _step(100, 1.8, is_quick=False),
    _step(20, None, is_quick=False, recomputes=True),
    _generation(8, is_quick=True),
    _generation(32, is_quick=False),
    Case("classification by label scores, PEFT: generate", {"kind": "classify", "prompt": 20, "tokens": 3}, 1.6),
)


def check_agreement(case: Case, ours: dict[str, Any], peer: dict[str, Any]) -> str:
    """Return what the two sides agree on, in words.

    Raises:
      RuntimeError: if losses or label scores differ by more than `TOLERANCE`, or any written token does.
    """
    if case.settings["kind"] == "generate":
        if ours["ids"] != peer["ids"]:
            raise RuntimeError(f"Both sides must write the same. Received: {ours['ids']} and {peer['ids']}.")
        return "same tokens"
    apart = max(abs(a - b) for a, b in zip(ours["values"], peer["values"], strict=True))
    if not apart <= TOLERANCE:
        raise RuntimeError(f"Values must agree within {TOLERANCE}. Received: {ours['values']} and {peer['values']}.")
    return f"{apart:.1e} apart"
