"""Recognise the format of a T5 checkpoint by its content."""

from pathlib import Path

from softprompt_tf.backbones.checkpoints.checkpoint import Checkpoint
from softprompt_tf.backbones.checkpoints.hugging_face import CONFIG, SAFETENSORS, open_hugging_face, read_json
from softprompt_tf.backbones.checkpoints.mesh_tensorflow import find_prefix, open_mesh_tensorflow
from softprompt_tf.backbones.checkpoints.t5x_index import INDEX, is_t5x_index
from softprompt_tf.errors import BackboneError

_ADAPTER_CONFIG = "adapter_config.json"  # of PEFT and AdapterHub
FORMATS = (
    "a KerasHub preset directory (config.json, tokenizer.json, model.weights.h5), a Hugging Face T5 directory (config.json, "
    "model.safetensors), a T5X checkpoint directory (checkpoint, target.*), or a Mesh TensorFlow checkpoint (model.ckpt-*)"
)


def is_preset_directory(path: Path) -> bool:
    """Tell a KerasHub preset from others; both it and Hugging Face keep a `config.json`."""
    if (path / "tokenizer.json").exists() and not (path / CONFIG).exists():
        return True  # half a preset; who reads it says what is missing
    return (path / CONFIG).exists() and "class_name" in read_json(path / CONFIG)


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint of another tool.

    Args:
      path: a directory, or the prefix `DIRECTORY/model.ckpt-STEP`. Of several steps in a directory the last is taken.

    Raises:
      BackboneError: if nothing known lies there, or what lies there is damaged or no T5.
    """
    if path.with_name(f"{path.name}.index").exists():
        return open_mesh_tensorflow(path)
    if not path.is_dir():
        raise BackboneError(f"A backbone's path must be {FORMATS}. Received: {path}.")
    if (path / CONFIG).exists():
        return open_hugging_face(path)
    steps = _t5x_steps(path)
    if steps:
        from softprompt_tf.backbones.checkpoints.t5x import open_t5x  # loads msgpack and zarr

        return open_t5x(steps[-1])
    prefix = find_prefix(path)
    if prefix:
        return open_mesh_tensorflow(prefix)
    held = sorted(child.name for child in path.iterdir())
    hint = f" {CONFIG} is missing beside the weights." if SAFETENSORS in held else ""
    if _ADAPTER_CONFIG in held:
        hint = " It holds an adapter, which is a prompt here. Its backbone is the directory of the T5 that it was trained on."
    raise BackboneError(f"A backbone's directory must be {FORMATS}. Received: {path} with {held[:12]}.{hint}")


def _t5x_steps(path: Path) -> list[Path]:
    """Return the T5X checkpoints at a path: itself, or its `checkpoint_STEP` in the order of their steps."""
    if is_t5x_index(path / INDEX):
        return [path]
    steps = [child for child in path.glob("checkpoint_*") if child.name.rsplit("_", 1)[1].isdecimal()]
    return sorted(
        (child for child in steps if is_t5x_index(child / INDEX)), key=lambda child: int(child.name.rsplit("_", 1)[1])
    )
