"""Rows that tasks inject into the encoder's states: before a layer, or behind the last one.

They stand in front of the input, where a prompt's rows stand: right-aligned, so that each row touches its text as it would
alone, T5's positions being relative. Rows of a batch that enter at different layers share those places.
"""

from typing import Any

from keras import ops

from softprompt_tf.backbones.passes.frozen_forward import FrozenForward
from softprompt_tf.injection import Front, Injection, LateFront
from softprompt_tf.typing import Tensor


def encode_with_rows(
    forward: FrozenForward,
    states: Tensor,
    padding_mask: Tensor,
    injection: Injection,
    *,
    first: int = 0,
    num_moving: int | None = None,
    tuning: bool = False,
    recompute: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run the encoder's layers from `first` on, with what is injected between and behind them.

    Args:
      forward: the passes of the frozen T5.
      states: [B, S, H], the embeddings with the rows of `injection.front` in front, or the states before layer `first`.
      padding_mask: [B, S], 1 = a position to attend to.
      injection: what the rows' tasks inject. Nothing of it may enter below `first`.
      first: the first layer that runs.
      num_moving: how many rows in front have a gradient; 0: nothing has one below the first rows that enter. Default: all.
      tuning: whether gradients will be asked for.
      recompute: keep each layer's input only and run the layer again for its gradient.

    Returns:
      The encoder output with the rows behind it in front, [B, P + S, H], and its mask [B, P + S].
    """

    def run(states: Tensor, padding_mask: Tensor, layers: slice, num_moving: int | None) -> Tensor:
        is_still = num_moving == 0 and not injection.moves_encoder
        states = forward.encode(
            states,
            padding_mask,
            injection.encoder,
            changes=injection.changes,
            layers=layers,
            num_moving=num_moving or None,
            tuning=tuning and not is_still,
            recompute=recompute and not is_still,
            num_front=width,
            sight=injection.sight,
        )
        return ops.stop_gradient(states) if is_still else states

    knows_front = bool(injection.late) or injection.knows_front
    width = _width(injection.front) if knows_front and first == 0 else 0
    for late in injection.late:
        if late.layer > first:
            states = run(states, padding_mask, slice(first, late.layer), num_moving)
        states, padding_mask, width = enter(late, states, padding_mask, width)
        first, num_moving = late.layer, width if num_moving == 0 else None
    states = run(states, padding_mask, slice(first, None), num_moving)
    return behind(injection.behind, states, padding_mask)


def behind(rows: Front | None, encoder_output: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Put rows in front of the encoder output [B, S, H] and its mask [B, S]; nothing where there are none."""
    if rows is None:
        return encoder_output, padding_mask
    return enter(rows, encoder_output, padding_mask, 0)[:2]


def enter(rows: Front | LateFront, states: Tensor, padding_mask: Tensor, width: Any) -> tuple[Tensor, Tensor, Any]:
    """Let rows enter in front of states [B, S, H] whose first `width` positions are those of rows that entered before.

    Returns:
      The states [B, S', H], their mask [B, S'], and the positions in front of the text that rows have now.
    """
    batch, dtype = ops.shape(states)[0], padding_mask.dtype
    new = ops.cast(rows.rows, states.dtype)
    new_mask = ops.ones_like(new[:, :, 0]) if rows.mask is None else rows.mask
    new_mask = ops.cast(new_mask, dtype)
    length = _length(new)
    if isinstance(width, int) and width == 0:
        return ops.concatenate([new, states], axis=1), ops.concatenate([new_mask, padding_mask], axis=1), length
    widest = max(width, length) if isinstance(width, int) and isinstance(length, int) else ops.maximum(width, length)

    def in_front(part: Tensor, count: Any) -> Tensor:
        zeros = ops.zeros((batch, count, *part.shape[2:]), dtype=part.dtype)
        return ops.concatenate([zeros, part], axis=1)

    states, padding_mask = in_front(states, widest - width), in_front(padding_mask, widest - width)
    new, new_mask = in_front(new, widest - length), in_front(new_mask, widest - length)
    front = ops.where(ops.cast(new_mask, "bool")[:, :, None], new, states[:, :widest])
    mask = ops.maximum(new_mask, padding_mask[:, :widest])
    states = ops.concatenate([front, states[:, widest:]], axis=1)
    return states, ops.concatenate([mask, padding_mask[:, widest:]], axis=1), widest


def _width(front: Front | None) -> Any:
    """Return how many rows there are in front, a number or a scalar of a graph."""
    return 0 if front is None else _length(front.rows)


def _length(rows: Tensor) -> Any:
    return rows.shape[1] if rows.shape[1] is not None else ops.shape(rows)[1]
