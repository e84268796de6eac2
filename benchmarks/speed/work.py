"""Floating point operations of the cases, counted from shapes: 2 * M * N * K for each matrix product, nothing else."""

from typing import Any

from benchmarks.speed.inputs import HEAD_DIM, SHAPES, Shape


def flops(settings: dict[str, Any]) -> float:
    """Return the operations that a case needs at least, on our side; an epoch's without its padding."""
    if settings["kind"] == "epoch":
        rows = zip(settings["lengths"], settings["target_lengths"], strict=True)
        one = {**settings, "kind": "training_step", "rows": 1}
        return sum(flops({**one, "length": length, "targets": targets}) for length, targets in rows)
    shape = SHAPES[settings.get("shape", "small")]
    rows, source = settings["rows"], settings["prompt"] + settings["length"]
    if settings["kind"] == "training_step":
        targets = settings["targets"]
        forward = _encoder(shape, source) + _decoder(shape, targets, source)
        # Frozen weights have no gradient of their own, so backwards every product of states and weights is taken once
        # more, and every product of two states twice.
        pairs = ((source, source), (targets, targets), (targets, source))
        states = shape.layers * sum(_attention(shape, queries, keys) for queries, keys in pairs)
        return rows * (2 * forward + states)
    steps = settings["tokens"] if settings["kind"] == "generate" else 2 * settings["tokens"]
    return rows * (_encoder(shape, source) + _decoder(shape, steps, source))


def _encoder(shape: Shape, length: int) -> float:
    blocks = _projections(shape, length, length) + _attention(shape, length, length)
    return shape.layers * (blocks + _feed_forward(shape, length))


def _decoder(shape: Shape, length: int, source: int) -> float:
    own = _projections(shape, length, length) + _attention(shape, length, length)
    cross = _projections(shape, length, source) + _attention(shape, length, source)
    return shape.layers * (own + cross + _feed_forward(shape, length)) + 2 * length * shape.hidden * shape.rows


def _projections(shape: Shape, queries: int, keys: int) -> float:
    return 2 * (2 * queries + 2 * keys) * shape.hidden * shape.heads * HEAD_DIM  # query and output; key and value


def _attention(shape: Shape, queries: int, keys: int) -> float:
    return 2 * 2 * queries * keys * shape.heads * HEAD_DIM


def _feed_forward(shape: Shape, length: int) -> float:
    return shape.feed_forward_products * 2 * length * shape.hidden * shape.wide
