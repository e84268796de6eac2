"""A T5 small enough for tests: a dtype and a seed enter, a `FrozenT5` with drawn weights and a trained vocabulary leaves."""

import functools
import io
from pathlib import Path

import keras
import keras_hub
import numpy as np
import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.loading.built_layers import plain_backbone

VOCABULARY_SIZE = 128
NUM_PIECES = 120  # fewer than the table's rows, as in the real T5
HIDDEN_DIM = 16
NUM_HEADS = 2
HEAD_DIM = 6  # not H / N
INTERMEDIATE_DIM = 32

SENTENCES = (
    "the old miller walks to the river before the sun is up",
    "a charming film with a slow and quiet ending",
    "the plot is thin and the jokes are tired",
    "nobody in the village had seen such a dull winter",
    "the actors play their parts with great joy",
    "a cold wind came over the hills from the north",
    "she wrote a long letter and never sent it",
    "the soup was warm, the bread was fresh, the talk was good",
    "seven boats left the harbour and six came back",
    "is the answer yes or no? nobody could say",
    "the doctor asked him how long he had slept",
    "it is a boring story told without any love",
    "we counted the apples twice and lost three of them",
    "the train to the coast leaves at nine in the morning",
    "positive words make a positive day",
    "negative numbers stand on the left of zero",
    "a good book is worth more than a bad chair",
    "the painter mixed blue with yellow and got green",
    "they sold the house and bought a smaller one",
    "the children ran down to the frozen lake",
    "every door in the hotel was painted red",
    "he plays the violin badly but with feeling",
    "the teacher read the first page aloud",
    "rain fell on the roof all night long",
    "a funny, clever and warm picture of family life",
    "the cook burned the cake and blamed the oven",
    "translate this line and keep its meaning",
    "the judge heard both sides and said nothing",
    "an awful mess of a film, loud and empty",
    "two brothers shared one bicycle for years",
    "the map showed a road where there was none",
    "stars are best seen far away from the city",
    "my grandmother grew beans, peas and onions",
    "the engine stopped in the middle of the bridge",
    "what a wonderful and moving performance",
    "the museum keeps its oldest coins in the cellar",
    "a thief took the clock but left the money",
    "it does not follow that the second claim is true",
    "the farmer sold his wheat at a fair price",
    "tomorrow the market opens one hour later",
)


# Piece, score and type of each; versions of SentencePiece train other ones, of which answers in tests would depend.
PIECES = Path(__file__).with_name("tiny_vocabulary.tsv")


@functools.cache
def tiny_vocabulary(num_pieces: int = NUM_PIECES) -> bytes:
    """Return a SentencePiece model in T5's layout for `SENTENCES`: the kept pieces, or for another number trained ones."""
    proto = ModelProto.FromString(_trained(num_pieces))
    if num_pieces == NUM_PIECES:
        lines = PIECES.read_text(encoding="utf-8").splitlines()
        for piece, line in zip(proto.pieces, lines, strict=True):
            text, score, kind = line.split("\t")
            piece.piece, piece.score, piece.type = text, float(score), int(kind)
    return proto.SerializeToString()


def _trained(num_pieces: int) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=num_pieces,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def make_tiny_t5(
    dtype: str = "float32", tie: bool = False, seed: int = 0, num_layers: int = 2, dropout: float = 0.0
) -> FrozenT5:
    """Return a T5 1.1 (with `tie` a T5 whose head is the scaled embedding table); one seed, one model in every dtype."""
    backbone = plain_backbone(
        vocabulary_size=VOCABULARY_SIZE,
        num_layers=num_layers,
        num_heads=NUM_HEADS,
        hidden_dim=HIDDEN_DIM,
        intermediate_dim=INTERMEDIATE_DIM,
        key_value_dim=HEAD_DIM,
        dropout=dropout,
        activation=keras.saving.get_registered_object("keras_hub>gelu_approximate"),
        use_gated_activation=True,
        tie_embedding_weights=tie,
        dtype=dtype,
    )
    _draw_weights(backbone, np.random.default_rng(seed))
    return FrozenT5(
        backbone, keras_hub.models.T5Tokenizer(proto=tiny_vocabulary()), name=f"tiny-{seed}-{num_layers}-layers"
    )


def _draw_weights(backbone: keras_hub.models.T5Backbone, generator: np.random.Generator) -> None:
    """Draw every weight so large that a wrong norm, bias or projection shows in the logits."""
    embedding = backbone.token_embedding
    for variable in backbone.weights:
        drawn = generator.normal(size=variable.shape)
        if variable is embedding.embeddings:
            value = drawn
        elif not embedding.tie_weights and variable is embedding.reverse_embeddings:
            value = drawn
            value[:, 1] *= 2.5  # so that answers end, some early and some late
        elif len(variable.shape) == 1:  # a layer norm
            value = 1.0 + 0.3 * drawn
        elif tuple(variable.shape) == (32, NUM_HEADS):  # a relative position bias
            value = 1.5 * drawn
        else:
            value = drawn * variable.shape[0] ** -0.5
        variable.assign(value.astype("float32"))
