"""The output projection of a T5 whose head never trains: a product with a matrix [H, V], and its way back.

Automatic differentiation multiplies the gradient [M, V] by the transposed matrix. For as many columns as a vocabulary has, oneDNN
takes 1.15 to 1.5 times as long for that as for the matrix times the transposed gradient. The result is the same, transposed.
"""

from typing import Any

from keras import ops

from softprompt_tf.backbones.passes.frozen_blocks import run_block
from softprompt_tf.typing import Tensor


def project_to_vocabulary(states: Tensor, matrix: Tensor) -> Tensor:
    """Return logits [..., V] of states [..., H], in float32.

    Args:
      states: cast to the matrix's dtype.
      matrix: [H, V]. It has no gradient.
    """
    hidden_dim, vocabulary_size = matrix.shape

    def forward(states: Tensor) -> tuple[Tensor, Any]:
        shape = ops.shape(states)
        logits = ops.matmul(ops.reshape(states, (-1, hidden_dim)), matrix)
        return ops.cast(ops.reshape(logits, (*shape[:-1], vocabulary_size)), "float32"), shape

    def gradient(upstream: Tensor, shape: Any) -> tuple[Tensor]:
        rows = ops.cast(ops.reshape(upstream, (-1, vocabulary_size)), matrix.dtype)
        return (ops.reshape(ops.transpose(ops.matmul(matrix, ops.transpose(rows))), shape),)

    return run_block(forward, gradient, ops.cast(states, matrix.dtype))
