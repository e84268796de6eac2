"""A checkpoint's directory in, its vocabulary as a serialized SentencePiece model out, which tensorflow_text can run in a graph."""

from pathlib import Path

import sentencepiece

from softprompt_tf.errors import BackboneError
from softprompt_tf.t5.checkpoints.byte_vocabulary import byte_vocabulary
from softprompt_tf.t5.checkpoints.hugging_face import read_json
from softprompt_tf.t5.checkpoints.t5x_index import INDEX, is_t5x_index
from softprompt_tf.t5.checkpoints.unigram_vocabulary import unigram_vocabulary

_NAMES = ("spiece.model", "sentencepiece.model", "tokenizer.model", "vocabulary.spm", "cc_all.32000.100extra.model")
_SPECIAL = ("<pad>", "</s>", "<unk>")


def find_vocabulary(path: Path, given: str | Path | None = None) -> bytes:
    """Return the vocabulary of a checkpoint.

    Args:
      path: the checkpoint's directory, or a Mesh TensorFlow prefix in it.
      given: a SentencePiece file that the user named; else the one in the directory is taken (for T5X's `checkpoint_STEP`,
        also the one beside that), or made from Hugging Face's `tokenizer.json`, or, for byT5, from nothing.

    Raises:
      BackboneError: if there is none, or it has not T5's order of special pieces: padding, end of sequence, unknown.
    """
    directory = path if path.is_dir() else path.parent
    if given is not None:
        return _checked(Path(given), _read(Path(given)))
    for place in (directory, directory.parent) if is_t5x_index(directory / INDEX) else (directory,):
        for name in _NAMES:
            if (place / name).is_file():
                return _checked(place / name, _read(place / name))
    if _is_byte_level(directory):
        return byte_vocabulary()
    if (directory / "tokenizer.json").is_file():
        return _checked(directory / "tokenizer.json", unigram_vocabulary(directory / "tokenizer.json"))
    raise BackboneError(
        f"A checkpoint needs a vocabulary: {_NAMES[0]} or tokenizer.json beside it, or the path of a SentencePiece model "
        f"(`vocabulary=` in Python, `softprompt convert --vocabulary` on the command line). Received: none in {directory}. "
        "T5X and Mesh TensorFlow keep none with their weights."
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BackboneError(f"The vocabulary must be a SentencePiece file. Received: {path} ({error}).") from error


def _checked(path: Path, proto: bytes) -> bytes:
    try:
        if not proto:  # which SentencePiece would take for a model without pieces
            raise ValueError("an empty file")
        pieces = sentencepiece.SentencePieceProcessor(model_proto=proto)
        special = tuple(pieces.id_to_piece(k) for k in range(min(3, len(pieces))))
    except (RuntimeError, TypeError, ValueError) as error:
        raise BackboneError(f"The vocabulary must be a SentencePiece model. Received: {path} ({error}).") from error
    if special != _SPECIAL:
        raise BackboneError(
            f"A T5's vocabulary must begin with {', '.join(_SPECIAL)}. Received: {path}, which begins with {', '.join(special)}."
        )
    return proto


def _is_byte_level(directory: Path) -> bool:
    config = directory / "tokenizer_config.json"
    return config.is_file() and str(read_json(config).get("tokenizer_class", "")).startswith("ByT5")
