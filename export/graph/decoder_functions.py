"""The decoder's functions of a served graph: answers, scores of targets, and scores of labels that have rows of their own."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import Encoded
from softprompt_tf.backbones.passes.known_layers import check_decoded_by_parts
from softprompt_tf.backbones.passes.label_scores import first_states, label_logits
from softprompt_tf.backbones.passes.target_scores import score_targets, score_targets_of_shared
from softprompt_tf.export.graph.absent_tensors import without_absent
from softprompt_tf.export.graph.encoded_streams import DecodingOrder, EncodedStreams, are_finite
from softprompt_tf.export.graph.graph_inputs import (
    DECODER_TENSORS,
    FLAT,
    NUMBERS,
    TARGETS,
    RowShapes,
    injected,
    part_specs,
    states_spec,
)
from softprompt_tf.inference.decoding import Sampler, decode, decode_shared, sharing_sampler
from softprompt_tf.methods.task_tensors import PROMPT_BEHIND_ENCODER

Answers = tuple[tf.Tensor, tf.Tensor]
"""Ids [B, U], and scores [B]."""


def decode_rows(t5: FrozenT5, row_shapes: RowShapes, sampler: Sampler) -> Callable[..., Answers]:
    """Return a function of the encoder output [B, S, H], its mask, rows and mask of each of `DECODER_TENSORS`, limits [B]."""
    names = _names(row_shapes)

    @tf.function(input_signature=[states_spec(t5), FLAT, *part_specs(names, row_shapes), NUMBERS], autograph=False)
    def answers(encoder_output, mask, *inputs):  # type: ignore[no-untyped-def]
        *parts, limits = inputs

        def run(names, parts):  # type: ignore[no-untyped-def]
            encoded = Encoded(encoder_output, mask, injected(names, parts))
            # The cache is as long as the longest answer that this batch may have, not as that of all tasks.
            return decode(sampler, t5, encoded, tf.reduce_max(limits), row_limits=limits)

        answers = without_absent(run, names, parts, among=DECODER_TENSORS)
        return _known(answers, are_finite(encoder_output))

    return answers  # type: ignore[no-any-return]


def decode_streams(t5: FrozenT5, row_shapes: RowShapes, sampler: Sampler) -> Callable[..., Answers]:
    """Return the function for rows that share texts: of `EncodedStreams`, `DecodingOrder`, the decoder's parts, limits [B]."""
    names, has_own, sharing = _names(row_shapes), PROMPT_BEHIND_ENCODER in row_shapes, sharing_sampler(sampler)

    @tf.function(input_signature=[*_streams(t5), *part_specs(names, row_shapes), NUMBERS], autograph=False)
    def answers(*inputs):  # type: ignore[no-untyped-def]
        streams, order, parts, limits = _of_streams(inputs)
        # The cache is as long as the longest answer that this batch may have, not as that of all tasks.
        limits, longest = tf.gather(limits, order.rows), tf.reduce_max(limits)

        def run(names, parts):  # type: ignore[no-untyped-def]
            def some(chosen):  # type: ignore[no-untyped-def]
                return order.rows[chosen], limits[chosen], injected(names, [part[chosen] for part in parts])

            def others(first):  # type: ignore[no-untyped-def]
                rows, limits, injection = some(slice(first, None))
                encoder_output, mask = streams.spread(rows)
                return decode(sampler, t5, Encoded(encoder_output, mask, injection), longest, row_limits=limits)

            if sharing is None or injected(names, parts).moves_cross_keys:  # each row has keys and values of its own
                return others(0)

            def groups():  # type: ignore[no-untyped-def]
                rows, limits, injection = some(slice(None, order.num_grouped))
                source = streams.shared_by(rows, order.group_size, has_own=has_own)
                return decode_shared(sharing, t5, source, injection, longest, row_limits=limits)

            nothing = (tf.zeros([0, longest], tf.int32), tf.zeros([0]))
            return order.by_groups(groups, lambda: others(order.num_grouped), nothing)

        answers = without_absent(run, names, parts, among=DECODER_TENSORS)
        ids, scores = _known(answers, streams.are_finite(order.rows))
        return order.restored(ids), order.restored(scores)

    return answers  # type: ignore[no-any-return]


def score_rows(t5: FrozenT5, row_shapes: RowShapes) -> Callable[..., tf.Tensor]:
    """Return a function as `decode_rows` does, with target ids [B, C, U] in the place of limits -> log-likelihoods [B, C]."""
    names = _names(row_shapes)

    @tf.function(input_signature=[states_spec(t5), FLAT, *part_specs(names, row_shapes), TARGETS], autograph=False)
    def scores(encoder_output, mask, *inputs):  # type: ignore[no-untyped-def]
        *parts, target_ids = inputs

        def run(names, parts):  # type: ignore[no-untyped-def]
            return score_targets(t5, target_ids, encoder_output, mask, injected(names, parts))

        return without_absent(run, names, parts, among=DECODER_TENSORS)

    return scores  # type: ignore[no-any-return]


def score_streams(t5: FrozenT5, row_shapes: RowShapes) -> Callable[..., tf.Tensor]:
    """Return the function for rows that share texts: as `decode_streams` does, with target ids in the place of limits."""
    names, has_own = _names(row_shapes), PROMPT_BEHIND_ENCODER in row_shapes

    @tf.function(input_signature=[*_streams(t5), *part_specs(names, row_shapes), TARGETS], autograph=False)
    def scores(*inputs):  # type: ignore[no-untyped-def]
        streams, order, parts, target_ids = _of_streams(inputs)
        target_ids = tf.gather(target_ids, order.rows)
        # Rows in groups have keys and values, the others absorbed projections: long targets leave none over.
        _, num_targets, length = tf.unstack(tf.shape(target_ids))
        order = order.alone_where(~_is_short(t5, 1 + num_targets * (length - 1), streams.length))

        def run(names, parts):  # type: ignore[no-untyped-def]
            def some(chosen):  # type: ignore[no-untyped-def]
                return order.rows[chosen], target_ids[chosen], injected(names, [part[chosen] for part in parts])

            def groups():  # type: ignore[no-untyped-def]
                rows, ids, injection = some(slice(None, order.num_grouped))
                source = streams.shared_by(rows, order.group_size, has_own=has_own)
                return score_targets_of_shared(t5, ids, source, injection)

            def others(first, is_short):  # type: ignore[no-untyped-def]
                rows, ids, injection = some(slice(first, None))
                encoder_output, mask = streams.spread(rows)
                return score_targets(t5, ids, encoder_output, mask, injection, is_short=is_short)

            if injected(names, parts).moves_cross_keys:  # each row has keys and values of its own
                return others(0, is_short=False)
            if not t5.forward.is_able:
                return groups()
            nothing = tf.zeros([0, num_targets])
            return order.by_groups(groups, lambda: others(order.num_grouped, is_short=True), nothing)

        return order.restored(without_absent(run, names, parts, among=DECODER_TENSORS))

    return scores  # type: ignore[no-any-return]


def score_labels(t5: FrozenT5, *, shares_texts: bool) -> Callable[..., tf.Tensor]:
    """Return a function of what the graph's `encode` gives, label rows [B, C, H], their mask -> float32 [B, C]."""
    encoded_specs = EncodedStreams.specs(t5.hidden_dim, t5.compute_dtype) if shares_texts else [states_spec(t5), FLAT]
    rows_spec = tf.TensorSpec([None, None, t5.hidden_dim], tf.float32)

    @tf.function(input_signature=[*encoded_specs, rows_spec, FLAT], autograph=False)
    def label_scores(*inputs):  # type: ignore[no-untyped-def]
        *encoded, rows, rows_mask = inputs

        def score():  # type: ignore[no-untyped-def]
            output = EncodedStreams(*encoded).spread(tf.range(tf.shape(rows)[0])) if shares_texts else encoded
            return label_logits(t5, first_states(t5, Encoded(*output)), rows)[:, 0, 1:]

        return tf.cond(tf.reduce_any(rows_mask > 0), score, lambda: tf.zeros(tf.shape(rows_mask)))

    return label_scores  # type: ignore[no-any-return]


def _known(answers: Answers, are_finite: tf.Tensor) -> Answers:
    """Return answers whose scores are NaN where the encoder output was not finite.

    TensorFlow's maximum over NaN is a number, so a score alone does not tell.
    """
    ids, scores = answers
    return ids, tf.where(are_finite, scores, float("nan"))


def _is_short(t5: FrozenT5, num_tokens: tf.Tensor, source_length: tf.Tensor) -> tf.Tensor:
    """Say whether absorbed projections are cheaper; never for a T5 of layers that have none."""
    if t5.forward.is_able:
        return tf.convert_to_tensor(t5.forward.is_short(num_tokens, source_length))
    check_decoded_by_parts(t5.backbone)
    return tf.constant(False)


def _names(row_shapes: RowShapes) -> list[str]:
    return [name for name in DECODER_TENSORS if name in row_shapes]


def _streams(t5: FrozenT5) -> list[tf.TensorSpec]:
    return [*EncodedStreams.specs(t5.hidden_dim, t5.compute_dtype), *DecodingOrder.specs()]


def _of_streams(
    inputs: Sequence[tf.Tensor],
) -> tuple[EncodedStreams, DecodingOrder, Sequence[tf.Tensor], tf.Tensor]:
    """Return what a function of streams takes: these, their order, the decoder's parts, and one more."""
    first, last = len(EncodedStreams._fields), len(EncodedStreams._fields) + len(DecodingOrder._fields)
    return EncodedStreams(*inputs[:first]), DecodingOrder(*inputs[first:last]), inputs[last:-1], inputs[-1]
