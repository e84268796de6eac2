"""The largest bytes that a training step needs beside what it keeps, and the copies of weights that its gradient makes.

TensorFlow runs what is ready. A copy that depends on a weight alone is made early, and all such copies are there at once. Turned
kernels wait for the gradient that they are multiplied with, so that there are those of one layer.
"""

import math

from softprompt_tf.methods.task_tensors import CHANGES, ENCODER_KEY_VALUES
from softprompt_tf.resource_plan import kept_activations as kept
from softprompt_tf.resource_plan.work import Work

_FLOAT32 = 4
_INNER_GRADIENTS, _STATE_GRADIENTS = 4, 2  # [M, F] and [M, H] that are alive at once in a feed-forward's gradient
_SCORE_GRADIENTS, _HEAD_GRADIENTS = 2, 4  # [B, N, S, S] and [M, N * D] in that of an attention
_LOSS_COPIES = 2  # the logits and their gradient, beside the probabilities that are kept


def largest_transient(work: Work) -> int:
    """Return the bytes at the step's peak that are on top of all that the forward pass keeps."""
    after_decoder = kept.decoder_bytes(work) + kept.head_bytes(work)
    loss = _LOSS_COPIES * kept.head_bytes(work)
    decoder_rows = _slice_gradients(work, of_encoder=False)
    encoder = max(_encoder_layer(work), decoder_rows) - after_decoder
    end = _slice_gradients(work, of_encoder=True) - after_decoder - kept.encoder_bytes(work)
    return max(loss, encoder, end)


def weight_copies(work: Work) -> int:
    """Return the bytes of the copies of weights that are there at once: turned kernels of one layer, a head in float32; of a
    quantized T5 one layer's kernels as floating point numbers; of int4 also all kernels as one byte a value.
    """
    form, sizes = work.form, work.form.sizes
    head = form.table_values * _FLOAT32 if work.compute_bytes < _FLOAT32 and not work.injected.num_labels else 0
    if work.quantization is not None:
        unpacked = form.kernel_values if work.quantization == "int4" else 0
        attentions = 2 * 4 * sizes.hidden_dim * form.inner_dim  # of a decoder layer, the larger one
        of_layer = attentions + form.feed_forward_kernels * sizes.hidden_dim * sizes.feed_forward_dim
        return head + unpacked + of_layer * work.compute_bytes
    turned = form.feed_forward_kernels * sizes.hidden_dim * sizes.feed_forward_dim
    return head + turned * work.compute_bytes


def _encoder_layer(work: Work) -> int:
    """Return the most that the backward pass of one encoder layer holds; of the forward pass where nothing is kept."""
    sizes, last = work.form.sizes, work.form.sizes.encoder_layers - 1
    length = work.positions(last)
    keys = length + work.injected.key_values["encoder"]
    states = work.rows * length * sizes.hidden_dim
    inner = work.rows * length * sizes.feed_forward_dim
    scores = work.rows * sizes.num_heads * length * keys
    heads = work.rows * length * work.form.inner_dim
    if work.first_run > last:
        return 0
    feed_forward = _INNER_GRADIENTS * inner + _STATE_GRADIENTS * states
    attention = _SCORE_GRADIENTS * scores + _HEAD_GRADIENTS * heads + _STATE_GRADIENTS * states
    again = kept.encoder_layer_bytes(work, last) if work.recompute and work.first_kept <= last else 0
    return again + max(feed_forward, attention) * work.compute_bytes


def _slice_gradients(work: Work, *, of_encoder: bool) -> int:
    """Return the gradients of rows that layers share out: each layer's is as large as the rows of all layers."""
    total, sizes = 0, work.form.sizes
    for name, shape in work.injected.by_layer.items():
        is_encoder = name == ENCODER_KEY_VALUES or CHANGES.get(name, ("",))[0] == "encoder"
        layers = sizes.encoder_layers if is_encoder else sizes.decoder_layers
        if is_encoder == of_encoder:
            total += layers * work.rows * math.prod(shape) * work.compute_bytes
    return total
