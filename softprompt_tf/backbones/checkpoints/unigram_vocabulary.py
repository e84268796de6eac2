"""Make a SentencePiece model of Hugging Face's `tokenizer.json`; transformers 5 writes no other file."""

import base64
from pathlib import Path
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from softprompt_tf.backbones.checkpoints.hugging_face import read_json
from softprompt_tf.backbones.checkpoints.tokenizer_rules import Pipeline, pipeline_of
from softprompt_tf.backbones.tokenization.text_rules import SENTINEL, TextRules, with_rules
from softprompt_tf.errors import BackboneError

proto: Any = sentencepiece_model_pb2  # its classes are made at import, where no type checker sees them
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def unigram_vocabulary(path: Path) -> bytes:
    """Return the serialized SentencePiece model of a `tokenizer.json` with a Unigram model.

    The sentinels at its end are left out: T5's own vocabulary has none, they stand in rows past its pieces. Where all bytes are
    pieces, as in mT5, unknown characters fall back to them, whatever the file says: transformers leaves that out.

    Raises:
      BackboneError: if the file is damaged, or holds another kind of tokenizer.
    """
    content = read_json(path)
    tokenizer = content.get("model")
    if not isinstance(tokenizer, dict) or tokenizer.get("type", "Unigram") != "Unigram" or "vocab" not in tokenizer:
        kind = tokenizer.get("type") if isinstance(tokenizer, dict) else tokenizer
        raise BackboneError(f"{path} must hold a Unigram tokenizer, as T5 has. Received: model type {kind!r:.60}.")
    try:
        pieces = [(str(piece), float(score)) for piece, score in tokenizer["vocab"]]
        unknown_id = int(tokenizer.get("unk_id", 2))
    except (TypeError, ValueError) as error:
        raise BackboneError(f"{path} must hold pieces with their scores. Received: {error}.") from error
    while pieces and SENTINEL.match(pieces[-1][0]):
        pieces.pop()
    pipeline = pipeline_of(content, path)
    model = proto.ModelProto()
    kinds = proto.ModelProto.SentencePiece
    special = {"<pad>": kinds.CONTROL, "</s>": kinds.CONTROL}
    has_bytes = {*_BYTES} <= {piece for piece, _ in pieces}
    if has_bytes:
        special |= dict.fromkeys(_BYTES, kinds.BYTE)
    for k, (piece, score) in enumerate(pieces):
        kind = kinds.UNKNOWN if k == unknown_id else special.get(piece, kinds.NORMAL)
        model.pieces.add(piece=piece, score=score, type=kind)
    trainer = model.trainer_spec
    trainer.byte_fallback = has_bytes
    trainer.model_type = proto.TrainerSpec.UNIGRAM
    trainer.vocab_size = len(pieces)
    trainer.pad_id, trainer.eos_id, trainer.unk_id, trainer.bos_id = 0, 1, unknown_id, -1
    _set_normalizer(model.normalizer_spec, pipeline)
    rules = TextRules(steps=pipeline.steps, splits=pipeline.splits, begins_again=pipeline.begins_again)
    return with_rules(model.SerializeToString(), rules)


def _set_normalizer(spec: Any, pipeline: Pipeline) -> None:
    charsmap = base64.b64decode(pipeline.charsmap)
    spec.name = "nmt_nfkc" if charsmap else "identity"
    spec.precompiled_charsmap = charsmap
    if pipeline.splits:  # words come as they are
        spec.add_dummy_prefix = False
        spec.remove_extra_whitespaces = False
