"""Say whether a T5 is made of KerasHub's own layers, unchanged, so that a pass may read their weights and run none of them.

It is an allow-list: exact types with their own `call`, and the settings that a pass takes for granted. Whatever is
subclassed, patched, quantized, or has LoRA weights is named, and never skipped in silence.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import keras_hub
from keras_hub.src.models.t5.t5_layer_norm import T5LayerNorm
from keras_hub.src.models.t5.t5_multi_head_attention import T5MultiHeadAttention
from keras_hub.src.models.t5.t5_transformer_layer import T5TransformerLayer

from softprompt_tf.backbones.loading import built_layers
from softprompt_tf.backbones.passes.activations import activation_of
from softprompt_tf.errors import BackboneError

_LAYER_CALL = keras.layers.Layer.__call__
_LINEAR = keras.activations.linear


def _own_call(kind: type) -> Any:
    """Return a class's `call` as its module wrote it, None where it was replaced before this module was imported."""
    call = kind.call  # type: ignore[attr-defined]
    code = getattr(call, "__code__", None)
    return call if code is not None and code.co_filename == sys.modules[kind.__module__].__file__ else None


_CALLS = {
    kind: _own_call(kind)
    for kind in (
        T5TransformerLayer,
        T5MultiHeadAttention,
        T5LayerNorm,
        keras.layers.Dense,
        keras.layers.Dropout,
        keras.layers.ReversibleEmbedding,
    )
}
_CALLS[built_layers.T5TransformerLayer] = _CALLS[T5TransformerLayer]
Kinds = tuple[type, ...]
_TRANSFORMERS: Kinds = (T5TransformerLayer, built_layers.T5TransformerLayer)
_ATTENTION: Kinds = (T5MultiHeadAttention,)
_NORM: Kinds = (T5LayerNorm,)
_DENSE: Kinds = (keras.layers.Dense,)
_DROPOUT: Kinds = (keras.layers.Dropout,)
_TABLE: Kinds = (keras.layers.ReversibleEmbedding,)


def changed_part(backbone: keras_hub.models.T5Backbone) -> str | None:
    """Return the first of `changed_parts`, None for none."""
    return next(changed_parts(backbone), None)


def changed_parts(backbone: keras_hub.models.T5Backbone) -> Iterator[str]:
    """Yield which layers are none of KerasHub's own and in what, such as "…/self_attention (a `call` of its own)"."""
    return (told for _, told in changes(backbone))


def changes(backbone: keras_hub.models.T5Backbone) -> Iterator[tuple[Any, str]]:
    """Yield each layer of the stacks that is none of KerasHub's own, with what `changed_parts` says of it.

    Raises:
      BackboneError: as `check_reachable`.
    """
    check_reachable(backbone)
    epsilon = getattr(backbone.encoder_layer_norm, "epsilon", None)
    for stack in ("encoder", "decoder"):
        for layer in getattr(backbone, f"{stack}_transformer_layers"):
            yield from _changes_of(layer, backbone.compute_dtype, epsilon)
        norm = getattr(backbone, f"{stack}_layer_norm")
        change = _change_of(norm, _NORM) or _setting_of(norm, norm, epsilon) or _dtype_of(norm, backbone.compute_dtype)
        if change:
            yield norm, _named(norm, change)


def table_change(backbone: keras_hub.models.T5Backbone) -> str | None:
    """Return in what the code of the embedding table, which may be the head too, is not Keras's own, None where it is."""
    change = _change_of(backbone.token_embedding, _TABLE)
    return _named(backbone.token_embedding, change) if change else None


def has_plain_head(backbone: keras_hub.models.T5Backbone) -> bool:
    """Say whether the output projection is a product with a matrix of its own, in the backbone's dtype, and nothing else."""
    table, dtype = backbone.token_embedding, backbone.compute_dtype
    if _change_of(table, _TABLE) or _dtype_of(table, dtype):
        return False
    return not table.tie_weights and table.reverse_dtype in (None, dtype) and table.logit_soft_cap is None


def dropout_rate(backbone: keras_hub.models.T5Backbone) -> float:
    """Return the largest rate of the dropouts that run in training."""
    layers = (*backbone.encoder_transformer_layers, *backbone.decoder_transformer_layers)
    rates = [getattr(part, "rate", 0.0) for layer in layers for part in _dropouts(layer)]
    return max([0.0, *map(float, rates)])


def check_plain(backbone: keras_hub.models.T5Backbone, *, doing: str) -> None:
    """Refuse a T5 with a changed layer.

    Args:
      doing: what needs KerasHub's own layers, as the beginning of a sentence.

    Raises:
      BackboneError: with the layer.
    """
    changed = changed_part(backbone)
    if changed is not None:
        raise BackboneError(
            f"{doing} needs KerasHub's own T5 layers, unchanged. Received: {changed}. Load the T5 anew."
        )


def check_decoded_by_parts(backbone: keras_hub.models.T5Backbone) -> None:
    """Refuse a decoder some of whose layers' code would not run where its projections and norms are called one by one.

    Raises:
      BackboneError: with the layer.
    """
    passed_over = _passed_over(backbone.decoder_transformer_layers)
    if passed_over:
        raise BackboneError(
            "`generate`, `classify` and `score` decode through the projections and norms of KerasHub's T5 layers, whose "
            f"other code they do not run. Received: {passed_over}. Make the change in a projection or a "
            "norm, or take KerasHub's own layer for this one; `fit` and `evaluate` run the layer as it is."
        )


def check_takes_key_values(backbone: keras_hub.models.T5Backbone) -> None:
    """Refuse a T5 that keys and values cannot be put into: one with code of its own around its projections and norms.

    Raises:
      BackboneError: with the layer.
    """
    passed_over = _passed_over([*backbone.encoder_transformer_layers, *backbone.decoder_transformer_layers])
    if passed_over:
        raise BackboneError(
            "Trained keys and values, and rows that enter before a layer, need KerasHub's own T5 layers: their projections and "
            f"norms are called one by one, and other code is not run. Received: {passed_over}. Make the change in a projection "
            "or a norm, or use prompt_tuning."
        )


def _passed_over(layers: Sequence[Any]) -> str | None:
    """Return the first layer whose code is not run where projections and norms are called one by one, None for none."""
    for layer in layers:
        for part, kinds in _parts_whose_code_is_passed_over(layer):
            change = _change_of(part, kinds)
            if change:
                return _named(part, change, layer)
    return None


def check_reachable(backbone: keras_hub.models.T5Backbone) -> None:
    """Refuse changed code that no pass of a `FrozenT5` runs: the backbone's own `call`, and its dropouts around the stacks.

    Raises:
      BackboneError: with the layer.
    """
    change = None
    kinds = type(backbone).__mro__
    if any("call" in vars(kind) for kind in (backbone, *kinds[: kinds.index(keras_hub.models.Backbone) + 1])):
        change = _named(backbone, "a `call` of its own")
    for name in ("encoder_embedding_dropout", "encoder_dropout", "decoder_embedding_dropout", "decoder_dropout"):
        dropout = getattr(backbone, name, None)
        found = dropout is not None and _change_of(dropout, _DROPOUT)
        if found:
            change = _named(dropout, found)
    if change:
        raise BackboneError(
            f"A frozen T5 runs the layers of its stacks, and nothing around them. Received: {change}, which would never run. "
            "Make the change in a layer of the stacks."
        )


# === One layer ===


def _changes_of(layer: Any, dtype: str, epsilon: float | None) -> Iterator[tuple[Any, str]]:
    """Yield what is changed in a transformer layer."""
    change = _change_of(layer, _TRANSFORMERS)
    if change:
        yield layer, _named(layer, change)
        return
    policy = _plain_policy(layer, dtype)
    for part, kinds in _parts(layer):
        change = _change_of(part, kinds) or _setting_of(part, layer, epsilon)
        if not change and (policy is None or part.dtype_policy is not policy):
            change = _dtype_of(part, dtype)
        if change:
            yield part, _named(part, change, layer)
        if change and type(part) not in kinds:
            return  # it may have other parts


def _parts(layer: Any) -> Iterator[tuple[Any, Kinds]]:
    """Yield what a transformer layer of a known type is made of, with the types that each may have."""
    for attention, before in _attentions(layer):
        yield attention, _ATTENTION
        yield before, _NORM
        for name in ("query_projector", "key_projector", "value_projector", "output_projector"):
            yield getattr(attention, name), _DENSE
    yield layer.layer_norm, _NORM
    yield layer.input_projector, _DENSE
    if layer.use_gated_activation:
        yield layer.gate_projector, _DENSE
    yield layer.output_projector, _DENSE
    for part in _dropouts(layer):
        yield part, _DROPOUT


def _parts_whose_code_is_passed_over(layer: Any) -> Iterator[tuple[Any, Kinds]]:
    yield layer, _TRANSFORMERS
    for attention, _ in _attentions(layer):
        yield attention, _ATTENTION
    for part in _dropouts(layer):
        yield part, _DROPOUT


def _attentions(layer: Any) -> list[tuple[Any, Any]]:
    """Return the attention layers, each with the norm in front of it."""
    own = [(layer.self_attention, layer.self_attention_layer_norm)]
    return [*own, (layer.cross_attention, layer.cross_attention_layer_norm)] if layer.is_decoder else own


def _dropouts(layer: Any) -> list[Any]:
    """Return the dropouts of a transformer layer, which may be somebody's own and have none."""
    names = ("self_attention_dropout", "cross_attention_dropout", "dropout_layer")
    owners = (getattr(layer, name, None) for name in ("self_attention", "cross_attention"))
    found = [getattr(layer, name, None) for name in names] + [getattr(owner, "dropout_layer", None) for owner in owners]
    return [part for part in found if part is not None]


def _change_of(part: Any, kinds: Kinds) -> str | None:
    """Return in what a layer's code is not that of its known type, None where it is."""
    kind = type(part)
    if kind not in kinds:
        return f"a {kind.__name__}"
    if kind.call is not _CALLS[kind] or kind.__call__ is not _LAYER_CALL or "call" in part.__dict__:  # type: ignore[attr-defined]
        return "a `call` of its own"
    return None


def _setting_of(part: Any, layer: Any, epsilon: float | None) -> str | None:
    """Return in what a layer of a known type computes otherwise than a pass takes for granted, None where it does not."""
    kind = type(part)
    if kind is T5LayerNorm:
        return None if part.epsilon == epsilon else f"epsilon={part.epsilon}"
    if kind is not keras.layers.Dense:
        return None
    if part.lora_enabled:
        return "LoRA weights"
    if part.use_bias:
        return "a bias"
    is_input = part is getattr(layer, "input_projector", None)
    if part.activation is _LINEAR if not is_input else activation_of(part.activation) is not None:
        return None
    return f"activation {getattr(part.activation, '__name__', part.activation)}"


def _dtype_of(part: Any, dtype: str) -> str | None:
    """Return in what the dtypes of a layer are not those of its backbone, None where they are."""
    if getattr(part, "quantization_mode", None):
        return f"quantized to {part.quantization_mode}"
    return None if part.compute_dtype == dtype else f"dtype {part.compute_dtype}"


def _plain_policy(layer: Any, dtype: str) -> keras.DTypePolicy | None:
    """Return a layer's dtype policy where it is an ordinary one of this compute dtype, so that parts which share it have it too."""
    policy = layer.dtype_policy
    is_plain = type(policy) is keras.DTypePolicy and policy.quantization_mode is None
    return policy if is_plain and policy.compute_dtype == dtype else None


def _named(part: Any, change: str, layer: Any = None) -> str:
    """Return where a part is and what is changed; a dropout that drops nothing has no path of its own."""
    owner = f"{layer.path}/" if layer is not None and layer is not part else ""
    return f"{part.path or owner + part.name} ({change})"
