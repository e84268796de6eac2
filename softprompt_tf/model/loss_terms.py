"""Terms that a training step adds to the loss: a prompt that stays near words, or answers that stay near those of other prompts."""

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.methods import TaskPrompt, TaskTable, kept_tensors, load_prompt
from softprompt_tf.methods.task_tensors import LABEL_ROWS, prompt_name, text_places
from softprompt_tf.model.prompted_inputs import tuned_logits
from softprompt_tf.model.task_method import check_fits
from softprompt_tf.model.token_metrics import per_position
from softprompt_tf.replicas import num_replicas, sum_over_replicas
from softprompt_tf.states import ENCODER_STATES
from softprompt_tf.typing import Tensor

BoundTerm = Callable[[Mapping[str, Tensor], Tensor, Tensor, Tensor | None], Tensor]
"""A batch's inputs, targets [B, U], logits [B, U, V] and sample weights -> this replica's share of the term."""


class TrainedModel(Protocol):
    """What a term knows of the model: `PromptedT5` is such."""

    t5: Any
    prompt_table: TaskTable
    task_ids: tuple[str, ...] | None
    labels: tuple[str, ...]


class LossTerm(Protocol):
    """A term of the loss."""

    def bind(self, model: TrainedModel) -> BoundTerm:
        """Return the term for one model, or raise a `TrainingError`."""


@keras.saving.register_keras_serializable(package="softprompt_tf")
class NearText:
    """Keeps a prompt near the words of a text: `weight` times the mean over the rows of their squared distance to its tokens.

    Row p of the prompt stays near the embedding of token p. Rows behind the last token are free.

    Args:
      text: of at most as many tokens as the prompt has rows.
      weight: of the term, above 0.

    Raises:
      ConfigError: if the text is empty or the weight is no number above 0.

    Examples:
      >>> from softprompt_tf.training import NearText
      >>> terms = [NearText("Is it good or bad?", weight=0.1)]
      >>> model = sp.PromptedT5(t5, sp.prompt_tuning(length=20), labels=["negative", "positive"])
      >>> model.compile(sp.Adafactor(0.3), sp.TargetCrossEntropy(), loss_terms=terms)

    Source: Khashabi et al. 2022, arXiv:2112.08348 (prompt waywardness). Which distance, and that it is a mean, is this library's.
    """

    def __init__(self, text: str, *, weight: float):
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(f"`text` must have a word. Received: text={text!r}.")
        self.text, self.weight = text, _checked_weight(weight)

    def bind(self, model: TrainedModel) -> BoundTerm:
        """Return the term for one model.

        Raises:
          TrainingError: if its method makes no prompt, or the text has more tokens than that has rows.
        """
        (ids,) = model.t5.tokenize([self.text])
        tensors = model.prompt_table.tensors()
        name = prompt_name(tensors)
        if name is None:
            raise TrainingError(f"NearText needs a method that makes a prompt. Received: one of {', '.join(tensors)}.")
        length = int(tensors[name].shape[-2])
        if len(ids) > length:
            raise TrainingError(
                f"The text of NearText has at most a token for each row of the prompt. Received: {len(ids)} tokens of "
                f"{self.text!r}, {length} rows. Use a longer prompt, or a shorter text."
            )

        def term(inputs: Any, targets: Any, logits: Any, sample_weight: Any) -> Tensor:
            # Looked up in each step, as a model that is loaded is compiled before it has its weights.
            near = ops.cast(
                model.t5.embed(ops.convert_to_tensor([list(ids)], dtype="int32"))[0], "float32"
            )  # [tokens, H]
            rows = model.prompt_table.tensors()[name][..., : len(ids), :]
            distances = ops.sum(ops.square(rows - near), axis=-1)
            return self.weight * ops.mean(distances) / num_replicas()

        return term

    def get_config(self) -> dict[str, Any]:
        return {"text": self.text, "weight": self.weight}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "NearText":
        return cls(**config)


@keras.saving.register_keras_serializable(package="softprompt_tf")
class Distillation:
    """Keeps answers near those of trained tasks: `weight` times the divergence of the next tokens' probabilities from theirs.

    The teacher is the same frozen T5 with another task's tensors. The divergence is KL(teacher, student), its mean over the target
    tokens.

    Args:
      source: a prompt file or loaded task; or task id -> such, one for each task of a model of several. Those have one method
        and one length.
      weight: of the term, above 0. Default 1.

    Raises:
      ConfigError: if the weight is no number above 0.
      PromptFileError: if a file cannot be read.

    Examples:
      >>> from softprompt_tf.training import Distillation
      >>> terms = [Distillation("film.safetensors", weight=0.5)]
      >>> model = sp.PromptedT5(t5, sp.prompt_tuning(length=20), labels=["negative", "positive"])
      >>> model.compile(sp.Adafactor(0.3), sp.TargetCrossEntropy(), loss_terms=terms)

    Source: Zhong et al. 2022, arXiv:2208.10160 (PANDA: what a source prompt knows is kept while a target task is trained); Wang et
    al. 2023, arXiv:2303.02861, section 3.2 (MPT: a prompt of each source task teaches the shared one). One weight that the user
    gives, and the divergence of probabilities without a term for hidden states, are this library's.
    """

    def __init__(self, source: Any, *, weight: float = 1.0):
        self.weight = _checked_weight(weight)
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
            taught = ops.stop_gradient(ops.cast(tuned_logits(t5, table, plain), "float32"))
            return self.weight * mean_divergence(taught, logits, targets, sample_weight)

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
        return {"source": {name or "": _packed(task) for name, task in self._sources.items()}, "weight": self.weight}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Distillation":
        sources = {name: _unpacked(task) for name, task in config["source"].items()}
        return cls(sources.get("", sources), weight=config["weight"])


def mean_divergence(taught: Tensor, logits: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """Return the mean over the target tokens of KL(softmax of `taught`, softmax of `logits`), this replica's share of it.

    Args:
      taught, logits: float32 [B, U, V].
      targets: int [B, U], 0 where there is no token.
      sample_weight: float [B] or [B, U].
    """
    log_p, log_q = (ops.log_softmax(ops.cast(each, "float32"), axis=-1) for each in (taught, logits))
    divergences = ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)  # [B, U]
    weights = ops.cast(ops.not_equal(targets, 0), "float32")
    if sample_weight is not None:
        weights = weights * per_position(ops.cast(sample_weight, "float32"))
    return ops.divide_no_nan(ops.sum(divergences * weights), sum_over_replicas(ops.sum(weights)))


def bound_terms(terms: Sequence[LossTerm], model: TrainedModel, optimizer: Any) -> list[BoundTerm]:
    """Return the terms for one model.

    Raises:
      TrainingError: if one does not go with it, or the optimizer takes no gradients of it.
    """
    if terms and hasattr(optimizer, "own_callback"):
        raise TrainingError(
            f"Terms of the loss need an optimizer that takes steps. Received: {type(optimizer).__name__}, which compares losses."
        )
    return [term.bind(model) for term in terms]


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


def _checked_weight(weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < float("inf"):
        raise ConfigError(f"`weight` must be a number above 0. Received: weight={weight!r}.")
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
