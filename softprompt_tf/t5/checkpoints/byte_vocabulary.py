"""byT5's vocabulary as a SentencePiece model, so that the same graph ops serve it: 256 bytes behind the three special pieces."""

from typing import Any

from sentencepiece import sentencepiece_model_pb2

proto: Any = sentencepiece_model_pb2  # its classes are made at import, where no type checker sees them


def byte_vocabulary() -> bytes:
    """Return a serialized SentencePiece model that maps byte b to id b + 3.

    It has no piece but the bytes, so that every character falls back to its bytes; nothing is normalized, and no space is
    added or taken away.

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
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = False
    return model.SerializeToString()
