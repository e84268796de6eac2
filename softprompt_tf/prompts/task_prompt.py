"""One trained prompt with what is known of its task and its backbone, and the check that it fits a backbone."""

import dataclasses
from typing import Any

import numpy as np

from softprompt_tf.errors import BackboneMismatchError, PromptError
from softprompt_tf.target_format import TARGET_FORMATS

STRING_FIELDS = (
    "task_id",
    "method",
    "backbone",
    "backbone_fingerprint",
    "tokenizer_fingerprint",
    "template",
    "target_format",
    "library_version",
)


@dataclasses.dataclass(frozen=True, eq=False)
class TaskPrompt:
    """A task's prompt in the form that a file keeps; fields that a format does not have stay empty.

    Args:
      prompt: [P, H] the final value, finite; a read-only float32 copy is kept.
      task_id: the name that a request asks for.
      method: how it was trained, a name of `METHODS`.
      backbone: the name of the frozen T5.
      backbone_fingerprint: of its weights and form; empty where unknown, then only H can be checked.
      tokenizer_fingerprint: of its vocabulary; empty where unknown.
      template: the text around the fields of a row, such as "sst2 sentence: {sentence}".
      labels: the label words, in the order of their ids; empty for a task that generates.
      max_input_tokens: where inputs are cut, without the prompt's rows. None where unknown.
      max_target_tokens: where targets are cut, a sentinel in front not counted. None where unknown.
      target_format: what the decoder writes, "text" (the target alone) or "sentinel" (`<extra_id_0>` and the target).
      metrics: name -> value on the validation split.
      training_config: the run's resolved config, JSON values only.
      library_version: the version that wrote the file; empty before it is written.

    Raises:
      PromptError: if the prompt is not a finite floating [P, H], or a text field is not a string, or the target format is
        unknown.
    """

    prompt: np.ndarray
    task_id: str = ""
    method: str = "prompt_tuning"
    backbone: str = ""
    backbone_fingerprint: str = ""
    tokenizer_fingerprint: str = ""
    template: str = ""
    labels: tuple[str, ...] = ()
    max_input_tokens: int | None = None
    max_target_tokens: int | None = None
    target_format: str = "text"
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    training_config: dict[str, Any] = dataclasses.field(default_factory=dict)
    library_version: str = ""

    def __post_init__(self) -> None:
        for name in STRING_FIELDS:
            value = getattr(self, name)
            if not isinstance(value, str):
                raise PromptError(f"`{name}` must be a string. Received: {name}={value!r}.")
        if self.target_format not in TARGET_FORMATS:
            raise PromptError(
                f"`target_format` must be one of {', '.join(TARGET_FORMATS)}. Received: target_format={self.target_format!r}."
            )
        if isinstance(self.labels, str) or not all(isinstance(label, str) for label in self.labels):
            raise PromptError(f"`labels` must be a sequence of strings. Received: labels={self.labels!r}.")
        object.__setattr__(self, "prompt", _checked_prompt(self.prompt))
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "metrics", _checked_metrics(self.metrics))

    @property
    def length(self) -> int:
        """P, the rows of the prompt."""
        return int(self.prompt.shape[0])

    @property
    def hidden_dim(self) -> int:
        """H, the width of a row."""
        return int(self.prompt.shape[1])


def check_backbone(
    task_prompt: TaskPrompt, *, backbone: str, fingerprint: str, hidden_dim: int, tokenizer_fingerprint: str
) -> None:
    """Refuse a prompt that was made for another backbone or another tokenizer.

    A prompt without a fingerprint (a .npy file, a PEFT adapter) is checked by its width only.

    Args:
      task_prompt: the prompt at hand.
      backbone: the name of the model it is to be put in front of.
      fingerprint: that model's fingerprint.
      hidden_dim: that model's H.
      tokenizer_fingerprint: the fingerprint of that model's tokenizer.

    Raises:
      BackboneMismatchError: with the names of both models.
    """
    made_for = task_prompt.backbone or "an unnamed backbone"
    if task_prompt.hidden_dim != hidden_dim:
        raise BackboneMismatchError(
            f"{_subject(task_prompt)} was made for {made_for} (H={task_prompt.hidden_dim}). "
            f"Received: model {backbone} (H={hidden_dim}). Train a new prompt or load that model."
        )
    if task_prompt.backbone_fingerprint not in ("", fingerprint):
        raise BackboneMismatchError(
            f"{_subject(task_prompt)} was made for {made_for} (fingerprint {task_prompt.backbone_fingerprint}). "
            f"Received: model {backbone} (fingerprint {fingerprint}). Train a new prompt or load that model."
        )
    if task_prompt.tokenizer_fingerprint not in ("", tokenizer_fingerprint):
        raise BackboneMismatchError(
            f"{_subject(task_prompt)} was made for {made_for} with another tokenizer (fingerprint "
            f"{task_prompt.tokenizer_fingerprint}). Received: model {backbone} with tokenizer fingerprint "
            f"{tokenizer_fingerprint}. Load that model with the tokenizer that it was trained with."
        )


def _subject(task_prompt: TaskPrompt) -> str:
    return f"Prompt {task_prompt.task_id!r}" if task_prompt.task_id else "The prompt"


def _checked_metrics(metrics: dict[str, float]) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in metrics.items()}
    except (TypeError, ValueError) as error:
        raise PromptError(f"`metrics` must hold numbers. Received: metrics={metrics!r}.") from error


def _checked_prompt(value: np.ndarray) -> np.ndarray:
    """Return a read-only float32 copy of a usable prompt [P, H]."""
    array = np.asarray(value)
    if array.ndim != 2 or 0 in array.shape:
        raise PromptError(f"`prompt` must have the shape [P, H], one task's rows. Received: shape {list(array.shape)}.")
    # bfloat16 is no NumPy dtype of its own: ml_dtypes registers it with kind "V", and its name tells it apart.
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise PromptError(f"`prompt` must be floating. Received: dtype {array.dtype}.")
    with np.errstate(over="ignore"):  # float64 beyond float32's range becomes infinite, which is refused below
        values = np.array(array, dtype=np.float32, order="C")
    bad_rows = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if bad_rows.size:
        raise PromptError(
            f"`prompt` must be finite. Received: NaN or infinite values in {bad_rows.size} of {len(values)} rows, "
            f"the first in row {bad_rows[0]}."
        )
    values.setflags(write=False)
    return values
