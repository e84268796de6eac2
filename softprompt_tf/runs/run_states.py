"""A run on cached states: what its config asks for becomes batches that start from states, and answers of its dev rows."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softprompt_tf.config import RunConfig, TrainingConfig
from softprompt_tf.errors import ConfigError
from softprompt_tf.evaluation.asking import AnswersTexts
from softprompt_tf.methods.task_tensors import entry_layer
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.states.model_states import default_dtype
from softprompt_tf.states.state_batches import StateBatchStream
from softprompt_tf.states.state_cache import StateCache
from softprompt_tf.states.text_states import TextStates
from softprompt_tf.tasks import BatchStream, Example, Task
from softprompt_tf.texts.text_batches import TextBatches
from softprompt_tf.training.distribution import MULTI_WORKER

if TYPE_CHECKING:
    import tensorflow as tf

SPILLED = "states"


def run_state_cache(model: PromptedT5, config: RunConfig) -> StateCache | None:
    """Return the cache that a run keeps states in; None where it is off, or the encoder's first layer knows the task.

    Raises:
      ConfigError: if a dtype is asked for and the method has no use for a cache.
    """
    training = config.training
    layer = entry_layer(model.prompt_table.tensors())
    if training.strategy == MULTI_WORKER:
        return None  # each worker would keep the states of all rows
    if training.cached_states == "off" or (training.cached_states == "auto" and layer == 0):
        return None
    if layer == 0:
        raise ConfigError(
            "`training.cached_states` must be auto or off where the whole encoder knows the task, as with "
            f"{model.method.name}. Received: {training.cached_states}."
        )
    return StateCache(
        model.t5,
        layer,
        dtype=_dtype(training, model),
        directory=training.states_directory,
        spill_directory=Path(config.output_dir) / SPILLED,
    )


@dataclass(frozen=True)
class RunBatches:
    """A run's batches with cached states, or as they are where no cache can hold them. Nothing is computed before a step is due.

    Args:
      plain: the batches without states.
      cache: where the states are kept; None: nowhere.
      pad_to_multiple_of, with_task_id: as in `plain`.
      steps: of the one run that takes them, for which states are computed as it comes to them. Default None: several runs share
        the cache, and all states are computed at first.
    """

    plain: BatchStream
    cache: StateCache | None
    pad_to_multiple_of: int
    with_task_id: bool
    steps: int | None = None

    def dataset(self, *, first_step: int) -> "tf.data.Dataset":
        """Return the batches from number `first_step` on, to the last of the run or without end."""
        states = self._states()
        if states is None:
            return self.plain.dataset(first_step=first_step)
        settings: dict[str, Any] = {
            "pad_to_multiple_of": self.pad_to_multiple_of,
            "with_task_id": self.with_task_id,
            "steps": self.steps,
        }
        return StateBatchStream(self.plain, states, **settings).dataset(first_step=first_step)

    def _states(self) -> TextStates | None:
        if self.cache is None:
            return None
        texts = self.plain.examples.encoder_token_ids
        return self.cache.of(texts) if self.steps is None else self.cache.as_needed(texts)


def answers_on_states(model: PromptedT5, cache: StateCache | None, examples: Sequence[Example]) -> AnswersTexts:
    """Return what answers some rows: the model, from their cached states where a cache holds them."""
    states = _states_of(model.text_batches, cache, examples)
    return model if states is None else model.answers_from(states)


def task_answers(
    model: PromptedT5, task: Task, *, cache: StateCache | None = None, examples: Sequence[Example] = ()
) -> AnswersTexts:
    """Return what answers the rows of one task of a run as the task's own prompt file does: cut at the task's own limits.

    A model of several tasks has the largest limits of all.

    Args:
      model: of one task or of several.
      task: one of them.
      cache, examples: the rows that will be asked, whose states a cache may hold.
    """
    plain = model.text_batches
    max_target_tokens = task.target_token_limit(model.t5.tokenize)
    batches = dataclasses.replace(plain, max_input_tokens=task.max_input_tokens, max_target_tokens=max_target_tokens)
    states = _states_of(batches, cache, examples)
    if states is not None:
        return model.answers_from(states, batches=batches)
    return model if batches == plain else model.answers_of(batches)


def _states_of(batches: TextBatches, cache: StateCache | None, examples: Sequence[Example]) -> TextStates | None:
    return None if cache is None else cache.of(batches.input_ids([example.inputs for example in examples]))


def _dtype(training: TrainingConfig, model: PromptedT5) -> str:
    return default_dtype(model.t5) if training.cached_states == "auto" else training.cached_states
