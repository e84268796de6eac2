"""Check the backbone and the tokenizer of a T5, and set them as the recipe and Keras's trainers want them."""

from typing import Any

import keras_hub

from softprompt_tf.backbones.loading.built_layers import spare_tracing
from softprompt_tf.errors import BackboneError


def prepare_parts(backbone: Any, tokenizer: Any) -> None:
    """Check both, and set them in place.

    Raises:
      BackboneError: for another class of model, for float16, for a quantized embedding table, or where the tokenizer has more
        pieces than the model has rows.
    """
    _check_parts(backbone, tokenizer)
    # It has no weights to build. With an unbuilt layer, Keras's JAX trainer traces the model at every call of `fit`.
    tokenizer.built = True
    # The recipe computes logits in float32 also where the rest runs in bfloat16.
    backbone.token_embedding.reverse_dtype = "float32"
    spare_tracing(backbone)


def _check_parts(backbone: Any, tokenizer: Any) -> None:
    if not isinstance(backbone, keras_hub.models.T5Backbone):
        raise BackboneError(f"The backbone must be a KerasHub T5Backbone. Received: {type(backbone).__name__}.")
    if not isinstance(tokenizer, keras_hub.models.T5Tokenizer):
        raise BackboneError(f"The tokenizer must be a KerasHub T5Tokenizer. Received: {type(tokenizer).__name__}.")
    if backbone.dtype_policy.compute_dtype == "float16":
        # KerasHub adds (1 - mask) * -1e9 in the compute dtype, which overflows to -inf and ends as NaN.
        raise BackboneError(
            "A T5 must compute in float32 or bfloat16: float16 gives NaN with any padding. Received: "
            f"dtype={backbone.dtype_policy.name}. Load it with dtype='float32' or dtype='bfloat16'."
        )
    check_gradients(backbone)
    if tokenizer.vocabulary_size() > backbone.vocabulary_size:
        raise BackboneError(
            f"The tokenizer must fit the backbone. Received: {tokenizer.vocabulary_size()} pieces, "
            f"{backbone.vocabulary_size} rows in the embedding table."
        )


def check_gradients(backbone: keras_hub.models.T5Backbone) -> None:
    """Refuse layers that are quantized so that a prompt cannot be trained through them.

    Of the gradient, Keras's int8 head passes only the part of its inputs' scale (Keras 3.15, `ReversibleEmbedding._int8_call`).
    Its float8 layers want their own variables to be trained.

    Raises:
      BackboneError: for a quantized embedding table, or float8.
    """
    for layer in backbone._flatten_layers():
        mode = getattr(layer, "quantization_mode", None)
        if mode and (layer is backbone.token_embedding or mode == "float8"):
            raise BackboneError(
                "A T5 is quantized in its projections, to int8 or int4, as gradients of a prompt do not pass through other layers. "
                f"Received: {layer.name} in {mode}. Load the T5 in floats, then load_t5(..., quantization='int8')."
            )
