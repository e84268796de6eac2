"""Quantize the projections of a T5 as Keras does; the embedding table and the head stay as they are."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import keras_hub

from softprompt_tf.backbones.loading.spared_garbage import spared_garbage

Filters = str | Sequence[str] | Callable[[keras.Layer], bool] | None
"""Which layers: a pattern of their names, several, a function, or None for all."""


def quantize_projections(backbone: keras_hub.models.T5Backbone, mode: str, *, filters: Filters, **kwargs: Any) -> None:
    """Quantize the chosen projections in place; arguments as in `FrozenT5.quantize`."""
    table = backbone.token_embedding
    with spared_garbage():
        backbone.quantize(mode, filters=lambda layer: layer is not table and _is_chosen(layer, filters), **kwargs)


def _is_chosen(layer: keras.Layer, filters: Filters) -> bool:
    if filters is None or callable(filters):
        return filters is None or bool(filters(layer))
    patterns = [filters] if isinstance(filters, str) else filters
    return any(re.search(pattern, layer.name) for pattern in patterns)
