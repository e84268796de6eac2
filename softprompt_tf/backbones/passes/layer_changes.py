"""Frozen blocks that each row of a batch changes in its own way: low-rank products, scales, bottlenecks and additions, never
merged.

Automatic differentiation runs through what is changed.

Sources: Hu et al. 2021, arXiv:2106.09685 (LoRA); Liu et al. 2022, arXiv:2205.05638 ((IA)^3); Houlsby et al. 2019,
arXiv:1902.00751 (adapters); Qin & Eisner 2021, arXiv:2104.06599 (additions to the states of a prompt).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from keras import ops

from softprompt_tf.injection import LayerChange
from softprompt_tf.typing import Tensor

Changes = Mapping[str, Tensor]
"""Kinds of changes -> their rows in one layer, [B, R, F]; or [1, R, F], which all rows of the batch have. See `LayerChange`."""
_PROJECTIONS = ("query", "key", "value", "output")


class WithDelta(NamedTuple):
    """A projection [F_in] to [F_out] with a low-rank product added to it.

    Args:
      base: the projection.
      rows: [B, R, F_in + F_out], in its dtype.
    """

    base: Any
    rows: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """Project states [M, F_in] to [M, F_out], M = B * positions, the positions of a row behind each other."""
        width = states.shape[-1]
        down, up = ops.split(self.rows, [width], axis=-1)
        inner = ops.matmul(by_row(states, self.rows), ops.transpose(down, (0, 2, 1)))  # [B, S, R]
        return self.base(states) + ops.reshape(ops.matmul(inner, up), (-1, up.shape[-1]))


class Scaled(NamedTuple):
    """A projection [F_in] to [F_out] whose outputs are scaled.

    Args:
      base: the projection.
      rows: [B, 1, F_out], in its dtype.
    """

    base: Any
    rows: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """Project states [M, F_in] to [M, F_out]."""
        return scaled(self.base(states), self.rows)


class OfScaled(NamedTuple):
    """A projection [F_in] to [F_out] whose inputs are scaled.

    Args:
      base: the projection.
      rows: [B, 1, F_in], in its dtype.
    """

    base: Any
    rows: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """Project states [M, F_in] to [M, F_out]."""
        return self.base(scaled(states, self.rows))


class Adapted(NamedTuple):
    """A projection with a bottleneck behind it.

    Args:
      base: the projection.
      rows: [B, R, 2 H + 2], in its dtype.
    """

    base: Any
    rows: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """Project states [M, F_in] to [M, H]."""
        return adapted(self.base(states), self.rows)


class ChangedFeedForward(NamedTuple):
    """A feed-forward block whose inner states are scaled, or that has bottlenecks behind it.

    Args:
      base: the block.
      scale: [B, 1, F], or None.
      adapters: [B, R, 2 H + 2] each, the one after the other.
    """

    base: Any
    scale: Tensor | None
    adapters: Sequence[Tensor]

    def forward(self, states: Tensor, epsilon: float) -> tuple[Tensor, None]:
        """Run on states [M, H]."""
        hidden = self.base.hidden(states, epsilon)
        output = self.base.project(hidden if self.scale is None else scaled(hidden, self.scale))
        for rows in self.adapters:
            output = adapted(output, rows)
        return states + output, None


def scaled(states: Tensor, rows: Tensor) -> Tensor:
    """Multiply states [M, F] by their row's vector of [B, 1, F]."""
    return ops.reshape(by_row(states, rows) * rows, (-1, rows.shape[-1]))


def adapted(states: Tensor, rows: Tensor) -> Tensor:
    """Add to states [M, H] what their row's bottleneck makes of them.

    Each unit of `rows` [B, R, 2 H + 2] has the way down [H], the way up [H], what is added before the GELU (its tanh form) and
    what is added behind it.
    """
    return states + ops.reshape(bottleneck(by_row(states, rows), rows), (-1, states.shape[-1]))


def bottleneck(states: Tensor, rows: Tensor) -> Tensor:
    """Return [B, S, F_out] of states [B, S, F_in] and units [B, R, F_in + F_out + 2], which hold what those of `adapted` do."""
    width, size = states.shape[-1], rows.shape[-1]
    # Split, and not sliced: the gradient of a slice is as large as what it is cut from.
    down, up, *others = ops.split(rows, [width, size - 2, size - 1], axis=-1)
    before, behind = (ops.transpose(each, (0, 2, 1)) for each in others)  # [B, 1, R]
    inner = ops.matmul(states, ops.transpose(down, (0, 2, 1))) + before  # [B, S, R]
    return ops.matmul(ops.gelu(inner, approximate=True) + behind, up)


def with_prompt_addition(states: Tensor, changes: Changes, num_front: Any) -> Tensor:
    """Add to states [B * S, H] what a layer's changes add to the last of the `num_front` rows in front of the text."""
    rows = changes.get("prompt_addition")  # [B, R, H]
    if rows is None:
        return states
    by_position, first = by_row(states, rows), num_front - ops.shape(rows)[1]
    if not isinstance(first, int):  # a request may bring a prompt of no rows, beside the one row of zeros of no task
        rows, first = rows[:, ops.maximum(-first, 0) :], ops.maximum(first, 0)
    moved = by_position[:, first:num_front] + rows
    parts = [by_position[:, :first], moved, by_position[:, num_front:]]
    return ops.reshape(ops.concatenate(parts, axis=1), (-1, states.shape[-1]))


def with_changes(block: Any, changes: Changes) -> Any:
    """Return an attention block with what changes its projections."""
    parts = {name: getattr(block, name) for name in _PROJECTIONS}
    for name in _PROJECTIONS:
        if f"{name}_delta" in changes:
            parts[name] = WithDelta(parts[name], changes[f"{name}_delta"])
        if f"{name}_scale" in changes:
            parts[name] = Scaled(parts[name], changes[f"{name}_scale"])
    if "attention_adapter" in changes:
        parts["output"] = Adapted(parts["output"], changes["attention_adapter"])
    return block._replace(**parts)


def with_changed_cross(block: Any, changes: Changes) -> Any:
    """Return a block that attends to the encoder output with what changes its projections.

    Scales of keys go to the queries, and those of values to what is attended to: the sums are the same, and the positions of the
    encoder output, which are more than the decoder's tokens, keep the keys and values that all rows have.
    """
    scales = {name: changes.get(f"{name}_scale") for name in ("key", "value")}
    block = with_changes(
        block, {kind: rows for kind, rows in changes.items() if kind not in ("key_scale", "value_scale")}
    )
    if scales["key"] is not None:
        block = block._replace(query=Scaled(block.query, scales["key"]))
    if scales["value"] is not None:
        block = block._replace(output=OfScaled(block.output, scales["value"]))
    return block


def with_changed_feed_forward(block: Any, changes: Changes) -> Any:
    """Return a feed-forward block with what changes it; itself where nothing does."""
    scale = changes.get("feed_forward_scale")
    adapters = [changes[kind] for kind in ("language_adapter", "feed_forward_adapter") if kind in changes]
    return block if scale is None and not adapters else ChangedFeedForward(block, scale, adapters)


def changes_by_layer(parts: Sequence[LayerChange], place: str, num_layers: int, dtype: str) -> list[dict[str, Tensor]]:
    """Return, for each layer, what changes one place."""
    rows = {part.kind: ops.cast(part.rows, dtype) for part in parts if part.place == place}
    layers = {kind: ops.unstack(value, num_layers, axis=2) for kind, value in rows.items()}
    return [{kind: values[layer] for kind, values in layers.items()} for layer in range(num_layers)]


def by_row(states: Tensor, rows: Tensor) -> Tensor:
    """[M, F] to [B, S, F], B that of `rows`; where all have the same row, the whole batch is one row: [1, M, F]."""
    return ops.reshape(states, (ops.shape(rows)[0], -1, states.shape[-1]))
