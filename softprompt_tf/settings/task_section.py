"""A task's section of a config, and the types that sections share."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from softprompt_tf.settings.config_section import WHOLE_NUMBER, Section
from softprompt_tf.target_format import TargetFormat

SPLITS = ("train", "validation", "test")


def as_tuple(value: Any) -> Any:
    """Return a list as a tuple, and anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def _with_text_keys(value: Any) -> Any:
    return {str(key): word for key, word in value.items()} if isinstance(value, Mapping) else value


def _as_names(value: Any) -> Any:
    return (value,) if isinstance(value, str) else as_tuple(value)


Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
NameOrNames = Annotated[tuple[str, ...], BeforeValidator(_as_names)]
Labels = Annotated[dict[str, str], BeforeValidator(_with_text_keys)]


class TaskConfig(Section):
    """One task: where its rows lie and how they become text. `softprompt_tf.tasks.Task` says what each field means."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_.-]+$", description="a name of the letters a to z and A to Z, digits, `_`, `.` and `-`"
    )
    inputs: str = Field(description='a template, such as "sst2 sentence: {sentence}"')
    targets: str = Field(default="{label}", description='a template, such as "{label}"')
    labels: Labels | None = Field(
        default=None, min_length=1, description='a mapping from raw value to label word, such as {0: "negative"}'
    )
    metrics: Names = Field(default=("accuracy",), min_length=1, description="a list of metric names")
    taskless: bool = Field(default=False, description="true or false (whether `inputs` lose their first word)")
    preprocess: NameOrNames = Field(default=(), description="the name of a preprocessor, or a list of them")
    preprocess_train: NameOrNames = Field(default=(), description="the name of a preprocessor, or a list of them")
    postprocess: NameOrNames = Field(default=(), description="the name of a postprocessor, or a list of them")
    references: str | None = Field(default=None, min_length=1, description="the name of a field, or null")
    group_by: NameOrNames = Field(default=(), description="the name of a field, or a list of them")
    train: str | None = Field(default=None, description="a file or a TFDS name")
    validation: str | None = Field(default=None, description="a file or a TFDS name")
    test: str | None = Field(default=None, description="a file or a TFDS name")
    columns: Names | None = Field(default=None, min_length=1, description="a list of column names")
    max_input_tokens: int = Field(
        default=512, gt=0, description=f"{WHOLE_NUMBER} (tokens, the end of sequence included)"
    )
    max_target_tokens: int | None = Field(
        default=None, gt=0, description=f"{WHOLE_NUMBER} (tokens, the end of sequence included), or null"
    )
    target_format: TargetFormat = Field(default="text", description="text or sentinel")
