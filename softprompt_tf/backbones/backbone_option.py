"""The option `--backbone` of the commands, and the backbone that a prompt file names where the option is not given."""

import argparse
from pathlib import Path
from typing import Any, Protocol

from softprompt_tf.errors import ConfigError
from softprompt_tf.files.local_paths import local_source, scheme_of

BACKBONE_HELP = (
    "a bundled name (mini), a KerasHub preset, or a directory in the format of KerasHub, Hugging Face, T5X or Mesh TensorFlow"
    " (recognised by its content)"
)
_KERAS_HUB_SCHEMES = ("kaggle", "hf", "modelscope", "gs")
_WITHOUT_A_NAME = "mini"  # for prompts of formats that name no backbone


class NamesBackbone(Protocol):
    """What is asked of a prompt: `TaskPrompt` is such."""

    @property
    def backbone(self) -> str: ...

    @property
    def training_config(self) -> dict[str, Any]: ...


def add_backbone_option(parser: argparse.ArgumentParser) -> None:
    """Add `--backbone`, whose default is the prompt file's."""
    parser.add_argument("--backbone", help=f"{BACKBONE_HELP}. Default: the one that the prompt file names")


def backbone_of(prompt: NamesBackbone) -> str:
    """Return what `load_t5` takes for the backbone that a prompt was trained on.

    It is a bundled or KerasHub name, or a directory of that name in the working directory: prompt files travel, so they keep a
    directory's own name only. A prompt that names none is for `mini`.

    Raises:
      ConfigError: if that backbone is not on this machine.
    """
    found = [prompt.training_config.get("backbone"), prompt.backbone]
    names = [name for name in found if isinstance(name, str) and name]
    if not names:
        return _WITHOUT_A_NAME
    for name in names:
        if _is_here(name):
            return name
    raise ConfigError(
        f"The prompt's backbone must be on this machine. Received: a prompt for {' or '.join(map(repr, dict.fromkeys(names)))}. "
        "Pass its directory: --backbone DIRECTORY."
    )


def check_backbone_path(backbone: str | None) -> None:
    """Refuse the path of a backbone that is not there, before anything slow is loaded; a name is left to `load_t5`.

    Raises:
      ConfigError: if there is no such directory, and no checkpoint of that name.
    """
    if backbone is None or "/" not in backbone or scheme_of(backbone) in _KERAS_HUB_SCHEMES:
        return
    path = local_source(backbone, error_type=ConfigError)
    if not path.exists() and not path.with_name(f"{path.name}.index").is_file():
        raise ConfigError(f"`backbone` must be a name or a directory that is there. Received: {backbone}.")


def _is_here(name: str) -> bool:
    import keras_hub

    from softprompt_tf.backbones.bundled import bundled_backbones

    path = Path(name)
    is_checkpoint = path.is_dir() or path.with_name(f"{path.name}.index").is_file()
    return is_checkpoint or name in bundled_backbones() or name in keras_hub.models.T5Backbone.presets or "://" in name
