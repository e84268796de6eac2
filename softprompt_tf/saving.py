"""A `.keras` file becomes the `PromptedT5` that was saved; importing this module makes Keras know all classes of such a file."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from softprompt_tf import training
from softprompt_tf.errors import PromptError, first_line
from softprompt_tf.files.local_paths import local_source
from softprompt_tf.inference import decoding
from softprompt_tf.model import token_metrics
from softprompt_tf.model.prompted_t5 import PromptedT5

REGISTERED = (
    PromptedT5,
    training.Adafactor,
    training.AutoPrompt,
    training.TargetCrossEntropy,
    token_metrics.TokenAccuracy,
    token_metrics.ExactMatch,
    token_metrics.LabelAccuracy,
    decoding.Greedy,
    decoding.Beam,
)


# What Keras, h5py and the ZIP archive raise at a damaged file.
_READING_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OSError,
    EOFError,
    RuntimeError,
    RecursionError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


def load_model(
    path: str | Path, *, custom_objects: Mapping[str, Any] | None = None, compile: bool = True, safe_mode: bool = True
) -> PromptedT5:
    """Load a model that `PromptedT5.save("x.keras")` wrote, its T5 included, to answer or to train on.

    `keras.saving.load_model` reads it too where Keras was imported before this package, or once any of its names was used. A
    bare `import softprompt_tf` loads no Keras, so that Keras does not know the classes yet.

    Args:
      path: the `.keras` file.
      custom_objects, compile, safe_mode: as in `keras.saving.load_model`.

    Raises:
      PromptError: if there is no such file, it cannot be read, or it holds another model.

    Examples:
      >>> model.save("film.keras")
      >>> again = sp.load_model("film.keras")
      >>> again.labels
      ('negative', 'positive')
    """
    if not local_source(path, error_type=PromptError).is_file():
        raise PromptError(f"A model must be a .keras file. Received: {path}, which is no file.")
    try:
        model = keras.saving.load_model(path, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode)
    except _READING_ERRORS as error:
        raise PromptError(f"{path} cannot be read as a .keras file: {first_line(error)}") from error
    if not isinstance(model, PromptedT5):
        raise PromptError(
            f"{path} must hold a PromptedT5. Received: {type(model).__name__}. Load it by keras.saving.load_model."
        )
    return model
