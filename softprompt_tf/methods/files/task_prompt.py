"""One trained task with what is known of it and of its backbone, and the check that it fits a backbone."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from softprompt_tf.backbone_sizes import BackboneSizes
from softprompt_tf.errors import BackboneMismatchError, PromptError
from softprompt_tf.methods.files.field_checks import check_count, check_text, checked_labels, checked_metrics
from softprompt_tf.methods.files.tensor_checks import check_tensors_of_method, checked_tensors, other_depth
from softprompt_tf.methods.task_tensors import (
    LABEL_ROWS,
    LATE_PROMPTS,
    MIXTURE_WEIGHT,
    PLACED_PROMPTS,
    PROMPT,
    prompt_name,
    row_shape,
    text_places,
)
from softprompt_tf.prompt_places import rows_of_template, too_many_rows
from softprompt_tf.shown_numbers import counted
from softprompt_tf.target_format import TARGET_FORMATS


@dataclasses.dataclass(frozen=True, eq=False)
class _TaskFields:
    """The fields of a `TaskPrompt`, declared here alone: files keep them by these names and types."""

    tensors: Mapping[str, np.ndarray]
    task_id: str = ""
    method: str = "prompt_tuning"
    backbone: str = ""
    backbone_fingerprint: str = ""
    tokenizer_fingerprint: str = ""
    backbone_hidden_dim: int | None = None
    template: str = ""
    labels: tuple[str, ...] = ()
    max_input_tokens: int | None = None
    max_target_tokens: int | None = None
    target_format: str = "text"
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    training_config: dict[str, Any] = dataclasses.field(default_factory=dict)
    library_version: str = ""


_TYPES = {name: kind for name, kind in get_type_hints(_TaskFields).items() if name != "tensors"}
STRING_FIELDS = tuple(name for name, kind in _TYPES.items() if kind is str)
_COUNTS = ("backbone_hidden_dim", "max_input_tokens", "max_target_tokens")


class TaskPrompt(_TaskFields):
    """A task's tensors in the form that a file keeps; fields that a format does not have stay empty.

    `dataclasses.replace(task, prompt=rows)` changes the prompt alone, `replace(task, tensors=tensors)` all tensors.

    Args:
      prompt: [P, H] the final value of the prompt, finite; None for a method that has none.
      tensors: name of `TENSORS` -> its final value, finite; `prompt`, where it is given, takes the place of the prompt among
        them, or is one in front of the text where they have none. Read-only float32 copies are kept.
      task_id: the name that a request asks for.
      method: how it was trained, a name of `METHODS`.
      backbone: the name of the frozen T5.
      backbone_fingerprint: of its weights and form; empty where unknown, then only sizes can be checked.
      tokenizer_fingerprint: of its vocabulary; empty where unknown.
      backbone_hidden_dim: H of the frozen T5; None where unknown. It says where the two matrices of a LoRA's rows meet.
      template: the text around the fields of a row, such as "sst2 sentence: {sentence}".
      labels: the label words, in the order of their ids; empty for a task that generates.
      max_input_tokens: where inputs are cut, without the prompt's rows. None where unknown.
      max_target_tokens: where targets are cut, a sentinel in front not counted. None where unknown.
      target_format: what the decoder writes, "text" (the target alone) or "sentinel" (`<extra_id_0>` and the target).
      metrics: name -> value on the dev split.
      training_config: the run's resolved config, JSON values only; a file keeps the own names of paths in it.
      library_version: the version that wrote the file; empty before it is written.

    Raises:
      PromptError: if a tensor is unknown, not the method's, or not finite, floating and of its form; or a text field is no
        string of valid Unicode, a limit no number from 1 up, the target format unknown, or the template's markers ask for rows
        that the task does not have.
    """

    def __init__(
        self, prompt: np.ndarray | None = None, *, tensors: Mapping[str, np.ndarray] | None = None, **fields: Any
    ):
        if tensors is not None and not isinstance(tensors, Mapping):
            raise PromptError(f"`tensors` must map names to arrays. Received: {type(tensors).__name__}.")
        given = {} if prompt is None else {prompt_name(tensors or {}) or PROMPT: prompt}
        super().__init__({**(tensors or {}), **given}, **fields)
        object.__setattr__(self, "labels", checked_labels(self.labels))
        self._check_fields()
        for name in _COUNTS:
            object.__setattr__(self, name, check_count(name, getattr(self, name)))
        object.__setattr__(self, "metrics", checked_metrics(self.metrics))
        check_tensors_of_method(self.tensors, self.method)
        object.__setattr__(self, "tensors", checked_tensors(self.tensors))
        self._check_markers()
        if LABEL_ROWS in self.tensors and len(self.tensors[LABEL_ROWS]) != len(self.labels):
            raise PromptError(
                "A task must have a label for each of its label rows. Received: "
                f"{counted(len(self.tensors[LABEL_ROWS]), 'row')}, labels {list(self.labels)}."
            )

    def _check_fields(self) -> None:
        for name in STRING_FIELDS:
            check_text(name, getattr(self, name))
        if self.target_format not in TARGET_FORMATS:
            raise PromptError(
                f"`target_format` must be one of {', '.join(TARGET_FORMATS)}. Received: target_format={self.target_format!r}."
            )
        if not isinstance(self.training_config, Mapping):
            raise PromptError(f"`training_config` must be a mapping. Received: {self.training_config!r:.200}.")

    def _check_markers(self) -> None:
        asked, places = rows_of_template(self.template), text_places(self.lengths)
        if not asked:
            return
        if not places.in_text:
            raise PromptError(
                "Markers in a template are for a prompt whose rows go there. "
                f'Received: template={self.template!r}, and {", ".join(self.tensors)}. Train with position="marked".'
            )
        if asked > places.in_text:
            raise PromptError(too_many_rows(asked, places.in_text, f"template={self.template!r}"))

    @property
    def lengths(self) -> dict[str, int]:
        """Name of each tensor -> its rows."""
        return {name: len(value) for name, value in self.tensors.items()}

    @property
    def prompt(self) -> np.ndarray:
        """The rows [P, H] of the prompt, wherever they go.

        Raises:
          PromptError: if the method has none.
        """
        name = prompt_name(self.tensors)
        if name is None:
            raise PromptError(
                "This needs a prompt's rows [P, H]. "
                f"Received: {_subject(self)} of the method {self.method}, with the tensors {', '.join(self.tensors)}. "
                "Use a prompt of prompt_tuning."
            )
        return self.tensors[name]

    @property
    def mixture_weight(self) -> float | None:
        """How much the prompt counts among those that answer with it, 0 or more; None where all have one vote."""
        weight = self.tensors.get(MIXTURE_WEIGHT)
        return None if weight is None else float(weight[0, 0])

    @property
    def length(self) -> int:
        """P, the rows of the prompt, or of the keys and values where there is no prompt."""
        return len(self.tensors[prompt_name(self.tensors) or next(iter(self.tensors))])

    @property
    def hidden_dim(self) -> int:
        """H, the width of a row of the prompt."""
        return int(self.prompt.shape[1])


def json_fields() -> dict[str, tuple[type, ...]]:
    """Return the fields of a task that are no strings -> the JSON types that each may have in a file."""
    return {name: _json_types(kind) for name, kind in _TYPES.items() if kind is not str}


def _json_types(kind: Any) -> tuple[type, ...]:
    members = get_args(kind) if get_origin(kind) is types.UnionType else (kind,)
    plain = [get_origin(member) or member for member in members]
    return tuple(list if member is tuple else member for member in plain)


def check_backbone(
    task_prompt: TaskPrompt,
    *,
    backbone: str,
    fingerprint: str,
    hidden_dim: int,
    tokenizer_fingerprint: str,
    sizes: BackboneSizes | None = None,
) -> None:
    """Refuse a task that was made for another backbone or another tokenizer.

    A task without a fingerprint (a .npy file, a PEFT adapter) is checked by the shapes of its tensors only.

    Args:
      task_prompt: the task at hand.
      backbone: the name of the model that it is to be put into.
      fingerprint: that model's fingerprint.
      hidden_dim: that model's H.
      tokenizer_fingerprint: the fingerprint of that model's tokenizer.
      sizes: that model's sizes. None where they are unknown: then keys and values are not compared.

    Raises:
      BackboneMismatchError: with the names of both models.
    """
    made_for = task_prompt.backbone or "an unnamed backbone"
    if task_prompt.backbone_hidden_dim not in (None, hidden_dim):
        raise BackboneMismatchError(
            f"{_subject(task_prompt)} was made for {made_for} (H={task_prompt.backbone_hidden_dim}). "
            f"Received: model {backbone} (H={hidden_dim}). Train a new prompt or load that model."
        )
    _check_rows(task_prompt, made_for, backbone, hidden_dim=hidden_dim, sizes=sizes)
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


def _check_rows(
    task_prompt: TaskPrompt, made_for: str, backbone: str, *, hidden_dim: int, sizes: BackboneSizes | None
) -> None:
    for name, value in task_prompt.tensors.items():
        what_to_do = None
        if name in (PROMPT, *PLACED_PROMPTS, LABEL_ROWS):
            form, own, models = "H={}", str(value.shape[1]), str(hidden_dim)
        elif sizes is not None:
            form, own, models = f"{name} [P, {{}}]", _listed(value.shape[1:]), _listed(row_shape(name, sizes))
            what_to_do = other_depth(name, value.shape[1:], row_shape(name, sizes))
        else:
            continue
        if sizes is not None and LATE_PROMPTS.get(name, 0) >= sizes.encoder_layers:
            form, own, models = "{}", name, counted(sizes.encoder_layers, "encoder layer")
        if own != models:
            raise BackboneMismatchError(
                f"{_subject(task_prompt)} was made for {made_for} ({form.format(own)}). "
                f"Received: model {backbone} ({form.format(models)}). "
                f"{(not task_prompt.backbone_fingerprint and what_to_do) or 'Train a new prompt or load that model.'}"
            )


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _subject(task_prompt: TaskPrompt) -> str:
    return f"Prompt {task_prompt.task_id!r}" if task_prompt.task_id else "The prompt"
