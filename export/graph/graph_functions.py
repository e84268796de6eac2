"""The parts of a served graph that several signatures call: each is traced, and stored, once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import tensorflow as tf

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import Encoded, encode_embeddings
from softprompt_tf.backbones.passes.label_scores import first_states, label_logits
from softprompt_tf.backbones.passes.target_scores import score_targets
from softprompt_tf.backbones.tokenization.placed_text import PlaceCounts, placed_pieces, placed_pieces_to_ids
from softprompt_tf.backbones.tokenization.text_to_ids import text_to_ids
from softprompt_tf.export.graph.absent_tensors import without_absent
from softprompt_tf.export.graph.length_groups import encode_by_length
from softprompt_tf.export.graph.shared_texts import encode_streams, entries_of
from softprompt_tf.inference.decoding import Sampler, decode
from softprompt_tf.injection import Injection
from softprompt_tf.methods import injection_of, put_in_front
from softprompt_tf.methods.task_tensors import (
    CHANGES,
    CROSS_KEY_VALUES,
    DECODER_KEY_VALUES,
    DECODER_PAST_KEY_VALUES,
    ENCODER_CHANGES,
    ENCODER_KEY_VALUES,
    ENTERS_AT_ONCE,
    INVERTIBLE_ADAPTER,
    LABEL_ROWS,
    LATE_PROMPTS,
    MIXTURE_WEIGHT,
    PLACED_PROMPTS,
    PROMPT,
    PROMPT_BEHIND_ENCODER,
    PROMPT_SIGHT,
    TEXT_OFFSETS,
)
from softprompt_tf.model.prompted_inputs import embeddings_of

INSIDE_ENCODER = (ENCODER_KEY_VALUES, *ENCODER_CHANGES, INVERTIBLE_ADAPTER, PROMPT_SIGHT)
# What the encoder takes beside prompts, of which every graph has a table, and what the decoder takes.
ENCODER_TENSORS = (
    TEXT_OFFSETS,
    *INSIDE_ENCODER,
    *LATE_PROMPTS,
    PROMPT_BEHIND_ENCODER,
    *PLACED_PROMPTS,
)
DECODER_TENSORS = (
    DECODER_KEY_VALUES,
    DECODER_PAST_KEY_VALUES,
    CROSS_KEY_VALUES,
    *(name for name in CHANGES if name not in ENCODER_CHANGES),
    INVERTIBLE_ADAPTER,
)


class GraphFunctions(NamedTuple):
    """Encoder, decoder and scores of a served graph.

    Args:
      tokenize: texts [B], where each is cut [B] -> ids [B, T], their mask.
      tokenize_placed: likewise, and how many rows go where markers say and behind the text, [B] each; ids have placeholders.
        None in a graph without tables of such rows.
      encode: prompt [B, P, H], its mask, ids [B, T], their mask, where texts are shared the streams [B, stages], then rows
        and mask of each of the graph's `ENCODER_TENSORS` -> the encoder output and its mask.
      decode: the encoder output [B, S, H], its mask, rows and mask of each of the graph's `DECODER_TENSORS`, limits [B] -> ids,
        scores.
      score: as `decode`, with target ids [B, C, U] in the place of limits -> log-likelihoods [B, C].
      score_labels: the encoder output, its mask, label rows [B, C, H], their mask -> a score for each, float32 [B, C]; 0 for all
        where none counts. None in a graph without a table of label rows.
      shares_texts: whether equal texts are encoded once: in a graph with tables of what enters behind the embeddings.
    """

    tokenize: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    tokenize_placed: Callable[..., tuple[tf.Tensor, tf.Tensor]] | None
    encode: Callable[..., tuple[tf.Tensor, tf.Tensor]]
    decode: Callable[..., tuple[tf.Tensor, tf.Tensor]]
    score: Callable[..., tf.Tensor]
    score_labels: Callable[..., tf.Tensor] | None
    shares_texts: bool

    @classmethod
    def of(cls, t5: FrozenT5, sampler: Sampler, row_shapes: Mapping[str, tuple[int, ...]]) -> "GraphFunctions":
        """Make the functions of a graph with tables of these tensors."""
        shares_texts = bool(set(row_shapes) - {*ENTERS_AT_ONCE, LABEL_ROWS, MIXTURE_WEIGHT})
        return cls(
            tf.function(partial(text_to_ids, t5), input_signature=[_TEXTS, _LIMITS], autograph=False),
            _tokenize_placed(t5) if set(PLACED_PROMPTS) & set(row_shapes) else None,
            _encode(t5, row_shapes, shares_texts=shares_texts),
            _decode(t5, row_shapes, sampler),
            _score(t5, row_shapes),
            _score_labels(t5) if LABEL_ROWS in row_shapes else None,
            shares_texts,
        )


def _tokenize_placed(t5: FrozenT5) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    @tf.function(input_signature=[_TEXTS, *[_LIMITS] * 3], autograph=False)
    def tokenize(texts, limits, in_text, at_end):  # type: ignore[no-untyped-def]
        return placed_pieces_to_ids(placed_pieces(t5.graph_tokenizer, texts, PlaceCounts(in_text, at_end)), limits)

    return tokenize  # type: ignore[no-any-return]


def _encode(
    t5: FrozenT5, row_shapes: Mapping[str, tuple[int, ...]], *, shares_texts: bool
) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    names = [name for name in ENCODER_TENSORS if name in row_shapes]
    front = tf.TensorSpec([None, None, t5.hidden_dim], tf.float32)
    streams = [tf.TensorSpec([None, len(entries_of(row_shapes))], tf.int32)] if shares_texts else []

    @tf.function(input_signature=[front, _FLAT, _FLAT, _FLAT, *streams, *_specs(names, row_shapes)], autograph=False)
    def encode(prompt, prompt_mask, token_ids, mask, *others):  # type: ignore[no-untyped-def]
        rows = (prompt, prompt_mask, token_ids, mask)

        def run(names, parts):  # type: ignore[no-untyped-def]
            if not shares_texts:
                return encode_by_length(partial(_encode_rows, t5, names), *rows, *parts, dtype=t5.compute_dtype)
            return encode_streams(t5, token_ids, mask, others[0], _injection((PROMPT, *names), (*rows[:2], *parts)))

        return without_absent(run, names, others[len(streams) :], among=INSIDE_ENCODER)

    return encode  # type: ignore[no-any-return]


def _encode_rows(t5, names, prompt, prompt_mask, token_ids, mask, *parts):  # type: ignore[no-untyped-def]
    injection = _injection((PROMPT, *names), (prompt, prompt_mask, *parts))
    embeddings = embeddings_of(t5, token_ids, injection)
    embeddings, mask = put_in_front(injection.front, embeddings, mask)
    return encode_embeddings(t5, embeddings, mask, injection), mask


def _decode(
    t5: FrozenT5, row_shapes: Mapping[str, tuple[int, ...]], sampler: Sampler
) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    names = [name for name in DECODER_TENSORS if name in row_shapes]

    @tf.function(input_signature=[_states(t5), _FLAT, *_specs(names, row_shapes), _LIMITS], autograph=False)
    def decode_rows(encoder_output, mask, *inputs):  # type: ignore[no-untyped-def]
        *parts, limits = inputs

        def run(names, parts):  # type: ignore[no-untyped-def]
            encoded = Encoded(encoder_output, mask, _injection(names, parts))
            # The cache is as long as the longest answer that this batch may have, not as that of all tasks.
            return decode(sampler, t5, encoded, tf.reduce_max(limits), row_limits=limits)

        ids, scores = without_absent(run, names, parts, among=DECODER_TENSORS)
        # TensorFlow's maximum over NaN is a number, so a score alone does not tell.
        is_finite = tf.reduce_all(tf.math.is_finite(encoder_output), axis=[1, 2])
        return ids, tf.where(is_finite, scores, float("nan"))

    return decode_rows  # type: ignore[no-any-return]


def _score(t5: FrozenT5, row_shapes: Mapping[str, tuple[int, ...]]) -> Callable[..., tf.Tensor]:
    names = [name for name in DECODER_TENSORS if name in row_shapes]
    targets_spec = tf.TensorSpec([None, None, None], tf.int32)

    @tf.function(input_signature=[_states(t5), _FLAT, *_specs(names, row_shapes), targets_spec], autograph=False)
    def score(encoder_output, mask, *inputs):  # type: ignore[no-untyped-def]
        *parts, target_ids = inputs

        def run(names, parts):  # type: ignore[no-untyped-def]
            return score_targets(t5, target_ids, encoder_output, mask, _injection(names, parts))

        return without_absent(run, names, parts, among=DECODER_TENSORS)

    return score  # type: ignore[no-any-return]


def _score_labels(t5: FrozenT5) -> Callable[..., tf.Tensor]:
    rows_spec = tf.TensorSpec([None, None, t5.hidden_dim], tf.float32)

    @tf.function(input_signature=[_states(t5), _FLAT, rows_spec, _FLAT], autograph=False)
    def score_labels(encoder_output, mask, rows, rows_mask):  # type: ignore[no-untyped-def]
        return tf.cond(
            tf.reduce_any(rows_mask > 0),
            lambda: label_logits(t5, first_states(t5, Encoded(encoder_output, mask)), rows)[:, 0, 1:],
            lambda: tf.zeros(tf.shape(rows_mask)),
        )

    return score_labels  # type: ignore[no-any-return]


_FLAT = tf.TensorSpec([None, None], tf.int32)
_TEXTS, _LIMITS = tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)


def _states(t5: FrozenT5) -> tf.TensorSpec:
    return tf.TensorSpec([None, None, t5.hidden_dim], t5.compute_dtype)


def _specs(names: Collection[str], row_shapes: Mapping[str, tuple[int, ...]]) -> list[tf.TensorSpec]:
    """Return rows and mask of each table."""
    return [spec for name in names for spec in (tf.TensorSpec([None, None, *row_shapes[name]], tf.float32), _FLAT)]


def _injection(names: Collection[str], parts: Sequence[tf.Tensor]) -> Injection:
    """Return what rows of tables inject; `parts` are the values and the mask of each name, one behind the other."""
    return injection_of(dict(zip(names, parts[::2], strict=True)), dict(zip(names, parts[1::2], strict=True)))
