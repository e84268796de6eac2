"""What the checkpoints of Google's two code bases share: no config, so that the architecture is read off the weights' shapes.

Mesh TensorFlow and T5X keep [input, output] kernels, and biases as [N, buckets]. A gated feed-forward block means T5 1.1's
tanh GELU, a plain one T5 1.0's ReLU; a head of its own means untied and unscaled logits. Neither file says how far the
buckets reach: 128 tokens in every released T5.

Source: google-research/t5x:t5x/examples/t5/network.py, layers.py; tensorflow/mesh:mesh_tensorflow/transformer/.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from softprompt_tf.backbones.checkpoints.architecture import GELU_TANH, T5Architecture
from softprompt_tf.backbones.checkpoints.checkpoint import StoredTensor
from softprompt_tf.errors import BackboneError
from softprompt_tf.shown_numbers import counted


@dataclass(frozen=True)
class Landmarks:
    """The names, in one layout, of the weights whose shapes tell the architecture.

    Args:
      table: the embedding table [V, H].
      head: the head [H, V], absent where it is tied.
      bias: the encoder's relative-position biases [N, buckets].
      query: the first encoder layer's query kernel [H, N * D].
      plain, gated: the first encoder layer's feed-forward input kernel [H, F], without and with a gate.
      layer: a pattern with the stack's name and the layer's number.
    """

    table: str
    head: str
    bias: str
    query: str
    plain: str
    gated: str
    layer: re.Pattern[str]


def architecture_of(path: Path, stored: Mapping[str, StoredTensor], landmarks: Landmarks) -> T5Architecture:
    """Read the architecture off the shapes.

    Raises:
      BackboneError: if a weight that tells it is missing or has the wrong number of axes.
    """
    is_gated = landmarks.gated in stored
    feed_forward = landmarks.gated if is_gated else landmarks.plain
    needed = (landmarks.table, landmarks.bias, landmarks.query, feed_forward)
    absent = [name for name in needed if name not in stored or len(stored[name].shape) != 2]
    if absent:
        raise BackboneError(
            f"Checkpoint {path} must be an encoder-decoder T5. Received: no matrix {', '.join(absent)} among "
            f"{counted(len(stored), 'weight')} ({', '.join(sorted(stored)[:4])} ...)."
        )
    vocabulary_size, hidden_dim = stored[landmarks.table].shape
    num_heads, buckets = stored[landmarks.bias].shape
    inner = stored[landmarks.query].shape[1]
    has_tied_head = landmarks.head not in stored
    depths = {"encoder": 0, "decoder": 0}
    for name in stored:
        found = landmarks.layer.match(name)
        if found:
            depths[found[1]] = max(depths[found[1]], int(found[2]) + 1)
    return T5Architecture(
        vocabulary_size=vocabulary_size,
        hidden_dim=hidden_dim,
        intermediate_dim=stored[feed_forward].shape[1],
        num_heads=num_heads,
        head_dim=inner // num_heads,
        num_layers=depths["encoder"],
        num_decoder_layers=depths["decoder"] or depths["encoder"],
        activation=GELU_TANH if is_gated else "relu",
        is_gated=is_gated,
        has_tied_head=has_tied_head,
        scales_logits=has_tied_head,
        relative_buckets=buckets,
    )
