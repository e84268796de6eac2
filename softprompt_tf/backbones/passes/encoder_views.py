"""What a decoding step looks at: the encoder output, as keys and values made once or as it is, and what tasks inject.

Keys and values cost a projection of all S positions before the first token, and little at each. The absorbed way costs nothing
before and more at each token, which pays for the few tokens of most answers; `absorbed_attention.py` has its arithmetic,
`by_cost` chooses.
"""

from typing import Any, NamedTuple, Protocol

from keras import ops

from softprompt_tf.backbones.frozen_t5 import FrozenT5
from softprompt_tf.backbones.passes.absorbed_attention import AbsorbedAttention
from softprompt_tf.backbones.passes.attention import by_layer, source_mask_bias
from softprompt_tf.backbones.passes.frozen_stacks import CrossAttention, FrozenStack
from softprompt_tf.backbones.passes.heads import Shape
from softprompt_tf.backbones.passes.placed import on_device
from softprompt_tf.backbones.passes.projected_attention import ProjectedAttention
from softprompt_tf.injection import NO_INJECTION, Injection, InvertibleAdapter
from softprompt_tf.typing import Tensor


class View(Protocol):
    """The decoder's layers and what they look at beside their own tokens, whichever rows share it."""

    @property
    def stack(self) -> FrozenStack:
        """The decoder's layers."""

    @property
    def invertible(self) -> InvertibleAdapter | None:
        """Whose inverse comes before the output projection, where rows have one."""

    def attend(self, layer: int, states: Tensor, shape: Shape) -> Tensor:
        """Add one layer's attention to the encoder output to states [B * Q, H] of a shape, Q positions of each row."""


class EncoderView(NamedTuple):
    """A view of rows that have an encoder output each.

    Args:
      stack: the decoder's layers.
      seen: what each layer's cross-attention sees of the encoder output.
      bias: [B, 1, 1, P + S], 0 where a position may be attended to and -1e9 where not.
      invertible: whose inverse comes before the output projection, where rows have one.
    """

    stack: FrozenStack
    seen: tuple[Any, ...]
    bias: Tensor
    invertible: InvertibleAdapter | None = None

    def attend(self, layer: int, states: Tensor, shape: Shape) -> Tensor:
        """Add one layer's attention to the encoder output to states [B * Q, H]; the Q of a row share its encoder output.

        Args:
          shape: of the states, Q positions.
        """
        return self.stack.layers[layer].cross.attend(states, self.seen[layer], self.bias, shape)


def project_encoder_output(
    t5: FrozenT5, encoder_output: Tensor, padding_mask: Tensor, injection: Injection = NO_INJECTION
) -> EncoderView:
    """Project an encoder output [B, S, H] with mask [B, S] to every decoder layer's keys and values, injected ones in front."""
    return _view(t5, encoder_output, padding_mask, injection, ProjectedAttention)


def absorb_encoder_output(
    t5: FrozenT5, encoder_output: Tensor, padding_mask: Tensor, injection: Injection = NO_INJECTION
) -> EncoderView:
    """Take an encoder output [B, S, H] with mask [B, S] as it is, where nothing goes into the attention to it.

    Args:
      t5: one whose `forward.is_able`.
    """
    return _view(t5, encoder_output, padding_mask, injection, AbsorbedAttention)


def _view(
    t5: FrozenT5, encoder_output: Tensor, padding_mask: Tensor, injection: Injection, kind: CrossAttention
) -> EncoderView:
    stack = t5.forward.decoder(kind, injection.changes)
    batch, length = ops.shape(encoder_output)[:2]
    shape = Shape(batch, length, t5.num_heads, t5.head_dim)
    prefixes = by_layer(injection.cross, t5.compute_dtype) or [None] * len(stack.layers)
    seen = []
    for layer, prefix in zip(stack.layers, prefixes, strict=True):
        with on_device(layer.device):
            seen.append(layer.cross.see(encoder_output, prefix, shape))
    return EncoderView(
        stack=stack,
        seen=tuple(seen),
        bias=source_mask_bias(padding_mask, injection.cross, t5.compute_dtype),
        invertible=injection.invertible,
    )
