"""A Keras model whose `.keras` file is written completely or not at all."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

import keras

from softprompt_tf.errors import PromptError
from softprompt_tf.files.atomic_file import short_name
from softprompt_tf.files.local_paths import scheme_of


class WholeFileModel(keras.Model):
    """A `keras.Model` that writes its `.keras` file under another name, and renames it when it is complete.

    Args, Call arguments, Returns: as in `keras.Model`.
    """

    def save(self, filepath: str | Path, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any) -> None:
        """Save the model as `keras.Model.save` does; a file that stood there stays until the new one is complete.

        Raises:
          PromptError: for the older HDF5 format. Keras cannot read such a file without a list of classes, and takes the optimizer
            out of the model's own config while it writes one.
        """
        if str(filepath).endswith((".h5", ".hdf5")):
            raise PromptError(
                f"A model is saved as a .keras file. Received: {filepath}. `save_weights('NAME.weights.h5')` keeps weights alone."
            )
        is_file = str(filepath).endswith(".keras") and not scheme_of(filepath) and zipped is not False
        if not is_file or not overwrite:  # Keras asks before it overwrites
            super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)
            return
        path = Path(os.path.realpath(filepath))
        unfinished = path.with_name(f".{short_name(path.stem)}.{secrets.token_hex(6)}.keras")
        try:
            super().save(unfinished, overwrite=True, zipped=zipped, **kwargs)
            os.replace(unfinished, path)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
