"""The section `prompt` of a config, which is of the method that it names."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainValidator, SerializeAsAny
from pydantic_core import PydanticKnownError

from softprompt_tf.methods.family.method_config import MethodConfig
from softprompt_tf.methods.family.prompt_tuning import PromptTuningConfig
from softprompt_tf.methods.registry import METHODS
from softprompt_tf.settings.yaml_tree import Tree

_UNKNOWN_METHOD = "unknown method"


def _method_tag(value: Any) -> str:
    """Return the name of the method that a section is of; prompt tuning's where it says none."""
    method = value.get("method", "prompt_tuning") if isinstance(value, Mapping) else getattr(value, "method", "")
    return method if isinstance(method, str) and method in METHODS else _UNKNOWN_METHOD


def method_section(value: Any) -> type[MethodConfig]:
    """Return the class of a section `prompt`, from its value; that of prompt tuning where its method is not known."""
    tag = _method_tag(value)
    return PromptTuningConfig if tag == _UNKNOWN_METHOD else METHODS[tag].config


def _checked(value: Any) -> MethodConfig:
    """Return the section of the method that a value names; of `METHODS` as it is now, to which programs may add."""
    if isinstance(value, MethodConfig):
        return value
    if isinstance(value, Mapping) and _method_tag(value) == _UNKNOWN_METHOD:
        known = {"discriminator": "method", "tag": str(value["method"]), "expected_tags": ", ".join(METHODS)}
        raise PydanticKnownError("union_tag_invalid", known)
    return method_section(value).model_validate(value)


if TYPE_CHECKING:
    AnyMethodConfig = MethodConfig
else:
    # The section `prompt` of a config, of whichever method it names.
    AnyMethodConfig = Annotated[SerializeAsAny[MethodConfig], PlainValidator(_checked)]


def drop_settings_of_other_methods(tree: Tree) -> None:
    """Take out what an included file set for another method than the one that is named elsewhere."""
    prompt = tree.values.get("prompt")
    if not isinstance(prompt, dict) or prompt.get("method") not in tuple(METHODS):
        return
    method = str(prompt["method"])
    known = {key for row in METHODS.that_load().values() for key in row.config.model_fields}
    named_in = _file_of(tree.place(("prompt", "method")))
    for key in sorted(known & set(prompt) - set(METHODS[method].config.model_fields)):
        place = tree.place(("prompt", key))
        if not place.startswith("override") and _file_of(place) != named_in:
            del prompt[key]


def _file_of(place: str) -> str:
    return place.rpartition(":")[0] or place
