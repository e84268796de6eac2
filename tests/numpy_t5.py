"""T5 1.1 in plain NumPy, float64 and without a cache: the weights of a KerasHub backbone enter, expected numbers leave.

Written from Raffel et al. 2020, arXiv:1910.10683, and Shazeer 2020, arXiv:2002.05202 (gated GELU); it shares no code with
Keras. Everything is for one row without padding, so that a mask is right where it equals leaving the padding out.
"""

import math
from types import SimpleNamespace

import numpy as np

EOS_ID, PAD_ID = 1, 0


def read_weights(backbone):
    """Copy a backbone's weights into plain float64 arrays."""
    embedding = backbone.token_embedding
    table = _array(embedding.embeddings)
    scale = table.shape[1] ** -0.5 if embedding.tie_weights else 1.0
    head = table.T * scale if embedding.tie_weights else _array(embedding.reverse_embeddings)
    return SimpleNamespace(
        table=table,
        head=head,
        head_scale=scale,
        num_heads=backbone.num_heads,
        epsilon=backbone.layer_norm_epsilon,
        encoder=[_layer(layer) for layer in backbone.encoder_transformer_layers],
        encoder_norm=_array(backbone.encoder_layer_norm.weight),
        encoder_bias=_array(backbone.encoder_transformer_layers[0].self_attention.relative_attention_bias),
        decoder=[_layer(layer) for layer in backbone.decoder_transformer_layers],
        decoder_norm=_array(backbone.decoder_layer_norm.weight),
        decoder_bias=_array(backbone.decoder_transformer_layers[0].self_attention.relative_attention_bias),
    )


def with_key_values(weights, *, encoder=None, decoder=None, cross=None):
    """Return the same T5 with keys and values [P, L, 2, N, D] in front of those of its attentions, on which no bias lies."""
    injected = {"encoder": encoder, "decoder": decoder, "cross": cross}
    return SimpleNamespace(**{**vars(weights), "injected": injected})


def with_changes(weights, tensors):
    """Return the same T5 with what low-rank products, scales and adapters change in its layers.

    `tensors` has arrays by names such as "encoder_query_delta" [R, L, F_in + F_out], whose first F_in columns are the way down;
    "cross_key_scale" [1, L, F]; "encoder_feed_forward_adapter" [R, L, 2 H + 2]; "encoder_prompt_addition" [P, L, H], which is added
    to what each layer makes of the first P rows; "invertible_adapter" [R, 2, H + 2], the bottlenecks of a coupling.
    """
    changed = SimpleNamespace(**vars(weights))
    changed.encoder, changed.decoder = (
        [SimpleNamespace(**vars(each)) for each in part] for part in (weights.encoder, weights.decoder)
    )
    changed.invertible = tensors.get("invertible_adapter")
    for name, rows in tensors.items():
        if name == "invertible_adapter":
            continue
        place, _, kind = name.partition("_")
        for k, layer in enumerate(changed.encoder if place == "encoder" else changed.decoder):
            attention = "cross" if place == "cross" else "self"
            part, _, what = kind.rpartition("_")
            if what == "addition":
                layer.addition = np.asarray(rows, np.float64)[:, k]
            elif what == "adapter":
                names = {"feed_forward": "adapter", "language": "language_adapter"}
                setattr(layer, names.get(part, f"{attention}_adapter"), rows[:, k])
            elif part == "feed_forward":
                layer.output = layer.output * np.asarray(rows, np.float64)[0, k, :, None]
            else:
                _change_projection(layer, f"{attention}_attention", part, what, np.asarray(rows, np.float64)[:, k])
    return changed


def _change_projection(layer, attention, projection, what, rows):
    matrices, index = list(getattr(layer, attention)), ("query", "key", "value", "output").index(projection)
    width = len(matrices[index])
    if what == "delta":
        matrices[index] = matrices[index] + rows[:, :width].T @ rows[:, width:]
    else:
        matrices[index] = matrices[index] * rows
    setattr(layer, attention, tuple(matrices))


def embed(weights, embeddings):
    """Return what an invertible adapter makes of embeddings [T, H] of a text; the same where there is none."""
    rows, half = getattr(weights, "invertible", None), weights.table.shape[1] // 2
    if rows is None:
        return embeddings
    first = embeddings[..., :half] + bottleneck(embeddings[..., half:], rows[:, 0])
    return np.concatenate([first, embeddings[..., half:] + bottleneck(first, rows[:, 1])], axis=-1)


def encode(weights, embeddings, *, late=None, behind=None, stop=None, sight=None):
    """Return the encoder output [T, H] for embeddings [T, H].

    `late` is a layer and the rows [P, H] that enter in front before it; `behind`, rows in front of the encoder output.
    With `stop`, return the states before that layer. `sight` is how many rows are in front, and whether those do not see the text,
    each other, and those behind them.
    """
    states = np.asarray(embeddings, np.float64)
    bias = _position_bias(weights.encoder_bias, len(states), bidirectional=True)
    if sight is not None:
        bias = bias - 1e30 * _hidden(len(states), *sight)
    for k, layer in enumerate(weights.encoder):
        if k == stop:
            return states
        if late is not None and late[0] == k:
            states = np.concatenate([late[1], states])
            bias = _position_bias(weights.encoder_bias, len(states), bidirectional=True)
        normed, extra = _rms_norm(states, layer.self_norm, weights.epsilon), _injected(weights, "encoder", k)
        attended = _attention(layer.self_attention, normed, normed, bias, weights.num_heads, extra)
        states = states + _adapted(layer, "self_adapter", attended)
        states = states + _feed_forward(layer, _rms_norm(states, layer.norm, weights.epsilon))
        addition = getattr(layer, "addition", np.zeros((0, states.shape[1])))
        states = np.concatenate([states[: len(addition)] + addition, states[len(addition) :]])
    output = _rms_norm(states, weights.encoder_norm, weights.epsilon)
    return output if behind is None else np.concatenate([behind, output])


def _hidden(length, count, flags):
    """Return [S, S], 1 where a row in front, the query, does not see a position."""
    hidden = np.zeros((length, length))
    for query in range(count):
        for key in range(length):
            is_text, is_other, is_later = key >= count, query != key < count, query < key < count
            hidden[query, key] = any(
                flag and part for flag, part in zip(flags, (is_text, is_other, is_later), strict=True)
            )
    return hidden


def decode(weights, token_ids, encoder_output):
    """Return decoder states [..., U, H] for ids [..., U], which start with the start id, and an encoder output [S, H]."""
    token_ids = np.asarray(token_ids)
    length = token_ids.shape[-1]
    future = np.triu(np.ones((length, length)), k=1)
    bias = _position_bias(weights.decoder_bias, length, bidirectional=False) - 1e30 * future
    states = weights.table[token_ids]
    for k, layer in enumerate(weights.decoder):
        normed, extra = _rms_norm(states, layer.self_norm, weights.epsilon), _injected(weights, "decoder", k)
        attended = _attention(layer.self_attention, normed, normed, bias, weights.num_heads, extra)
        states = states + _adapted(layer, "self_adapter", attended)
        normed, extra = _rms_norm(states, layer.cross_norm, weights.epsilon), _injected(weights, "cross", k)
        attended = _attention(layer.cross_attention, normed, encoder_output, 0.0, weights.num_heads, extra)
        states = states + _adapted(layer, "cross_adapter", attended)
        states = states + _feed_forward(layer, _rms_norm(states, layer.norm, weights.epsilon))
    return _rms_norm(states, weights.decoder_norm, weights.epsilon)


def logits(weights, token_ids, encoder_output):
    """Return logits [..., U, V] for decoder ids [..., U]."""
    states = decode(weights, token_ids, encoder_output)
    rows = getattr(weights, "invertible", None)
    if rows is not None:
        half, scaled = states.shape[-1] // 2, states * weights.head_scale
        second = scaled[..., half:] - bottleneck(scaled[..., :half], rows[:, 1])
        first = scaled[..., :half] - bottleneck(second, rows[:, 0])
        states = np.concatenate([first, second], axis=-1) / weights.head_scale
    return states @ weights.head


def log_probabilities(weights, token_ids, encoder_output):
    """Return log-probabilities [..., U, V] in nats."""
    values = logits(weights, token_ids, encoder_output)
    top = values.max(axis=-1, keepdims=True)
    return values - top - np.log(np.exp(values - top).sum(axis=-1, keepdims=True))


def target_log_probability(weights, target_ids, encoder_output):
    """Return the log-probability of one whole target, its end of sequence included, in nats."""
    steps = log_probabilities(weights, [PAD_ID, *target_ids[:-1]], encoder_output)
    return float(sum(steps[u, token] for u, token in enumerate(target_ids)))


def window_nats(weights, windows):
    """Score every window on its own, without padding and without the end of sequence behind the targets; return the sum."""
    nats = 0.0
    for window in windows:
        encoded = encode(weights, weights.table[[*window.context, EOS_ID]])
        nats -= target_log_probability(weights, window.targets, encoded)
    return nats


def greedy(weights, encoder_output, max_tokens):
    """Return ids [U] with 0 behind the end, and the sum of their log-probabilities; the whole answer is run at each step."""
    answer, score = [], 0.0
    while len(answer) < max_tokens and EOS_ID not in answer:
        step = log_probabilities(weights, [PAD_ID, *answer], encoder_output)[-1]
        answer.append(int(step.argmax()))
        score += float(step.max())
    return answer + [PAD_ID] * (max_tokens - len(answer)), score


def beam(weights, encoder_output, max_tokens, *, num_beams, length_penalty):
    """Return ids [U] and the plain score of the best answer that a beam search of `num_beams` hypotheses ends with."""
    hypotheses = [((), 0.0)]
    for _ in range(max_tokens):
        candidates = []
        for ids, score in hypotheses:
            if EOS_ID in ids:
                candidates.append((ids, score))
                continue
            step = log_probabilities(weights, [PAD_ID, *ids], encoder_output)[-1]
            candidates += [((*ids, token), score + float(gained)) for token, gained in enumerate(step)]
        candidates.sort(key=lambda candidate: penalized(candidate, length_penalty), reverse=True)
        hypotheses = candidates[:num_beams]
    ids, score = max(hypotheses, key=lambda candidate: penalized(candidate, length_penalty))
    return list(ids) + [PAD_ID] * (max_tokens - len(ids)), score


def penalized(candidate, length_penalty):
    """Return what a hypothesis (ids, score) is ranked by (Wu et al. 2016, equation 14)."""
    ids, score = candidate
    return score / ((5 + len(ids)) / 6) ** length_penalty


def bucket(distance, *, bidirectional, num_buckets=32, max_distance=128):
    """Return T5's bucket of a key that stands `distance` positions behind (+) or before (-) the query."""
    offset = 0
    if bidirectional:
        num_buckets //= 2
        offset = num_buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    exact = num_buckets // 2
    if distance < exact:
        return offset + distance
    share = math.log(distance / exact) / math.log(max_distance / exact)
    # The small number keeps exact powers, such as log(64 / 8) / log(128 / 8) = 0.75, on their own side.
    return offset + min(exact + int(share * (num_buckets - exact) + 1e-9), num_buckets - 1)


def _position_bias(table, length, *, bidirectional):
    """Return [N, U, U] from a table [32, N]."""
    buckets = [[bucket(k - q, bidirectional=bidirectional) for k in range(length)] for q in range(length)]
    return table[np.array(buckets)].transpose(2, 0, 1)


def _injected(weights, part, layer):
    """Return the keys and values [P, 2, N, D] that are put in front in one layer, or None."""
    rows = getattr(weights, "injected", {}).get(part)
    return None if rows is None else np.asarray(rows, np.float64)[:, layer]


def _attention(projections, queries, keys_from, bias, num_heads, extra=None):
    """Return [..., Q, H]: attention without a division of the scores by the root of the head size."""
    query, key, value, output = projections

    def heads(states):
        split = states.reshape(*states.shape[:-1], num_heads, -1)
        return np.moveaxis(split, -2, -3)  # [..., N, Q, D]

    q, k, v = heads(queries @ query), heads(keys_from @ key), heads(keys_from @ value)
    scores = q @ np.swapaxes(k, -1, -2) + bias
    if extra is not None:
        more_keys, more_values = np.moveaxis(extra, 0, 2)  # [N, P, D] twice
        scores = np.concatenate([q @ np.swapaxes(more_keys, -1, -2), scores], axis=-1)
        v = np.concatenate([np.broadcast_to(more_values, (*v.shape[:-2], *more_values.shape[-2:])), v], axis=-2)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares = shares / shares.sum(axis=-1, keepdims=True)
    mixed = np.moveaxis(shares @ v, -3, -2)  # [..., Q, N, D]
    return mixed.reshape(*mixed.shape[:-2], -1) @ output


def _feed_forward(layer, states):
    return _adapted(layer, "adapter", _adapted(layer, "language_adapter", _gated_gelu(layer, states)))


def _gated_gelu(layer, states):
    return (_gelu(states @ layer.gelu) * (states @ layer.linear)) @ layer.output


def _gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _adapted(layer, name, values):
    rows = getattr(layer, name, None)
    return values if rows is None else adapted(values, rows)


def adapted(values, rows):
    """Return values [..., H] with what an adapter of units [R, 2 H + 2] makes of them."""
    return values + bottleneck(values, rows)


def bottleneck(values, rows):
    """Return [..., F_out] of values [..., F_in] and units [R, F_in + F_out + 2]."""
    width = values.shape[-1]
    return (_gelu(values @ rows[:, :width].T + rows[:, -2]) + rows[:, -1]) @ rows[:, width:-2]


def _rms_norm(states, weight, epsilon):
    return states / np.sqrt((states**2).mean(axis=-1, keepdims=True) + epsilon) * weight


def _layer(layer):
    return SimpleNamespace(
        self_attention=_projections(layer.self_attention),
        self_norm=_array(layer.self_attention_layer_norm.weight),
        cross_attention=_projections(layer.cross_attention) if layer.is_decoder else None,
        cross_norm=_array(layer.cross_attention_layer_norm.weight) if layer.is_decoder else None,
        gelu=_array(layer.input_projector.kernel),
        linear=_array(layer.gate_projector.kernel),
        output=_array(layer.output_projector.kernel),
        norm=_array(layer.layer_norm.weight),
    )


def _projections(attention):
    names = ("query_projector", "key_projector", "value_projector", "output_projector")
    return tuple(_array(getattr(attention, name).kernel) for name in names)


def _array(variable):
    return np.asarray(variable.numpy(), dtype=np.float64)
