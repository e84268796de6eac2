"""Vary a phrase: mask each of its words in turn, and let the frozen T5 fill the gap, as its span corruption trained it to.

    "All in all, it was" -> "All in <extra_id_0> it was" -> "<extra_id_0> all, <extra_id_1>", "<extra_id_0> fact, <extra_id_1>", ...

Source: Jiang et al. 2020, arXiv:1911.12543, section 3.2, paraphrase by translating there and back, for which a T5 of this library
has no training; Raffel et al. 2020, arXiv:1910.10683, section 3.1.4, trains T5 on spans that are missing.
"""

import numpy as np
import tensorflow as tf
from keras import ops

from softprompt_tf.backbones import EOS_ID, START_ID, FrozenT5
from softprompt_tf.backbones.passes.cheaper_passes import encode_embeddings
from softprompt_tf.backbones.passes.target_scores import score_targets
from softprompt_tf.baselines.mined_phrases import Phrase
from softprompt_tf.errors import ConfigError

_WORD_START = "▁"
_TRIED = 4  # times `count` pieces are tried in each gap, before it is known which of them end there


def fill_phrases(t5: FrozenT5, phrase: str, *, count: int = 20) -> list[Phrase]:
    """Return variants of a phrase with one other word, those first that the T5 finds likeliest.

    A word is one piece of the vocabulary that begins a word, and the T5 must end the gap behind it: the variant's likelihood
    is that of `<extra_id_0> word <extra_id_1>`.

    Args:
      t5: the frozen T5; the more it was trained on span corruption, the better it fills.
      phrase: words with spaces between them.
      count: how many variants at most.

    Raises:
      ConfigError: if the phrase has no word, or `count` is no positive integer.
      BackboneError: if the T5 has no sentinels.

    Examples:
      >>> from softprompt_tf.baselines import fill_phrases
      >>> len(fill_phrases(t5, "all in all it was", count=3))
      3
    """
    words = phrase.split() if isinstance(phrase, str) else []
    if not words:
        raise ConfigError(f"`phrase` must have a word. Received: phrase={phrase!r}.")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigError(f"`count` must be a positive integer. Received: count={count!r}.")
    pieces = _whole_words(t5)
    encoded = _encoded(t5, [_masked(words, place) for place in range(len(words))])
    tried = _likeliest_pieces(t5, encoded, pieces, count=_TRIED * count)  # [W, K]
    ends = [np.full_like(tried, t5.sentinel_id(k)) for k in (0, 1)]
    scores = ops.convert_to_numpy(score_targets(t5, np.stack([ends[0], tried, ends[1]], axis=-1), *encoded))  # [W, K]
    found: dict[str, None] = {}
    for index in np.argsort(-scores, axis=None, kind="stable"):
        place, piece = divmod(int(index), tried.shape[1])
        word = t5.detokenize([[int(tried[place, piece])]])[0].strip()
        variant = " ".join([*words[:place], word, *words[place + 1 :]])
        if word.lower() != words[place].lower():
            found.setdefault(variant)
        if len(found) == count:
            break
    return [Phrase(text, "filled") for text in found]


def _masked(words: list[str], place: int) -> str:
    return " ".join([*words[:place], "<extra_id_0>", *words[place + 1 :]])


def _whole_words(t5: FrozenT5) -> np.ndarray:
    """Return the ids of pieces that begin a word and have a letter or a digit, int64 [C]."""
    pieces = t5.text_pieces.pieces
    own = range(EOS_ID + 2, min(t5.tokenizer.vocabulary_size(), t5.vocabulary_size))
    names = ((index, str(pieces.id_to_piece(index))) for index in own if index not in t5.sentinel_pieces)
    return np.array([i for i, name in names if name.startswith(_WORD_START) and any(map(str.isalnum, name))], np.int64)


def _encoded(t5: FrozenT5, texts: list[str]) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the encoder output [B, T, H] of texts, and its mask."""
    rows = tf.ragged.constant([[*ids, EOS_ID] for ids in t5.tokenize(texts)], dtype=tf.int32)
    ids = rows.to_tensor()
    mask = tf.sequence_mask(rows.row_lengths(), dtype=tf.int32)
    return encode_embeddings(t5, t5.embed(ids), mask), mask


def _likeliest_pieces(
    t5: FrozenT5, encoded: tuple[tf.Tensor, tf.Tensor], pieces: np.ndarray, *, count: int
) -> np.ndarray:
    """Return the likeliest of these pieces behind `<extra_id_0>`, int64 [B, count] or fewer."""
    output, mask = encoded
    begun = np.repeat([[START_ID, t5.sentinel_id(0)]], len(mask), axis=0)
    logits = ops.convert_to_numpy(t5.logits(t5.decode(begun, output, mask)[:, -1]))[:, pieces]  # [B, C]
    return pieces[np.argsort(-logits, axis=1, kind="stable")[:, :count]]
