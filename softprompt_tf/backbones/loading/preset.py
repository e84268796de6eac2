"""Write a KerasHub backbone and its vocabulary as a preset directory."""

import math
import os
import shutil
import warnings
from pathlib import Path

import keras
import keras_hub
import numpy as np

from softprompt_tf.errors import BackboneError, first_line
from softprompt_tf.files.atomic_file import short_name
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.files.disk_space import check_space
from softprompt_tf.files.local_paths import local_target
from softprompt_tf.progress import counted

STORED_DTYPES = ("float32", "bfloat16", "float16")
_BYTES_OF_A_NAME = 4096  # of each weight in HDF5, beside its values: 3,942 measured
_OTHER_BYTES = 1 << 16  # of configs


def write_preset(
    backbone: keras_hub.models.T5Backbone, tokenizer_proto: bytes, directory: str | Path, *, dtype: str = "float16"
) -> None:
    """Write a KerasHub preset directory; one that stood there is replaced, once the new one is complete.

    Args:
      backbone: whose weights are written; not quantized.
      tokenizer_proto: the serialized SentencePiece model.
      directory: its last part is made in one move, so that nobody finds half a preset.
      dtype: what the weights are rounded to on the disk; float16 halves the file and keeps 11 bits of each value, bfloat16
        keeps 8. A copy of the model in that dtype is made where the backbone has another.

    Raises:
      BackboneError: if it cannot be written, another process is writing it, or a weight does not fit float16.
    """
    if dtype not in STORED_DTYPES:
        raise BackboneError(f"`dtype` must be one of {', '.join(STORED_DTYPES)}. Received: dtype={dtype!r}.")
    directory = Path(os.path.realpath(local_target(directory, error_type=BackboneError)))  # a link stays
    if directory.exists() and not directory.is_dir():
        raise BackboneError(f"The preset must be a directory. Received: {directory}, which is a file.")
    hidden = f".{short_name(directory.name)}"
    unfinished = directory.with_name(f"{hidden}.writing")
    stored = backbone if backbone.dtype_policy.variable_dtype == dtype else _copy(backbone, dtype)
    with locked(directory.parent, error_type=BackboneError, name=f"{hidden}.lock"):
        try:
            _recover(directory)
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            check_space(unfinished, _size(stored, tokenizer_proto))
            stored.save_to_preset(str(unfinished))
            keras_hub.models.T5Tokenizer(proto=tokenizer_proto).save_to_preset(str(unfinished))
            _put_in_place(unfinished, directory)
        except (OSError, RuntimeError) as error:  # the second one of h5py
            raise BackboneError(
                f"The preset cannot be written. Received: {directory} ({first_line(error)})."
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _size(backbone: keras_hub.models.T5Backbone, tokenizer_proto: bytes) -> int:
    """Return how many bytes a preset takes at most: HDF5 ends the process where the disk is full."""
    itemsize = 4 if backbone.dtype_policy.variable_dtype == "float32" else 2
    values = sum(math.prod(weight.shape) for weight in backbone.weights)
    return values * itemsize + len(backbone.weights) * _BYTES_OF_A_NAME + len(tokenizer_proto) + _OTHER_BYTES


def _recover(directory: Path) -> None:
    """Take back what a process moved aside that was killed before it could put the new one there."""
    if not directory.exists() and _replaced(directory).exists():
        os.rename(_replaced(directory), directory)


def _replaced(directory: Path) -> Path:
    return directory.with_name(f".{short_name(directory.name)}.replaced")


def _put_in_place(unfinished: Path, directory: Path) -> None:
    """Give a complete directory its name; what stood there is removed after that, and comes back where it fails."""
    replaced = _replaced(directory)
    if not directory.exists():
        os.rename(unfinished, directory)
        return
    shutil.rmtree(replaced, ignore_errors=True)
    os.rename(directory, replaced)
    try:
        os.rename(unfinished, directory)
    except BaseException:
        os.rename(replaced, directory)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _copy(backbone: keras_hub.models.T5Backbone, dtype: str) -> keras_hub.models.T5Backbone:
    with warnings.catch_warnings():
        # KerasHub's mask constant, -1e9, overflows in float16 as the copy is built; the copy never computes.
        warnings.filterwarnings("ignore", message="overflow encountered in cast", category=RuntimeWarning)
        copy = type(backbone).from_config({**backbone.get_config(), "name": "t5_backbone", "dtype": dtype})
    pairs = list(zip(copy.weights, backbone.weights, strict=True))
    for theirs, ours in counted(pairs, unit="weight", what=f"Rounding to {dtype}"):
        value = keras.ops.convert_to_numpy(ours).astype("float32")
        if dtype == "float16" and np.abs(value).max(initial=0.0) > np.finfo(np.float16).max:
            raise BackboneError(
                f"A preset in float16 cannot hold values above 65,504. Received: {np.abs(value).max():.3g} in {ours.path}. "
                "Use dtype='bfloat16' or 'float32'."
            )
        theirs.assign(value)
    return copy
