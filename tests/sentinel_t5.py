"""Tiny T5s with sentinels: past the pieces, as T5 has them, or as pieces of the vocabulary."""

import functools
import io

import keras
import keras_hub
import numpy as np
import numpy_t5
import sentencepiece
import tiny_t5

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.loading.built_layers import plain_backbone

NUM_ROWS = 224  # 120 pieces, 100 sentinels and four rows that nothing stands for
SENTINEL_0 = 219  # 120 + 99


def make_sentinel_t5(proto: bytes | None = None, *, num_rows: int = NUM_ROWS, sentinel: int = SENTINEL_0) -> FrozenT5:
    """Return a T5 whose answers mostly open with its sentinel 0, given its id, and hold it elsewhere too."""
    backbone = plain_backbone(
        vocabulary_size=num_rows,
        num_layers=1,
        num_heads=tiny_t5.NUM_HEADS,
        hidden_dim=tiny_t5.HIDDEN_DIM,
        intermediate_dim=tiny_t5.INTERMEDIATE_DIM,
        key_value_dim=tiny_t5.HEAD_DIM,
        dropout=0.0,
        activation=keras.saving.get_registered_object("keras_hub>gelu_approximate"),
        use_gated_activation=True,
        tie_embedding_weights=False,
    )
    tiny_t5._draw_weights(backbone, np.random.default_rng(0))
    _open_with(backbone, sentinel)
    tokenizer = keras_hub.models.T5Tokenizer(proto=proto or tiny_t5.tiny_vocabulary())
    return FrozenT5(backbone, tokenizer, name=f"sentinel-{sentinel}")


@functools.cache
def vocabulary_with_sentinels() -> bytes:
    """Return a SentencePiece model of 120 pieces, of which 3 and 4 are the sentinels 0 and 1."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(tiny_t5.SENTENCES),
        model_writer=model,
        vocab_size=tiny_t5.NUM_PIECES,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        user_defined_symbols=["<extra_id_0>", "<extra_id_1>"],
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _open_with(backbone: keras_hub.models.T5Backbone, sentinel: int) -> None:
    """Point the sentinel's column of the head at the decoder's first states, so that it is likely there above all."""
    weights = numpy_t5.read_weights(backbone)
    ids = np.random.default_rng(1).integers(3, 100, size=(8, 6))
    outputs = [numpy_t5.encode(weights, weights.table[row]) for row in ids]
    first = np.mean([numpy_t5.decode(weights, [numpy_t5.PAD_ID], output)[0] for output in outputs], axis=0)
    head = backbone.token_embedding.reverse_embeddings
    columns = head.numpy()
    columns[:, sentinel] = 1.2 * first
    head.assign(columns)
