"""Which way a frozen T5 runs where there is a cheaper one than its layers: for training a prompt, encoding, and a few tokens.

The embeddings have what changes them and the rows in front of the input already when they come here; see
`softprompt_tf.methods.injection`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from softprompt_tf.backbones.frozen_t5 import FrozenT5
from softprompt_tf.backbones.passes.attention import bias_in_front, causal_bias, injected_bias
from softprompt_tf.backbones.passes.encoder_rows import behind, encode_with_rows
from softprompt_tf.backbones.passes.known_layers import check_decoded_by_parts, check_takes_key_values
from softprompt_tf.injection import NO_INJECTION, Injection
from softprompt_tf.typing import Tensor

USUAL_LENGTH = 32  # of an encoder output that a graph does not know: there are seldom fewer positions, and then both ways are cheap


class Encoded(NamedTuple):
    """What the decoder needs of a batch's inputs.

    Args:
      output: the encoder output [B, S, H].
      padding_mask: [B, S], 1 = a position to attend to.
      injection: what the rows' tasks inject.
    """

    output: Tensor
    padding_mask: Tensor
    injection: Injection = NO_INJECTION


class HiddenStates(NamedTuple):
    """The normed states behind the last layers.

    Args:
      encoder: [B, S, H], the encoder output with injected rows in front.
      decoder: [B, U, H], what the head takes.
    """

    encoder: Tensor
    decoder: Tensor


def tune(
    t5: FrozenT5,
    embeddings: Tensor,
    padding_mask: Tensor,
    decoder_token_ids: Tensor,
    injection: Injection = NO_INJECTION,
    *,
    first: int | None = 0,
    num_moving: int | None = None,
    recompute: bool = False,
    can_branch: bool = True,
) -> HiddenStates:
    """Return the states that `t5.encode` and `t5.decode` give, with cheaper gradients and without dropout.

    Args:
      t5: the frozen T5. Its layers run where its form, or a quantization, is none that `FrozenForward` knows.
      embeddings: [B, S, H], or what stands at `first`.
      padding_mask: [B, S], 1 = a position to attend to.
      decoder_token_ids: int [B, U], the start id and then the targets, shifted by one.
      injection: what the rows' tasks add, but for rows in front of the input. Gradients reach that and the embeddings.
      first: the first encoder layer that runs: `embeddings` are the states before it. None: they are the encoder output, and
        have no gradient.
      num_moving: how many rows in front have a gradient, such as those of a prompt; the others' is 0. Default: all.
      recompute: keep each layer's input only and run the layer again for its gradient: less memory, more time.
      can_branch: whether the graph may choose between two ways by the sizes of a batch. XLA cannot compile the gradient of
        such a choice, so that for sizes unknown before the run it needs False.
    """
    encoder_output, padding_mask = _encode(
        t5, embeddings, padding_mask, injection, first=first, num_moving=num_moving, tuning=True, recompute=recompute
    )
    num_moving_behind = _num_moving_behind(injection, is_still=first is None or num_moving == 0)
    if not _runs_by_parts(t5, injection):
        states = t5.decode(decoder_token_ids, encoder_output, padding_mask, recompute=recompute)
        return HiddenStates(encoder_output, states)
    num_tokens, source_length = ops.shape(decoder_token_ids)[1], ops.shape(encoder_output)[1]
    embedded, bias = t5.embed(decoder_token_ids), causal_bias(t5.backbone, num_tokens)[None]  # [1, N, U, U]
    if injection.decoder is not None:
        bias = bias_in_front(bias, injected_bias(t5.backbone, injection.decoder, num_tokens))

    def decode(is_short: bool) -> Tensor:
        return t5.forward.decode(
            embedded,
            bias,
            encoder_output,
            padding_mask,
            key_values=injection.decoder,
            cross=injection.cross,
            changes=injection.changes,
            is_short=is_short,
            tuning=True,
            num_moving=num_moving_behind,
            recompute=recompute,
        )

    states = by_cost(
        t5,
        num_tokens,
        source_length,
        few=lambda: decode(True),
        many=lambda: decode(False),
        can_branch=can_branch,
        can_absorb=not injection.moves_cross_keys,
    )
    return HiddenStates(encoder_output, states)


def encode_embeddings(
    t5: FrozenT5, embeddings: Tensor, padding_mask: Tensor, injection: Injection = NO_INJECTION
) -> Tensor:
    """Return the encoder output [B, S, H] as `t5.encode` does, in a graph that is traced sooner where `FrozenForward` is able."""
    return _encode(t5, embeddings, padding_mask, injection)[0]


def encode_injected(
    t5: FrozenT5, states: Tensor, padding_mask: Tensor, injection: Injection, *, first: int | None = 0
) -> Encoded:
    """Return what the decoder needs of rows with all that their tasks inject.

    Args:
      t5: the frozen T5.
      states: embeddings [B, S, H] with injected rows in front, or what stands at `first`.
      padding_mask: [B, S], 1 = a position to attend to.
      injection: what the rows' tasks inject.
      first: as in `tune`.
    """
    return Encoded(*_encode(t5, states, padding_mask, injection, first=first), injection)


def states_before(t5: FrozenT5, embeddings: Tensor, padding_mask: Tensor, layer: int | None) -> Tensor:
    """Return the states [B, S, H] before an encoder layer, of embeddings without injected rows; None: the encoder output."""
    if layer is None:
        return encode_embeddings(t5, embeddings, padding_mask)
    if layer == 0:
        return embeddings
    check_takes_key_values(t5.backbone)
    return t5.forward.encode(embeddings, padding_mask, layers=slice(0, layer))


def _encode(
    t5: FrozenT5, states: Tensor, padding_mask: Tensor, injection: Injection, *, first: int | None = 0, **how: Any
) -> tuple[Tensor, Tensor]:
    """Return the encoder output with what stands behind it, and its mask."""
    if first is None:
        return behind(injection.behind, states, padding_mask)
    if _runs_by_parts(t5, injection):
        return encode_with_rows(t5.forward, states, padding_mask, injection, first=first, **how)
    encoder_output = t5.encode(states, padding_mask, recompute=how.get("recompute", False))
    return behind(injection.behind, encoder_output, padding_mask)


def _num_moving_behind(injection: Injection, *, is_still: bool) -> int | None:
    """Return how many positions in front of the encoder output have a gradient; None for all.

    Args:
      injection: what the rows' tasks add.
      is_still: whether what enters the encoder has none.
    """
    if not is_still or injection.late or injection.moves_encoder:
        return None
    return 0 if injection.behind is None else injection.behind.rows.shape[1]


def _runs_by_parts(t5: FrozenT5, injection: Injection) -> bool:
    """Say whether the parts of layers run one by one: those of known layers, and of others where something goes in between."""
    if t5.forward.is_able:
        return True
    if injection.moves_layers or injection.late or injection.sight is not None:
        check_takes_key_values(t5.backbone)
        return True
    return False


def goes_inside(injection: Injection) -> bool:
    """Say whether anything is injected elsewhere than in front of the input."""
    others = (injection.behind, injection.offsets, injection.invertible, injection.sight)
    return injection.moves_layers or bool(injection.late) or any(part is not None for part in others)


def by_cost(
    t5: FrozenT5,
    num_tokens: Any,
    source_length: Any,
    few: Callable[[], Any],
    many: Callable[[], Any],
    *,
    can_branch: bool = True,
    can_absorb: bool = True,
) -> Any:
    """Return what `few` gives where absorbed cross-attention pays, and else what `many` gives.

    Args:
      t5: `many` is taken where its form, or a quantization, is none that `FrozenForward` knows.
      num_tokens: how many tokens the decoder reads on one encoder output. Where it or `source_length` is a tensor of
        unknown value, the graph chooses; but not for a known number that is few for `USUAL_LENGTH`, as a graph with both ways
        takes twice as long to trace.
      source_length: S, the positions of the encoder output.
      few: looks at the encoder output with absorbed projections.
      many: looks at it with keys and values.
      can_branch: whether the graph may choose; else an unknown value means `many`.
      can_absorb: whether `few` is possible: not where keys and values are injected.
    """
    if not t5.forward.is_able:
        check_decoded_by_parts(t5.backbone)
        return many()
    if not can_absorb:
        return many()
    is_short = t5.forward.is_short(num_tokens, source_length)
    if ops.is_tensor(is_short):
        if not ops.is_tensor(num_tokens) and t5.forward.is_short(num_tokens, USUAL_LENGTH):
            return few()
        return ops.cond(is_short, few, many) if can_branch else many()
    return few() if is_short else many()
