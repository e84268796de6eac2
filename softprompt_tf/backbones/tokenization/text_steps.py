"""Steps of other tools' tokenizers as TensorFlow ops: text to text, and text to words.

A step is a tuple of texts: ("replace", pattern, rewrite) in RE2's syntax, ("unicode", form) for NFC, NFD, NFKC or NFKD,
("lower",), and ("charsmap", base64) for a compiled map of characters as SentencePiece has it. A split is ("space", "always" or
"never") for Metaspace, and ("split", pattern, kept), where matches of `kept` become words of their own and others go.

Source: huggingface/tokenizers, `normalizers` and `pre_tokenizers`. TensorFlow's tables of Unicode are older: some hundred
characters of Unicode 9 and later stay as they are.
"""

import base64
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_text as tf_text

from softprompt_tf.backbones.tokenization.byte_vocabulary import byte_vocabulary
from softprompt_tf.backbones.tokenization.regex_split import regex_split
from softprompt_tf.backbones.tokenization.sentencepiece_ops import sentencepiece_ops

Rule = tuple[str, ...]
_NUM_SPECIAL = 3
_SIGMA = ("Σ", "σ")  # whose small form depends on its place in a word for TensorFlow, and does not for others


class TextSteps(tf.Module):
    """Steps that run one after the other on a string tensor of any shape."""

    def __init__(self, steps: Sequence[Rule]):
        super().__init__()
        self._steps = tuple(steps)
        self._charsmaps = {step[1]: _charsmap_ops(step[1]) for step in steps if step[0] == "charsmap"}

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        for name, *values in self._steps:
            if name == "replace":
                texts = tf.strings.regex_replace(texts, values[0], values[1])
            elif name == "unicode":
                texts = tf_text.normalize_utf8(texts, values[0])
            elif name == "lower":
                texts = tf.strings.lower(tf.strings.regex_replace(texts, *_SIGMA), encoding="utf-8")
            else:
                texts = _mapped(self._charsmaps[values[0]], texts)
        return texts


def split_words(texts: tf.Tensor, splits: Sequence[Rule]) -> tf.RaggedTensor:
    """Cut texts [N] into words [N, (W)]; a word is never empty."""
    words = tf.RaggedTensor.from_row_lengths(texts, tf.ones(tf.shape(texts), tf.int64))
    for name, *values in splits:
        flat = words.flat_values
        if name == "space":
            flat = tf.strings.regex_replace(flat, " ", "▁")
            if values[0] == "always":
                flat = tf.strings.regex_replace(flat, "(?s)^([^▁])", r"▁\1")
            pattern = kept = "▁[^▁]*"
        else:
            pattern, kept = values
        parts = regex_split(flat, f"(?s){pattern}", f"(?s){kept}" if kept else "")
        words = words.with_values(parts).merge_dims(1, 2)
    return words


def _charsmap_ops(charsmap: str) -> Any:
    """Return a tokenizer whose ids are the bytes of the mapped text."""
    return sentencepiece_ops(byte_vocabulary(base64.b64decode(charsmap)))


def _mapped(ops: Any, texts: tf.Tensor) -> tf.Tensor:
    characters = tf.constant([bytes([byte]) for byte in range(256)])
    ids = ops.tokenize(texts)  # [N, (bytes)]
    values = tf.gather(characters, ids.values - _NUM_SPECIAL)
    return tf.strings.unsorted_segment_join(values, ids.value_rowids(), ids.nrows())
