"""Texts to ids in Python and in the graph, as huggingface/tokenizers 0.23.3 did it (`tests/parity/record_tokens.py`)."""

import json
from pathlib import Path

import keras_hub
import pytest
import tensorflow as tf
import tokenizer_cases
from sentinel_t5 import make_sentinel_t5
from tiny_t5 import tiny_vocabulary

from softprompt_tf.backbones import FrozenT5
from softprompt_tf.backbones.checkpoints import find_vocabulary
from softprompt_tf.backbones.tokenization.byte_vocabulary import byte_vocabulary
from softprompt_tf.backbones.tokenization.text_pieces import TextPieces
from softprompt_tf.backbones.tokenization.text_rules import AddedToken, TextRules, rules_of, with_rules
from softprompt_tf.errors import BackboneError

pytestmark = pytest.mark.thorough

RECORDED = json.loads((Path(tokenizer_cases.__file__).parent / "recorded" / "tokens.json").read_text(encoding="utf-8"))
CASES = pytest.mark.parametrize("case", tokenizer_cases.CASES)
NUM_ROWS = 224


@pytest.fixture
def write(tmp_path):
    """A function: a `tokenizer.json` as a dictionary, changed, to the vocabulary that is read of it."""

    def write(case, **changes):
        content = {**tokenizer_cases.tokenizer_json(case, RECORDED["pieces"]), **changes}
        (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
        return find_vocabulary(tmp_path)

    return write


@CASES
def test_python_and_the_graph_make_the_recorded_ids(write, case):
    pieces = TextPieces(write(case), num_rows=NUM_ROWS)
    expected = dict(zip(tokenizer_cases.TEXTS, RECORDED["cases"][case]["ids"], strict=True))

    in_python = pieces.encode(tokenizer_cases.TEXTS)
    in_graph = pieces.graph.tokenize(tf.constant(tokenizer_cases.TEXTS)).to_list()

    assert dict(zip(tokenizer_cases.TEXTS, in_python, strict=True)) == expected
    assert dict(zip(tokenizer_cases.TEXTS, in_graph, strict=True)) == expected


@CASES
def test_a_text_does_not_end_at_a_nul_character(write, case):
    pieces = TextPieces(write(case), num_rows=NUM_ROWS)

    (ids,) = pieces.graph.tokenize(tf.constant(["the\0 rain"])).to_list()

    assert ids[-1] == pieces.encode(["rain"])[0][-1]
    assert pieces.encode(["the\0 rain"]) == [ids]


@CASES
def test_words_and_added_tokens_come_back_as_recorded(write, case):
    pieces = TextPieces(write(case), num_rows=NUM_ROWS)
    hidden = {
        2,
        pieces.id_of("<extra_id_0>"),
    }  # what tokenizers writes of unknown pieces and sentinels is not an answer
    recorded = RECORDED["cases"][case]
    rows = [(ids, text) for ids, text in zip(recorded["ids"], recorded["texts"], strict=True) if not hidden & {*ids}]
    rows = [(ids, text) for ids, text in rows if 1 not in ids and ids]

    in_python = [pieces.decode(ids) for ids, _ in rows]
    in_graph = pieces.graph.detokenize(tf.ragged.constant([ids for ids, _ in rows], tf.int32)).numpy()

    assert rows
    assert in_python == [text for _, text in rows]
    assert [text.decode() for text in in_graph] == in_python


@pytest.mark.parametrize("case", ["plain", "tokenizers_own", "lower_case"])
def test_rules_travel_in_a_saved_model(write, case, tmp_path):
    module = tf.Module()
    module.tokenizer = TextPieces(write(case), num_rows=NUM_ROWS).graph
    tokenize = tf.function(
        lambda text: {"ids": module.tokenizer.tokenize(text).to_tensor(-1)},
        input_signature=[tf.TensorSpec([None], tf.string, "text")],
    )
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": tokenize})

    loaded = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]

    ids = loaded(text=tf.constant(tokenizer_cases.TEXTS))["ids"].numpy().tolist()
    assert [[i for i in row if i >= 0] for row in ids] == RECORDED["cases"][case]["ids"]
    assert "PyFunc" not in str(loaded.graph.as_graph_def())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer": {"type": "BertNormalizer"}}, r"`normalizer` of .*tokenizer\.json .*Received: BertNormalizer"),
        ({"normalizer": {"type": "ByteLevel"}}, "Received: ByteLevel"),
        (
            {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a|b)"}, "content": ""}},
            r"Replace of the pattern \{'Regex': '\(a\|b\)'\}",
        ),
        ({"pre_tokenizer": {"type": "ByteLevel"}}, r"`pre_tokenizer` .* Received: ByteLevel, without one Metaspace"),
        ({"pre_tokenizer": None}, "Received: nothing, without one Metaspace"),
        (
            {
                "pre_tokenizer": {
                    "type": "Sequence",
                    "pretokenizers": [{"type": "UnicodeScripts"}, tokenizer_cases.METASPACE],
                }
            },
            "Received: UnicodeScripts",
        ),
        (
            {
                "pre_tokenizer": {
                    "type": "Sequence",
                    "pretokenizers": [tokenizer_cases.FIRST, {"type": "Punctuation", "behavior": "Isolated"}],
                }
            },
            "prepend_scheme 'first' beside other steps",
        ),
        (
            {"pre_tokenizer": {**tokenizer_cases.METASPACE, "split": False}},
            "Metaspace with split: false",
        ),
    ],
)
def test_a_step_that_no_graph_can_run_is_refused_by_its_name(write, changes, message):
    with pytest.raises(BackboneError, match=message):
        write("plain", **changes)


@pytest.mark.parametrize(
    ("case", "properties", "message"),
    [
        ("plain", {"single_word": True}, "'<ORG>' in .*single_word"),
        ("lower_case", {"normalized": True}, "'<ORG>' in .*normalized"),
        ("plain", {"id": "many"}, "must have a text and an id"),
    ],
)
def test_an_added_token_that_no_graph_can_find_is_refused_by_its_text(write, case, properties, message):
    tokens = tokenizer_cases.added("<ORG>")
    tokens[-1] |= properties

    with pytest.raises(BackboneError, match=message):
        write(case, added_tokens=tokens)


def test_an_added_token_without_a_row_is_refused(write):
    vocabulary = write("plain", added_tokens=tokenizer_cases.added("<ORG>", first_id=300))

    with pytest.raises(
        BackboneError, match=r"row in the embedding table\. Received: '<ORG>' with id 300, and 224 rows"
    ):
        TextPieces(vocabulary, num_rows=NUM_ROWS)


# === SentencePiece files ===


def write_directory(tmp_path, **files):
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    (tmp_path / "spiece.model").write_bytes(tiny_vocabulary())
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return TextPieces(find_vocabulary(tmp_path), num_rows=NUM_ROWS)


def test_special_pieces_and_sentinels_in_a_text_are_one_id_each(tmp_path):
    pieces = write_directory(tmp_path)
    the, a = pieces.encode(["the", "a"])

    texts = ["<extra_id_0> the</s>", "the <extra_id_99>a<pad><unk>", "<extra_id_100>"]
    first, second, third = pieces.encode(texts)

    assert first == [219, *the, 1]
    assert second == [*the, 120, *a, 0, 2]
    assert len(third) > 3  # there are 100
    assert pieces.graph.tokenize(texts).to_list() == [first, second, third]


def test_a_sentinel_is_found_in_one_space_and_in_none(tmp_path):
    pieces = write_directory(tmp_path)

    rows = pieces.encode(["the<extra_id_1>river", "the <extra_id_1> river", "the  <extra_id_1>\triver"])

    assert rows[0] == rows[1] == rows[2]


@pytest.mark.parametrize(
    "files",
    [
        {"added_tokens": {"<ORG>": 220}},
        {"tokenizer_config": {"added_tokens_decoder": {"220": {"content": "<ORG>", "lstrip": True}}}},
        {"tokenizer_config": {"additional_special_tokens": ["<extra_id_0>", "<ORG>"]}},
        {"tokenizer_config": {"extra_special_tokens": {"org_token": "<ORG>"}, "mask_token": None}},
        {"special_tokens_map": {"sep_token": {"content": "<ORG>", "lstrip": True}, "eos_token": "</s>"}},
    ],
)
def test_tokens_added_beside_a_sentencepiece_file_are_read(tmp_path, files):
    pieces = write_directory(tmp_path, **files)

    (ids,) = pieces.encode(["the <ORG>"])

    assert ids == [*pieces.encode(["the"])[0], 220]
    assert pieces.decode(ids) == "the<ORG>"
    assert pieces.answer_tokens == (220,)


def test_special_tokens_without_ids_get_the_next_ones_as_in_transformers(tmp_path):
    # What transformers 5.23 makes of these files; 4 is the word, 19 the piece "er".
    files = {
        "tokenizer_config": {"additional_special_tokens": ["<ORG>"], "mask_token": "[MASK]", "cls_token": "er"},
        "added_tokens": {"<new>": 220},
    }

    pieces = write_directory(tmp_path, **files)

    assert pieces.encode(["<ORG>[MASK] the<new>er"]) == [[222, 221, 4, 220, 19]]


def test_extra_ids_of_the_config_are_the_sentinels(tmp_path):
    pieces = write_directory(tmp_path, tokenizer_config={"extra_ids": 2})

    assert pieces.encode(["<extra_id_0>", "<extra_id_1>"]) == [[121], [120]]
    assert pieces.id_of("<extra_id_2>") is None


def test_the_tokenizer_json_beside_a_sentencepiece_file_says_what_happens_to_a_text(tmp_path):
    content = tokenizer_cases.tokenizer_json("tokenizers_own", RECORDED["pieces"])

    pieces = write_directory(tmp_path, tokenizer=content)

    assert pieces.encode(tokenizer_cases.TEXTS) == RECORDED["cases"]["tokenizers_own"]["ids"]


def test_a_vocabulary_without_added_tokens_is_one_op():
    pieces = TextPieces(tiny_vocabulary(), num_rows=128)

    function = tf.function(lambda texts: pieces.graph.tokenize(texts).values)
    graph = function.get_concrete_function(tf.TensorSpec([None], tf.string)).graph

    assert pieces.model == tiny_vocabulary()
    assert not {"StaticRegexReplace", "GatherV2", "SelectV2"} & {operation.type for operation in graph.get_operations()}


def test_sentinels_alone_take_one_op_more():
    pieces = make_sentinel_t5().text_pieces

    function = tf.function(lambda texts: pieces.graph.tokenize(texts).values)
    graph = function.get_concrete_function(tf.TensorSpec([None], tf.string)).graph

    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("StaticRegexReplace") == 1
    assert "GatherV2" not in kinds


def test_sentinels_in_a_text_are_those_that_targets_open_with():
    t5 = make_sentinel_t5()

    (ids,) = t5.tokenize(["the <extra_id_0> river"])

    assert ids == [*t5.tokenize(["the"])[0], t5.sentinel_id(0), *t5.tokenize(["river"])[0]]
    assert t5.detokenize([ids]) == ["the river"]


# === What carries the rules ===


def test_rules_come_back_from_the_model():
    rules = TextRules((AddedToken("<ORG>", 220, True),), (("lower",),), (("space", "always"),), begins_again=False)

    assert rules_of(with_rules(tiny_vocabulary(), rules)) == rules
    assert rules_of(with_rules(with_rules(tiny_vocabulary(), TextRules()), rules)) == rules
    assert rules_of(tiny_vocabulary()) is None


def test_an_added_token_changes_the_fingerprint_and_the_sentinels_do_not(tiny_t5):
    def fingerprint(*added):
        proto = with_rules(tiny_vocabulary(), TextRules(added))
        return FrozenT5(tiny_t5.backbone, keras_hub.models.T5Tokenizer(proto=proto), name="x").tokenizer_fingerprint

    assert fingerprint() == fingerprint(AddedToken("</s>", 1), AddedToken("<extra_id_99>", 120))
    assert fingerprint() == tiny_t5.tokenizer_fingerprint
    assert fingerprint(AddedToken("<ORG>", 121)) != fingerprint()


def test_a_preset_keeps_added_tokens(tiny_t5, tmp_path):
    tokenizer = keras_hub.models.T5Tokenizer(
        proto=with_rules(tiny_vocabulary(), TextRules((AddedToken("<ORG>", 121),)))
    )
    tiny_t5.backbone.save_to_preset(str(tmp_path))
    tokenizer.save_to_preset(str(tmp_path))

    again = keras_hub.models.T5Tokenizer.from_preset(str(tmp_path))

    assert TextPieces(again.proto, num_rows=128).encode(["<ORG>"]) == [[121]]


# === byT5 ===


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\xf3b", "ab"),
        (b"\xe2\x82", ""),
        (b"\xc3\xb3", "ó"),
        (b"\xf0\x9f\x98\x80\xff", "😀"),
        (b"\xed\xa0\x80x", "x"),
    ],
)
def test_bytes_that_are_no_text_are_left_out(data, text):
    pieces = TextPieces(byte_vocabulary())
    ids = [byte + 3 for byte in data]

    assert data.decode("utf-8", errors="ignore") == text
    assert pieces.decode(ids) == text
    assert pieces.graph.detokenize(tf.ragged.constant([ids], tf.int32)).numpy().tolist() == [text.encode()]


def test_byt5s_sentinels_in_a_text_are_those_of_transformers(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    pieces = TextPieces(find_vocabulary(tmp_path), num_rows=384)

    # transformers 5.24, ByT5Tokenizer
    expected = {
        "a <extra_id_0> b": [100, 35, 259, 35, 101],
        "hi </s> x": [107, 108, 1, 123],
        "é<extra_id_124>": [198, 172, 383],
    }
    assert pieces.encode(list(expected)) == list(expected.values())
    assert pieces.graph.tokenize(list(expected)).to_list() == list(expected.values())
