"""Give the chief's checkpoint to all workers, which need no file system in common."""

import tempfile
from pathlib import Path

from softprompt_tf.training.checkpoint import Checkpoint, read_checkpoint
from softprompt_tf.workers import joined


def shared_checkpoint(own: Checkpoint | None) -> Checkpoint | None:
    """Return the chief's checkpoint; where one process trains alone, its own.

    Args:
      own: what this worker has found. Only the chief's counts.
    """
    workers = joined()
    if workers is None:
        return own
    content = workers.from_chief(b"" if own is None or own.path is None else own.path.read_bytes())
    if not content or workers.is_chief:
        return own
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "checkpoint.safetensors"
        path.write_bytes(content)
        return read_checkpoint(path)
