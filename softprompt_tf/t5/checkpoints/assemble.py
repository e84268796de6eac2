"""An opened checkpoint in, a KerasHub backbone that holds its weights out, one block of a weight in memory at a time."""

from collections.abc import Iterator
from typing import Any

import keras
import keras_hub
import ml_dtypes
import numpy as np
import tensorflow as tf

from softprompt_tf.errors import BackboneError, first_line
from softprompt_tf.t5.checkpoints.architecture import build_backbone
from softprompt_tf.t5.checkpoints.checkpoint import Checkpoint, StoredTensor
from softprompt_tf.t5.fingerprint import WeightSample, sample_weight, samples_fingerprint

INT8 = "int8"
_ALIGNMENT = 64  # bytes
# From here on memory that is freed goes back to the system at once (glibc's largest mmap threshold).
_LARGE_BYTES = 32 << 20


def assemble_backbone(
    checkpoint: Checkpoint, *, dtype: str, quantization: str | None = None
) -> tuple[keras_hub.models.T5Backbone, str]:
    """Build the checkpoint's model and fill every weight of it.

    Args:
      checkpoint: opened.
      dtype: "float32" or "bfloat16".
      quantization: "int8" makes every projection int8 as it is read, without a float copy of the model; None leaves all
        in `dtype`.

    Returns:
      The backbone, and the fingerprint of its weights before any quantization.

    Raises:
      BackboneError: if a weight has another shape than the architecture says, or cannot be read.
    """
    _check_shapes(checkpoint)
    backbone = build_backbone(checkpoint.architecture, dtype=_policy(dtype, quantization))
    slots = dict(_slots(backbone))
    samples: dict[int, WeightSample] = {}
    for name, tensor in checkpoint.tensors.items():
        factor = checkpoint.architecture.head_factor if name == "decoder.norm" else 1.0
        try:
            samples[id(_variable(slots[name]))] = _fill(slots[name], tensor, factor)
        except Exception as error:  # each format's reader has errors of its own
            raise BackboneError(
                f"Weight {tensor.name} of checkpoint {checkpoint.path} cannot be read: {first_line(error)}"
            ) from error
    # In the order of the float model's weights: an int8 one has a scale behind each kernel, which is no weight of the checkpoint.
    sampled = (samples[id(variable)] for variable in backbone.weights if id(variable) in samples)
    return backbone, samples_fingerprint(sampled)


def _policy(dtype: str, quantization: str | None) -> Any:
    if quantization != INT8:
        return dtype
    # The table stays as it is: Keras's int8 head has a wrong gradient (see `FrozenT5.quantize`).
    policies = keras.dtype_policies.DTypePolicyMap(default_policy=keras.dtype_policies.DTypePolicy(dtype))
    policies[".*_projector"] = keras.dtype_policies.QuantizedDTypePolicy(INT8, dtype)
    return policies


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


def _slots(backbone: keras_hub.models.T5Backbone) -> Iterator[tuple[str, Any]]:
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
    return slot.kernel if isinstance(slot, keras.layers.Dense) else slot


def _fill(slot: Any, tensor: StoredTensor, factor: float) -> WeightSample:
    """Put a weight into its place; return the sample of it for the fingerprint."""
    variable = _variable(slot)
    if isinstance(slot, keras.layers.Dense) and slot.quantization_mode == INT8:
        value = tensor.array().astype(np.float32)
        # As `keras.layers.Dense.quantize("int8")` does it: one scale per output.
        kernel, scale = keras.quantizers.abs_max_quantize(value, axis=0, to_numpy=True)
        variable.assign(kernel)
        slot.kernel_scale.assign(np.squeeze(scale, axis=0))
        return sample_weight(value)
    value = _empty(tuple(variable.shape), str(variable.dtype))
    for place, block in tensor.blocks():
        value[place] = block if factor == 1.0 else block.astype(np.float32) * np.float32(factor)
    # In one piece: a variable that is assigned to in slices copies itself at every later read (TensorFlow's copy-on-read mode).
    variable.value.assign(_taken_over(value) if value.nbytes >= _LARGE_BYTES else value)
    return sample_weight(variable.value)


def _empty(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return an array that begins where TensorFlow wants it, on 64 bytes, so that it can be taken over."""
    width = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    room = np.empty(int(np.prod(shape)) * width.itemsize + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + room.size - _ALIGNMENT].view(width).reshape(shape)


def _taken_over(value: np.ndarray) -> tf.Tensor:
    """Return an array of `_empty` as a tensor that uses its memory; `tf.convert_to_tensor` would copy it."""
    if value.dtype != ml_dtypes.bfloat16:
        return tf.experimental.dlpack.from_dlpack(value.__dlpack__())
    return tf.bitcast(tf.experimental.dlpack.from_dlpack(value.view(np.uint16).__dlpack__()), tf.bfloat16)
