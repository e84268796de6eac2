"""Find a checkpoint's vocabulary, as a SentencePiece model that tensorflow_text can run in a graph."""

from dataclasses import replace
from pathlib import Path

import sentencepiece

from softprompt_tf.backbones.checkpoints.added_tokens import TOKENIZER, TOKENIZER_CONFIG, added_tokens
from softprompt_tf.backbones.checkpoints.hugging_face import CONFIG, read_json
from softprompt_tf.backbones.checkpoints.t5x_index import INDEX, is_t5x_index
from softprompt_tf.backbones.checkpoints.tokenizer_rules import pipeline_of
from softprompt_tf.backbones.checkpoints.unigram_vocabulary import unigram_vocabulary
from softprompt_tf.backbones.tokenization.byte_vocabulary import byte_vocabulary
from softprompt_tf.backbones.tokenization.text_rules import TextRules, rules_of, with_rules
from softprompt_tf.errors import BackboneError
from softprompt_tf.files.large_file_pointer import refuse_pointer

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
                model = _checked(place / name, _read(place / name))
                return _with_added_tokens(directory, model) if (directory / CONFIG).is_file() else model
    if _is_byte_level(directory):
        return _with_added_tokens(directory, byte_vocabulary())
    if (directory / TOKENIZER).is_file():
        model = _checked(directory / TOKENIZER, unigram_vocabulary(directory / TOKENIZER))
        return _with_added_tokens(directory, model)
    raise BackboneError(
        f"A checkpoint needs a vocabulary: {_NAMES[0]} or tokenizer.json beside it, or the path of a SentencePiece model "
        f"(`vocabulary=` in Python, `softprompt convert --vocabulary` on the command line). Received: none in {directory}. "
        "T5X and Mesh TensorFlow keep none with their weights."
    )


def _read(path: Path) -> bytes:
    refuse_pointer(path, error_type=BackboneError)
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
    config = directory / TOKENIZER_CONFIG
    return config.is_file() and str(read_json(config).get("tokenizer_class", "")).startswith("ByT5")


def _with_added_tokens(directory: Path, model: bytes) -> bytes:
    """Return the model of a Hugging Face directory with the rules that its other files hold."""
    if (directory / TOKENIZER).is_file() and rules_of(model) is None:
        model = _as_the_json_says(directory / TOKENIZER, model)
    rules = rules_of(model) or TextRules()
    added = added_tokens(directory, model, normalizes=bool(rules.steps or rules.splits))
    return with_rules(model, replace(rules, added=added))


def _as_the_json_says(path: Path, model: bytes) -> bytes:
    """Return the model of `tokenizer.json` where it has other steps than the SentencePiece file beside it, else that file's."""
    content = read_json(path)
    pieces = content.get("model")
    if not isinstance(pieces, dict) or pieces.get("type", "Unigram") != "Unigram":
        return model
    pipeline = pipeline_of(content, path)
    if pipeline.steps or pipeline.splits:
        return _checked(path, unigram_vocabulary(path))
    return with_rules(model, TextRules(begins_again=pipeline.begins_again))
