"""Find the form of a T5 by its name or in its config, without reading a weight."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.backbones.bundled import bundled_backbones, bundled_directory
from softprompt_tf.errors import BackboneError
from softprompt_tf.resource_plan.backbone_form import GATED, KNOWN_FORMS, PLAIN, RELU, BackboneForm
from softprompt_tf.settings.spelling import nearest

if TYPE_CHECKING:
    from softprompt_tf.backbones.checkpoints.architecture import T5Architecture


def form_of(source: Any) -> tuple[str, BackboneForm]:
    """Return a T5's name and form.

    Args:
      source: a name of `KNOWN_FORMS`, a bundled name, a directory or prefix as `load_t5` takes it, a `FrozenT5`, or a
        form.

    Raises:
      BackboneError: if there is no such T5, or its config cannot be read.
    """
    if isinstance(source, BackboneForm):
        return "a T5", source
    if hasattr(source, "backbone"):
        return source.name, _of_config(source.backbone.get_config())
    name = str(source)
    check_source(name)
    if name in bundled_backbones():
        return name, _of_preset(bundled_directory(name))
    if name in KNOWN_FORMS:
        return name, KNOWN_FORMS[name]
    return Path(name).resolve().name, _of_path(Path(name))


def check_source(name: str) -> None:
    """Refuse what is neither a known name nor the path of a checkpoint, before anything slow is loaded; a BackboneError."""
    known, path = (*bundled_backbones(), *KNOWN_FORMS), Path(name)
    if name in known or path.is_dir() or path.with_name(f"{path.name}.index").is_file():
        return
    hint = nearest(name, known)
    if "Did you mean" not in hint:
        hint = f" Known: {', '.join(known)}."
    raise BackboneError(f"A plan needs a T5: the directory of a checkpoint, or a known name. Received: {name!r}.{hint}")


def _of_path(path: Path) -> BackboneForm:
    from softprompt_tf.backbones.checkpoints import is_preset_directory, open_checkpoint

    if path.is_dir() and is_preset_directory(path):
        return _of_preset(path)
    return _of_architecture(open_checkpoint(path).architecture)


def _of_preset(directory: Path) -> BackboneForm:
    from softprompt_tf.backbones.checkpoints.hugging_face import read_json

    config = read_json(directory / "config.json").get("config")
    if not isinstance(config, Mapping):
        raise BackboneError(f"The config of a preset must have a part `config`. Received: {directory / 'config.json'}.")
    try:
        return _of_config(config)
    except (KeyError, TypeError, ValueError) as error:
        raise BackboneError(f"{directory / 'config.json'} must be of a KerasHub T5. Received: {error!r}.") from error


def _of_config(config: Mapping[str, Any]) -> BackboneForm:
    layers = int(config["num_layers"])
    hidden, heads = int(config["hidden_dim"]), int(config["num_heads"])
    sizes = BackboneSizes(
        hidden_dim=hidden,
        encoder_layers=layers,
        decoder_layers=int(config.get("num_decoder_layers", layers)),
        num_heads=heads,
        head_dim=int(config.get("key_value_dim") or hidden // heads),
        feed_forward_dim=int(config["intermediate_dim"]),
    )
    return BackboneForm(
        sizes=sizes,
        vocabulary_size=int(config["vocabulary_size"]),
        feed_forward=_feed_forward(bool(config.get("use_gated_activation", True)), str(config.get("activation"))),
        has_tied_head=bool(config.get("tie_embedding_weights", True)),
        relative_buckets=int(config.get("relative_attention_buckets", 32)),
    )


def _of_architecture(architecture: "T5Architecture") -> BackboneForm:
    sizes = BackboneSizes(
        hidden_dim=architecture.hidden_dim,
        encoder_layers=architecture.num_layers,
        decoder_layers=architecture.num_decoder_layers,
        num_heads=architecture.num_heads,
        head_dim=architecture.head_dim,
        feed_forward_dim=architecture.intermediate_dim,
    )
    return BackboneForm(
        sizes=sizes,
        vocabulary_size=architecture.vocabulary_size,
        feed_forward=_feed_forward(architecture.is_gated, architecture.activation),
        has_tied_head=architecture.has_tied_head,
        relative_buckets=architecture.relative_buckets,
    )


def _feed_forward(is_gated: bool, activation: str) -> str:
    if is_gated:
        return GATED
    return RELU if "relu" in activation else PLAIN
