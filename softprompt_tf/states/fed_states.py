"""Texts given to `fit` and `evaluate` bring the cached states of their inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from softprompt_tf.states import ENCODER_STATES
from softprompt_tf.states.model_states import chosen_cache
from softprompt_tf.states.state_cache import StateCache
from softprompt_tf.texts.text_batches import TextBatches
from softprompt_tf.texts.text_feed import TakeStates, TextFeed


def feed_on_states(model: Any, cached_states: Any) -> TextFeed:
    """Return the feed of a model, a `TextModel`, whose texts in memory bring states; arguments as `chosen_cache` takes them."""
    cache, batches = chosen_cache(model, cached_states), model.text_batches

    def states_of(texts: Sequence[str]) -> Mapping[str, TakeStates]:
        return taken_states(cache, batches, texts)

    return TextFeed(batches, model.labels, states_of)


def taken_states(cache: StateCache, batches: TextBatches, texts: Sequence[str]) -> Mapping[str, TakeStates]:
    """Return how a batch takes the states of texts by their row; nothing where the cache cannot hold them."""
    ids = [np.array(row, np.int32) for row in batches.input_ids(texts)]
    states = cache.of(ids)
    if states is None:
        return {}
    rows, numbers = states.rows, tf.constant(states.numbers_of(ids))

    def take(row: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        return rows.take(tf.gather(numbers, row), width=width)[0]

    return {ENCODER_STATES: take}
