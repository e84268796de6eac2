"""Train or read a SentencePiece model in T5's layout: 0 padding, 1 end of sequence, 2 unknown, then pieces."""

import io
import itertools
import random
from collections.abc import Iterable
from pathlib import Path

import sentencepiece

from softprompt_tf.errors import DataError
from softprompt_tf.shown_numbers import counted

MAX_SENTENCE_CHARACTERS = 1000


def train_vocabulary(
    documents: Iterable[str], *, num_pieces: int, max_documents: int = 400_000, seed: int = 0
) -> bytes:
    """Train a unigram SentencePiece model as T5's was, with byte fallback off and the special ids 0, 1, 2.

    Args:
      documents: the texts; each is cut to `MAX_SENTENCE_CHARACTERS` characters.
      num_pieces: the size of the vocabulary, special pieces included.
      max_documents: how many documents are looked at, drawn with `seed`.
      seed: the seed of the draw. The trainer itself draws nothing.

    Returns:
      The serialized model, as `keras_hub.models.T5Tokenizer(proto=...)` takes it.

    Raises:
      DataError: if the texts are too few or too alike for so many pieces.

    Source: Raffel et al. 2020, section 2.4.1, arXiv:1910.10683 (SentencePiece, unigram, pad 0, eos 1, unk 2).
    """
    texts = [document[:MAX_SENTENCE_CHARACTERS] for document in documents]
    random.Random(seed).shuffle(texts)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=itertools.islice(texts, max_documents),
            model_writer=model,
            vocab_size=num_pieces,
            model_type="unigram",
            character_coverage=0.9998,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            pad_piece="<pad>",
            eos_piece="</s>",
            unk_piece="<unk>",
            max_sentence_length=4 * MAX_SENTENCE_CHARACTERS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(
            f"The texts must be enough for a vocabulary of {num_pieces} pieces. Received: {counted(len(texts), 'text')} ({error})."
        ) from error
    return model.getvalue()


def read_vocabulary(path: str | Path, *, max_pieces: int) -> bytes:
    """Read a SentencePiece model in T5's layout.

    Args:
      path: of the model's file.
      max_pieces: what the embedding table has room for besides its sentinels.

    Returns:
      The serialized model.

    Raises:
      DataError: if the file cannot be read, is no SentencePiece model, has other special ids, or more pieces.
    """
    try:
        proto = Path(path).read_bytes()
        model = sentencepiece.SentencePieceProcessor()
        model.LoadFromSerializedProto(proto)
    except (OSError, RuntimeError) as error:
        raise DataError(f"The vocabulary must be a SentencePiece model's file. Received: {path} ({error}).") from error
    special = (model.pad_id(), model.eos_id(), model.unk_id())
    if special != (0, 1, 2):
        raise DataError(
            "The vocabulary must have 0 for padding, 1 for end of sequence and 2 for unknown, as T5's has. "
            f"Received: {special[0]}, {special[1]} and {special[2]} in {path}."
        )
    if model.get_piece_size() > max_pieces:
        raise DataError(
            f"The vocabulary may have {max_pieces} pieces at most: the rows of the embedding table but those of the sentinels. "
            f"Received: {model.get_piece_size()} pieces in {path}."
        )
    return proto
