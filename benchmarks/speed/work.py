"""Floating point operations of the cases, counted from shapes: 2 * M * N * K for each matrix product, nothing else."""

from typing import Any

from benchmarks.speed.inputs import HEAD_DIM, HEADS, HIDDEN, LAYERS, ROWS, WIDE

_INNER = HEADS * HEAD_DIM


def flops(settings: dict[str, Any]) -> float:
    """Return the operations that a case needs at least, on our side."""
    rows, source = settings["rows"], settings["prompt"] + settings["length"]
    if settings["kind"] == "training_step":
        forward = _encoder(source) + _decoder(settings["targets"], source)
        # Frozen weights have no gradient of their own, so backwards every product of states and weights is taken once
        # more, and every product of two states twice.
        states = LAYERS * (
            _attention(source, source)
            + _attention(settings["targets"], settings["targets"])
            + _attention(settings["targets"], source)
        )
        return rows * (2 * forward + states)
    steps = settings["tokens"] if settings["kind"] == "generate" else 2 * settings["tokens"]
    return rows * (_encoder(source) + _decoder(steps, source))


def _encoder(length: int) -> float:
    return LAYERS * (_projections(length, length) + _attention(length, length) + _feed_forward(length))


def _decoder(length: int, source: int) -> float:
    own = _projections(length, length) + _attention(length, length)
    cross = _projections(length, source) + _attention(length, source)
    return LAYERS * (own + cross + _feed_forward(length)) + 2 * length * HIDDEN * ROWS


def _projections(queries: int, keys: int) -> float:
    return 2 * (2 * queries + 2 * keys) * HIDDEN * _INNER  # query and output; key and value


def _attention(queries: int, keys: int) -> float:
    return 2 * 2 * queries * keys * _INNER


def _feed_forward(length: int) -> float:
    return 3 * 2 * length * HIDDEN * WIDE
