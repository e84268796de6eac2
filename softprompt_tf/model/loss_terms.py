"""Terms that a training step adds to the loss: what they are, and a prompt that stays near words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras
from keras import ops

from softprompt_tf.backbones.passes.cheaper_passes import HiddenStates
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.methods import TaskTable
from softprompt_tf.methods.task_tensors import prompt_name
from softprompt_tf.model.given_numbers import is_number
from softprompt_tf.replicas import num_replicas
from softprompt_tf.shown_numbers import counted
from softprompt_tf.typing import Tensor

BoundTerm = Callable[[Mapping[str, Tensor], Tensor, Tensor, Tensor | None], Tensor]
"""A batch's inputs, targets [B, U], logits [B, U, V] and sample weights -> this replica's share of the term."""


class TrainedModel(Protocol):
    """What a term knows of the model: `PromptedT5` is such."""

    t5: Any
    prompt_table: TaskTable
    task_ids: tuple[str, ...] | None
    labels: tuple[str, ...]

    def hidden_states(self, logits: Tensor) -> HiddenStates:
        """Return the states of the training pass that gave these logits."""


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
        self.text, self.weight = text, checked_weight(weight)

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
                f"The text of NearText has at most a token for each row of the prompt. Received: {counted(len(ids), 'token')} of "
                f"{self.text!r}, {counted(length, 'row')}. Use a longer prompt, or a shorter text."
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


def checked_weight(weight: Any) -> float:
    """Return the weight of a term, or raise a `ConfigError` if it is no number above 0."""
    if not is_number(weight) or not 0 < weight < float("inf"):
        raise ConfigError(f"`weight` must be a number above 0. Received: weight={weight!r}.")
    return float(weight)
