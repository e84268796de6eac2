"""Floating point operations of a training step and of a served row: 2 * M * K * N for each matrix product, nothing else.

Each function follows a block of `softprompt_tf.backbones.passes`, forward and backward. Frozen weights have no gradient of their
own: backwards, a product of states and weights is taken once, and one of two states twice. What nothing moves has no gradient.
"""

from collections.abc import Mapping

from softprompt_tf.methods.task_tensors import INVERTIBLE_ADAPTER
from softprompt_tf.resource_plan.injected import changed_projections
from softprompt_tf.resource_plan.work import Work

_QKV = ("query", "key", "value")


def step_operations(work: Work) -> int:
    """Return the operations of one training step, forward and backward."""
    total = forward_operations(work) + _backward(work)
    return total + (_again(work) if work.recompute else 0)


def forward_operations(work: Work) -> int:
    """Return the operations of a batch that is encoded and decoded once, logits included."""
    layers = range(work.first_run, work.form.sizes.encoder_layers)
    encoder = sum(_encoder_layer(work, layer) for layer in layers)
    couplings = _coupling(work, work.input_tokens) + _coupling(work, work.queries)
    return encoder + work.form.sizes.decoder_layers * _decoder_layer(work) + _head(work) + couplings


def _backward(work: Work) -> int:
    layers = range(work.form.sizes.encoder_layers)
    encoder = sum(_encoder_layer_back(work, layer) for layer in layers if layer >= work.first_kept)
    decoder = sum(_decoder_layer_back(work, layer) for layer in range(work.form.sizes.decoder_layers))
    return encoder + decoder + _head(work) + _couplings_back(work)


def _again(work: Work) -> int:
    """Return what recomputing adds: each kept layer's forward pass but for its last product, which no gradient needs."""
    sizes = work.form.sizes
    layers = range(max(work.first_kept, work.first_run), sizes.encoder_layers)
    encoder = sum(_encoder_layer(work, layer) - _last(work, "encoder", work.positions(layer)) for layer in layers)
    return encoder + sizes.decoder_layers * (_decoder_layer(work) - _last(work, "decoder", work.queries))


def _last(work: Work, stack: str, positions: int) -> int:
    """Return the operations of a layer's last product: a feed-forward's output, or the way up of the adapter behind it."""
    sizes, kinds = work.form.sizes, work.injected.kinds(stack)
    width = kinds.get("feed_forward_adapter", kinds.get("language_adapter", sizes.feed_forward_dim))
    return _product(work, positions, sizes.hidden_dim, width)


# === Products ===


def _product(work: Work, positions: int, width: int, other: int) -> int:
    """Return the operations of states [B * positions, width] times a kernel [width, other]."""
    return 2 * work.rows * positions * width * other


def _projection(work: Work, positions: int) -> int:
    return _product(work, positions, work.form.sizes.hidden_dim, work.form.inner_dim)


def _attention(work: Work, queries: int, keys: int) -> int:
    """Return the operations of one product [B, N, queries, D] by [B, N, D, keys]."""
    return 2 * work.rows * queries * keys * work.form.inner_dim


def _feed_forward(work: Work, positions: int) -> int:
    sizes = work.form.sizes
    return work.form.feed_forward_kernels * _product(work, positions, sizes.hidden_dim, sizes.feed_forward_dim)


def _head(work: Work) -> int:
    hidden, labels = work.form.sizes.hidden_dim, work.injected.num_labels
    if labels:
        return _product(work, 1, hidden, labels)
    return _product(work, work.queries, hidden, work.form.vocabulary_size)


def _coupling(work: Work, positions: int) -> int:
    """Return the products of an invertible adapter: two ways down and two ways up, of half a vector each."""
    rows = work.injected.rows(INVERTIBLE_ADAPTER)
    return 4 * _product(work, positions, work.form.sizes.hidden_dim // 2, rows)


def _couplings_back(work: Work) -> int:
    """Return the same backwards: of a trained one, that of states and of units, but for the half embeddings that it reads first."""
    before_head = _coupling(work, work.queries)
    if not work.injected.trains_invertible:
        return before_head
    return 2 * (before_head + _coupling(work, work.input_tokens)) - _coupling(work, work.input_tokens) // 4


def _changes(work: Work, kinds: Mapping[str, int], positions: int, *, source: int | None = None) -> int:
    """Return the products of low-rank changes and bottlenecks, forward; keys and values are of `source` positions."""
    hidden, inner, total = work.form.sizes.hidden_dim, work.form.inner_dim, 0
    for kind, rows in kinds.items():
        if kind.endswith("_delta"):
            at = source if source is not None and kind[:3] in ("key", "val") else positions
            total += _product(work, at, hidden + inner, rows)
        elif kind.endswith("_adapter"):
            total += _product(work, positions, 2 * hidden, rows)
    return total


# === The encoder ===


def _encoder_layer(work: Work, layer: int) -> int:
    length = work.positions(layer)
    keys = length + work.injected.key_values["encoder"]
    own = 4 * _projection(work, length) + 2 * _attention(work, length, keys) + _feed_forward(work, length)
    return own + _changes(work, work.injected.kinds("encoder"), length)


def _encoder_layer_back(work: Work, layer: int) -> int:
    length, kinds = work.positions(layer), work.injected.kinds("encoder")
    prefix = work.injected.key_values["encoder"]
    changes = 2 * _changes(work, kinds, length)
    feed_forward = _feed_forward(work, length)
    if layer == work.first_kept and work.moving_rows:
        return feed_forward + changes + _attention_back_in_front(work, length, work.moving_rows)
    states_move = layer > 0 or work.recompute or work.injected.front > 0 or work.injected.moves_all_embeddings
    attention = _attention_back(work, length, length, prefix, kinds, states_move=states_move)
    if states_move:
        return feed_forward + attention + changes
    if not prefix and not changed_projections(kinds):  # only what comes behind the kernels of the feed-forward moves
        scaled = _feed_forward(work, length) // work.form.feed_forward_kernels
        feed_forward = scaled if "feed_forward_scale" in kinds else 0
    return feed_forward + attention + changes - _unmoved(work, kinds, length)


def _attention_back_in_front(work: Work, length: int, count: int) -> int:
    """Return the operations of `SelfAttention.gradient_in_front`."""
    return (
        _projection(work, length)
        + 4 * _attention(work, count, length)
        + _attention(work, length, count)
        + 3 * _projection(work, count)
    )


def _attention_back(
    work: Work, queries: int, own_keys: int, prefix: int, kinds: Mapping[str, int], *, states_move: bool
) -> int:
    """Return the operations of a self-attention's gradient, changes not counted."""
    changed = changed_projections(kinds)
    if not states_move and not prefix and not changed & set(_QKV):
        return 0
    moved = set(_QKV) if states_move else changed | ({"key", "value"} if prefix else set())
    has_scores = bool(moved & {"query", "key"})
    products = has_scores + sum(name in moved for name in _QKV)
    back = 1 + (3 if states_move else 0)  # of the output, and of queries, keys and values
    return back * _projection(work, queries) + products * _attention(work, queries, own_keys + prefix)


def _unmoved(work: Work, kinds: Mapping[str, int], length: int) -> int:
    """Return the part of low-rank changes' gradients that is of states, where those have none."""
    hidden = work.form.sizes.hidden_dim
    down = [rows for kind, rows in kinds.items() if kind.endswith("_delta") and kind != "output_delta"]
    if not down:
        down = [rows for kind, rows in kinds.items() if kind.endswith("_adapter")][:1]
    return sum(_product(work, length, hidden, rows) for rows in down)


# === The decoder ===


def _decoder_layer(work: Work) -> int:
    queries, kinds = work.queries, work.injected.kinds("decoder")
    own = queries + work.injected.key_values["decoder"]
    to_self = 4 * _projection(work, queries) + 2 * _attention(work, queries, own) + _changes(work, kinds, queries)
    return to_self + _cross(work) + _feed_forward(work, queries)


def _cross(work: Work) -> int:
    queries, source = work.queries, work.source
    if work.is_absorbed:
        return 4 * _projection(work, queries) + 2 * _absorbed(work, source)
    keys = source + work.injected.key_values["cross"]
    projections = 2 * _projection(work, queries) + 2 * _projection(work, source)
    changes = _changes(work, work.injected.kinds("cross"), queries, source=source)
    return projections + 2 * _attention(work, queries, keys) + changes


def _absorbed(work: Work, source: int) -> int:
    """Return the operations of one product of absorbed queries [B, N * U, H] and an encoder output [B, S, H]."""
    sizes = work.form.sizes
    return 2 * work.rows * sizes.num_heads * work.queries * source * sizes.hidden_dim


def _decoder_layer_back(work: Work, layer: int) -> int:
    queries, kinds = work.queries, work.injected.kinds("decoder")
    prefix, moves = work.injected.key_values["decoder"], work.moves_first_decoder_layer
    states_move = layer > 0 or work.recompute
    total = _feed_forward(work, queries) + 2 * _changes(work, kinds, queries)
    if states_move or moves:
        total += _attention_back(work, queries, queries, prefix, kinds, states_move=states_move)
    if not states_move and moves:
        total -= _unmoved(work, kinds, queries)
    return total + _cross_back(work, states_move=states_move or moves)


def _cross_back(work: Work, *, states_move: bool) -> int:
    queries, source, moving = work.queries, work.source, work.moving_source
    if work.is_absorbed:
        total = 2 * _projection(work, queries) + _absorbed(work, source) + 2 * _absorbed(work, moving)
        return total + (2 * _projection(work, queries) + _absorbed(work, source) if states_move else 0)
    kinds, prefix = work.injected.kinds("cross"), work.injected.key_values["cross"]
    changed = changed_projections(kinds)
    moved = {"query"} if states_move or "query" in changed else set()
    moved |= {"key", "value"} if moving or prefix else changed & {"key", "value"}
    products = bool(moved & {"query", "key"}) + len(moved)
    back = 1 + states_move if moved else 0
    total = back * _projection(work, queries) + products * _attention(work, queries, source + prefix)
    return total + 2 * _projection(work, moving) + 2 * _changes(work, kinds, queries, source=source)
