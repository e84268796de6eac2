"""Open a Hugging Face T5 directory: `config.json` with weights in one file or in shards.

Covers T5 1.0, T5 1.1, LM-adapted T5, Flan-T5, mT5 and byT5, which share one layout. `pytorch_model.bin` is read where torch is
installed. What the head is, tied or not, is seen in the file and not in the config: transformers 5 writes
`tie_word_embeddings: true` for untied models too.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from softprompt_tf.backbones.checkpoints.architecture import T5Architecture
from softprompt_tf.backbones.checkpoints.checkpoint import Checkpoint, StoredTensor, match_names
from softprompt_tf.backbones.checkpoints.feed_forward_form import feed_forward_form
from softprompt_tf.backbones.checkpoints.model_kind import MODEL_TYPES, difference_of, other_class
from softprompt_tf.backbones.checkpoints.safetensors_weights import open_safetensors
from softprompt_tf.backbones.checkpoints.shared_table import (
    HEAD,
    TABLE,
    TABLE_COPIES,
    check_head,
    check_one_table,
    has_tied_head,
)
from softprompt_tf.backbones.checkpoints.torch_pickle import open_torch_pickle
from softprompt_tf.backbones.loading.variant_backbone import T5_BUCKETS, T5_MAX_DISTANCE
from softprompt_tf.errors import BackboneError
from softprompt_tf.files.large_file_pointer import refuse_pointer

CONFIG = "config.json"
SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
TORCH = "pytorch_model.bin"
TORCH_INDEX = "pytorch_model.bin.index.json"
# Early releases carry this table though no layer reads it.
_UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"


def open_hugging_face(directory: Path) -> Checkpoint:
    """Open a directory that transformers wrote.

    Raises:
      BackboneError: if the model is no encoder-decoder T5, or a file or a weight is missing, damaged or too many.
    """
    config = read_config(directory)
    stored = _stored_tensors(directory)
    for copy in TABLE_COPIES:  # where the table was stored once, under whichever of its names
        if TABLE not in stored and copy in stored:
            stored[TABLE] = stored[copy]
    check_one_table(directory, stored)
    check_head(directory, config, stored, scales_logits=_scales_logits(config))
    architecture = _architecture(directory, config, stored)
    ignored = {*TABLE_COPIES, _UNUSED, *([HEAD] if architecture.has_tied_head else [])}
    return match_names(
        directory,
        architecture,
        file_names(architecture),
        stored,
        is_ignored=ignored.__contains__,
        reason=other_class(config),
    )


def read_config(directory: Path) -> dict[str, Any]:
    """Read a Hugging Face `config.json`.

    Raises:
      BackboneError: if it is no JSON object, or of a model that is no T5.
    """
    config = read_json(directory / CONFIG)
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        raise BackboneError(
            f"A Hugging Face checkpoint must be a T5 (model_type {' or '.join(MODEL_TYPES)}). Received: "
            f"model_type={model_type!r} in {directory / CONFIG}.{difference_of(model_type)}"
        )
    return config


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
      BackboneError: if the file holds none.
    """
    refuse_pointer(path, error_type=BackboneError)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(f"{path} must be a JSON file. Received: {error}.") from error
    if not isinstance(value, dict):
        raise BackboneError(f"{path} must hold a JSON object. Received: {type(value).__name__}.")
    return value


def _architecture(directory: Path, config: Mapping[str, Any], stored: Mapping[str, StoredTensor]) -> T5Architecture:
    for key, wanted in (("pad_token_id", 0), ("eos_token_id", 1), ("decoder_start_token_id", 0)):
        if config.get(key, wanted) not in (wanted, None, [wanted]):
            raise BackboneError(f"`{key}` of {directory / CONFIG} must be {wanted}. Received: {config[key]!r}.")
    activation, is_gated = feed_forward_form(config, directory / CONFIG)
    sizes = {
        key: _size(directory, config, key)
        for key in ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")
    }
    return T5Architecture(
        vocabulary_size=sizes["vocab_size"],
        hidden_dim=sizes["d_model"],
        intermediate_dim=sizes["d_ff"],
        num_heads=sizes["num_heads"],
        head_dim=sizes["d_kv"],
        num_layers=sizes["num_layers"],
        num_decoder_layers=_size(directory, config, "num_decoder_layers", default=sizes["num_layers"]),
        activation=activation,
        is_gated=is_gated,
        has_tied_head=has_tied_head(stored),
        scales_logits=_scales_logits(config),
        norm_epsilon=_epsilon(directory, config),
        relative_buckets=_size(directory, config, "relative_attention_num_buckets", default=T5_BUCKETS),
        relative_max_distance=_size(directory, config, "relative_attention_max_distance", default=T5_MAX_DISTANCE),
    )


def _size(directory: Path, config: Mapping[str, Any], key: str, *, default: int | None = None) -> int:
    value = default if config.get(key) is None else config[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BackboneError(f"`{key}` of {directory / CONFIG} must be a positive integer. Received: {value!r}.")
    return value


def _epsilon(directory: Path, config: Mapping[str, Any]) -> float:
    value = config.get("layer_norm_epsilon", 1e-6)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise BackboneError(
            f"`layer_norm_epsilon` of {directory / CONFIG} must be a small number. Received: {value!r}."
        )
    return float(value)


def _scales_logits(config: Mapping[str, Any]) -> bool:
    """Tell from the config: transformers 5 has a key of its own; before, the scaling went with the tying.

    transformers 5 writes `tie_word_embeddings: true` for every mT5, and no such key; no mT5 scales.
    """
    is_tied_t5 = config.get("tie_word_embeddings", True) and config["model_type"] == "t5"
    return bool(config.get("scale_decoder_outputs", is_tied_t5))


def file_names(architecture: T5Architecture) -> dict[str, tuple[str, bool]]:
    """Return this library's name -> the file's name, and whether the file holds the transpose, as torch's Linear does."""
    names = {"token_embedding": (TABLE, False)}
    if not architecture.has_tied_head:
        names["head"] = (HEAD, True)
    feed_forward = {"input": "wi_0", "gate": "wi_1"} if architecture.is_gated else {"input": "wi"}
    for stack, depth in (("encoder", architecture.num_layers), ("decoder", architecture.num_decoder_layers)):
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        names[f"{stack}.relative_bias"] = (bias, False)
        names[f"{stack}.norm"] = (f"{stack}.final_layer_norm.weight", False)
        blocks = [("self_attention", "SelfAttention")]
        if stack == "decoder":
            blocks.append(("cross_attention", "EncDecAttention"))
        for i in range(depth):
            for k, (block, theirs) in enumerate(blocks):
                at = f"{stack}.block.{i}.layer.{k}"
                names[f"{stack}.{i}.{block}_norm"] = (f"{at}.layer_norm.weight", False)
                for part in ("query", "key", "value", "output"):
                    names[f"{stack}.{i}.{block}.{part}"] = (f"{at}.{theirs}.{part[0]}.weight", True)
            at = f"{stack}.block.{i}.layer.{len(blocks)}"
            names[f"{stack}.{i}.feed_forward_norm"] = (f"{at}.layer_norm.weight", False)
            for part, theirs in {**feed_forward, "output": "wo"}.items():
                names[f"{stack}.{i}.feed_forward.{part}"] = (f"{at}.DenseReluDense.{theirs}.weight", True)
    return names


def _stored_tensors(directory: Path) -> dict[str, StoredTensor]:
    """Return the tensors of whichever files the directory has, by their names there."""
    openers: list[tuple[str, str, Callable[[Path], dict[str, StoredTensor]]]] = [
        (SAFETENSORS, SAFETENSORS_INDEX, open_safetensors),
        (TORCH, TORCH_INDEX, open_torch_pickle),
    ]
    for whole, index, opener in openers:
        if (directory / whole).exists():
            return opener(directory / whole)
        if (directory / index).exists():
            return _open_shards(directory, index, opener)
    raise BackboneError(
        f"A Hugging Face directory must hold {SAFETENSORS}, {SAFETENSORS_INDEX} or {TORCH}. Received: {directory} with "
        f"{sorted(path.name for path in directory.iterdir())}."
    )


def _open_shards(
    directory: Path, index: str, opener: Callable[[Path], dict[str, StoredTensor]]
) -> dict[str, StoredTensor]:
    weight_map = read_json(directory / index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise BackboneError(
            f"{directory / index} must hold a `weight_map` of weight -> file. Received: {weight_map!r:.80}."
        )
    shards = sorted(set(weight_map.values()))
    missing = [shard for shard in shards if not (directory / shard).is_file()]
    if missing:
        raise BackboneError(
            f"All shards named in {directory / index} must lie beside it. Received: {len(missing)} of {len(shards)} missing "
            f"({', '.join(missing[:6])})."
        )
    tensors: dict[str, StoredTensor] = {}
    for shard in shards:
        held = opener(directory / shard)
        twice = sorted(tensors.keys() & held.keys())
        if twice:
            raise BackboneError(
                f"Each weight must lie in one shard. Received: {twice[0]} again in {directory / shard}."
            )
        tensors |= held
    return tensors
