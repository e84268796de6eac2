"""Fingerprints: short texts that differ for different weights or vocabularies.

A prompt is worth nothing on other weights than those it was trained on, so prompt files carry these texts.
"""

import hashlib
from collections.abc import Iterable

import keras_hub
import numpy as np
from keras import ops

from softprompt_tf.backbones.passes.placed import beside
from softprompt_tf.backbones.tokenization.text_rules import rules_of
from softprompt_tf.typing import Tensor

WeightSample = tuple[tuple[int, ...], np.ndarray]
_SAMPLED_VALUES = 256


def weights_fingerprint(backbone: keras_hub.models.T5Backbone) -> str:
    """Hash the shape of every weight and up to 256 evenly spaced values of each, rounded to bfloat16.

    The cost is a few hundred values per weight, whatever the size of the model. Rounding makes the fingerprint the same for
    one checkpoint loaded as float32 and as bfloat16; a fine-tuned copy moves every sampled value and so changes it.

    Returns:
      "t5:" and 16 hexadecimal digits.
    """
    return samples_fingerprint(sample_weight(variable.value) for variable in backbone.weights)


def sample_weight(value: Tensor) -> WeightSample:
    """Return the shape of a weight, an array or a tensor, and the values that its fingerprint is made of."""
    shape = tuple(int(size) for size in value.shape)
    size = int(np.prod(shape))
    # Whole rows are not needed: a stride walks over the flat weight and its last value is always in.
    positions = np.unique(np.linspace(0, size - 1, min(size, _SAMPLED_VALUES)).astype(np.int64))
    if isinstance(value, np.ndarray):
        sampled = ops.convert_to_tensor(value[np.unravel_index(positions, shape)])
    else:
        with beside(value):
            sampled = ops.take(ops.reshape(value, [-1]), positions)
    return shape, ops.convert_to_numpy(ops.cast(ops.cast(sampled, "bfloat16"), "float32"))


def samples_fingerprint(samples: Iterable[WeightSample]) -> str:
    """Hash samples in the order of the backbone's weights."""
    digest = hashlib.sha256()
    for shape, values in samples:
        digest.update(repr(shape).encode())
        digest.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
    return f"t5:{digest.hexdigest()[:16]}"


def tokenizer_fingerprint(tokenizer: keras_hub.models.T5Tokenizer) -> str:
    """Hash every piece of the vocabulary in its order, and rules that T5's own has not; return "spm:" and 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for piece in tokenizer.get_vocabulary():
        digest.update(piece.encode("utf-8") + b"\n")
    rules = rules_of(tokenizer.proto)
    if rules is not None:
        digest.update(rules.beyond_t5().encode("utf-8"))
    return f"spm:{digest.hexdigest()[:16]}"
