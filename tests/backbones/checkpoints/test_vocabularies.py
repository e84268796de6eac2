"""Vocabularies: found beside a checkpoint, made for byT5, and made again from Hugging Face's tokenizer.json."""

import base64
import io
import json
import re

import google_writers
import pytest
import sentencepiece
import t5_models
from sentencepiece import sentencepiece_model_pb2
from tiny_t5 import SENTENCES, tiny_vocabulary

from softprompt_tf.backbones import load_t5
from softprompt_tf.backbones.checkpoints import find_vocabulary
from softprompt_tf.backbones.checkpoints.unigram_vocabulary import unigram_vocabulary
from softprompt_tf.backbones.tokenization.byte_vocabulary import byte_vocabulary
from softprompt_tf.backbones.tokenization.graph_tokenizer import make_graph_tokenizer
from softprompt_tf.backbones.tokenization.text_pieces import TextPieces
from softprompt_tf.errors import BackboneError

TEXTS = (
    *SENTENCES,
    "",
    " ",
    "two  spaces   and more ",
    " one in front",
    "tab\there",
    "new\nline\r\n\nand more",
    "ｆｕｌｌ　ｗｉｄｔｈ ＴＨＥ ｏｌｄ",
    "ﬁne ½ ² ™ Ⅷ",
    "café and cafe\u0301, Größe",
    "soft\u00adhyphen, no\u00a0break, zero\u200bwidth",
    "emoji 😀👍🏽 日本語",
    "</s> <pad> <unk> <0x41> <extra_id_0>",
    "▁under bar",
    "“quotes” — dashes…",
)
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def processor(proto):
    return sentencepiece.SentencePieceProcessor(model_proto=proto)


# === Bytes ===


@pytest.fixture(scope="module")
def byte_pieces():
    return processor(byte_vocabulary())


@pytest.fixture(scope="module")
def byte_graph_tokenizer():
    return make_graph_tokenizer(byte_vocabulary())


BYTE_TEXTS = pytest.mark.parametrize("text", [*TEXTS[len(SENTENCES) :], "\x00\x01\x7f", "\ufffd\ufeff"], ids=ascii)


@BYTE_TEXTS
def test_an_id_is_the_byte_and_three(byte_pieces, text):
    assert byte_pieces.encode(text) == [byte + 3 for byte in text.encode("utf-8")]


@BYTE_TEXTS
def test_an_id_is_the_byte_and_three_in_the_graph(byte_graph_tokenizer, text):
    assert byte_graph_tokenizer.tokenize(text).numpy().tolist() == [byte + 3 for byte in text.encode("utf-8")]


@BYTE_TEXTS
def test_bytes_come_back_as_the_text(byte_pieces, text):
    assert byte_pieces.decode([byte + 3 for byte in text.encode("utf-8")]) == text


def test_every_byte_is_a_piece_behind_the_special_ones(byte_pieces):
    assert len(byte_pieces) == 259
    assert [byte_pieces.id_to_piece(k) for k in (0, 1, 2, 3, 258)] == ["<pad>", "</s>", "<unk>", "<0x00>", "<0xFF>"]
    assert (byte_pieces.pad_id(), byte_pieces.eos_id(), byte_pieces.unk_id(), byte_pieces.bos_id()) == (0, 1, 2, -1)


def test_bytes_that_are_no_text_become_the_replacement_character(byte_pieces):
    assert byte_pieces.decode([0xFF + 3, ord("a") + 3]) == "\ufffda"


def test_a_byt5_directory_needs_no_vocabulary_file(tmp_path):
    directory = t5_models.write_model(tmp_path, "byt5")
    (directory / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')

    t5 = load_t5(directory)

    assert t5.tokenize(["Hé"]) == [[75, 198, 172]]  # 0x48, and 0xC3 0xA9
    assert t5.detokenize([[75, 198, 172, 1, 0]]) == ["Hé"]


# === tokenizer.json ===


def tokenizer_json(proto, *, num_sentinels=100, normalizer=None):
    """Return what transformers 5.23 writes of a SentencePiece model's pieces and normalizer, key for key."""
    pieces = processor(proto)
    model = sentencepiece_model_pb2.ModelProto.FromString(proto)
    vocabulary = [[pieces.id_to_piece(k), pieces.get_score(k)] for k in range(len(pieces))]
    vocabulary += [[f"<extra_id_{k}>", 0.0] for k in reversed(range(num_sentinels))]
    charsmap = base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()
    precompiled = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "normalizer": (normalizer or (lambda compiled: compiled))(precompiled),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]},
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": False},
    }


@pytest.fixture
def write_tokenizer(tmp_path):
    def write(content):
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


def test_a_tokenizer_json_gives_the_ids_of_the_vocabulary_it_was_made_from(write_tokenizer):
    again = processor(unigram_vocabulary(write_tokenizer(tokenizer_json(tiny_vocabulary()))))

    assert again.encode(list(TEXTS)) == processor(tiny_vocabulary()).encode(list(TEXTS))


def test_a_tokenizer_json_gives_these_ids_in_the_graph_too(write_tokenizer):
    again = make_graph_tokenizer(unigram_vocabulary(write_tokenizer(tokenizer_json(tiny_vocabulary()))))

    ids = again.tokenize(list(TEXTS)).to_list()

    assert ids == processor(tiny_vocabulary()).encode(list(TEXTS))


def test_full_width_letters_are_normalized_as_the_vocabulary_says(write_tokenizer):
    again = processor(unigram_vocabulary(write_tokenizer(tokenizer_json(tiny_vocabulary()))))

    assert again.encode("ｔｈｅ　ｒｉｖｅｒ") == again.encode("the river")
    assert 2 not in again.encode("ｔｈｅ　ｒｉｖｅｒ")


def test_texts_come_back_from_its_ids(write_tokenizer):
    again = processor(unigram_vocabulary(write_tokenizer(tokenizer_json(tiny_vocabulary()))))

    assert again.decode(again.encode(list(SENTENCES))) == list(SENTENCES)


def test_pieces_scores_and_special_ids_are_those_of_the_vocabulary(write_tokenizer):
    original = processor(tiny_vocabulary())

    again = processor(unigram_vocabulary(write_tokenizer(tokenizer_json(tiny_vocabulary()))))

    assert len(again) == len(original)  # without the sentinels
    for k in range(len(original)):
        assert again.id_to_piece(k) == original.id_to_piece(k)
        assert again.get_score(k) == original.get_score(k)
        assert again.is_control(k) == original.is_control(k)
        assert again.is_unknown(k) == original.is_unknown(k)
    special = (again.pad_id(), again.eos_id(), again.unk_id(), again.bos_id())
    assert special == (original.pad_id(), original.eos_id(), original.unk_id(), original.bos_id())


def test_a_sequence_of_normalizers_is_searched_for_the_compiled_one(write_tokenizer):
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    content = tokenizer_json(
        tiny_vocabulary(), normalizer=lambda compiled: {"type": "Sequence", "normalizers": [compiled, spaces]}
    )

    again = processor(unigram_vocabulary(write_tokenizer(content)))

    assert again.encode(list(TEXTS)) == processor(tiny_vocabulary()).encode(list(TEXTS))


@pytest.mark.parametrize("normalizer", [None, {"type": "Sequence", "normalizers": []}], ids=["none", "empty"])
def test_without_a_compiled_normalizer_nothing_is_normalized(write_tokenizer, normalizer):
    content = {**tokenizer_json(tiny_vocabulary()), "normalizer": normalizer}

    again = TextPieces(unigram_vocabulary(write_tokenizer(content)))

    assert 2 in again.encode(["ｔｈｅ"])[0]
    assert again.encode(list(SENTENCES)) == processor(tiny_vocabulary()).encode(list(SENTENCES))


def test_bytes_among_the_pieces_serve_unknown_characters(write_tokenizer):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=380,
        byte_fallback=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    original = processor(model.getvalue())
    assert original.encode("😀")[-4:] == [original.piece_to_id(f"<0x{byte:02X}>") for byte in "😀".encode()]

    again = processor(unigram_vocabulary(write_tokenizer(tokenizer_json(model.getvalue()))))

    assert again.encode(list(TEXTS)) == original.encode(list(TEXTS))


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ({"model": {"type": "BPE", "vocab": {"a": 0}}}, "model type 'BPE'"),
        ({"model": {"type": "WordPiece"}}, "model type 'WordPiece'"),
        ({"version": "1.0"}, "model type None"),
        ({"model": "unigram"}, "model type 'unigram'"),
    ],
)
def test_another_kind_of_tokenizer_is_refused(write_tokenizer, content, received):
    with pytest.raises(
        BackboneError, match=rf"tokenizer\.json must hold a Unigram tokenizer, .* Received: {received}\."
    ):
        unigram_vocabulary(write_tokenizer(content))


@pytest.mark.parametrize("vocabulary", [{"a": 0}, [["a"]], [["a", "high"]], [1, 2], None])
def test_pieces_without_scores_are_refused(write_tokenizer, vocabulary):
    path = write_tokenizer({"model": {"type": "Unigram", "vocab": vocabulary}})

    with pytest.raises(BackboneError, match=r"tokenizer\.json must hold pieces with their scores\. Received: .+"):
        unigram_vocabulary(path)


def test_a_tokenizer_json_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")

    with pytest.raises(BackboneError, match=r"tokenizer\.json must be a JSON file\. Received: Expecting"):
        unigram_vocabulary(tmp_path / "tokenizer.json")


# === Which one is taken ===


@pytest.mark.parametrize("name", ["spiece.model", "sentencepiece.model", "tokenizer.model", "vocabulary.spm"])
def test_a_sentencepiece_file_beside_the_weights_is_taken(tmp_path, name):
    (tmp_path / name).write_bytes(tiny_vocabulary())

    assert find_vocabulary(tmp_path) == tiny_vocabulary()


def test_a_sentencepiece_file_goes_before_tokenizer_json(tmp_path, write_tokenizer):
    write_tokenizer(tokenizer_json(tiny_vocabulary(60)))
    (tmp_path / "spiece.model").write_bytes(tiny_vocabulary())

    assert find_vocabulary(tmp_path) == tiny_vocabulary()


def test_tokenizer_json_serves_where_there_is_no_sentencepiece_file(tmp_path, write_tokenizer):
    write_tokenizer(tokenizer_json(tiny_vocabulary()))

    assert processor(find_vocabulary(tmp_path)).encode(SENTENCES[0]) == processor(tiny_vocabulary()).encode(
        SENTENCES[0]
    )


def test_the_file_that_is_named_goes_before_the_one_beside_the_weights(tmp_path):
    (tmp_path / "spiece.model").write_bytes(tiny_vocabulary())
    (tmp_path / "mine.spm").write_bytes(tiny_vocabulary(60))

    assert find_vocabulary(tmp_path, tmp_path / "mine.spm") == tiny_vocabulary(60)


def test_a_file_around_a_t5x_step_is_taken_and_one_around_another_directory_is_not(tmp_path):
    (tmp_path / "spiece.model").write_bytes(tiny_vocabulary())
    step = google_writers.write_t5x(tmp_path / "checkpoint_3", {})
    other = t5_models.write_model(tmp_path / "other", "byt5")

    assert find_vocabulary(step) == tiny_vocabulary()
    with pytest.raises(BackboneError, match="needs a vocabulary"):
        find_vocabulary(other)


def test_no_vocabulary_says_what_can_be_done(tmp_path):
    message = (
        r"A checkpoint needs a vocabulary: spiece\.model or tokenizer\.json beside it, or the path of a SentencePiece model "
        rf"\(`vocabulary=` in Python, `softprompt convert --vocabulary` .*Received: none in {re.escape(str(tmp_path))}\."
    )
    with pytest.raises(BackboneError, match=message):
        find_vocabulary(tmp_path)


@pytest.mark.parametrize("content", [b"", b"damaged", tiny_vocabulary()[:400]], ids=["empty", "text", "cut"])
def test_a_file_that_is_no_sentencepiece_model_is_refused(tmp_path, content):
    (tmp_path / "spiece.model").write_bytes(content)

    with pytest.raises(BackboneError, match=r"must be a SentencePiece model\. Received: .*spiece\.model") as error:
        find_vocabulary(tmp_path)
    assert "\n" not in str(error.value)


def test_a_named_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(
        BackboneError, match=r"The vocabulary must be a SentencePiece file\. Received: .*absent\.spm \("
    ):
        find_vocabulary(tmp_path, tmp_path / "absent.spm")


def test_another_order_of_special_pieces_is_refused(tmp_path):
    model = sentencepiece_model_pb2.ModelProto.FromString(tiny_vocabulary())
    model.pieces[0].piece, model.pieces[1].piece = "</s>", "<pad>"
    (tmp_path / "spiece.model").write_bytes(model.SerializeToString())

    message = r"must begin with <pad>, </s>, <unk>\. Received: .*spiece\.model, which begins with </s>, <pad>, <unk>\."
    with pytest.raises(BackboneError, match=message):
        find_vocabulary(tmp_path)


def test_more_pieces_than_rows_are_refused(tmp_path):
    directory = t5_models.write_model(tmp_path, "t5_1_0")
    (directory / "spiece.model").write_bytes(tiny_vocabulary(129))

    with pytest.raises(BackboneError, match=r"must fit the backbone\. Received: 129 pieces, 128 rows in the embedding"):
        load_t5(directory)
