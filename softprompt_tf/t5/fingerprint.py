"""A backbone or a tokenizer in, a short text out that differs for different weights or vocabularies.

A prompt is worth nothing on other weights than those it was trained on, so prompt files carry these texts.
"""

import hashlib

import keras_hub
import numpy as np
from keras import ops

_SAMPLED_VALUES = 256


def weights_fingerprint(backbone: keras_hub.models.T5Backbone) -> str:
    """Hash the shape of every weight and up to 256 evenly spaced values of each, rounded to bfloat16.

    The cost is a few hundred values per weight, whatever the size of the model. Rounding makes the fingerprint the same for
    one checkpoint loaded as float32 and as bfloat16; a fine-tuned copy moves every sampled value and so changes it.

    Returns:
      "t5:" and 16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for variable in backbone.weights:
        size = int(np.prod(variable.shape))
        # Whole rows are not needed: a stride walks over the flat weight and its last value is always in.
        positions = np.unique(np.linspace(0, size - 1, min(size, _SAMPLED_VALUES)).astype(np.int64))
        sampled = ops.take(ops.reshape(variable.value, [-1]), positions)
        values = ops.convert_to_numpy(ops.cast(ops.cast(sampled, "bfloat16"), "float32"))
        digest.update(repr(tuple(variable.shape)).encode())
        digest.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
    return f"t5:{digest.hexdigest()[:16]}"


def tokenizer_fingerprint(tokenizer: keras_hub.models.T5Tokenizer) -> str:
    """Hash every piece of the vocabulary in its order; return "spm:" and 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for piece in tokenizer.get_vocabulary():
        digest.update(piece.encode("utf-8") + b"\n")
    return f"spm:{digest.hexdigest()[:16]}"
