"""Load a frozen T5: a bundled one, a KerasHub preset, a checkpoint of another tool, or a pair of objects."""

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import keras_hub

from softprompt_tf.backbones.bundled import bundled_backbones, bundled_directory
from softprompt_tf.backbones.checkpoints import assemble_backbone, find_vocabulary, is_preset_directory, open_checkpoint
from softprompt_tf.backbones.frozen_t5 import FrozenT5
from softprompt_tf.backbones.loading.device_layout import DeviceLayout
from softprompt_tf.backbones.loading.dropout_and_activation import (
    backbone_settings,
    change_in_place,
    check_choices,
    warn_of_exact_gelu,
)
from softprompt_tf.backbones.loading.preset_weights import read_preset_backbone
from softprompt_tf.backbones.passes.placed import beside
from softprompt_tf.errors import BackboneError, first_line
from softprompt_tf.files.large_file_pointer import refuse_pointer
from softprompt_tf.files.local_paths import looked_at
from softprompt_tf.keras_backend import check_backend, is_tensorflow
from softprompt_tf.shown_numbers import counted

DTYPES = ("float32", "bfloat16")
QUANTIZATIONS = (None, "int8", "int4")
Source = str | Path | tuple[keras_hub.models.T5Backbone, keras_hub.models.T5Tokenizer]


def load_t5(
    source: Source,
    *,
    dtype: str = "float32",
    quantization: str | None = None,
    vocabulary: str | Path | None = None,
    name: str | None = None,
    dropout: float | None = None,
    activation: str | None = None,
    devices: Sequence[str] | None = None,
) -> FrozenT5:
    """Load a pretrained T5 and freeze it.

    Args:
      source: what to load, one of:

        - the name of a bundled backbone ("mini");
        - a directory, recognised by its content: a KerasHub preset, a Hugging Face T5 (T5 1.0 and 1.1, LM-adapted, Flan-T5, mT5,
          byT5; safetensors, sharded too, or pytorch_model.bin where torch is installed), or a T5X checkpoint;
        - a Mesh TensorFlow checkpoint, as its directory or as `DIRECTORY/model.ckpt-STEP`;
        - the name of a KerasHub preset ("t5_1.1_base", or a "kaggle://" or "hf://" address);
        - a `(T5Backbone, T5Tokenizer)` pair.
      dtype: what it computes in, "float32" or "bfloat16". A pair keeps the dtype that it has.
      quantization: "int8" or "int4" keeps the projections so; whatever is a directory is read straight into it. int4 has a scale
        for each 128 inputs of an output. The embedding table and the head stay in `dtype`.
      vocabulary: a SentencePiece file, for a checkpoint directory without one.
      name: what prompt files and messages call it. Default: the preset's name or the directory's.
      dropout: of the layers while a prompt is trained, whatever is stored with the weights. Default 0.0: dropout makes
        training slower, and the T5 does not train. A pair keeps its own unless 0.0 is given, which takes it out in place.
      activation: of the feed-forward blocks: "gelu_approximate" (GELU in its tanh form, as the original T5 1.1 has), "gelu"
        (its exact form) or "relu" (T5 1.0). Default: as stored. The fingerprint is of weights alone, so that prompts for
        both forms of GELU fit. A pair is changed in place.
      devices: that share the weights of a T5 too large for one, such as `["GPU:0", "GPU:1"]`: the layers in order, a part on
        each. A batch runs on one after the other. A directory is read straight to them. Default: where TensorFlow puts it.

    Raises:
      BackboneError: if there is no such source, it cannot be fetched, it is damaged or incomplete, or it is no T5; if there are
        no such devices, or more than layers.
      BackendError: under a Keras backend other than TensorFlow and JAX.

    Examples:
      >>> t5 = sp.load_t5("mini")
      >>> t5.hidden_dim
      256
    """
    check_backend()
    _check_choices(source, dtype, quantization, vocabulary)
    check_choices(dropout, activation)
    how = _How(dtype, quantization, backbone_settings(dropout, activation), DeviceLayout(devices, dropout))
    if isinstance(source, tuple):
        t5 = _from_pair(source, name, how, dropout, activation)
    elif str(source) in bundled_backbones():
        t5 = _from_directory(bundled_directory(str(source)), name or str(source), how)
    elif (path := looked_at(Path(source), error_type=BackboneError)).is_dir() and is_preset_directory(path):
        t5 = _from_directory(path, name or path.resolve().name, how)
    elif path.is_dir() or path.with_name(f"{path.name}.index").is_file():
        return _from_checkpoint(path, name or path.resolve().name, vocabulary, how)
    else:
        t5 = _from_preset(str(source), name or str(source).rstrip("/").rsplit("/", 1)[-1], how)
    if activation is None:
        warn_of_exact_gelu(t5.backbone, t5.name)
    return t5


class _How(NamedTuple):
    """How a T5 is read: its dtype and quantization, arguments of its backbone, and the devices that it is laid over."""

    dtype: str
    quantization: str | None
    settings: dict[str, Any]
    layout: DeviceLayout

    def read(
        self, reader: Callable[..., tuple[keras_hub.models.T5Backbone, str]], source: Any
    ) -> tuple[keras_hub.models.T5Backbone, str]:
        """Return the backbone that a reader makes of a source, and the fingerprint of its float weights."""
        with self.layout.on_host():
            return reader(
                source,
                dtype=self.dtype,
                quantization=self.quantization,
                settings=self.settings,
                prepare=self.layout.apply,
            )


def _check_choices(source: Source, dtype: str, quantization: str | None, vocabulary: str | Path | None) -> None:
    if not isinstance(source, (str, Path, tuple)):
        raise BackboneError(
            "A T5 is loaded from a name, a path or a pair (T5Backbone, T5Tokenizer). Received: a "
            f"{type(source).__name__}{' alone' if isinstance(source, keras_hub.models.T5Backbone) else ''}."
        )
    if dtype not in DTYPES:
        raise BackboneError(f"`dtype` must be one of {', '.join(DTYPES)}. Received: dtype={dtype!r}.")
    if quantization not in QUANTIZATIONS:
        raise BackboneError(f"`quantization` must be None, 'int8' or 'int4'. Received: quantization={quantization!r}.")
    has_own = isinstance(source, tuple) or str(source) in bundled_backbones() or "://" in str(source)
    if vocabulary is not None and has_own:
        raise BackboneError(
            f"`vocabulary` is for checkpoints of other tools. Received: {vocabulary} for {source!s:.80}."
        )


def _from_pair(
    pair: tuple[Any, ...], name: str | None, how: _How, dropout: float | None, activation: str | None
) -> FrozenT5:
    if len(pair) != 2:
        raise BackboneError(f"A pair must be (backbone, tokenizer). Received: {counted(len(pair), 'object')}.")
    backbone, tokenizer = pair
    if isinstance(backbone, keras_hub.models.T5Backbone):
        change_in_place(backbone, dropout, activation)
    return _frozen(backbone, tokenizer, name or str(getattr(backbone, "name", "")), how)


def _from_checkpoint(path: Path, name: str, vocabulary: str | Path | None, how: _How) -> FrozenT5:
    checkpoint = open_checkpoint(path)
    tokenizer = keras_hub.models.T5Tokenizer(proto=find_vocabulary(checkpoint.path, vocabulary))
    backbone, fingerprint = how.read(assemble_backbone, checkpoint)
    return FrozenT5(backbone, tokenizer, name=name, fingerprint=fingerprint, placement=how.layout.placement)


def _frozen(
    backbone: keras_hub.models.T5Backbone, tokenizer: keras_hub.models.T5Tokenizer, name: str, how: _How
) -> FrozenT5:
    if isinstance(backbone, keras_hub.models.T5Backbone):
        how.layout.apply(backbone)
    t5 = FrozenT5(backbone, tokenizer, name=name, placement=how.layout.placement)
    _check_finite(backbone)
    if how.quantization:
        t5.quantize(how.quantization)
    return t5


def _check_finite(backbone: keras_hub.models.T5Backbone) -> None:
    for variable in backbone.weights:
        with beside(variable.value):
            is_finite = not keras.backend.is_float_dtype(variable.dtype) or keras.ops.all(keras.ops.isfinite(variable))
        if not is_finite:
            raise BackboneError(
                f"The weights of a T5 must be finite. Received: NaN or infinite values in {variable.path}. Load it again."
            )


def _from_directory(directory: Path, name: str, how: _How) -> FrozenT5:
    missing = [
        file for file in ("config.json", "tokenizer.json", "model.weights.h5") if not (directory / file).exists()
    ]
    if "model.weights.h5" in missing and (directory / "model.weights.json").exists():
        missing.remove("model.weights.h5")  # large models are stored in shards
    if missing:
        raise BackboneError(f"A preset directory must hold {', '.join(missing)}. Received: {directory}.")
    for path in directory.rglob("*"):
        refuse_pointer(path, error_type=BackboneError)
    try:
        tokenizer = keras_hub.models.T5Tokenizer.from_preset(str(directory))
        backbone, fingerprint = how.read(read_preset_backbone, directory)
    except BackboneError:
        raise
    except _reading_errors() as error:
        raise BackboneError(f"The preset in {directory} cannot be read as a T5: {first_line(error)}") from error
    return FrozenT5(backbone, tokenizer, name=name, fingerprint=fingerprint, placement=how.layout.placement)


def _reading_errors() -> tuple[type[Exception], ...]:
    """Return what Keras, KerasHub and h5py raise at a damaged preset, and the tokenizer at a damaged vocabulary."""
    errors = (ValueError, OSError, KeyError, TypeError, AttributeError, RecursionError)
    if not is_tensorflow():
        return (*errors, RuntimeError)
    import tensorflow as tf

    return (*errors, tf.errors.OpError)


def _from_preset(preset: str, name: str, how: _How) -> FrozenT5:
    known = sorted(keras_hub.models.T5Backbone.presets)
    if preset not in known and "://" not in preset:
        near = difflib.get_close_matches(preset, [*bundled_backbones(), *known], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise BackboneError(
            f"No backbone {preset!r}: it is no directory, no bundled backbone ({', '.join(bundled_backbones())}) and no T5 "
            f"preset of KerasHub ({', '.join(known)}).{hint}"
        )
    try:
        with how.layout.on_host():
            backbone = keras_hub.models.T5Backbone.from_preset(preset, dtype=how.dtype, **how.settings)
        tokenizer = keras_hub.models.T5Tokenizer.from_preset(preset)
    except Exception as error:  # download code raises whatever its HTTP stack raises
        raise BackboneError(
            f"The preset {preset!r} could not be fetched ({type(error).__name__}: {first_line(error)}). Download it on a machine "
            "with access, copy its directory here and pass that path, or use the bundled backbone 'mini'."
        ) from error
    return _frozen(backbone, tokenizer, name, how)
