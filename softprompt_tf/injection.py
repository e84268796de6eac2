"""What a task adds to a frozen encoder-decoder: the one form that every method gives and every pass takes.

A part that is None is absent. Rows of a batch may belong to different tasks and methods: a row whose task does not have a part
that others have is masked there, and answers as it would alone.
"""

from typing import NamedTuple

from softprompt_tf.typing import Tensor


class Front(NamedTuple):
    """Rows in front of the input's embeddings.

    Args:
      rows: [B, P, H].
      mask: [B, P], 1 = a row that counts. None: all do.
    """

    rows: Tensor
    mask: Tensor | None = None


class TextOffsets(NamedTuple):
    """What is added to the embeddings of the input's tokens, by their position in the text; padding is behind the text.

    Args:
      rows: [B, S, H], of the first S positions. Positions behind them keep their embeddings, and so do those of rows of zeros.
    """

    rows: Tensor


class Placed(NamedTuple):
    """Rows in the places of placeholders among the input's token ids.

    Args:
      placeholder: the id that stands for a row; the k-th from the left is for the k-th row that counts.
      rows: [B, P, H]; rows that count are at the end.
      mask: [B, P], 1 = a row that counts. None: all do.
    """

    placeholder: int
    rows: Tensor
    mask: Tensor | None = None


class LateFront(NamedTuple):
    """Rows that enter in front of the input's states before one layer of the encoder; the layers below do not see them.

    Args:
      layer: the encoder layer, from 1.
      rows: [B, P, H].
      mask: [B, P], 1 = a row that counts. None: all do.
    """

    layer: int
    rows: Tensor
    mask: Tensor | None = None


class KeyValues(NamedTuple):
    """Keys and values in front of those that an attention makes itself, in every layer.

    Args:
      rows: [B, P, L, 2, N, D]; keys are at index 0 of axis 3, values at index 1.
      mask: [B, P], 1 = a row that counts. None: all do.
      positions: [B, P], 1 = a row that has its position in front of the tokens, as what a decoder has read before; 0 = a row
        without a position, on which no bias of positions lies. None: all are without. Only the decoder's self-attention
        has such rows.
    """

    rows: Tensor
    mask: Tensor | None = None
    positions: Tensor | None = None


class LayerChange(NamedTuple):
    """What changes one part of every layer of a stack, by values of each row of the batch.

    - "query_delta", "key_delta", "value_delta" or "output_delta": the projection x W becomes x W + (x D) U. Row r of `rows` has
      column r of D [F_in, R], and behind it row r of U [R, F_out].
    - "query_scale" and so on: the projection's outputs are multiplied by the one row [F_out].
    - "feed_forward_scale": the inner states of the feed-forward are multiplied by the one row [F].
    - "attention_adapter" and "feed_forward_adapter": what comes out of the part, y, becomes y + (gelu(y D + b) + c) U before it
      is added to the states. Row r has column r of D [H, R], row r of U [R, H], b[r] and c[r].
    - "language_adapter": the same between a feed-forward and its adapter.
    - "prompt_addition", of the encoder alone: the rows [R, H] are added to what the layer makes of the last R rows in front of the
      text.

    Args:
      place: the attention: "encoder", "decoder" (its self-attention) or "cross"; of a feed-forward, the stack.
      kind: what is changed and how, as above.
      rows: [B, R, L, ...]; or [1, R, L, ...], the same for all rows of the batch, but for "prompt_addition". But for scales, a row
        of zeros changes nothing.
    """

    place: str
    kind: str
    rows: Tensor


class PromptSight(NamedTuple):
    """What rows in front of the text do not see in the encoder's attentions. The text sees all.

    Args:
      rows: [B, 1, 3], 1 = so it is: they do not see the text, other rows in front, rows in front behind them.
    """

    rows: Tensor


class InvertibleAdapter(NamedTuple):
    """What the embeddings of the input's tokens go through, and, the other way, what goes into the output projection.

    Of the two halves of states, a | b (a the smaller one where H is odd), a becomes a + f(b), and then b becomes b + g(a), with two
    bottlenecks f and g: x becomes (gelu(x D + d) + e) U.

    Args:
      rows: [B, R, 2, H + 2]; or [1, R, 2, H + 2], the same for all rows of the batch. Row r has, of f and of g, column r of D,
        row r of U, d[r] and e[r]. A row of zeros changes nothing.
    """

    rows: Tensor


class LabelRows(NamedTuple):
    """Rows that score labels: each times the decoder's state at the first position, as it goes into the output projection.

    Args:
      rows: [B, C, H].
      mask: [B, C], 1 = a row that counts. None: all do.
    """

    rows: Tensor
    mask: Tensor | None = None


class Injection(NamedTuple):
    """What the tasks of a batch's rows add.

    Args:
      front: rows in front of the encoder's input.
      encoder: keys and values of the encoder's self-attention.
      decoder: keys and values of the decoder's self-attention.
      cross: keys and values of the decoder's attention to the encoder output.
      late: rows in front from a layer of the encoder on, those of the lowest layer first.
      behind: rows in front of the encoder output, which the decoder sees beside it.
      changes: what changes parts of the layers.
      offsets: what is added to the embeddings of the input's tokens.
      placed: rows among the input's embeddings.
      labels: rows that score labels in the place of the vocabulary.
      sight: what rows in front do not see.
      invertible: what changes the embeddings of the input's tokens, and back what goes into the output projection.
    """

    front: Front | None = None
    encoder: KeyValues | None = None
    decoder: KeyValues | None = None
    cross: KeyValues | None = None
    late: tuple[LateFront, ...] = ()
    behind: Front | None = None
    changes: tuple[LayerChange, ...] = ()
    offsets: TextOffsets | None = None
    placed: tuple[Placed, ...] = ()
    labels: LabelRows | None = None
    invertible: InvertibleAdapter | None = None
    sight: PromptSight | None = None

    @property
    def changed_places(self) -> set[str]:
        """The attentions, and stacks of feed-forwards, that change."""
        return {part.place for part in self.changes}

    @property
    def moves_encoder(self) -> bool:
        """Whether something goes into the encoder's layers."""
        return self.encoder is not None or "encoder" in self.changed_places

    @property
    def adds_to_front(self) -> bool:
        """Whether something is added, in the encoder's layers, to rows in front of the text."""
        return any(part.kind == "prompt_addition" for part in self.changes)

    @property
    def knows_front(self) -> bool:
        """Whether the encoder's layers have to know how many rows are in front of the text."""
        return self.adds_to_front or self.sight is not None

    @property
    def moves_cross_keys(self) -> bool:
        """Whether rows have keys or values of their own in the decoder's attention to the encoder output: it cannot be absorbed
        then, nor shared. Scales are none: those of keys go to the queries, and those of values to what is attended to."""
        return self.cross is not None or any(
            part.place == "cross" and part.kind in ("key_delta", "value_delta") for part in self.changes
        )

    @property
    def moves_layers(self) -> bool:
        """Whether something goes into the layers of any stack."""
        return self.moves_encoder or self.cross is not None or self.decoder is not None or bool(self.changes)

    @property
    def moves_decoding(self) -> bool:
        """Whether something goes into the layers, or in front of the output projection."""
        return self.moves_layers or self.invertible is not None


NO_INJECTION = Injection()
