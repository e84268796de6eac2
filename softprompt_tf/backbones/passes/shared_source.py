"""What rows that read the same texts see of the encoder output: the keys and values of each text are made and read once.

Rows stand in groups that share a text. The queries of a group go to the text's keys as if they were those of one row, so that
the encoder output is neither copied to the rows nor read by each of them. What stands in front of it for some tasks alone, the
rows of a late prompt, has keys and values of its own; a softmax over both parts is put together from one over each.
"""

from typing import NamedTuple

from keras import ops

from softprompt_tf.backbones.frozen_t5 import FrozenT5
from softprompt_tf.backbones.passes.attention import attend_in_part, by_layer, mask_bias
from softprompt_tf.backbones.passes.frozen_stacks import attend_to_self, run_decoder
from softprompt_tf.backbones.passes.heads import Shape, join_heads, split_heads
from softprompt_tf.backbones.passes.projected_attention import ProjectedAttention
from softprompt_tf.injection import Injection
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


class _Seen(NamedTuple):
    """A part as the layers see it: who sees which states, as `SharedPart` says, with the bias [M, 1, 1, S], and how queries
    [M * Q, N * D] fall to the M."""

    states: Tensor
    of: Tensor
    bias: Tensor
    shape: Shape

    @classmethod
    def of_part(cls, part: SharedPart, shape: Shape) -> "_Seen":
        return cls(part.states, part.of, ops.take(mask_bias(part.mask), part.of, axis=0)[:, None, None, :], shape)


class PartlyAttended(NamedTuple):
    """A softmax over some of the positions: what it attends to [M, N * D], and the log of its sum [M, N] in float32."""

    context: Tensor
    log_sum: Tensor


def decode_shared(t5: FrozenT5, embeddings: Tensor, bias: Tensor, source: SharedSource, injection: Injection) -> Tensor:
    """Run the decoder on complete targets of rows that share texts.

    Args:
      t5: the frozen T5.
      embeddings: [B, U, H], of the start id and then the targets.
      bias: of self-attention [1 or B, 1 or N, U, P + U], injected keys in front.
      source: what the rows see.
      injection: what the rows' tasks inject into the decoder; nothing into its attention to the encoder output.

    Returns:
      Decoder states [B, U, H], those of `t5.forward.decode` on each row's own encoder output.
    """
    stack = t5.forward.decoder(ProjectedAttention, injection.changes)
    batch, length = ops.shape(embeddings)[:2]
    shape = Shape(batch, length, t5.num_heads, t5.head_dim, is_small=True)
    prefixes = by_layer(injection.decoder, t5.compute_dtype)
    bias = ops.cast(bias, t5.compute_dtype)
    num_groups = ops.shape(source.text.of)[0]
    text = _Seen.of_part(source.text, shape._replace(batch=num_groups, length=batch * length // num_groups))
    own = source.own and _Seen.of_part(source.own, shape)

    def to_self(k: int, states: Tensor) -> Tensor:
        return attend_to_self(
            stack.layers[k].attention, states, *(prefixes[k : k + 1] if prefixes else ()), bias=bias, shape=shape
        )

    def to_source(k: int, states: Tensor) -> Tensor:
        return _attend(stack.layers[k].cross, states, text, own)

    states = run_decoder(stack, ops.reshape(embeddings, (-1, embeddings.shape[-1])), to_self, to_source)
    return ops.reshape(states, ops.shape(embeddings))


def _attend(block: ProjectedAttention, states: Tensor, text: _Seen, own: _Seen | None) -> Tensor:
    """Add a layer's attention to both parts to states [B * U, H]."""
    query = block.weights.query(block.weights.norm.forward(states)[0])  # [B * U, N * D]
    attended = _attend_partly(block, query, text)
    if own is None:
        return states + block.weights.output(attended.context)
    return states + block.weights.output(_together(attended, _attend_partly(block, query, own), own.shape.width))


def _attend_partly(block: ProjectedAttention, query: Tensor, seen: _Seen) -> PartlyAttended:
    """Attend from queries [B * U, N * D] to a part."""
    keys, values = (ops.take(each, seen.of, axis=0) for each in block.see(seen.states, None, seen.shape))
    context, log_sum = attend_in_part(split_heads(query, seen.shape), keys, values, seen.bias)
    return PartlyAttended(join_heads(context, seen.shape), join_heads(log_sum, seen.shape._replace(width=1)))


def _together(first: PartlyAttended, second: PartlyAttended, width: int) -> Tensor:
    """Return what a softmax over the positions of both attends to, [M, N * D]."""
    share = ops.sigmoid(first.log_sum - second.log_sum)  # of the first, [M, N]
    weights = ops.cast(ops.repeat(share, width, axis=1), first.context.dtype)
    return weights * first.context + (1 - weights) * second.context
