"""The ids of T5's sentinels `<extra_id_0>` ... `<extra_id_99>`: pieces of a vocabulary, bytes, added tokens, or past the pieces."""

from functools import cached_property

from softprompt_tf.backbones.tokenization.piece_model import NUM_SENTINELS
from softprompt_tf.backbones.tokenization.text_pieces import TextPieces
from softprompt_tf.errors import BackboneError


class Sentinels:
    """The sentinels of one vocabulary and one embedding table.

    Args:
      text_pieces: the vocabulary.
      num_pieces: of the vocabulary, without added tokens.
      num_rows: of the embedding table.
    """

    def __init__(self, text_pieces: TextPieces, *, num_pieces: int, num_rows: int):
        self._text_pieces = text_pieces
        self._num_pieces = num_pieces
        self._num_rows = num_rows

    def id_of(self, k: int) -> int:
        """Return the id of sentinel `<extra_id_k>`; see `FrozenT5.sentinel_id`.

        Raises:
          BackboneError: if k is out of range, or the embedding table has no row for the sentinel.
        """
        if not 0 <= k < NUM_SENTINELS:
            raise BackboneError(f"A sentinel's number must be from 0 to {NUM_SENTINELS - 1}. Received: k={k}.")
        piece = self._sentinel_piece(k)
        if piece is not None:
            return piece
        if self._text_pieces.pieces.is_byte(self._num_pieces - 1):
            return self._num_pieces - 1 - k
        added = self._text_pieces.id_of(f"<extra_id_{k}>")
        if added is not None:
            return added
        past_pieces = self._num_pieces + NUM_SENTINELS - 1 - k
        if past_pieces >= self._num_rows:
            raise BackboneError(
                f"The embedding table must have a row for sentinel <extra_id_{k}>. Received: {self._num_rows} rows and "
                f"{self._num_pieces} pieces, none of them the sentinel, which puts it at id {past_pieces}. Use the target format "
                "`text`, or a T5 with sentinels."
            )
        return past_pieces

    @cached_property
    def pieces(self) -> tuple[int, ...]:
        """The ids of the sentinels that are pieces of the vocabulary."""
        ids = map(self._sentinel_piece, range(NUM_SENTINELS))
        return tuple(piece for piece in ids if piece is not None)

    def _sentinel_piece(self, k: int) -> int | None:
        plain = self._piece_id(f"<extra_id_{k}>")
        return plain if plain is not None else self._piece_id(f"▁<extra_id_{k}>")  # mT5 has them with a space in front

    def _piece_id(self, piece: str) -> int | None:
        """Return the id of a piece, None where the vocabulary has no such piece (SentencePiece answers "unknown")."""
        pieces = self._text_pieces.pieces
        found = int(pieces.piece_to_id(piece))
        is_own = found < self._num_pieces and pieces.id_to_piece(found) == piece
        return found if is_own else None
