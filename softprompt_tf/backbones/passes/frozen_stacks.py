"""The two stacks of a T5 whose weights never train: the one encoder loop and the one decoder loop.

The decoder loop serves whole targets and single steps alike: what differs is how a layer attends to itself and to the encoder
output, which the caller brings. With `tuning`, blocks run with their own gradients.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import ops

from softprompt_tf.backbones.passes.absorbed_attention import AbsorbedAttention
from softprompt_tf.backbones.passes.called_feed_forward import CalledFeedForward
from softprompt_tf.backbones.passes.frozen_blocks import Norm, SelfAttention, run_block
from softprompt_tf.backbones.passes.frozen_feed_forward import feed_forward_of
from softprompt_tf.backbones.passes.heads import Shape
from softprompt_tf.backbones.passes.layer_changes import (
    ChangedFeedForward,
    Changes,
    with_changed_feed_forward,
    with_changes,
    with_prompt_addition,
)
from softprompt_tf.backbones.passes.placed import on_device, placed
from softprompt_tf.backbones.passes.projected_attention import ProjectedAttention
from softprompt_tf.typing import Tensor

CrossAttention = type[AbsorbedAttention] | type[ProjectedAttention]


class FrozenLayer(NamedTuple):
    """The frozen blocks of one layer; an encoder's has no cross-attention."""

    attention: SelfAttention
    feed_forward: Any
    cross: Any = None
    device: str | None = None  # that holds its weights; None: the only one

    @classmethod
    def of(
        cls,
        layer: keras.layers.Layer,
        dtype: str,
        kind: CrossAttention | None = None,
        *,
        is_plain: bool = True,
        device: str | None = None,
    ) -> "FrozenLayer":
        """Read a layer's weights.

        Args:
          layer: a KerasHub T5 layer.
          dtype: what the blocks compute in.
          kind: the cross-attention of a decoder's layer.
          is_plain: whether its parts are known and unchanged; else its norms and projections are called themselves.
          device: that holds its weights, where the T5 is laid over several.
        """
        with on_device(device):
            attention = SelfAttention.of(
                layer.self_attention_layer_norm, layer.self_attention, dtype, is_plain=is_plain
            )
            cross = kind and kind.of(layer.cross_attention_layer_norm, layer.cross_attention, dtype, is_plain=is_plain)
            feed_forward = feed_forward_of(layer, dtype) if is_plain else CalledFeedForward(layer)
        return cls(attention, feed_forward, cross, device)


class FrozenStack(NamedTuple):
    """The layers of a stack and the norm behind them."""

    layers: list[FrozenLayer]
    last_norm: Norm
    device: str | None = None  # of the norm


def run_encoder(
    stack: FrozenStack,
    states: Tensor,
    *,
    bias: Tensor,
    shape: Shape,
    prefixes: Sequence[Tensor] | None = None,
    changes: Sequence[Changes] | None = None,
    tuning: bool = False,
    num_moving: int | None = None,
    recompute: bool = False,
    to_the_end: bool = True,
    num_front: Any = 0,
) -> Tensor:
    """Run the encoder, or some of its layers.

    Args:
      stack: its layers.
      states: embeddings [B * S, H].
      bias: [B, N, S, P + S].
      shape: of the states.
      prefixes: injected keys and values [2, B, N, P, D] of each layer, or None.
      changes: what changes parts of each layer, or None.
      tuning: whether blocks run with their own gradients.
      num_moving: how many rows in front of the embeddings have a gradient; the others' is given as 0. Default: all.
      recompute: keep each layer's input only and run the layer again for its gradient.
      to_the_end: whether the stack's layers are the last ones, which the norm follows.
      num_front: how many rows there are in front of the text, where the changes add to those.

    Returns:
      The normed output [B * S, H], or the states behind the stack's layers.
    """

    def run(layer: FrozenLayer, count: int | None, form: Any, states: Tensor, *moving: Tensor) -> Tensor:
        prefix, changed = keras.tree.pack_sequence_as(form, list(moving))
        block = with_changes(layer.attention, changed)
        states = attend_to_self(block, states, *prefix, bias=bias, shape=shape, tuning=tuning, count=count)
        feed_forward = with_changed_feed_forward(layer.feed_forward, changed)
        states = run_feed_forward(feed_forward, states, stack.last_norm.epsilon, tuning=tuning)
        return with_prompt_addition(states, changed, num_front)

    for k, layer in enumerate(stack.layers):
        form = (tuple(prefixes[k : k + 1] if prefixes else ()), changes[k] if changes else {})
        run_one = partial(run, layer, num_moving if k == 0 else None, form)
        run_layer = placed(layer.device, _kept_or_not(run_one, recompute), has_gradient=tuning)
        states = run_layer(states, *keras.tree.flatten(form))
    if not to_the_end:
        return states
    return _last(stack, states, tuning=tuning)


def run_decoder(
    stack: FrozenStack,
    states: Tensor,
    to_self: Callable[..., Tensor],
    to_source: Callable[..., Tensor],
    *,
    feed_forward: Callable[..., Tensor] | None = None,
    moving: Sequence[Sequence[Tensor]] | None = None,
    tuning: bool = False,
    recompute: bool = False,
) -> Tensor:
    """Run the decoder, on whole targets or on one token of each row.

    Args:
      stack: its layers.
      states: embeddings [M, H].
      to_self: (layer number, states, *moving) -> states with the layer's attention to itself added.
      to_source: the same with its attention to the encoder output.
      feed_forward: the same with its feed-forward. Default: that of the stack.
      moving: what gradients reach beside the states, for each layer.
      tuning: whether blocks run with their own gradients.
      recompute: keep each layer's input only and run the layer again for its gradient.

    Returns:
      The normed states [M, H].
    """

    def run(k: int, states: Tensor, *moving: Tensor) -> Tensor:
        states = to_self(k, states, *moving)
        states = to_source(k, states, *moving)
        if feed_forward is not None:
            return feed_forward(k, states, *moving)
        return run_feed_forward(stack.layers[k].feed_forward, states, stack.last_norm.epsilon, tuning=tuning)

    for k, layer in enumerate(stack.layers):
        run_layer = placed(layer.device, _kept_or_not(partial(run, k), recompute), has_gradient=tuning)
        states = run_layer(states, *(moving[k] if moving else ()))
    return _last(stack, states, tuning=tuning)


def attend_to_self(
    block: SelfAttention,
    states: Tensor,
    prefix: Tensor | None = None,
    *,
    bias: Tensor,
    shape: Shape,
    tuning: bool = False,
    count: int | None = None,
) -> Tensor:
    """Run a self-attention block; `count` rows in front have a gradient, where that is not all."""
    inputs = (states,) if prefix is None else (states, prefix)
    if not (tuning and block.has_gradient):
        return block.forward(*inputs, bias=bias, shape=_movable(shape, tuning=tuning))[0]
    forward = partial(block.forward, bias=bias, shape=shape)
    if count is not None and prefix is None:
        return run_block(forward, partial(block.gradient_in_front, shape=shape, count=count), *inputs)
    return run_block(forward, partial(block.gradient, shape=shape), *inputs)


def attend_to_source(
    block: Any,
    states: Tensor,
    encoder_output: Tensor,
    prefix: Tensor | None = None,
    *,
    bias: Tensor,
    shape: Shape,
    tuning: bool = False,
    moving: Tensor | None = None,
    count: int | None = None,
) -> Tensor:
    """Run a cross-attention block on an encoder output [B, S, H].

    Only `moving`, its first `count` positions, has a gradient. Default: all of it has one.
    """
    prefixes = () if prefix is None else (prefix,)
    if not (tuning and block.has_gradient):
        shape = _movable(shape, tuning=tuning)
        source = encoder_output if moving is None or count == 0 else _with_moving(moving, encoder_output)
        return block.forward(states, source, *prefixes, bias=bias, shape=shape)[0]

    def forward(states: Tensor, source: Tensor, *prefix: Tensor) -> tuple[Tensor, Any]:
        source = source if moving is None else encoder_output
        output, kept = block.forward(states, source, *prefix, bias=bias, shape=shape)
        return output, (kept, source)

    def gradient(upstream: Tensor, kept: Any) -> Any:
        return block.gradient(upstream, *kept, shape=shape, count=count)

    return run_block(forward, gradient, states, encoder_output if moving is None else moving, *prefixes)


def _with_moving(moving: Tensor, encoder_output: Tensor) -> Tensor:
    """Return an encoder output whose first positions are those of `moving`, which has a gradient."""
    return ops.concatenate([moving, encoder_output[:, ops.shape(moving)[1] :]], axis=1)


def _movable(shape: Shape, *, tuning: bool) -> Shape:
    """Return how heads move in a block without a gradient of its own: with an automatic one where it will be asked for."""
    return shape._replace(is_small=False) if tuning else shape


def run_feed_forward(block: Any, states: Tensor, epsilon: float, *, tuning: bool) -> Tensor:
    """Run a feed-forward block."""
    forward = partial(block.forward, epsilon=epsilon)
    if not tuning or isinstance(block, (CalledFeedForward, ChangedFeedForward)):
        return forward(states)[0]
    return run_block(forward, lambda upstream, kept: (block.gradient(upstream, kept),), states)


def _last(stack: FrozenStack, states: Tensor, *, tuning: bool) -> Tensor:
    block = stack.last_norm

    def run(states: Tensor) -> Tensor:
        if not (tuning and block.has_gradient):
            return block.forward(states)[0]
        return run_block(block.forward, block.gradient, states)

    return placed(stack.device, run, has_gradient=tuning)(states)


def _kept_or_not(run: Callable[..., Tensor], recompute: bool) -> Callable[..., Tensor]:
    """Return a function that, where it recomputes, keeps its inputs only and runs again for its gradient."""
    if not recompute:
        return run
    return keras.remat(lambda *inputs: run(*inputs))  # TensorFlow wants a function with a name
