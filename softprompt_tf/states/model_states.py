"""The cache of states that fits a model: from where its layers know the task, in the dtype that was asked for."""

from typing import Any, Protocol

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.methods import PromptMethod, TaskTable
from softprompt_tf.methods.task_tensors import entry_layer
from softprompt_tf.states.encoding import DTYPES
from softprompt_tf.states.state_cache import StateCache


class HasTable(Protocol):
    """What is asked of a model: `PromptedT5` is such."""

    t5: FrozenT5
    method: PromptMethod
    prompt_table: TaskTable


def state_cache_of(model: HasTable, *, dtype: str | None = None, **settings: Any) -> StateCache:
    """Return an empty cache of the states that the model's layers start from; see `PromptedT5.state_cache`.

    Raises:
      TrainingError: if the whole encoder knows the task.
    """
    layer = entry_layer(model.prompt_table.tensors())
    if layer == 0:
        raise TrainingError(
            "Cached states need a method whose tensors enter above the encoder's first layer. Received: "
            f"{model.method.name}, which the whole encoder sees. Use late_prompts(...), or p_tuning_v2(encoder=False)."
        )
    return StateCache(model.t5, layer, dtype=dtype or default_dtype(model.t5), **settings)


def default_dtype(t5: FrozenT5) -> str:
    """Return the narrow dtype for a T5's states: float16, or bfloat16 where it computes in that."""
    return "bfloat16" if t5.compute_dtype == "bfloat16" else "float16"


def chosen_cache(model: HasTable, cached_states: Any) -> StateCache:
    """Return the cache that `fit` was given, or a new one for True or a dtype.

    Raises:
      ConfigError: for anything else.
      TrainingError: if the cache is of another T5 or another layer, or the method needs none.
    """
    if not isinstance(cached_states, StateCache):
        if cached_states is not True and cached_states not in DTYPES:
            raise ConfigError(
                f"`cached_states` must be True, False, one of {', '.join(DTYPES)}, or a cache from model.state_cache(). "
                f"Received: cached_states={cached_states!r}."
            )
        return state_cache_of(model, dtype=None if cached_states is True else cached_states)
    needed = state_cache_of(model).layer
    if cached_states.t5 is not model.t5 or cached_states.layer != needed:
        raise TrainingError(
            f"A cache of states must be of the model's own T5 and layer, {_told(needed)} of {model.t5.name}. Received: one of "
            f"{_told(cached_states.layer)} of {cached_states.t5.name}{_other(cached_states, model)}. "
            "Make one by model.state_cache()."
        )
    return cached_states


def _other(cache: StateCache, model: HasTable) -> str:
    is_second = cache.t5 is not model.t5 and cache.t5.name == model.t5.name
    return ", another object" if is_second else ""


def _told(layer: int | None) -> str:
    return "the encoder output" if layer is None else f"layer {layer}"
