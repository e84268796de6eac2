"""What rows that read the same texts see of the encoder output: the keys and values of each text are made and read once.

Rows stand in groups that share a text. The queries of a group go to the text's keys as if they were those of one row, so that
the encoder output is neither copied to the rows nor read by each of them. What stands in front of it for some tasks alone, the
rows of a late prompt, has keys and values of its own; a softmax over both parts is put together from one over each.
"""

from typing import NamedTuple

from keras import ops

from softprompt_tf.backbones.frozen_t5 import FrozenT5
from softprompt_tf.backbones.passes.attention import attend_in_part, by_layer, mask_bias
from softprompt_tf.backbones.passes.frozen_stacks import FrozenStack, attend_to_self, run_decoder
from softprompt_tf.backbones.passes.heads import Shape, join_heads, split_heads
from softprompt_tf.backbones.passes.placed import on_device
from softprompt_tf.backbones.passes.projected_attention import ProjectedAttention
from softprompt_tf.injection import NO_INJECTION, Injection, InvertibleAdapter
from softprompt_tf.typing import Tensor


class SharedPart(NamedTuple):
    """States that several rows, or groups of rows, see.

    Args:
      states: [K, S, H].
      mask: [K, S], 1 = a position to attend to.
      of: int32 [M], which of the K each of M rows or groups sees.
    """

    states: Tensor
    mask: Tensor
    of: Tensor


class SharedSource(NamedTuple):
    """What B rows see, G groups of B / G rows behind each other.

    Args:
      text: the encoder output, by group.
      own: what stands in front of it for some rows, by row; None where nothing does.
    """

    text: SharedPart
    own: SharedPart | None = None


class PartlyAttended(NamedTuple):
    """A softmax over some of the positions: what it attends to [M, N * D], and the log of its sum [M, N] in float32."""

    context: Tensor
    log_sum: Tensor


class SharedKeys(NamedTuple):
    """What one layer's queries of B rows go to.

    Args:
      text: keys and values [G, N, S, D] of each group's text, and the bias [G, 1, 1, S] of its positions.
      own: the same of what stands in front of it, for each of the B rows; None where nothing does.
    """

    text: tuple[Tensor, Tensor, Tensor]
    own: tuple[Tensor, Tensor, Tensor] | None


class SharedView(NamedTuple):
    """The decoder's layers and the keys and values, made once, that rows look at one token at a time; see `EncoderView`.

    Args:
      stack: the decoder's layers.
      seen: what each layer sees.
      invertible: whose inverse comes before the output projection, where rows have one.
    """

    stack: FrozenStack
    seen: tuple[SharedKeys, ...]
    invertible: InvertibleAdapter | None = None

    def attend(self, layer: int, states: Tensor, shape: Shape) -> Tensor:
        """Add one layer's attention to both parts to states [B * Q, H].

        Args:
          shape: of the states, Q positions.
        """
        return _attend(self.stack.layers[layer].cross, states, self.seen[layer], shape)


def project_shared(t5: FrozenT5, source: SharedSource, injection: Injection = NO_INJECTION) -> SharedView:
    """Project what rows that share texts see to every decoder layer's keys and values.

    Args:
      t5: the frozen T5.
      source: what the rows see.
      injection: what the rows' tasks inject into the decoder; one where `moves_cross_keys` does not hold.
    """
    stack, parts = t5.forward.decoder(ProjectedAttention, injection.changes), _SeenParts.of(t5, source)
    seen = []
    for layer in stack.layers:
        with on_device(layer.device):
            seen.append(parts.projected_by(layer.cross))
    return SharedView(stack, tuple(seen), injection.invertible)


def decode_shared(t5: FrozenT5, embeddings: Tensor, bias: Tensor, source: SharedSource, injection: Injection) -> Tensor:
    """Run the decoder on complete targets of rows that share texts.

    Args:
      t5: the frozen T5.
      embeddings: [B, U, H], of the start id and then the targets.
      bias: of self-attention [1 or B, 1 or N, U, P + U], injected keys in front.
      source: what the rows see.
      injection: what the rows' tasks inject into the decoder; one where `moves_cross_keys` does not hold.

    Returns:
      Decoder states [B, U, H], those of `t5.forward.decode` on each row's own encoder output.
    """
    stack, parts = t5.forward.decoder(ProjectedAttention, injection.changes), _SeenParts.of(t5, source)
    batch, length = ops.shape(embeddings)[:2]
    shape = Shape(batch, length, t5.num_heads, t5.head_dim, is_small=True)
    prefixes = by_layer(injection.decoder, t5.compute_dtype)
    bias = ops.cast(bias, t5.compute_dtype)

    def to_self(k: int, states: Tensor) -> Tensor:
        return attend_to_self(
            stack.layers[k].attention, states, *(prefixes[k : k + 1] if prefixes else ()), bias=bias, shape=shape
        )

    def to_source(k: int, states: Tensor) -> Tensor:
        cross = stack.layers[k].cross
        return _attend(cross, states, parts.projected_by(cross), shape)

    states = run_decoder(stack, ops.reshape(embeddings, (-1, embeddings.shape[-1])), to_self, to_source)
    return ops.reshape(states, ops.shape(embeddings))


class _SeenParts(NamedTuple):
    """The parts as the layers see them: each with its bias [M, 1, 1, S], and how many heads of which width there are."""

    parts: list[tuple[SharedPart, Tensor]]
    heads: tuple[int, int]

    @classmethod
    def of(cls, t5: FrozenT5, source: SharedSource) -> "_SeenParts":
        parts = [part for part in source if part is not None]
        biases = [ops.take(mask_bias(part.mask), part.of, axis=0)[:, None, None, :] for part in parts]
        return cls(list(zip(parts, biases, strict=True)), (t5.num_heads, t5.head_dim))

    def projected_by(self, block: ProjectedAttention) -> SharedKeys:
        """Project the parts for a layer's cross-attention, each of their states once."""
        found = []
        for part, bias in self.parts:
            batch, length = ops.shape(part.states)[:2]
            keys, values = block.see(part.states, None, Shape(batch, length, *self.heads))
            found.append((ops.take(keys, part.of, axis=0), ops.take(values, part.of, axis=0), bias))
        return SharedKeys(found[0], found[1] if len(found) == 2 else None)


def _attend(block: ProjectedAttention, states: Tensor, seen: SharedKeys, shape: Shape) -> Tensor:
    """Add a layer's attention to both parts to states [B * Q, H] of a shape."""
    query = block.weights.query(block.weights.norm.forward(states)[0])  # [B * Q, N * D]
    num_groups = ops.shape(seen.text[0])[0]
    of_groups = shape._replace(batch=num_groups, length=shape.batch * shape.length // num_groups)
    attended = _attend_partly(query, *seen.text, of_groups)
    if seen.own is None:
        return states + block.weights.output(attended.context)
    return states + block.weights.output(_together(attended, _attend_partly(query, *seen.own, shape), shape.width))


def _attend_partly(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, shape: Shape) -> PartlyAttended:
    """Attend from queries [M * Q, N * D] to keys and values [M, N, S, D] of one part."""
    context, log_sum = attend_in_part(split_heads(query, shape), keys, values, bias)
    return PartlyAttended(join_heads(context, shape), join_heads(log_sum, shape._replace(width=1)))


def _together(first: PartlyAttended, second: PartlyAttended, width: int) -> Tensor:
    """Return what a softmax over the positions of both attends to, [M, N * D]."""
    share = ops.sigmoid(first.log_sum - second.log_sum)  # of the first, [M, N]
    weights = ops.cast(ops.repeat(share, width, axis=1), first.context.dtype)
    return weights * first.context + (1 - weights) * second.context
