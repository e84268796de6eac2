"""Attention over tensors that lie by head, [B, N, S, D], as the products read them, so that nothing has to be turned round."""

from keras import ops

from softprompt_tf.typing import Tensor


def attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attend from [B, N, Q, D] to [B, N, S, D] with a bias that broadcasts to [B, N, Q, S]; return [B, N, Q, D].

    T5 does not divide the scores by the square root of D: the initialization holds that factor.
    """
    scores = ops.einsum("bnqd,bnsd->bnqs", query, keys)
    return ops.matmul(ops.softmax(scores + ops.cast(bias, scores.dtype), axis=-1), values)
