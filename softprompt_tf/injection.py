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


class ProjectionDelta(NamedTuple):
    """What a low-rank product adds to one projection, in every layer of one attention.

    The projection x W becomes x W + (x D) U. Row r of `rows` has column r of D [F_in, R], and behind it row r of U [R, F_out].

    Args:
      place: the attention: "encoder", "decoder" (its self-attention) or "cross".
      projection: "query", "key", "value" or "output".
      rows: [B, R, L, F_in + F_out], R the rank. A row of zeros adds nothing.
    """

    place: str
    projection: str
    rows: Tensor


class Injection(NamedTuple):
    """What the tasks of a batch's rows add.

    Args:
      front: rows in front of the encoder's input.
      encoder: keys and values of the encoder's self-attention.
      decoder: keys and values of the decoder's self-attention.
      cross: keys and values of the decoder's attention to the encoder output.
      late: rows in front from a layer of the encoder on, those of the lowest layer first.
      behind: rows in front of the encoder output, which the decoder sees beside it.
      deltas: what is added to projections.
    """

    front: Front | None = None
    encoder: KeyValues | None = None
    decoder: KeyValues | None = None
    cross: KeyValues | None = None
    late: tuple[LateFront, ...] = ()
    behind: Front | None = None
    deltas: tuple[ProjectionDelta, ...] = ()

    @property
    def delta_places(self) -> set[str]:
        """The attentions some of whose projections change."""
        return {part.place for part in self.deltas}

    @property
    def moves_encoder(self) -> bool:
        """Whether something goes into the attention of the encoder's layers."""
        return self.encoder is not None or "encoder" in self.delta_places

    @property
    def moves_cross(self) -> bool:
        """Whether something goes into the decoder's attention to the encoder output, which cannot be absorbed then."""
        return self.cross is not None or "cross" in self.delta_places

    @property
    def moves_attention(self) -> bool:
        """Whether something goes into any attention."""
        return self.moves_encoder or self.moves_cross or self.decoder is not None or bool(self.deltas)


NO_INJECTION = Injection()
