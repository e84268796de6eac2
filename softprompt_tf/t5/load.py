"""A source in, a `FrozenT5` out: a bundled backbone, a KerasHub preset name, a preset directory, or a pair of objects."""

import difflib
from pathlib import Path

import keras_hub
import tensorflow as tf

from softprompt_tf.errors import BackboneError
from softprompt_tf.t5.bundled import bundled_backbones, bundled_directory
from softprompt_tf.t5.frozen_t5 import FrozenT5

DTYPES = ("float32", "bfloat16")
Source = str | Path | tuple[keras_hub.models.T5Backbone, keras_hub.models.T5Tokenizer]


def load_t5(source: Source, *, dtype: str = "float32", name: str | None = None) -> FrozenT5:
    """Load a pretrained T5 and freeze it.

    Args:
      source: the name of a bundled backbone ("mini"), a local KerasHub preset directory, the name of a KerasHub preset
        ("t5_1.1_base", or a "kaggle://" or "hf://" address), or a `(T5Backbone, T5Tokenizer)` pair.
      dtype: what it computes in, "float32" or "bfloat16". A pair keeps the dtype that it has.
      name: what prompt files and messages call it. Default: the preset's name or the directory's.

    Raises:
      BackboneError: if there is no such source, it cannot be fetched, or it is no T5.

    Example:
      >>> t5 = load_t5("mini")
      >>> t5.hidden_dim
      256
    """
    if dtype not in DTYPES:
        raise BackboneError(f"`dtype` must be one of {', '.join(DTYPES)}. Received: dtype={dtype!r}.")
    if isinstance(source, tuple):
        if len(source) != 2:
            raise BackboneError(f"A pair must be (backbone, tokenizer). Received: {len(source)} objects.")
        return FrozenT5(source[0], source[1], name=name or str(getattr(source[0], "name", "")))
    text = str(source)
    if text in bundled_backbones():
        return _from_directory(bundled_directory(text), dtype=dtype, name=name or text)
    if Path(text).is_dir():
        return _from_directory(Path(text), dtype=dtype, name=name or Path(text).resolve().name)
    return _from_preset(text, dtype=dtype, name=name or text.rstrip("/").rsplit("/", 1)[-1])


def _from_directory(directory: Path, *, dtype: str, name: str) -> FrozenT5:
    missing = [
        file for file in ("config.json", "tokenizer.json", "model.weights.h5") if not (directory / file).exists()
    ]
    if "model.weights.h5" in missing and (directory / "model.weights.json").exists():
        missing.remove("model.weights.h5")  # large models are stored in shards
    if missing:
        raise BackboneError(f"A preset directory must hold {', '.join(missing)}. Received: {directory}.")
    try:
        backbone = keras_hub.models.T5Backbone.from_preset(str(directory), dtype=dtype)
        tokenizer = keras_hub.models.T5Tokenizer.from_preset(str(directory))
    except (ValueError, OSError, KeyError, TypeError, tf.errors.OpError) as error:  # OpError: a damaged vocabulary
        raise BackboneError(f"The preset in {directory} cannot be read as a T5: {_first_line(error)}") from error
    return FrozenT5(backbone, tokenizer, name=name)


def _from_preset(preset: str, *, dtype: str, name: str) -> FrozenT5:
    known = sorted(keras_hub.models.T5Backbone.presets)
    if preset not in known and "://" not in preset:
        near = difflib.get_close_matches(preset, [*bundled_backbones(), *known], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise BackboneError(
            f"No backbone {preset!r}: it is no directory, no bundled backbone ({', '.join(bundled_backbones())}) and no T5 "
            f"preset of KerasHub ({', '.join(known)}).{hint}"
        )
    try:
        backbone = keras_hub.models.T5Backbone.from_preset(preset, dtype=dtype)
        tokenizer = keras_hub.models.T5Tokenizer.from_preset(preset)
    except Exception as error:  # download code raises whatever its HTTP stack raises
        raise BackboneError(
            f"The preset {preset!r} could not be fetched ({type(error).__name__}: {_first_line(error)}). Download it on a machine "
            "with access, copy its directory here and pass that path, or use the bundled backbone 'mini'."
        ) from error
    return FrozenT5(backbone, tokenizer, name=name)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
