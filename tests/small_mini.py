"""The bundled T5 with one layer in each stack in its place: what is traced and run costs a third, its vocabulary is the same."""

from pathlib import Path

import pytest

from softprompt_tf.backbones import bundled, load_t5, write_preset
from softprompt_tf.backbones.loading.built_layers import plain_backbone

PUT_IN_PLACE = "import pathlib; from softprompt_tf.backbones import bundled; bundled._DIRECTORY = pathlib.Path({!r}); "
"""Code for the first line of another process; to be formatted with the directory."""


def write_small_mini(directory: Path) -> None:
    """Write the preset `mini` into a directory, with drawn weights."""
    mini = load_t5("mini")
    config = {**mini.backbone.get_config(), "num_layers": 1, "dtype": "float32"}
    write_preset(plain_backbone(**config), mini.tokenizer.proto, directory / "mini")


def put_in_place(directory: Path, patch: pytest.MonkeyPatch) -> None:
    """Let `mini` be that of a directory in this process."""
    patch.setattr(bundled, "_DIRECTORY", directory)
