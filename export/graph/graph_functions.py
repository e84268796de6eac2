"""The parts of a served graph that several signatures call: each is traced, and stored, once."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import tensorflow as tf

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import encode_embeddings
from softprompt_tf.backbones.tokenization.placed_text import PlaceCounts, placed_pieces, placed_pieces_to_ids
from softprompt_tf.backbones.tokenization.text_to_ids import text_to_ids
from softprompt_tf.export.graph.absent_tensors import without_absent
from softprompt_tf.export.graph.decoder_functions import (
    decode_rows,
    decode_streams,
    score_labels,
    score_rows,
    score_streams,
)
from softprompt_tf.export.graph.graph_inputs import (
    ENCODER_TENSORS,
    FLAT,
    INSIDE_ENCODER,
    NUMBERS,
    TEXTS,
    RowShapes,
    injected,
    part_specs,
)
from softprompt_tf.export.graph.length_groups import encode_by_length
from softprompt_tf.export.graph.shared_texts import encode_streams, entries_of
from softprompt_tf.inference.decoding import Sampler
from softprompt_tf.methods import put_in_front
from softprompt_tf.methods.task_tensors import ENTERS_AT_ONCE, LABEL_ROWS, MIXTURE_WEIGHT, PLACED_PROMPTS, PROMPT
from softprompt_tf.model.prompted_inputs import embeddings_of


class GraphFunctions(NamedTuple):
    """Encoder, decoder and scores of a served graph.

    Args:
      tokenize: texts [B], where each is cut [B] -> ids [B, T], their mask.
      tokenize_placed: likewise, and how many rows go where markers say and behind the text, [B] each; ids have placeholders.
        None in a graph without tables of such rows.
      encode: prompt [B, P, H], its mask, ids [B, T], their mask, where texts are shared the streams [B, stages + 1], then rows
        and mask of each of the graph's `ENCODER_TENSORS` -> the encoder output [B, S, H] and its mask; where texts are shared,
        the parts of `EncodedStreams`.
      decode: what `encode` gives, where texts are shared the parts of `DecodingOrder`, rows and mask of each of the graph's
        `DECODER_TENSORS` in that order, limits [B] -> ids, scores.
      score: as `decode`, with target ids [B, C, U] in the place of limits -> log-likelihoods [B, C].
      score_labels: what `encode` gives, label rows [B, C, H], their mask -> a score for each, float32 [B, C]; 0 for all where none
        counts. None in a graph without a table of label rows.
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
    def of(cls, t5: FrozenT5, sampler: Sampler, row_shapes: RowShapes) -> "GraphFunctions":
        """Make the functions of a graph with tables of these tensors."""
        shares_texts = bool(set(row_shapes) - {*ENTERS_AT_ONCE, LABEL_ROWS, MIXTURE_WEIGHT})
        return cls(
            tf.function(partial(text_to_ids, t5), input_signature=[TEXTS, NUMBERS], autograph=False),
            _tokenize_placed(t5) if set(PLACED_PROMPTS) & set(row_shapes) else None,
            _encode(t5, row_shapes, shares_texts=shares_texts),
            decode_streams(t5, row_shapes, sampler) if shares_texts else decode_rows(t5, row_shapes, sampler),
            score_streams(t5, row_shapes) if shares_texts else score_rows(t5, row_shapes),
            score_labels(t5, shares_texts=shares_texts) if LABEL_ROWS in row_shapes else None,
            shares_texts,
        )


def _tokenize_placed(t5: FrozenT5) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    @tf.function(input_signature=[TEXTS, *[NUMBERS] * 3], autograph=False)
    def tokenize(texts, limits, in_text, at_end):  # type: ignore[no-untyped-def]
        return placed_pieces_to_ids(placed_pieces(t5.graph_tokenizer, texts, PlaceCounts(in_text, at_end)), limits)

    return tokenize  # type: ignore[no-any-return]


def _encode(t5: FrozenT5, row_shapes: RowShapes, *, shares_texts: bool) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    names = [name for name in ENCODER_TENSORS if name in row_shapes]
    front = tf.TensorSpec([None, None, t5.hidden_dim], tf.float32)
    streams = [tf.TensorSpec([None, len(entries_of(row_shapes)) + 1], tf.int32)] if shares_texts else []

    @tf.function(input_signature=[front, FLAT, FLAT, FLAT, *streams, *part_specs(names, row_shapes)], autograph=False)
    def encode(prompt, prompt_mask, token_ids, mask, *others):  # type: ignore[no-untyped-def]
        rows = (prompt, prompt_mask, token_ids, mask)

        def run(names, parts):  # type: ignore[no-untyped-def]
            if not shares_texts:
                return encode_by_length(partial(_encode_rows, t5, names), *rows, *parts, dtype=t5.compute_dtype)
            return encode_streams(t5, token_ids, mask, others[0], injected((PROMPT, *names), (*rows[:2], *parts)))

        return without_absent(run, names, others[len(streams) :], among=INSIDE_ENCODER)

    return encode  # type: ignore[no-any-return]


def _encode_rows(t5, names, prompt, prompt_mask, token_ids, mask, *parts):  # type: ignore[no-untyped-def]
    injection = injected((PROMPT, *names), (prompt, prompt_mask, *parts))
    embeddings = embeddings_of(t5, token_ids, injection)
    embeddings, mask = put_in_front(injection.front, embeddings, mask)
    return encode_embeddings(t5, embeddings, mask, injection), mask
