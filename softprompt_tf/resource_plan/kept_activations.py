"""Bytes that the forward pass of a training step keeps for the backward pass, block by block.

The blocks are those of `softprompt_tf.backbones.passes`: `KeptAttention`, `KeptCross`, `KeptGated` and the others say what they
keep. A block that a task changes is left to automatic differentiation, which keeps more.
"""

import math
from collections.abc import Mapping

from softprompt_tf.methods.task_tensors import INVERTIBLE_ADAPTER
from softprompt_tf.resource_plan.backbone_form import GATED, RELU
from softprompt_tf.resource_plan.injected import changed_projections, changes_feed_forward
from softprompt_tf.resource_plan.work import Work

_FLOAT32 = 4
_OF_A_BOTTLENECK = 5  # values of its width R that automatic differentiation keeps: GELU in its tanh form


def kept_bytes(work: Work) -> int:
    """Return all that is kept at the end of the forward pass."""
    return encoder_bytes(work) + decoder_bytes(work) + head_bytes(work) + rows_bytes(work) + couplings_bytes(work)


def encoder_bytes(work: Work) -> int:
    """Return what the encoder keeps: nothing of layers that nothing moves."""
    num_layers = work.form.sizes.encoder_layers
    layers = range(max(work.first_kept, work.first_run), num_layers)
    if not layers:
        return _states(work, work.source)
    behind = 2 * _states(work, work.source)  # the last norm's input, and the encoder output
    if work.recompute:
        bias = work.rows * work.form.sizes.num_heads * work.positions(num_layers - 1) ** 2 * work.compute_bytes
        return behind + bias + sum(_states(work, work.positions(layer)) for layer in layers)
    return behind + sum(encoder_layer_bytes(work, layer) for layer in layers)


def decoder_bytes(work: Work) -> int:
    """Return what the decoder keeps."""
    num_layers = work.form.sizes.decoder_layers
    if work.recompute:
        return (num_layers + 1) * _states(work, work.queries)
    return _states(work, work.queries) + sum(decoder_layer_bytes(work, layer) for layer in range(num_layers))


def encoder_layer_bytes(work: Work, layer: int) -> int:
    """Return what one layer of the encoder keeps."""
    length, kinds = work.positions(layer), work.injected.kinds("encoder")
    prefix = work.injected.key_values["encoder"]
    feed_forward = _feed_forward(work, length, kinds)
    if layer > 0 or work.recompute or work.injected.front or work.injected.moves_all_embeddings:
        return _attention(work, length, length + prefix, kinds) + feed_forward
    if prefix or changed_projections(kinds):
        return _attention(work, length, length + prefix, kinds) + feed_forward
    has_scale = "feed_forward_scale" in kinds
    return feed_forward if has_scale else feed_forward - _feed_forward(work, length, {})


def decoder_layer_bytes(work: Work, layer: int) -> int:
    """Return what one layer of the decoder keeps."""
    queries, kinds = work.queries, work.injected.kinds("decoder")
    keys = queries + work.injected.key_values["decoder"]
    is_kept = layer > 0 or work.moves_first_decoder_layer or work.recompute
    own = _attention(work, queries, keys, kinds) if is_kept else 0
    return own + _cross(work) + _feed_forward(work, queries, kinds)


def head_bytes(work: Work) -> int:
    """Return what the loss keeps: the probabilities, float32."""
    return _FLOAT32 * work.rows * (work.injected.num_labels + 1 if work.injected.num_labels else logits(work))


def logits(work: Work) -> int:
    """Return the logits of one row."""
    return work.queries * work.form.vocabulary_size


def couplings_bytes(work: Work) -> int:
    """Return what an invertible adapter keeps: a vector, and inner values of both bottlenecks; nothing of still embeddings."""
    rows = work.injected.rows(INVERTIBLE_ADAPTER)
    positions = work.queries + (work.input_tokens if work.injected.trains_invertible else 0)
    return _states(work, positions) + _values(work, positions, 2 * _OF_A_BOTTLENECK * rows) if rows else 0


def rows_bytes(work: Work) -> int:
    """Return the batch's rows of tensors that layers share out among them: with each layer's own."""
    values = sum(map(math.prod, work.injected.by_layer.values()))
    return 2 * work.rows * values * work.compute_bytes


# === Blocks ===


def _states(work: Work, positions: int) -> int:
    return work.rows * positions * work.form.sizes.hidden_dim * work.compute_bytes


def _values(work: Work, positions: int, width: int) -> int:
    return work.rows * positions * width * work.compute_bytes


def _inverse(work: Work, positions: int) -> int:
    return work.rows * positions * _FLOAT32  # of a norm


def _attention(work: Work, queries: int, keys: int, kinds: Mapping[str, int]) -> int:
    """Return what a self-attention keeps: states, queries, keys, values, weights and what was attended to."""
    inner = work.form.inner_dim
    projected = _values(work, queries, inner) + 2 * _values(work, keys, inner)
    weights = _values(work, queries, keys * work.form.sizes.num_heads)
    both = _states(work, queries) + _inverse(work, queries) + projected + weights
    if not changed_projections(kinds) and work.is_fused:
        return both + _values(work, queries, inner)
    return both + _changes(work, queries, queries, kinds)


def _changes(work: Work, queries: int, keys: int, kinds: Mapping[str, int]) -> int:
    """Return what changed projections keep more."""
    inner, total = work.form.inner_dim, 0
    if any(kind.endswith("_delta") and kind != "output_delta" for kind in kinds):
        total += _states(work, queries)  # what the ways down read
    for kind, rows in kinds.items():
        at = keys if kind.startswith(("key_", "value_")) else queries
        if kind.endswith("_scale") and not kind.startswith("feed_forward"):
            total += _values(work, at, work.form.sizes.hidden_dim if kind.startswith("output") else inner)
        elif kind.endswith("_delta"):
            total += _values(work, at, rows) + (_values(work, queries, inner) if kind.startswith("output") else 0)
        elif kind == "attention_adapter":
            total += _states(work, queries) + _values(work, queries, _OF_A_BOTTLENECK * rows)
    return total


def _cross(work: Work) -> int:
    """Return what an attention to the encoder output keeps."""
    queries, sizes = work.queries, work.form.sizes
    first = _states(work, queries) + _inverse(work, queries)
    if work.is_absorbed:
        heads = queries * sizes.num_heads
        return first + _values(work, heads, sizes.hidden_dim) + _values(work, heads, work.source)
    keys, inner = work.source + work.injected.key_values["cross"], work.form.inner_dim
    weights = _values(work, queries, keys * sizes.num_heads)
    both = first + _values(work, queries, inner) + 2 * _values(work, keys, inner) + weights
    kinds = work.injected.kinds("cross")
    if not kinds and work.is_fused:
        return both + _values(work, queries, inner)
    return both + _changes(work, queries, work.source, kinds)


def _feed_forward(work: Work, positions: int, kinds: Mapping[str, int]) -> int:
    """Return what a feed-forward block keeps: states, and inner values of its width F."""
    wide = work.form.sizes.feed_forward_dim
    first = _states(work, positions) + _inverse(work, positions)
    if not work.is_fused:
        return first + _values(work, positions, wide * (1 + differentiated_inner(work.form.feed_forward)))
    if not changes_feed_forward(kinds):
        return first + _values(work, positions, wide * kept_inner(work.form.feed_forward))
    has_scale = "feed_forward_scale" in kinds
    total = first + _values(work, positions, wide * (differentiated_inner(work.form.feed_forward) + has_scale))
    for kind, rows in kinds.items():
        if kind in ("feed_forward_adapter", "language_adapter"):
            total += _states(work, positions) + _values(work, positions, _OF_A_BOTTLENECK * rows)
    return total


def kept_inner(feed_forward: str) -> int:
    """Return how many inner values of width F a block with its own gradient keeps."""
    return {GATED: 3, RELU: 1}.get(feed_forward, 2)


def differentiated_inner(feed_forward: str) -> int:
    """Return the same of a block that automatic differentiation runs through."""
    return {GATED: 5, RELU: 1}.get(feed_forward, 3)
