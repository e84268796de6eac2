"""Take over the files of a version that do not depend on its tasks, read its backbone's first variable, write its fingerprint."""

import secrets
import stat
from collections.abc import Collection
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import fingerprint_pb2

from softprompt_tf.errors import ExportError
from softprompt_tf.export.versions.task_shards import UNREADABLE, index_file, link_or_copy

FINGERPRINT_FILE = Path("fingerprint.pb")
_FIRST_VARIABLE = "backbone_variables/0/.ATTRIBUTES/VARIABLE_VALUE"


def link_files(staging: Path, source: Path, *, but: Collection[Path] = ()) -> None:
    """Take over graph, assets, record and whatever else lies in a version, but for its variables and fingerprint.

    Args:
      staging: the directory that is written.
      source: the version.
      but: files to leave out, relative to it.
    """
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and relative.parts[0] != "variables" and relative not in {*but, FINGERPRINT_FILE}:
            (staging / relative).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(path, staging / relative)


def open_as(staging: Path, source: Path) -> None:
    """Let those read what a version has of its own who may read the version before, whatever the mask of this process."""
    index = index_file(source)
    modes = {is_folder: path.stat().st_mode & 0o555 for is_folder, path in ((True, index.parent), (False, index))}
    for path in staging.rglob("*"):
        found = path.stat()
        is_own = path.is_dir() or found.st_nlink == 1  # others are files of the version before
        if is_own and modes[path.is_dir()] & ~found.st_mode:
            path.chmod(stat.S_IMODE(found.st_mode) | modes[path.is_dir()])


def write_fingerprint(staging: Path, source: Path) -> None:
    """Write the fingerprint of a version whose graph is that of `source`, and whose variables are its own.

    Raises:
      ExportError: if the fingerprint of `source` is damaged.

    Source: tensorflow/tensorflow:tensorflow/cc/saved_model/fingerprinting_utils.cc, which hashes the index of the variables.
    """
    path = source / FINGERPRINT_FILE
    if not path.is_file():
        return
    try:
        fingerprint = fingerprint_pb2.FingerprintDef.FromString(path.read_bytes())
    except DecodeError as error:
        raise ExportError(f"The fingerprint of an export must be readable. Received: {path}: {error}.") from error
    content = np.frombuffer(index_file(staging).read_bytes(), np.uint8)
    fingerprint.checkpoint_hash = int.from_bytes(tf.fingerprint(content[None]).numpy().tobytes(), "little")
    fingerprint.uuid = str(secrets.randbits(64))
    (staging / FINGERPRINT_FILE).write_bytes(fingerprint.SerializeToString())


def first_variable(directory: Path) -> np.ndarray:
    """Read the first variable of a version's backbone as float32; of a T5 that is the input embedding table [V, H].

    Raises:
      ExportError: if it cannot be read.
    """
    try:
        value = tf.train.load_checkpoint(str(directory / "variables" / "variables")).get_tensor(_FIRST_VARIABLE)
    except UNREADABLE as error:
        raise ExportError(f"The backbone of an export must be readable. Received: {directory}: {error}.") from error
    return np.asarray(value, np.float32)
