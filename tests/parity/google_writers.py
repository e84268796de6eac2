"""The weights of the small T5s, as `t5_models.py` draws them, as Mesh TensorFlow and T5X would have written them.

Names and layouts follow google-research/t5x:t5x/checkpoint_importer.py, t5x/checkpoints.py and google/flax:flax/serialization.py.
"""

import json
import re
from pathlib import Path

import ml_dtypes
import msgpack
import numcodecs
import numpy as np
import tensorflow as tf
import zarr

_FLAX_NDARRAY = 1


def mesh_tensorflow_name(name, norm):
    """Return Mesh TensorFlow's name of a Hugging Face weight; `norm` is "layer_norm" (T5 1.0) or "rms_norm"."""
    found = re.fullmatch(r"(encoder|decoder)\.block\.(\d+)\.layer\.(\d+)\.(.+)\.weight", name)
    if found:
        stack, block, layer, rest = found.groups()
        rest = {"layer_norm": f"{norm}.scale"}.get(rest, rest)
        rest = re.sub(r"(DenseReluDense\.w.*)", r"\1.kernel", rest).replace(".", "/")
        return f"{stack}/block_{int(block):03d}/layer_{int(layer):03d}/{rest}"
    final = {"layer_norm": "final_layer_norm"}.get(norm, norm)
    return {
        "shared.weight": "shared/embedding",
        "lm_head.weight": "decoder/logits/kernel",
        "encoder.final_layer_norm.weight": f"encoder/{final}/scale",
        "decoder.final_layer_norm.weight": f"decoder/{final}/scale",
    }[name]


def t5x_name(name):
    """Return T5X's dotted name of a Hugging Face weight."""
    found = re.fullmatch(r"(encoder|decoder)\.block\.(\d+)\.layer\.(\d+)\.(.+)\.weight", name)
    if not found:
        return {
            "shared.weight": "token_embedder.embedding",
            "lm_head.weight": "decoder.logits_dense.kernel",
            "encoder.final_layer_norm.weight": "encoder.encoder_norm.scale",
            "decoder.final_layer_norm.weight": "decoder.decoder_norm.scale",
        }[name]
    stack, block, layer, rest = found.groups()
    if rest == "SelfAttention.relative_attention_bias":
        return f"{stack}.relpos_bias.rel_embedding"
    attention = {"encoder": ["attention"], "decoder": ["self_attention", "encoder_decoder_attention"]}[stack]
    norms = {
        "encoder": ["pre_attention_layer_norm", "pre_mlp_layer_norm"],
        "decoder": ["pre_self_attention_layer_norm", "pre_cross_attention_layer_norm", "pre_mlp_layer_norm"],
    }[stack]
    if rest == "layer_norm":
        part = f"{norms[int(layer)]}.scale"
    elif rest.startswith("DenseReluDense."):
        part = f"mlp.{rest.removeprefix('DenseReluDense.')}.kernel"
    else:
        kernel = {"q": "query", "k": "key", "v": "value", "o": "out"}[rest[-1]]
        part = f"{attention[int(layer)]}.{kernel}.kernel"
    return f"{stack}.layers_{block}.{part}"


def google_layout(weights, rename):
    """Return renamed weights as Google's code keeps them: kernels [input, output], biases [N, buckets], the table as it is."""
    return {rename(name): value if name == "shared.weight" else value.T for name, value in weights.items()}


def write_tf_checkpoint(prefix, tensors):
    """Write a TensorFlow checkpoint `prefix.index` and `prefix.data-*` of named arrays; return the prefix."""
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.constant(value) for value in tensors.values()],
    )
    return Path(prefix)


def write_mesh_tensorflow(directory, weights, *, step=1100000, norm="rms_norm"):
    """Write `model.ckpt-STEP` with Adafactor's slots and the step, and TensorFlow's text file `checkpoint`; return the prefix."""
    tensors = google_layout(weights, lambda name: mesh_tensorflow_name(name, norm))
    slots = {"global_step": np.int64(step)}
    for name, value in tensors.items():
        if value.ndim == 1:
            slots[f"{name}_slot_v"] = np.ones_like(value)
        else:
            slots[f"{name}_slot_vr"] = np.ones(value.shape[:1], np.float32)
            slots[f"{name}_slot_vc"] = np.ones(value.shape[1:], np.float32)
    prefix = write_tf_checkpoint(Path(directory) / f"model.ckpt-{step}", {**tensors, **slots})
    (prefix.parent / "checkpoint").write_text(f'model_checkpoint_path: "{prefix.name}"\n')
    return prefix


def write_t5x(directory, weights, *, dtype="float32", top="optimizer", small=64):
    """Write a T5X checkpoint: arrays of more than `small` values in zarr, the others in the index.

    Args:
      directory: `checkpoint_STEP`.
      weights: by Hugging Face's names, float32.
      dtype: "float32", "bfloat16" (which zarr does not know; TensorStore writes it) or "uint16", bfloat16's bits as T5X's
        version 2 keeps them.
      top: "optimizer" with the optimizer's state, as training writes, or "target" without.
      small: values.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tree, state = {}, {}
    for name, value in google_layout(weights, t5x_name).items():
        stored = value if dtype == "float32" else value.astype(ml_dtypes.bfloat16)
        if value.size > small:
            _put(tree, name, _write_zarr(directory, f"target.{name}", stored, dtype))
        else:
            _put(tree, name, _flax_array(stored))
        _put(state, f"{name}.v", _flax_array(np.ones(value.shape[:1], np.float32)))
    state = {"step": _flax_array(np.int32(3)), "param_states": state}
    index = {"optimizer": {"state": state, "target": tree}} if top == "optimizer" else {"target": tree}
    (directory / "checkpoint").write_bytes(msgpack.packb({"version": 3, **index}, use_bin_type=True))
    return directory


def _put(tree, dotted, leaf):
    *branches, last = dotted.split(".")
    for branch in branches:
        tree = tree.setdefault(branch, {})
    tree[last] = leaf


def _flax_array(value):
    value = np.asarray(value)
    content = msgpack.packb((value.shape, value.dtype.name, value.tobytes()), use_bin_type=True)
    return msgpack.ExtType(_FLAX_NDARRAY, content)


def _write_zarr(directory, place, value, dtype):
    is_half = value.dtype == ml_dtypes.bfloat16
    bits = value.view(np.uint16) if is_half else value
    chunks = tuple(-(-size // 2) for size in value.shape)  # so that there are four of them, the last ones cut off
    array = zarr.create_array(
        directory / place,
        shape=value.shape,
        chunks=chunks,
        dtype=bits.dtype,
        zarr_format=2,
        fill_value=None,
        compressors=numcodecs.GZip(level=1),
    )
    array[...] = bits
    metadata = directory / place / ".zarray"
    if dtype == "bfloat16":
        metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "dtype": "bfloat16"}))
    (directory / place / ".zattrs").unlink(missing_ok=True)  # TensorStore writes none
    kvstore = {"driver": "gfile", "path": place}
    return {"driver": "zarr", "kvstore": kvstore, "metadata": json.loads(metadata.read_text())}
