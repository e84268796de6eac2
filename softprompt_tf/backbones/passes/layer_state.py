"""Tell one state of a T5's layers from another, so that a graph or cached states of the one are not taken for the other's.

Texts such as "a `call` of its own" are for people: two changes may read alike. So each changed layer, and each function that
it runs, has a number that no other object ever has. The numbers keep nothing alive.
"""

import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import keras_hub

from softprompt_tf.backbones.passes.activations import activation_of
from softprompt_tf.backbones.passes.known_layers import changes, table_change


def layer_state(backbone: keras_hub.models.T5Backbone) -> tuple[str, ...]:
    """Return texts that are others where another code would run; () for KerasHub's own layers as the backbone was built.

    Only changed layers are numbered: weights that are put in another's place are not seen.

    Raises:
      BackboneError: as `check_reachable`.
    """
    found = [f"{text} {_numbers(part)}" for part, text in changes(backbone)]
    change = table_change(backbone)
    if change:
        found.append(f"{change} {_numbers(backbone.token_embedding)}")
    return (*found, *_settings(backbone))


def _settings(backbone: keras_hub.models.T5Backbone) -> Iterator[str]:
    """Yield settings that a pass knows, where they are not those that the backbone was built with."""
    layers = (*backbone.encoder_transformer_layers, *backbone.decoder_transformer_layers)
    own = activation_of(backbone.activation)
    for number, layer in enumerate(layers):
        activation = getattr(getattr(layer, "input_projector", None), "activation", backbone.activation)
        known = activation_of(activation)
        if known is not None and known is not own:
            yield f"activation of layer {number}: {known.name}"
    epsilon = getattr(backbone.encoder_layer_norm, "epsilon", None)
    if epsilon != backbone.layer_norm_epsilon:
        yield f"epsilon={epsilon}"


def _numbers(part: Any) -> str:
    """Return the numbers of a layer and of those in it, with what each of them runs."""
    layers = part._flatten_layers() if isinstance(part, keras.Layer) else [part]
    return " ".join("-".join(str(_number(each)) for each in _what_runs(layer)) for layer in layers)


def _what_runs(layer: Any) -> tuple[Any, ...]:
    kind, own = type(layer), vars(layer)
    return (layer, own.get("call"), getattr(kind, "call", None), kind.__call__, own.get("activation"))


_known: dict[int, tuple[Callable[[], Any], int]] = {}
_next = itertools.count(1)


def _number(thing: Any) -> int:
    """Return an object's number, 0 for None. An id alone may be another object's later."""
    if thing is None:
        return 0
    reference, number = _known.get(id(thing), (None, 0))
    if reference is not None and reference() is thing:
        return number
    try:
        known: Callable[[], Any] = weakref.ref(thing)
    except TypeError:  # cannot be referred to without being kept

        def known() -> Any:
            return thing

    _known[id(thing)] = (known, next(_next))
    return _known[id(thing)][1]
