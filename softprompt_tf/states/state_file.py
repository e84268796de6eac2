"""Keep states on the disk as a NumPy file that is mapped into memory; its name says what the states are of.

DIRECTORY/BACKBONE.PLACE.DTYPE.DIGEST.npy
DIRECTORY/spilled-BACKBONE.PLACE.DTYPE.DIGEST.npy   of one run, which removes it at its end

The digest covers the backbone's settings, the tokenizer and the token ids of all texts as the model sees them: with their
template and cut to their limit.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.files.npy_errors import NPY_ERRORS
from softprompt_tf.states.encoding import array_dtype

FORMAT = "softprompt-tf-states/1"
_SPILLED = "spilled-"
_NOT_OF_STATES = ("name", "trainable", "dropout")  # settings that change no state of a frozen T5


def states_digest(t5: FrozenT5, token_ids: Sequence[np.ndarray]) -> str:
    """Return a short text that differs where the states would, for the same weights, layer and dtype.

    Args:
      t5: the frozen T5.
      token_ids: of the distinct texts, in their order.
    """
    changes = t5.layer_state
    settings = "" if changes else _settings(t5)  # what stands in a layer's place may have none that can be written
    digest = hashlib.sha256()
    for part in (FORMAT, settings, t5.tokenizer_fingerprint, *changes):
        digest.update(part.encode() + b"\n")
    digest.update(np.array([len(ids) for ids in token_ids], "<i8").tobytes())
    digest.update(np.concatenate(token_ids).astype("<i4").tobytes())
    return digest.hexdigest()[:24]


def state_path(
    directory: Path, t5: FrozenT5, layer: int | None, dtype: str, digest: str, *, is_spilled: bool = False
) -> Path:
    """Return where states are kept; those that `is_spilled` are of one run and not for others."""
    place = "output" if layer is None else f"layer-{layer}"
    begin = _SPILLED if is_spilled else ""
    return directory / f"{begin}{t5.fingerprint.replace(':', '-')}.{place}.{dtype}.{digest}.npy"


def remove_spilled(directory: Path) -> None:
    """Remove a run's spilled states, also those that a killed start had begun to write, and the directory if it is empty then.

    All else that is there stays: it is not the run's.
    """
    with contextlib.suppress(OSError):
        for pattern in (f"{_SPILLED}*.npy", f".{_SPILLED}*.tmp"):
            for path in directory.glob(pattern):
                path.unlink(missing_ok=True)
        directory.rmdir()


def write_header(file: BinaryIO, shape: tuple[int, int], dtype: str) -> None:
    """Begin a NumPy file of states; their bytes follow, row by row.

    They are written and not put into a mapped file: on a full disk, a write fails with an error and a mapped file kills the
    process.
    """
    described = np.lib.format.dtype_to_descr(array_dtype(dtype))
    np.lib.format.write_array_header_1_0(file, {"descr": described, "fortran_order": False, "shape": shape})


def read_states(path: Path, shape: tuple[int, int], dtype: str, *, is_mapped: bool) -> np.ndarray | None:
    """Return states that were kept; None where there are none, or the file is damaged.

    Args:
      path: from `state_path`.
      shape: what they must have, [sum of the lengths, H].
      dtype: of the states.
      is_mapped: whether they stay on the disk.
    """
    try:
        states = np.load(path, mmap_mode="r" if is_mapped else None, allow_pickle=False)
    except NPY_ERRORS:
        return None
    return states if states.shape == shape and states.dtype == array_dtype(dtype) else None


def _settings(t5: FrozenT5) -> str:
    config = {key: value for key, value in t5.backbone.get_config().items() if key not in _NOT_OF_STATES}
    return json.dumps(config, sort_keys=True, default=str)
