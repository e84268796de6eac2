"""A run on cached states: what its config asks for becomes batches that start from states, and answers of its dev rows."""

from collections.abc import Sequence
from pathlib import Path

from softprompt_tf.config import RunConfig, TrainingConfig
from softprompt_tf.errors import ConfigError
from softprompt_tf.evaluation.evaluation import Answers
from softprompt_tf.methods.task_tensors import entry_layer
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.states.model_states import default_dtype
from softprompt_tf.states.state_batches import StateBatchStream
from softprompt_tf.states.state_cache import StateCache
from softprompt_tf.tasks import BatchStream
from softprompt_tf.training.fit import Batches

SPILLED = "states"


def run_state_cache(model: PromptedT5, config: RunConfig) -> StateCache | None:
    """Return the cache that a run keeps states in; None where it is off, or the encoder's first layer knows the task.

    Raises:
      ConfigError: if a dtype is asked for and the method has no use for a cache.
    """
    training = config.training
    layer = entry_layer(model.prompt_table.tensors())
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


def batches_on_states(
    batches: BatchStream, model: PromptedT5, cache: StateCache | None, training: TrainingConfig
) -> Batches:
    """Return a run's batches with cached states, or as they are where there is no cache or it cannot hold them."""
    states = None if cache is None else cache.of(batches.examples.encoder_token_ids)
    if states is None:
        return batches
    return StateBatchStream(
        batches,
        states,
        pad_to_multiple_of=training.pad_to_multiple_of,
        with_task_id=model.task_ids is not None,
    )


def answers_on_states(model: PromptedT5, cache: StateCache | None, texts: Sequence[str]) -> Answers:
    """Return what answers some texts: the model, from their cached states where a cache holds them."""
    states = None if cache is None else cache.of(model.text_batches.input_ids(texts))
    return model if states is None else model.answers_from(states)


def _dtype(training: TrainingConfig, model: PromptedT5) -> str:
    return default_dtype(model.t5) if training.cached_states == "auto" else training.cached_states
