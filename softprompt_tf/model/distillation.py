"""A term of the loss that keeps a task's answers, and its hidden states, near those of trained tasks."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.methods import TaskPrompt, kept_tensors, load_prompt
from softprompt_tf.methods.task_tensors import LABEL_ROWS, text_places
from softprompt_tf.model.divergences import divergences, hidden_distances, mean_over_targets
from softprompt_tf.model.given_numbers import is_number
from softprompt_tf.model.loss_terms import BoundTerm, TrainedModel, checked_weight
from softprompt_tf.model.prompted_inputs import tuned_outputs
from softprompt_tf.model.task_method import check_fits
from softprompt_tf.states import ENCODER_STATES
from softprompt_tf.typing import Tensor


@keras.saving.register_keras_serializable(package="softprompt_tf")
class Distillation:
    """Keeps answers near those of trained tasks: `weight` times the divergence of the next tokens' probabilities from theirs.

    The teacher is the same frozen T5 with another task's tensors. The divergence is KL(teacher, student), its mean over the target
    tokens.

    With a `hidden_weight`, hidden states stay near the teacher's too: those behind the last layer of each stack, after its norm.
    What is added is the mean squared difference of the decoder states [B, U, H], over the target tokens and H, and that of the
    encoder output [B, T, H], over the tokens of a text and H; rows count as their target tokens do. Rows of prompts and padding
    do not count, so that the lengths of the two prompts may differ.

    Args:
      source: a prompt file or loaded task; or task id -> such, one for each task of a model of several. Those have one method
        and one length.
      weight: of the divergence, above 0. Default 1.
      hidden_weight: of the hidden states, 0 or above. Default 0: they are free.

    Raises:
      ConfigError: if a weight is no such number.
      PromptFileError: if a file cannot be read.

    Examples:
      >>> from softprompt_tf.training import Distillation
      >>> terms = [Distillation("film.safetensors", weight=0.5)]
      >>> model = sp.PromptedT5(t5, sp.prompt_tuning(length=20), labels=["negative", "positive"])
      >>> model.compile(sp.Adafactor(0.3), sp.TargetCrossEntropy(), loss_terms=terms)

    Source: Zhong et al. 2022, arXiv:2208.10160 (PANDA: what a source prompt knows is kept while a target task is trained); Wang et
    al. 2023, arXiv:2303.02861, section 3.2 (MPT: a prompt of each source task teaches the shared one, by its probabilities and its
    hidden states). Weights that the user gives, the choice of the last hidden states, and means where MPT has sums, are this
    library's.
    """

    def __init__(self, source: Any, *, weight: float = 1.0, hidden_weight: float = 0.0):
        self.weight = checked_weight(weight)
        self.hidden_weight = _checked_hidden_weight(hidden_weight)
        self._sources: dict[str | None, TaskPrompt] = (
            {name: _loaded(each) for name, each in source.items()}
            if isinstance(source, Mapping)
            else {None: _loaded(source)}
        )

    def bind(self, model: TrainedModel) -> BoundTerm:
        """Return the term for one model.

        Raises:
          TrainingError: if a task has no teacher, a teacher's rows go elsewhere or it has label rows that the model has not, or
            the T5 has dropout.
          BackboneMismatchError: if a teacher was made for another backbone.
          PromptError: if the teachers differ in their method or shapes.
        """
        if model.t5.dropout:
            raise TrainingError(f"Distillation needs a T5 without dropout. Received: dropout={model.t5.dropout:g}.")
        teachers = self._teachers(model.task_ids)
        for teacher in teachers:
            check_fits(teacher, model.t5)
            _check_form(teacher, model)
        kept = kept_tensors({str(number): teacher for number, teacher in enumerate(teachers)})
        values = {name: np.stack([each[name] for each in kept.values.values()]) for name in kept.values["0"]}
        t5, dtype = model.t5, model.prompt_table.compute_dtype

        def table(token_ids: Tensor, task_id: Tensor | None) -> dict[str, Tensor]:
            row = ops.zeros_like(token_ids[:, 0]) if task_id is None else task_id
            return {name: ops.cast(ops.take(value, row, axis=0), dtype) for name, value in values.items()}

        def term(inputs: Mapping[str, Tensor], targets: Tensor, logits: Tensor, sample_weight: Tensor | None) -> Tensor:
            plain = {name: value for name, value in inputs.items() if name != ENCODER_STATES}
            taught, taught_states = keras.tree.map_structure(ops.stop_gradient, tuned_outputs(t5, table, plain))
            values = self.weight * divergences(taught, logits)  # [B, U]
            if self.hidden_weight:
                states, num_targets = model.hidden_states(logits), ops.shape(targets)[1]
                values += self.hidden_weight * hidden_distances(taught_states, states, inputs, num_targets)
            return mean_over_targets(values, targets, sample_weight)

        return term

    def _teachers(self, task_ids: Sequence[str] | None) -> list[TaskPrompt]:
        if None in self._sources:
            return [self._sources[None]] * len(task_ids or [""])
        if task_ids is None or set(self._sources) != set(task_ids):
            raise TrainingError(
                f"Distillation has a source for each task of the model. Received: sources {list(self._sources)}, tasks "
                f"{list(task_ids or [])}."
            )
        return [self._sources[name] for name in task_ids]

    def get_config(self) -> dict[str, Any]:
        source = {name or "": _packed(task) for name, task in self._sources.items()}
        return {"source": source, "weight": self.weight, "hidden_weight": self.hidden_weight}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Distillation":
        sources = {name: _unpacked(task) for name, task in config["source"].items()}
        weights = {name: config[name] for name in ("weight", "hidden_weight") if name in config}
        return cls(sources.get("", sources), **weights)


def _check_form(teacher: TaskPrompt, model: TrainedModel) -> None:
    axis = 0 if model.task_ids is None else 1
    lengths = {name: int(value.shape[axis]) for name, value in model.prompt_table.tensors().items()}
    if text_places(teacher.lengths) != text_places(lengths):
        raise TrainingError(
            "The prompts of a teacher and of its student go to the same places, as they read the same tokens. "
            f"Received: {', '.join(teacher.tensors)} and {', '.join(lengths)}. Train with the same `position`."
        )
    has_rows = LABEL_ROWS in teacher.tensors, LABEL_ROWS in lengths
    if any(has_rows) and not (all(has_rows) and teacher.labels == tuple(model.labels)):
        raise TrainingError(
            f"A teacher with label rows is for a student with rows of the same labels. Received: {teacher.method}, labels "
            f"{list(teacher.labels)}, and a model of labels {list(model.labels)}."
        )


def _checked_hidden_weight(weight: Any) -> float:
    if not is_number(weight) or not 0 <= weight < float("inf"):
        raise ConfigError(f"`hidden_weight` must be a number, 0 or above. Received: hidden_weight={weight!r}.")
    return float(weight)


def _loaded(source: Any) -> TaskPrompt:
    if isinstance(source, (str, Path)):
        return load_prompt(source)
    if isinstance(source, TaskPrompt):
        return source
    raise ConfigError(f"`source` must be a prompt file or a loaded prompt. Received: {type(source).__name__}.")


# Without fingerprints: the T5 is in the same file, and has no weights yet when the term is made again.
_PACKED = ("method", "backbone", "backbone_hidden_dim")


def _packed(task: TaskPrompt) -> dict[str, Any]:
    """Return a task's tensors and what is checked of it as JSON values."""
    tensors = {
        name: {"shape": list(value.shape), "float32": base64.b64encode(value.tobytes()).decode("ascii")}
        for name, value in task.tensors.items()
    }
    return {"tensors": tensors, "labels": list(task.labels), **{name: getattr(task, name) for name in _PACKED}}


def _unpacked(config: Mapping[str, Any]) -> TaskPrompt:
    tensors = {
        name: np.frombuffer(base64.b64decode(each["float32"]), np.float32).reshape(each["shape"])
        for name, each in config["tensors"].items()
    }
    return TaskPrompt(tensors=tensors, **{name: config[name] for name in ("labels", *_PACKED)})
