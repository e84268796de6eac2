"""Bits per byte: how documents are cut, how bytes are counted, and the figure itself beside plain NumPy."""

import io
import math
import re

import numpy as np
import numpy_t5
import pytest
import sentencepiece
from tiny_t5 import SENTENCES, VOCABULARY_SIZE, make_tiny_t5, tiny_vocabulary

from softprompt_tf.errors import BackboneError, DataError
from softprompt_tf.pretraining.bits_per_byte import (
    BitsPerByte,
    MeasuredText,
    Window,
    bits_per_byte,
    cut_windows,
    measure_windows,
    piece_sizes,
)

pytestmark = pytest.mark.thorough

DOCUMENTS = [" and ".join(SENTENCES[:3]), " or ".join(SENTENCES[3:5])]


class LetterTokenizer:
    """One token a letter, with ids from 3 on; stands in for SentencePiece where only lengths matter."""

    def encode(self, text, out_type=int):
        return list(text) if out_type is str else [ord(letter) - ord("a") + 3 for letter in text]

    def is_byte(self, token_id):
        return False

    def piece_to_id(self, piece):
        return ord(piece) - ord("a") + 3


@pytest.fixture(scope="module")
def pieces():
    return sentencepiece.SentencePieceProcessor(model_proto=tiny_vocabulary())


@pytest.fixture(scope="module")
def byte_pieces():
    """A vocabulary with byte fallback."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=340,
        byte_fallback=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


# === Windows ===


def test_documents_are_cut_into_consecutive_windows_and_a_short_tail_is_left_out():
    documents = ["a" * 20 + "b" * 20 + "c" * 15, "d" * 15, "e" * 17]

    windows = cut_windows(documents, LetterTokenizer(), window=20)

    assert windows == [
        Window((3,) * 10, (3,) * 10, 10),
        Window((4,) * 10, (4,) * 10, 10),
        Window((7,) * 8, (7,) * 9, 9),  # 17 tokens: the odd one is a target
    ]


def test_tail_of_16_tokens_is_a_window():
    windows = cut_windows(["a" * 20 + "b" * 8 + "c" * 8], LetterTokenizer(), window=20)

    assert windows[1] == Window((4,) * 8, (5,) * 8, 8)


def test_context_is_the_share_that_is_given():
    (window,) = cut_windows(["abcdefghijklmnopqrst"], LetterTokenizer(), window=20, context=0.75)

    assert window == Window(tuple(range(3, 18)), tuple(range(18, 23)), 5)


@pytest.mark.parametrize("window", [15, 0])
def test_too_small_a_window_is_refused(window):
    with pytest.raises(DataError, match=rf"`window` must be at least 16 tokens\. Received: window={window}\."):
        cut_windows(["a" * 40], LetterTokenizer(), window=window)


@pytest.mark.parametrize("context", [0.0, 0.06, 1.0])
def test_context_out_of_range_is_refused(context):
    message = re.escape(f"`context` must be a share in [1/16, 1). Received: context={context}.")

    with pytest.raises(DataError, match=message):
        cut_windows(["a" * 40], LetterTokenizer(), context=context)


def test_documents_that_are_all_short_are_refused():
    with pytest.raises(DataError, match=r"at least 16 tokens\. Received: none that has\."):
        cut_windows(["a" * 15], LetterTokenizer())


# === Bytes ===


def test_space_mark_counts_one_byte(pieces):
    text = "the river"

    assert sum(piece_sizes(text, pieces)) == len(" the river")
    assert len(piece_sizes(text, pieces)) == len(pieces.encode(text))


def test_unknown_piece_counts_the_bytes_of_its_characters(pieces):
    # The space in front is a token; the six unknown characters of 3 + 3 + 2 + 2 + 4 + 3 bytes are one.
    text = "日本éß😀語"

    assert pieces.encode(text)[1:] == [pieces.unk_id()]
    assert piece_sizes(text, pieces) == [1, 17]


def test_bytes_are_those_of_the_normalized_text(pieces):
    # NFKC: the ligature of 3 bytes becomes "fi", the full-width letter of 3 bytes "a"; spaces are joined and cut.
    assert sum(piece_sizes("  \ufb01re   \uff41 ", pieces)) == len(" fire a")


def test_byte_pieces_count_one_byte_each(byte_pieces):
    ids = byte_pieces.encode("é日")
    is_byte = [byte_pieces.is_byte(i) for i in ids]

    assert is_byte == [False] + [True] * 5  # the space in front, then 2 and 3 bytes
    assert piece_sizes("é日", byte_pieces) == [1, 1, 1, 1, 1, 1]


# === The figure ===


def test_figures_follow_from_nats_by_hand():
    result = BitsPerByte.of(6 * math.log(2), num_tokens=2, num_bytes=12)

    assert result.bits_per_byte == pytest.approx(0.5)
    assert result.nats_per_token == pytest.approx(3 * math.log(2))


def test_uniform_model_needs_log2_of_the_vocabulary_per_token(pieces):
    t5 = make_tiny_t5()
    head = t5.backbone.token_embedding.reverse_embeddings
    head.assign(np.zeros(head.shape, "float32"))
    ids = pieces.encode(DOCUMENTS[1])[:64]
    target_bytes = len("".join(pieces.id_to_piece(i) for i in ids[len(ids) // 2 :]))  # ASCII: a character is a byte

    result = bits_per_byte(t5.backbone, pieces, [DOCUMENTS[1]], window=len(ids))

    num_targets = len(ids) - len(ids) // 2
    assert (result.num_tokens, result.num_bytes) == (num_targets, target_bytes)
    assert result.bits_per_byte == pytest.approx(num_targets * math.log2(VOCABULARY_SIZE) / target_bytes, rel=1e-6)
    assert result.nats_per_token == pytest.approx(math.log(VOCABULARY_SIZE), rel=1e-6)


def expected_nats(t5, windows):
    return numpy_t5.window_nats(numpy_t5.read_weights(t5.backbone), windows)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_nats_are_those_of_plain_numpy_for_every_batch_size(tiny_t5, pieces, batch_size):
    windows = [window for size in (24, 17) for window in cut_windows(DOCUMENTS, pieces, window=size)]
    assert {len(window.targets) for window in windows} == {12, 9}  # so that some rows are padded

    result = measure_windows(tiny_t5.backbone, pieces, windows, batch_size=batch_size)

    assert result.num_tokens == sum(len(window.targets) for window in windows)
    assert result.nats_per_token * result.num_tokens == pytest.approx(expected_nats(tiny_t5, windows), rel=1e-4)


def test_text_is_measured_with_the_weights_of_the_moment(pieces):
    t5 = make_tiny_t5()
    windows = cut_windows(DOCUMENTS, pieces, window=24)
    text = MeasuredText(t5.backbone, pieces, windows)
    before = text.measure()
    for weight in t5.backbone.weights:
        weight.assign(1.5 * weight)

    after = text.measure()

    assert after.nats_per_token != pytest.approx(before.nats_per_token, rel=1e-3)
    assert after.nats_per_token * after.num_tokens == pytest.approx(expected_nats(t5, windows), rel=1e-4)


def test_unknown_targets_are_foretold_as_unknown(tiny_t5, pieces):
    documents = [f"{SENTENCES[0]} 日本 {SENTENCES[1]} 日 é {SENTENCES[2]}"]
    windows = cut_windows(documents, pieces, window=1000, context=0.1)
    assert windows[0].targets.count(pieces.unk_id()) == 3

    result = bits_per_byte(tiny_t5.backbone, pieces, documents, window=1000, context=0.1)

    nats = expected_nats(tiny_t5, windows)
    normalized = " " + documents[0]
    given = len("".join(pieces.id_to_piece(i) for i in windows[0].context))  # ASCII
    assert result.num_bytes == len(normalized.encode("utf-8")) - given
    assert result.bits_per_byte == pytest.approx(nats / math.log(2) / result.num_bytes, rel=1e-4)


def test_bfloat16_is_near_float32(tiny_t5, pieces):
    exact = bits_per_byte(tiny_t5.backbone, pieces, DOCUMENTS)
    rounded = bits_per_byte(tiny_t5.backbone, pieces, DOCUMENTS, dtype="bfloat16")

    assert rounded.bits_per_byte == pytest.approx(exact.bits_per_byte, rel=0.05)
    assert rounded.bits_per_byte != exact.bits_per_byte


def test_tokenizer_of_another_backbone_is_refused(tiny_t5, byte_pieces):
    message = rf"The tokenizer must fit the backbone\. Received: {byte_pieces.get_piece_size()} pieces, 128 rows"

    with pytest.raises(BackboneError, match=message):
        bits_per_byte(tiny_t5.backbone, byte_pieces, DOCUMENTS)
