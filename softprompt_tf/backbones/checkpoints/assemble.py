"""Fill a KerasHub backbone with the weights of an opened checkpoint, one block at a time."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import keras_hub
import numpy as np

from softprompt_tf.backbones.checkpoints.architecture import build_backbone
from softprompt_tf.backbones.checkpoints.checkpoint import Checkpoint, StoredTensor
from softprompt_tf.backbones.checkpoints.int8_kernel import fill_quantized
from softprompt_tf.backbones.checkpoints.weight_memory import as_tensor, read_weight, without_initializers
from softprompt_tf.backbones.fingerprint import WeightSample, sample_weight, samples_fingerprint
from softprompt_tf.backbones.loading.spared_garbage import spared_garbage
from softprompt_tf.errors import BackboneError, first_line
from softprompt_tf.progress import Progress


def assemble_backbone(
    checkpoint: Checkpoint,
    *,
    dtype: str,
    quantization: str | None = None,
    settings: Mapping[str, Any] | None = None,
    prepare: Callable[[keras_hub.models.T5Backbone], None] = lambda _: None,
) -> tuple[keras_hub.models.T5Backbone, str]:
    """Build the checkpoint's model and fill every weight of it.

    Args:
      checkpoint: opened.
      dtype: "float32" or "bfloat16".
      quantization: "int8" or "int4" quantizes every projection as it is read, without a float copy of the model; None leaves
        all in `dtype`.
      settings: arguments of `keras_hub.models.T5Backbone` that take the place of the checkpoint's.
      prepare: is called with the backbone before its weights are read.

    Returns:
      The backbone, and the fingerprint of its weights before any quantization.

    Raises:
      BackboneError: if a weight has another shape than the architecture says, or cannot be read.
    """
    _check_shapes(checkpoint)
    backbone = without_initializers(lambda: build_backbone(checkpoint.architecture, dtype=dtype, settings=settings))
    prepare(backbone)
    with spared_garbage():
        samples = _fill_all(backbone, checkpoint, quantization)
    # In the order of the float model's weights: a quantized one has more behind each kernel, which the checkpoint has not.
    sampled = (samples[id(variable)] for variable in backbone.weights if id(variable) in samples)
    return backbone, samples_fingerprint(sampled)


def _fill_all(
    backbone: keras_hub.models.T5Backbone, checkpoint: Checkpoint, quantization: str | None
) -> dict[int, WeightSample]:
    """Fill every weight; return their samples by the identity of their variables."""
    slots = dict(weight_slots(backbone))
    samples: dict[int, WeightSample] = {}
    sizes = {name: int(np.prod(tensor.shape)) for name, tensor in checkpoint.tensors.items()}
    with Progress(len(sizes), unit="weight", what=f"Reading {checkpoint.path.name}") as progress:
        # The largest first: what is held beside a weight while it is read then stands beside a model that is mostly empty.
        for name in sorted(sizes, key=lambda name: -sizes[name]):
            tensor = checkpoint.tensors[name]
            factor = checkpoint.architecture.head_factor if name == "decoder.norm" else 1.0
            try:
                if quantization and isinstance(slots[name], keras.layers.Dense):
                    sample = fill_quantized(slots[name], tensor, quantization)
                else:
                    sample = _fill(_variable(slots[name]), tensor, factor)
            except Exception as error:  # each format's reader has errors of its own
                raise BackboneError(
                    f"Weight {tensor.name} of checkpoint {checkpoint.path} cannot be read: {first_line(error)}"
                ) from error
            samples[id(_variable(slots[name]))] = sample
            progress.advance()
    return samples


def _check_shapes(checkpoint: Checkpoint) -> None:
    """Compare every shape with the architecture's before a byte is allocated."""
    wanted = _expected_shapes(checkpoint)
    for name, tensor in checkpoint.tensors.items():
        shape = tuple(reversed(tensor.shape)) if tensor.is_transposed else tensor.shape
        if shape != wanted[name]:
            turned = tuple(reversed(wanted[name])) if tensor.is_transposed else wanted[name]
            raise BackboneError(
                f"Weight {tensor.name} of checkpoint {checkpoint.path} must have the shape {list(turned)}. "
                f"Received: {list(tensor.shape)}."
            )


def _expected_shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by this library's name, as the architecture says."""
    a = checkpoint.architecture
    inner = a.num_heads * a.head_dim
    by_last: dict[str, tuple[int, ...]] = {
        "token_embedding": (a.vocabulary_size, a.hidden_dim),
        "head": (a.hidden_dim, a.vocabulary_size),
        "relative_bias": (a.relative_buckets, a.num_heads),
        "query": (a.hidden_dim, inner),
        "key": (a.hidden_dim, inner),
        "value": (a.hidden_dim, inner),
        "attention_output": (inner, a.hidden_dim),
        "input": (a.hidden_dim, a.intermediate_dim),
        "gate": (a.hidden_dim, a.intermediate_dim),
        "output": (a.intermediate_dim, a.hidden_dim),
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for name in checkpoint.tensors:
        last = name.rsplit(".", 1)[-1]
        if name.endswith("attention.output"):
            last = "attention_output"
        shapes[name] = (a.hidden_dim,) if last.endswith("norm") else by_last[last]
    return shapes


def weight_slots(backbone: keras_hub.models.T5Backbone) -> Iterator[tuple[str, Any]]:
    """Yield the variable, or the Dense layer, that each weight belongs to, by this library's name."""
    yield "token_embedding", backbone.token_embedding.embeddings
    if not backbone.tie_embedding_weights:
        yield "head", backbone.token_embedding.reverse_embeddings
    for stack in ("encoder", "decoder"):
        layers = getattr(backbone, f"{stack}_transformer_layers")
        yield f"{stack}.relative_bias", layers[0].self_attention.relative_attention_bias
        yield f"{stack}.norm", getattr(backbone, f"{stack}_layer_norm").weight
        for i, layer in enumerate(layers):
            for name, slot in _layer_slots(layer, is_decoder=stack == "decoder"):
                yield f"{stack}.{i}.{name}", slot


def _layer_slots(layer: Any, *, is_decoder: bool) -> Iterator[tuple[str, Any]]:
    for block in ("self_attention", "cross_attention") if is_decoder else ("self_attention",):
        yield f"{block}_norm", getattr(layer, f"{block}_layer_norm").weight
        for part in ("query", "key", "value", "output"):
            yield f"{block}.{part}", getattr(getattr(layer, block), f"{part}_projector")
    yield "feed_forward_norm", layer.layer_norm.weight
    yield "feed_forward.input", layer.input_projector
    yield "feed_forward.output", layer.output_projector
    if layer.use_gated_activation:
        yield "feed_forward.gate", layer.gate_projector


def _variable(slot: Any) -> Any:
    # `kernel` of an int4 layer is no variable, but made of one.
    return slot._kernel if isinstance(slot, keras.layers.Dense) else slot


def _fill(variable: Any, tensor: StoredTensor, factor: float) -> WeightSample:
    """Put a weight into its place; return the sample of it for the fingerprint."""
    value = read_weight(tensor, tuple(variable.shape), str(variable.dtype), factor)
    # In one piece: a variable that is assigned to in slices copies itself at every later read (TensorFlow's copy-on-read mode).
    variable.assign(as_tensor(value))
    return sample_weight(value)
