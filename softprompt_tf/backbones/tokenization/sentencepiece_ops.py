"""A SentencePiece model as TensorFlow ops that live as long as the process."""

import hashlib

import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow_text.python.ops import sentencepiece_tokenizer as tf_text_ops


class _SharedModel(tf_text_ops._SentencepieceModelResource):
    """A tokenizer's resource that no kernel owns.

    tf.text's own resource goes when TensorFlow drops its cached kernels, as `keras.utils.set_random_seed`, `tf.random.set_seed`
    and `keras.utils.clear_session` make it do; the tokenizer then fails with NotFoundError. A shared name keeps it
    (tensorflow_text 2.21, b/318839908 in `_SentencepieceModelResource`).
    """

    def _create_resource(self) -> tf.Tensor:
        name = f"sentencepiece_{hashlib.sha256(self._model).hexdigest()[:32]}"
        return tf_text_ops.gen_sentencepiece_tokenizer.sentencepiece_op(model=self._model, shared_name=name)


def sentencepiece_ops(model: bytes) -> tf_text.SentencepieceTokenizer:
    """Return the tokenizer of a serialized SentencePiece model, which gives int32 ids."""
    tokenizer = tf_text.SentencepieceTokenizer(model=model, out_type=tf.int32)
    tokenizer._model_resource = _SharedModel(model, None)
    return tokenizer
