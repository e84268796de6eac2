"""Attention over tensors that lie by head, [B, N, S, D], as the products read them, so that nothing has to be turned round."""

from keras import ops

from softprompt_tf.typing import Tensor


def split_heads(projected: Tensor, num_heads: int) -> Tensor:
    """Split a projection's output [B, Q, N * D] into heads [B, N, Q, D]."""
    batch, length = ops.shape(projected)[:2]
    width = projected.shape[2] // num_heads
    return ops.transpose(ops.reshape(projected, (batch, length, num_heads, width)), (0, 2, 1, 3))


def attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attend from [B, N, Q, D] to [B, N, S, D] with a bias that broadcasts to [B, N, Q, S]; return [B, Q, N * D].

    T5 does not divide the scores by the square root of D: the initialization holds that factor.
    """
    scores = ops.einsum("bnqd,bnsd->bnqs", query, keys)
    weights = ops.softmax(scores + ops.cast(bias, scores.dtype), axis=-1)
    attended = ops.transpose(ops.matmul(weights, values), (0, 2, 1, 3))  # [B, Q, N, D]
    batch, length = ops.shape(attended)[:2]
    return ops.reshape(attended, (batch, length, attended.shape[2] * attended.shape[3]))
