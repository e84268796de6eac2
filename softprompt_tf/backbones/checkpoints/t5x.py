"""Open a T5X checkpoint directory: a msgpack index and one zarr array per large weight.

Small weights lie in the index itself, as flax writes arrays into msgpack: an extension of code 1 with shape, dtype and bytes.
The optimizer's state is skipped. bfloat16, which zarr 3 does not know, is read as the 16-bit integers that hold its bits; T5X's
version 2 calls them that itself.

Source: google-research/t5x:t5x/checkpoints.py; google/flax:flax/serialization.py.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import msgpack
import numpy as np
import zarr
from zarr.storage import LocalStore

from softprompt_tf.backbones.checkpoints.architecture import T5Architecture
from softprompt_tf.backbones.checkpoints.checkpoint import Checkpoint, StoredTensor, match_names
from softprompt_tf.backbones.checkpoints.finite_values import check_floating
from softprompt_tf.backbones.checkpoints.google_layout import Landmarks, architecture_of
from softprompt_tf.backbones.checkpoints.t5x_index import INDEX
from softprompt_tf.errors import BackboneError
from softprompt_tf.files.large_file_pointer import refuse_pointer

_NDARRAY = 1
_LANDMARKS = Landmarks(
    table="token_embedder.embedding",
    head="decoder.logits_dense.kernel",
    bias="encoder.relpos_bias.rel_embedding",
    query="encoder.layers_0.attention.query.kernel",
    plain="encoder.layers_0.mlp.wi.kernel",
    gated="encoder.layers_0.mlp.wi_0.kernel",
    layer=re.compile(r"(encoder|decoder)\.layers_(\d+)\."),
)


def open_t5x(directory: Path) -> Checkpoint:
    """Open a directory with a T5X checkpoint, such as `checkpoint_1100000`.

    Raises:
      BackboneError: if the index is damaged, or a weight is missing, damaged or too many.
    """
    index = _read_index(directory)
    weights = _weights_of(directory, index)
    stored = dict(_stored_tensors(directory, weights))
    architecture = architecture_of(directory, stored, _LANDMARKS)
    checkpoint = match_names(directory, architecture, _names(architecture), stored, is_ignored=lambda name: False)
    _refuse_other_arrays(directory, index, weights)
    return checkpoint


def _read_index(directory: Path) -> Any:
    refuse_pointer(directory / INDEX, error_type=BackboneError)
    try:
        return msgpack.unpackb(
            (directory / INDEX).read_bytes(), ext_hook=_array, strict_map_key=False, max_bin_len=2**32 - 1
        )
    except (OSError, ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise _no_index(directory, error) from error


def _weights_of(directory: Path, index: Any) -> Any:
    try:
        return index["optimizer"]["target"] if "optimizer" in index else index["target"]
    except (KeyError, TypeError) as error:
        raise _no_index(directory, error) from error


def _no_index(directory: Path, error: Exception) -> BackboneError:
    return BackboneError(
        f"{directory / INDEX} must be the msgpack index of a T5X checkpoint. Received: {type(error).__name__}: {error!s:.150}."
    )


def _stored_tensors(directory: Path, weights: Any) -> Iterator[tuple[str, StoredTensor]]:
    for name, leaf in _leaves(weights, ()):
        if isinstance(leaf, np.ndarray):
            yield name, StoredTensor(name, leaf.shape, leaf.__getitem__)
        else:
            yield name, _zarr_tensor(directory, name, leaf)


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield dotted names and leaves: arrays, and the dictionaries that say where an array lies."""
    if isinstance(tree, dict) and "kvstore" not in tree:
        for key, branch in tree.items():
            yield from _leaves(branch, (*path, str(key)))
    else:
        yield ".".join(path), tree


def _refuse_other_arrays(directory: Path, index: dict[str, Any], weights: Any) -> None:
    """Refuse what T5X keeps beside the weights of a T5: mutable state in the index, and arrays that the index does not name."""
    mutable = [name for name, _ in _leaves(index.get("flax_mutables") or {}, ())]
    places = {
        Path(str(leaf["kvstore"].get("path", ""))).name for _, leaf in _leaves(weights, ()) if _is_zarr_place(leaf)
    }
    unnamed = sorted(path.name for path in directory.glob("target.*") if path.name not in places)
    if mutable or unnamed:
        raise BackboneError(
            f"T5X checkpoint {directory} must hold the weights of a T5 and no other. Received: "
            f"{len(mutable) + len(unnamed)} left over ({', '.join([*mutable, *unnamed][:6])})."
        )


def _is_zarr_place(leaf: Any) -> bool:
    return isinstance(leaf, dict) and leaf.get("driver") == "zarr" and isinstance(leaf.get("kvstore"), dict)


def _array(code: int, content: bytes) -> Any:
    if code != _NDARRAY:
        return msgpack.ExtType(code, content)
    shape, dtype, data = msgpack.unpackb(content, max_bin_len=2**32 - 1)
    return np.frombuffer(data, dtype=ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)).reshape(shape)


class _BitsOfBfloat16(LocalStore):
    """A directory whose bfloat16 array looks like one of 16-bit integers (zarr 3.1 has no bfloat16)."""

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        found = await super().get(key, *args, **kwargs)
        if key != ".zarray" or found is None:
            return found
        return type(found).from_bytes(found.to_bytes().replace(b'"bfloat16"', b'"<u2"'))


def _zarr_tensor(directory: Path, name: str, leaf: Any) -> StoredTensor:
    if not _is_zarr_place(leaf):
        raise BackboneError(
            f"Weight {name} of T5X checkpoint {directory} must be an array or a zarr array's place. Received: {leaf!r:.100}."
        )
    place = directory / Path(str(leaf["kvstore"].get("path", ""))).name
    try:
        array = _open_zarr(place)
        check_floating(_dtype_of(array))  # before a byte is read: the codecs of objects may run code
        shape = tuple(array.shape)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackboneError(
            f"Weight {name} of T5X checkpoint {directory} must lie in {place.name}/ as a zarr array. Received: "
            f"{type(error).__name__}: {error!s:.150}."
        ) from error
    return StoredTensor(name, shape, partial(_read_zarr, place))


def _open_zarr(place: Path) -> zarr.Array:
    return zarr.open_array(_BitsOfBfloat16(place, read_only=True), mode="r", zarr_format=2)


def _read_zarr(place: Path, rows: slice) -> np.ndarray:
    array = _open_zarr(place)
    missing = [key for key in _chunk_files(array) if not (place / key).exists()]
    if missing:  # zarr itself would hand out the fill value
        raise FileNotFoundError(f"chunk {missing[0]} of {place.name} is missing")
    return np.asarray(array[rows]).view(_dtype_of(array))


def _dtype_of(array: zarr.Array) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16) if array.dtype == np.uint16 else np.dtype(array.dtype)


def _chunk_files(array: zarr.Array) -> Iterator[str]:
    """Yield the files that an array of format 2 consists of: "0.0", "0.1", ..."""
    counts = [-(-size // chunk) for size, chunk in zip(array.shape, array.chunks, strict=True)]
    for position in np.ndindex(*counts):
        yield ".".join(map(str, position))


def _names(architecture: T5Architecture) -> dict[str, tuple[str, bool]]:
    """Return this library's name -> T5X's, and whether T5X holds the transpose."""
    names = {"token_embedding": (_LANDMARKS.table, False)}
    if not architecture.has_tied_head:
        names["head"] = (_LANDMARKS.head, False)
    feed_forward = {"input": "wi_0", "gate": "wi_1"} if architecture.is_gated else {"input": "wi"}
    blocks = {
        "encoder": {"self_attention": ("attention", "pre_attention_layer_norm")},
        "decoder": {
            "self_attention": ("self_attention", "pre_self_attention_layer_norm"),
            "cross_attention": ("encoder_decoder_attention", "pre_cross_attention_layer_norm"),
        },
    }
    for stack, depth in (("encoder", architecture.num_layers), ("decoder", architecture.num_decoder_layers)):
        names[f"{stack}.relative_bias"] = (f"{stack}.relpos_bias.rel_embedding", True)
        names[f"{stack}.norm"] = (f"{stack}.{stack}_norm.scale", False)
        for i in range(depth):
            at = f"{stack}.layers_{i}"
            for block, (theirs, norm) in blocks[stack].items():
                names[f"{stack}.{i}.{block}_norm"] = (f"{at}.{norm}.scale", False)
                for part in ("query", "key", "value", "output"):
                    kernel = "out" if part == "output" else part
                    names[f"{stack}.{i}.{block}.{part}"] = (f"{at}.{theirs}.{kernel}.kernel", False)
            names[f"{stack}.{i}.feed_forward_norm"] = (f"{at}.pre_mlp_layer_norm.scale", False)
            for part, kernel in {**feed_forward, "output": "wo"}.items():
                names[f"{stack}.{i}.feed_forward.{part}"] = (f"{at}.mlp.{kernel}.kernel", False)
    return names
