"""A frozen T5's passes as prompt tuning needs them: gradients of what a task injects and of the encoder output, and of no weight.

Whole stacks run here on the backbone's own variables; the numbers are its layers' up to rounding. There is no dropout.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import keras_hub
from keras import ops

from softprompt_tf.backbones.passes.absorbed_attention import AbsorbedAttention, is_cheaper
from softprompt_tf.backbones.passes.attention import (
    bias_in_front,
    by_layer,
    encoder_bias,
    key_mask_bias,
    sight_bias,
    source_mask_bias,
)
from softprompt_tf.backbones.passes.frozen_blocks import Norm
from softprompt_tf.backbones.passes.frozen_stacks import (
    CrossAttention,
    FrozenLayer,
    FrozenStack,
    attend_to_self,
    attend_to_source,
    run_decoder,
    run_encoder,
    run_feed_forward,
)
from softprompt_tf.backbones.passes.heads import Shape
from softprompt_tf.backbones.passes.known_layers import changed_part
from softprompt_tf.backbones.passes.layer_changes import (
    changes_by_layer,
    with_changed_feed_forward,
    with_changes,
)
from softprompt_tf.backbones.passes.placed import Placement, devices_of, on_device
from softprompt_tf.backbones.passes.projected_attention import ProjectedAttention
from softprompt_tf.backbones.sizes import head_dim_of
from softprompt_tf.injection import KeyValues, LayerChange, PromptSight
from softprompt_tf.typing import Tensor

ALL_LAYERS = slice(0, None)


class FrozenForward:
    """Passes through the two stacks of one backbone.

    Args:
      backbone: a `keras_hub.models.T5Backbone`; `is_able` says whether it can run here.
      placement: which device holds what, where the T5 is laid over several.

    Example:
      >>> forward = FrozenForward(t5.backbone)
      >>> encoder_output = forward.encode(embeddings, padding_mask)                      # [B, S, H]
      >>> states = forward.decode(token_embeddings, bias, encoder_output, padding_mask)  # [B, U, H]
    """

    def __init__(self, backbone: keras_hub.models.T5Backbone, placement: Placement | None = None):
        self._backbone = backbone
        self._placement = placement
        self._dtype = str(backbone.dtype_policy.compute_dtype)
        self._heads = int(backbone.num_heads)
        self._width = head_dim_of(backbone)

    @property
    def is_able(self) -> bool:
        """Whether the backbone, as it is now, has KerasHub's own layers, unchanged, with an activation that is known here."""
        return changed_part(self._backbone) is None

    def is_short(self, num_queries: Any, source_length: Any) -> Any:
        """Say whether U tokens on S positions are few enough to absorb cross-attention: of numbers a bool, of tensors a tensor."""
        return is_cheaper(num_queries, source_length, int(self._backbone.hidden_dim), self._width)

    def encode(
        self,
        embeddings: Tensor,
        padding_mask: Tensor,
        key_values: KeyValues | None = None,
        *,
        changes: Sequence[LayerChange] = (),
        tuning: bool = False,
        num_moving: int | None = None,
        recompute: bool = False,
        layers: slice = ALL_LAYERS,
        num_front: Any = 0,
        sight: PromptSight | None = None,
    ) -> Tensor:
        """Run the encoder, or some of its layers.

        Args:
          embeddings: [B, S, H] in the compute dtype, or the states before the first of the layers.
          padding_mask: [B, S], 1 = a position to attend to.
          key_values: what is injected into its self-attention.
          changes: what changes parts of the layers.
          tuning: whether gradients of embeddings and of what goes in will be asked for.
          num_moving: how many rows in front have a gradient; that of the others is given as 0. Default: all.
          recompute: keep each layer's input only and run the layer again for its gradient.
          layers: which run. Default: all.
          num_front: how many rows there are in front of the text, where the changes add to those, or they do not see all.
          sight: what those do not see.

        Returns:
          The encoder output [B, S, H], or the states behind the last of the layers, where that is not the encoder's last.
        """
        bias = encoder_bias(self._backbone, padding_mask)
        if sight is not None:
            bias = bias + sight_bias(sight, ops.shape(padding_mask)[1], num_front)
        bias = ops.stop_gradient(bias)
        prefixes = by_layer(key_values, self._dtype)
        output = run_encoder(
            self.stack(layers=layers),
            _flat(embeddings),
            bias=ops.cast(bias_in_front(bias, key_values and key_mask_bias(key_values)), self._dtype),
            shape=self._shape(embeddings),
            prefixes=prefixes and prefixes[layers],
            changes=self._changes(changes, "encoder")[layers],
            tuning=tuning,
            num_moving=num_moving,
            recompute=recompute,
            to_the_end=layers.stop is None,
            num_front=num_front,
        )
        return ops.reshape(output, ops.shape(embeddings))

    def decode(
        self,
        embeddings: Tensor,
        bias: Tensor,
        encoder_output: Tensor,
        padding_mask: Tensor,
        *,
        key_values: KeyValues | None = None,
        cross: KeyValues | None = None,
        changes: Sequence[LayerChange] = (),
        is_short: bool = True,
        tuning: bool = False,
        num_moving: int | None = None,
        recompute: bool = False,
    ) -> Tensor:
        """Run the decoder on whole targets.

        Args:
          embeddings: [B, U, H] of the decoder's tokens, in the compute dtype. They have no gradient.
          bias: [1 or B, N, U, P + U], of positions and of which token may see which, and of the injected keys.
          encoder_output: [B, S, H].
          padding_mask: [B, S], 1 = a position to attend to.
          key_values: what is injected into its self-attention.
          cross: what is injected into its attention to the encoder output.
          changes: what changes parts of the layers.
          is_short: whether cross-attention is absorbed, where nothing goes into it; else it has keys and values.
          tuning: whether gradients of the encoder output and of what goes in will be asked for.
          num_moving: how many positions in front of the encoder output have a gradient. Default: all.
          recompute: keep each layer's input only and run the layer again for its gradient.

        Returns:
          Decoder states [B, U, H].
        """
        stack = self.stack(AbsorbedAttention if is_short else ProjectedAttention)
        shape = self._shape(embeddings)._replace(is_small=True)
        own_bias = ops.cast(ops.stop_gradient(bias), self._dtype)
        source_bias = source_mask_bias(padding_mask, cross, self._dtype)
        own, others = by_layer(key_values, self._dtype), by_layer(cross, self._dtype)
        own_changes, other_changes = self._changes(changes, "decoder"), self._changes(changes, "cross")

        def to_self(k: int, states: Tensor, *flat: Tensor) -> Tensor:
            _, (prefix, changed), _ = keras.tree.pack_sequence_as(moving[k], list(flat))
            block = with_changes(stack.layers[k].attention, changed)
            return attend_to_self(block, states, *prefix, bias=own_bias, shape=shape, tuning=tuning)

        def to_source(k: int, states: Tensor, *flat: Tensor) -> Tensor:
            source, _, (prefix, changed) = keras.tree.pack_sequence_as(moving[k], list(flat))
            block = stack.layers[k].cross.changed(changed)
            run = partial(attend_to_source, bias=source_bias, shape=shape, tuning=tuning)
            if num_moving is None:
                return run(block, states, source, *prefix)
            return run(block, states, still, *prefix, moving=source, count=num_moving)

        def feed_forward(k: int, states: Tensor, *flat: Tensor) -> Tensor:
            _, (_, changed), _ = keras.tree.pack_sequence_as(moving[k], list(flat))
            block = with_changed_feed_forward(stack.layers[k].feed_forward, changed)
            return run_feed_forward(block, states, stack.last_norm.epsilon, tuning=tuning)

        still, source = ops.stop_gradient(encoder_output), encoder_output[:, :num_moving]
        moving = [
            (source, (_of_layer(own, k), own_changes[k]), (_of_layer(others, k), other_changes[k]))
            for k in range(len(stack.layers))
        ]
        states = _flat(ops.stop_gradient(embeddings))
        output = run_decoder(
            stack,
            states,
            to_self,
            to_source,
            feed_forward=feed_forward,
            moving=[keras.tree.flatten(part) for part in moving],
            tuning=tuning,
            recompute=recompute,
        )
        return ops.reshape(output, ops.shape(embeddings))

    def decoder(self, kind: CrossAttention, changes: Sequence[LayerChange] = ()) -> FrozenStack:
        """Read the decoder's layers with cross-attention of a kind, and with what changes them."""
        stack = self.stack(kind)
        own, others = self._changes(changes, "decoder"), self._changes(changes, "cross")
        layers = [
            layer._replace(
                attention=with_changes(layer.attention, own[k]),
                feed_forward=with_changed_feed_forward(layer.feed_forward, own[k]),
                cross=layer.cross.changed(others[k]),
            )
            for k, layer in enumerate(stack.layers)
        ]
        return stack._replace(layers=layers)

    def stack(self, kind: CrossAttention | None = None, layers: slice = ALL_LAYERS) -> FrozenStack:
        """Read the weights of layers of the decoder with cross-attention of a kind, or of the encoder where there is none."""
        backbone, is_plain = self._backbone, self.is_able
        of_stack, last = (
            (backbone.encoder_transformer_layers, backbone.encoder_layer_norm)
            if kind is None
            else (backbone.decoder_transformer_layers, backbone.decoder_layer_norm)
        )
        devices = devices_of(self._placement, "encoder" if kind is None else "decoder", len(of_stack))
        with on_device(devices[-1]):
            last_norm = Norm.of(last, self._dtype, is_plain=is_plain)
        return FrozenStack(
            [
                FrozenLayer.of(layer, self._dtype, kind, is_plain=is_plain, device=device)
                for layer, device in zip(of_stack[layers], devices[layers], strict=True)
            ],
            last_norm,
            devices[-1],
        )

    def _changes(self, changes: Sequence[LayerChange], place: str) -> list[dict[str, Tensor]]:
        backbone = self._backbone
        layers = backbone.encoder_transformer_layers if place == "encoder" else backbone.decoder_transformer_layers
        return changes_by_layer(changes, place, len(layers), self._dtype)

    def _shape(self, embeddings: Tensor) -> Shape:
        batch, length = ops.shape(embeddings)[:2]
        return Shape(batch, length, self._heads, self._width)


def _of_layer(prefixes: Sequence[Tensor] | None, layer: int) -> tuple[Tensor, ...]:
    return (prefixes[layer],) if prefixes else ()


def _flat(states: Tensor) -> Tensor:
    """[B, S, H] to [B * S, H]."""
    return ops.reshape(states, (-1, states.shape[-1]))
