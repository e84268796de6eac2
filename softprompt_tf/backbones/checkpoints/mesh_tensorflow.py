"""Open a Mesh TensorFlow checkpoint, `model.ckpt-STEP`, as Google released T5 1.1 and its LM-adapted form.

The optimizer's slots and the step are skipped.

Source of the names: tensorflow/mesh:mesh_tensorflow/transformer/transformer.py; huggingface/transformers:
src/transformers/models/t5 (`load_tf_weights_in_t5`); google-research/t5x:t5x/checkpoint_importer.py (both names of norms).
"""

import glob
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from softprompt_tf.backbones.checkpoints.architecture import T5Architecture
from softprompt_tf.backbones.checkpoints.checkpoint import Checkpoint, StoredTensor, match_names
from softprompt_tf.backbones.checkpoints.google_layout import Landmarks, architecture_of
from softprompt_tf.errors import BackboneError, first_line
from softprompt_tf.files.large_file_pointer import refuse_pointer
from softprompt_tf.keras_backend import require_tensorflow

_LANDMARKS = Landmarks(
    table="shared/embedding",
    head="decoder/logits/kernel",
    bias="encoder/block_000/layer_000/SelfAttention/relative_attention_bias",
    query="encoder/block_000/layer_000/SelfAttention/q",
    plain="encoder/block_000/layer_001/DenseReluDense/wi/kernel",
    gated="encoder/block_000/layer_001/DenseReluDense/wi_0/kernel",
    layer=re.compile(r"(encoder|decoder)/block_(\d+)/"),
)
_IGNORED = re.compile(r"(.*_slot_(v|vr|vc|m)$)|(^global_step$)|(^_CHECKPOINTABLE_OBJECT_GRAPH$)")
# T5 1.1 calls its norms "rms_norm"; T5 1.0 "layer_norm" and, behind the last layer, "final_layer_norm".
_NORMS = (
    (re.compile(r"^((?:encoder|decoder)/block_\d+/layer_\d+)/rms_norm/scale$"), r"\1/layer_norm/scale"),
    (re.compile(r"^(encoder|decoder)/rms_norm/scale$"), r"\1/final_layer_norm/scale"),
)
_PREFIX = re.compile(r"(model\.ckpt-(\d+))\.index$")


def find_prefix(directory: Path) -> Path | None:
    """Return the `model.ckpt-STEP` with the highest step in a directory, None where there is none."""
    found = [match for match in map(_PREFIX.match, sorted(path.name for path in directory.iterdir())) if match]
    if not found:
        return None
    return directory / max(found, key=lambda match: int(match[2]))[1]


def open_mesh_tensorflow(prefix: Path) -> Checkpoint:
    """Open `DIRECTORY/model.ckpt-STEP`, whose `.index` and `.data-*` files lie there.

    Raises:
      BackboneError: if a file is missing or damaged, or a weight is missing or too many.
      BackendError: where Keras does not run on TensorFlow, which reads these files.
    """
    require_tensorflow("Mesh TensorFlow checkpoints")
    import tensorflow as tf

    if not any(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*")):
        raise BackboneError(f"A TensorFlow checkpoint must have files .data-* beside {prefix}.index. Received: none.")
    for path in (prefix.with_name(f"{prefix.name}.index"), *prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*")):
        refuse_pointer(path, error_type=BackboneError)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise BackboneError(f"{prefix} must be a TensorFlow checkpoint. Received: {first_line(error)}") from error
    rows_of = _RowsOf(reader)
    stored = {
        _with_legacy_norm(name): StoredTensor(name, tuple(shape), partial(rows_of, name))
        for name, shape in sorted(shapes.items())
    }
    architecture = architecture_of(prefix, stored, _LANDMARKS)
    return match_names(
        prefix, architecture, _names(architecture), stored, is_ignored=lambda name: bool(_IGNORED.match(name))
    )


class _RowsOf:
    """Rows of a tensor by its name. TensorFlow's reader knows whole tensors only, so the last one stays for its next rows."""

    def __init__(self, reader: Any):
        self._reader = reader
        self._name = ""
        self._last: np.ndarray | None = None

    def __call__(self, name: str, rows: slice) -> np.ndarray:
        if self._last is None or name != self._name:
            self._last = None  # before the next is read: one weight in memory, not two
            self._last = np.asarray(self._reader.get_tensor(name))
            self._name = name
        return self._last[rows]


def _with_legacy_norm(name: str) -> str:
    for pattern, legacy in _NORMS:
        name = pattern.sub(legacy, name)
    return name


def _names(architecture: T5Architecture) -> dict[str, tuple[str, bool]]:
    """Return this library's name -> Mesh TensorFlow's, and whether that holds the transpose."""
    names = {"token_embedding": (_LANDMARKS.table, False)}
    if not architecture.has_tied_head:
        names["head"] = (_LANDMARKS.head, False)
    feed_forward = {"input": "wi_0", "gate": "wi_1"} if architecture.is_gated else {"input": "wi"}
    for stack, depth in (("encoder", architecture.num_layers), ("decoder", architecture.num_decoder_layers)):
        bias = f"{stack}/block_000/layer_000/SelfAttention/relative_attention_bias"
        names[f"{stack}.relative_bias"] = (bias, True)
        names[f"{stack}.norm"] = (f"{stack}/final_layer_norm/scale", False)
        blocks = {"self_attention": "SelfAttention"}
        if stack == "decoder":
            blocks["cross_attention"] = "EncDecAttention"
        for i in range(depth):
            for k, (block, theirs) in enumerate(blocks.items()):
                at = f"{stack}/block_{i:03d}/layer_{k:03d}"
                names[f"{stack}.{i}.{block}_norm"] = (f"{at}/layer_norm/scale", False)
                for part in ("query", "key", "value", "output"):
                    names[f"{stack}.{i}.{block}.{part}"] = (f"{at}/{theirs}/{part[0]}", False)
            at = f"{stack}/block_{i:03d}/layer_{len(blocks):03d}"
            names[f"{stack}.{i}.feed_forward_norm"] = (f"{at}/layer_norm/scale", False)
            for part, kernel in {**feed_forward, "output": "wo"}.items():
                names[f"{stack}.{i}.feed_forward.{part}"] = (f"{at}/DenseReluDense/{kernel}/kernel", False)
    return names
