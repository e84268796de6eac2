"""How large the states of a frozen encoder are at a layer, measured on rows of drawn pieces."""

import numpy as np
from keras import ops

from softprompt_tf.backbones.frozen_t5 import EOS_ID, FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import states_before

_ROWS, _TOKENS = 8, 24
_MOST_FREQUENT = 4_000  # a vocabulary begins with its most frequent pieces


def state_size(t5: FrozenT5, layer: int | None) -> float:
    """Return the root mean square of the states before an encoder layer (0: the embeddings), or of the encoder output (None).

    The rows are drawn from the most frequent pieces by a seed of their own, so the size depends on the weights alone.
    """
    first = EOS_ID + 2  # behind the special ids
    last = min(int(t5.tokenizer.vocabulary_size()), _MOST_FREQUENT)
    ids = np.random.Generator(np.random.Philox(0)).integers(first, last, (_ROWS, _TOKENS)).astype(np.int32)
    ids[:, -1] = EOS_ID
    states = states_before(t5, t5.embed(ops.convert_to_tensor(ids)), ops.ones_like(ids), layer)
    return float(ops.sqrt(ops.mean(ops.square(ops.cast(states, "float32")))))
