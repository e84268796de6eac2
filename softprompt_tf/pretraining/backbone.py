"""The shape of a T5 1.1 in, a KerasHub backbone with random weights out; a trained one in, a preset directory out."""

import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import keras
import keras_hub

from softprompt_tf.errors import TrainingError


@dataclass(frozen=True)
class BackboneShape:
    """The shape of a T5 1.1: gated tanh GELU, untied head, no dropout.

    Args:
      vocabulary_size: rows of the embedding table; the last 100 are sentinels.
      hidden_dim, intermediate_dim, num_layers, num_heads, key_value_dim: as in KerasHub's `T5Backbone`.
    """

    vocabulary_size: int = 8192
    hidden_dim: int = 256
    intermediate_dim: int = 512
    num_layers: int = 4
    num_heads: int = 4
    key_value_dim: int = 64


def build_backbone(shape: BackboneShape, *, dtype: str, seed: int) -> keras_hub.models.T5Backbone:
    """Make a T5 1.1 with random weights that `seed` decides."""
    keras.utils.set_random_seed(seed)
    return keras_hub.models.T5Backbone(
        vocabulary_size=shape.vocabulary_size,
        num_layers=shape.num_layers,
        num_heads=shape.num_heads,
        hidden_dim=shape.hidden_dim,
        intermediate_dim=shape.intermediate_dim,
        key_value_dim=shape.key_value_dim,
        dropout=0.0,
        activation=keras.saving.get_registered_object("keras_hub>gelu_approximate"),
        use_gated_activation=True,
        tie_embedding_weights=False,
        dtype=dtype,
    )


def write_preset(
    backbone: keras_hub.models.T5Backbone, tokenizer_proto: bytes, directory: str | Path, *, dtype: str = "float16"
) -> None:
    """Write a KerasHub preset directory, as `softprompt_tf.t5.load_t5` reads it; one that stood there is replaced.

    Args:
      backbone: whose weights are written.
      tokenizer_proto: the serialized SentencePiece model.
      directory: its last part is made in one move, so that nobody finds half a preset.
      dtype: what the weights are rounded to on the disk; float16 halves the file and keeps 11 bits of each value.

    Raises:
      TrainingError: if it cannot be written.
    """
    directory = Path(directory)
    unfinished = directory.with_name(f".{directory.name}.writing")
    config = backbone.get_config()
    with warnings.catch_warnings():
        # KerasHub's mask constant, -1e9, overflows in float16 as the copy is built; the copy never computes.
        warnings.filterwarnings("ignore", message="overflow encountered in cast", category=RuntimeWarning)
        copy = keras_hub.models.T5Backbone.from_config({**config, "name": "t5_backbone", "dtype": dtype})
    copy.set_weights([weight.astype("float32") for weight in map(keras.ops.convert_to_numpy, backbone.weights)])
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        copy.save_to_preset(str(unfinished))
        keras_hub.models.T5Tokenizer(proto=tokenizer_proto).save_to_preset(str(unfinished))
        if directory.exists():
            shutil.rmtree(directory)
        os.replace(unfinished, directory)
    except OSError as error:
        raise TrainingError(f"The preset cannot be written. Received: {directory} ({error}).") from error
