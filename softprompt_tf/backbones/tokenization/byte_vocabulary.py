"""byT5's vocabulary as a SentencePiece model, so that the same graph ops serve it: 256 bytes behind the three special pieces."""

from collections.abc import Iterable
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from softprompt_tf.backbones.tokenization.text_rules import AddedToken

proto: Any = sentencepiece_model_pb2  # its classes are made at import, where no type checker sees them
_FIRST_BYTE = b"<0x00>"
_NUM_SPECIAL = 3
NUM_BYTE_PIECES = _NUM_SPECIAL + 256
_LARGEST_MODEL = 100_000  # bytes; so that no other vocabulary is parsed to find out


def byte_vocabulary(charsmap: bytes = b"") -> bytes:
    """Return a serialized SentencePiece model that maps byte b to id b + 3.

    It has no piece but the bytes, so that every character falls back to its bytes; nothing is normalized, and no space is
    added or taken away.

    Args:
      charsmap: a compiled map of characters, for a model that normalizes after all; byT5 has none.

    Source: Xue et al. 2022, ByT5, arXiv:2105.13626, section 3.1.
    """
    piece_type = proto.ModelProto.SentencePiece
    model = proto.ModelProto()
    special = (("<pad>", piece_type.CONTROL), ("</s>", piece_type.CONTROL), ("<unk>", piece_type.UNKNOWN))
    for text, kind in special:
        model.pieces.add(piece=text, score=0.0, type=kind)
    for byte in range(256):
        model.pieces.add(piece=f"<0x{byte:02X}>", score=0.0, type=piece_type.BYTE)
    trainer = model.trainer_spec
    trainer.model_type = proto.TrainerSpec.CHAR  # a Unigram model without any piece but the bytes is refused
    trainer.byte_fallback = True
    trainer.vocab_size = len(model.pieces)
    trainer.pad_id, trainer.eos_id, trainer.unk_id, trainer.bos_id = 0, 1, 2, -1
    model.normalizer_spec.name = "user_defined" if charsmap else "identity"
    model.normalizer_spec.precompiled_charsmap = charsmap
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = False
    return model.SerializeToString()


def byte_texts(model: bytes, added: Iterable[AddedToken] = ()) -> list[bytes] | None:
    """Return what each id of byT5's vocabulary writes in an answer, None for another vocabulary.

    Args:
      model: a serialized SentencePiece model.
      added: its added tokens; those behind the bytes write their texts.
    """
    if _FIRST_BYTE not in model or len(model) > _LARGEST_MODEL:
        return None
    pieces = proto.ModelProto.FromString(model).pieces
    kinds = [piece.type for piece in pieces]
    piece_type = proto.ModelProto.SentencePiece
    if (
        len(kinds) < NUM_BYTE_PIECES
        or set(kinds[_NUM_SPECIAL:NUM_BYTE_PIECES]) != {piece_type.BYTE}
        or piece_type.NORMAL in kinds
    ):
        return None
    texts = [b""] * _NUM_SPECIAL + [bytes([byte]) for byte in range(256)]
    texts += [b""] * (len(kinds) - len(texts))
    for token in added:
        if token.token_id >= NUM_BYTE_PIECES:
            texts[token.token_id] = token.text.encode()
    return texts
