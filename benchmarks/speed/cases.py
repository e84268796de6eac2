"""What is compared, and what counts as agreement: names, settings and targets of the cases."""

from dataclasses import dataclass, replace
from typing import Any

SHARED: dict[str, Any] = {"rows": 16, "length": 128, "rate": 0.1}
LABELS = 2  # of the classification case, each of two pieces and the end of sequence
DTYPES = ("float32", "bfloat16")
# How far values of the two sides may be apart. A value of bfloat16 has 8 bits, and the sides round in different places.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.1}


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
      name: as the table shows it.
      settings: what both workers are told; "kind" says what a round does.
      target: the speed, as a multiple of the peer's, that the project has set itself; None for none.
      is_quick: whether the short run has it.
      dtype: what both sides compute in.
    """

    name: str
    settings: dict[str, Any]
    target: float | None
    is_quick: bool = True
    dtype: str = "float32"


def _step(prompt: int, target: float | None, *, is_quick: bool, recomputes: bool = False) -> Case:
    settings = {"kind": "training_step", "prompt": prompt, "targets": 8, "gradient_checkpointing": recomputes}
    name = f"training step, prompt {prompt}"
    return Case(f"{name}, gradient checkpointing" if recomputes else name, settings, target, is_quick)


def _generation(tokens: int, *, is_quick: bool) -> Case:
    settings = {"kind": "generate", "prompt": 20, "tokens": tokens}
    return Case(f"greedy generation, {tokens} tokens", settings, 1.4, is_quick)


def _cases(dtype: str) -> list[Case]:
    """Return all cases in one dtype; a step's target is higher in bfloat16, where a machine has units for it."""
    step = {"float32": 1.4, "bfloat16": 2.0}[dtype]
    labels = Case(
        "classification by label scores, PEFT: generate", {"kind": "classify", "prompt": 20, "tokens": 3}, 1.6
    )
    cases = [
        _step(20, step, is_quick=True),
        _step(100, step, is_quick=False),
        _step(20, None, is_quick=False, recomputes=True),
        _generation(8, is_quick=True),
        _generation(32, is_quick=False),
        labels,
    ]
    if dtype == "float32":
        return cases
    return [
        replace(case, name=f"{case.name}, {dtype}", settings={**case.settings, "dtype": dtype}, dtype=dtype)
        for case in cases
    ]


CASES = tuple(case for dtype in DTYPES for case in _cases(dtype))


def check_agreement(case: Case, ours: dict[str, Any], peer: dict[str, Any]) -> str:
    """Return what the two sides agree on, in words.

    Raises:
      RuntimeError: if losses or label scores differ by more than the dtype's of `TOLERANCES`, or, in float32, any written token
        does. In bfloat16 one token that rounding decides changes all behind it, so that their share is told.
    """
    if case.settings["kind"] == "generate":
        if ours["ids"] == peer["ids"]:
            return "same tokens"
        if case.dtype == "float32":
            raise RuntimeError(f"Both sides must write the same. Received: {ours['ids']} and {peer['ids']}.")
        return f"{_share_of_equal(ours['ids'], peer['ids']):.0%} of the tokens"
    apart = max(abs(a - b) for a, b in zip(ours["values"], peer["values"], strict=True))
    tolerance = TOLERANCES[case.dtype]
    if not apart <= tolerance:
        raise RuntimeError(f"Values must agree within {tolerance}. Received: {ours['values']} and {peer['values']}.")
    return f"{apart:.1e} apart"


def _share_of_equal(ours: list[list[int]], peer: list[list[int]]) -> float:
    """Return the share of places at which both sides have the same token."""
    pairs = [pair for rows in zip(ours, peer, strict=True) for pair in zip(*rows, strict=True)]
    return sum(one == other for one, other in pairs) / len(pairs)
