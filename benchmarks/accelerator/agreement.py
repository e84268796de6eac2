"""Whether both sides of a case did the same work: their first losses, or the tokens that they wrote."""

from typing import Any

LIMITS = {"float32": 2e-3, "bfloat16": 5e-2}  # of the losses' relative difference


def agreement(ours: dict[str, Any] | None, peer: dict[str, Any] | None, *, dtype: str) -> dict[str, Any]:
    """Return the largest relative difference of the losses, or the share of equal tokens; empty where a side failed."""
    if not ours or not peer:
        return {}
    if "ids" in ours:
        pairs = [pair for rows in zip(ours["ids"], peer["ids"], strict=True) for pair in zip(*rows, strict=True)]
        return {"equal_tokens": sum(a == b for a, b in pairs) / len(pairs)}
    apart = max(abs(a - b) / abs(b) for a, b in zip(ours["values"], peer["values"], strict=True))
    return {"losses_apart": apart, "is_close": apart <= LIMITS[dtype]}
