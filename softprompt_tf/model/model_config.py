"""What a saved Keras model says of a `PromptedT5`: its backbone, its tokenizer, its method and its limits, as JSON values."""

import base64
from collections.abc import Mapping
from typing import Any

import keras
import keras_hub
from keras import ops

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.loading.built_layers import deserialized_backbone
from softprompt_tf.errors import PromptError
from softprompt_tf.methods import PromptMethod
from softprompt_tf.model.answering_model import AnsweringModel
from softprompt_tf.model.task_method import method_of_config


def config_of(model: AnsweringModel) -> dict[str, Any]:
    """Return what `parts_of_config` makes the parts of an equal model from, but for its weights.

    Raises:
      PromptError: of a method that folds and has no settings, as nothing could make it again.
    """
    if not model.method.settings() and _folds(model):
        raise PromptError(
            f"A method with a `fold` must have `settings`, which make it again. Received: none of {type(model.method).__name__}. "
            "Write that method; `save_prompt` needs none."
        )
    return {
        # Keras prints a config whose class it does not know, with no other word on where the class is.
        "read_by": "softprompt_tf.load_model(path)",
        "backbone": keras.saving.serialize_keras_object(model.t5.backbone),
        "tokenizer_proto": base64.b64encode(model.t5.tokenizer.proto).decode("ascii"),
        "t5_name": model.t5.name,
        # Where the weights in a file do not tell it.
        "t5_fingerprint": model.t5.fingerprint if _has_others_in_a_file(model.t5) else None,
        "method": model.method.name,
        "method_settings": model.method.settings(),
        "method_seed": model.method.seed,
        "position": model.method.position,
        "sees": model.method.sees,
        "shapes": {name: list(shape) for name, shape in model.prompt_table.shapes.items()},
        "task_ids": model.task_ids,
        "labels": model.labels,
        "max_input_tokens": model.max_input_tokens,
        "max_target_tokens": model.max_target_tokens,
        "target_format": model.target_format,
        "sampler": keras.saving.serialize_keras_object(model.sampler) if hasattr(model.sampler, "get_config") else None,
        "name": model.name,
    }


def parts_of_config(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None
) -> tuple[FrozenT5, PromptMethod, dict[str, Any]]:
    """Return the T5, the method and the other arguments of `PromptedT5`; files of earlier versions may lack some."""
    backbone = deserialized_backbone(config["backbone"], custom_objects)
    tokenizer = keras_hub.models.T5Tokenizer(proto=base64.b64decode(config["tokenizer_proto"]))
    t5 = FrozenT5(backbone, tokenizer, name=config["t5_name"])
    keys = ("labels", "max_input_tokens", "max_target_tokens", "target_format", "name")
    return t5, method_of_config(config, t5), {key: config[key] for key in keys if key in config}


def _has_others_in_a_file(t5: FrozenT5) -> bool:
    """Say whether a file's weights are others than those of the fingerprint: quantized ones, or a LoRA that Keras merges."""
    return t5.is_quantized or any(getattr(part, "lora_enabled", False) for part in t5.backbone._flatten_layers())


def _folds(model: AnsweringModel) -> bool:
    """Say whether a method makes other tensors of its variables."""
    variables = {name: ops.convert_to_tensor(value) for name, value in model.prompt_table.variables_by_name.items()}
    made = model.method.fold(variables, model.t5.sizes)
    return made.keys() != variables.keys() or any(made[name] is not variables[name] for name in variables)
