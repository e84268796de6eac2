"""Word lists as text: what a file means, what is refused, and that the shipped lists are what they were."""

import configparser
import hashlib
import json
from pathlib import Path

import pytest

from softprompt_tf.errors import DataError
from softprompt_tf.pretraining import question_words, sentiment_words, topic_words
from softprompt_tf.pretraining.word_lists import WORDS, line_lists, word_lists

TEXT = """
# Games, with and without a ball.
[ball games]
football tennis
  half-time\tn't

[others]
# by hand
chess
go, slowly
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "games.txt"


def digest(value):
    value = sorted(value) if isinstance(value, frozenset) else value
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def test_words_are_parted_by_blanks_and_keep_their_order(path):
    path.write_text(TEXT)

    lists = word_lists(path)

    assert list(lists.items()) == [
        ("ball games", ("football", "tennis", "half-time", "n't")),
        ("others", ("chess", "go,", "slowly")),
    ]


def test_lines_are_kept_whole(path):
    path.write_text(TEXT)

    assert line_lists(path)["others"] == ("chess", "go, slowly")


def test_line_ends_and_a_mark_of_byte_order_mean_nothing(path):
    path.write_bytes("\N{BYTE ORDER MARK}[naïve]\r\nchess café\r\n".encode())

    assert word_lists(path) == {"naïve": ("chess", "café")}


@pytest.mark.parametrize("read", [word_lists, line_lists])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chess\n[games]\ngo\n", r"must stand above its words. Received: 'chess' in .*games.txt:1\."),
        ("[games\ngo\n", r"alone in its line, in brackets.* Received: '\[games' in .*:1\."),
        ("[games] chess\n", r"alone in its line, in brackets.* Received: '\[games\] chess' in .*:1\."),
        ("\n[ ]\nchess\n", r"alone in its line, in brackets.* Received: '\[ \]' in .*:2\."),
        ("[a]\nchess\n[ a ]\ngo\n", r"a name of its own. Received: '\[ a \]' in .*:3\."),
        ("[a]\nchess # or go\n", r"A comment must have a line of its own. Received: 'chess # or go' in .*:2\."),
        ("[a]\nchess\n# x\nchess\n", r"stand once in its list.*'chess'. Received: 'chess' in .*:4\."),
        ("[a]\n# none\n[b]\ngo\n", r"every list a word. Received: \[a\] without words in .*games.txt\."),
        ("# nothing\n", r"must have a list.* Received: no list in .*games.txt\."),
    ],
    ids=["no name", "bracket", "behind a name", "blank name", "twice", "comment", "word twice", "no words", "empty"],
)
def test_broken_line_is_told_with_its_place(path, read, text, message):
    path.write_text(text)

    with pytest.raises(DataError, match=message):
        read(path)


def test_unreadable_file_is_told(path):
    with pytest.raises(DataError, match=r"must be a readable UTF-8 text. Received: .*games.txt"):
        word_lists(path)
    path.write_bytes(b"[a]\n\xff\n")
    with pytest.raises(DataError, match=r"must be a readable UTF-8 text. Received: .*games.txt: 'utf-8' codec"):
        word_lists(path)


# Recorded when the words were still written in Python: `mini` was pretrained on these, in this order.
RECORDED = {
    topic_words: {"TOPIC_NAMES": "31a580270a2da912", "TOPIC_WORDS": "f5cf656332c10bef"},
    sentiment_words: {
        "PRAISE_ADJECTIVES": "e3b68a1d8bc0571d",
        "PRAISE_NOUNS": "7c8142d176a82f70",
        "PRAISE_VERBS": "835a0e0654f88d56",
        "PRAISE": "f48525deb736c53b",
        "BLAME_ADJECTIVES": "900b635f50f77883",
        "BLAME_NOUNS": "272b74883f9dde0c",
        "BLAME_VERBS": "fc959ddd967cf30c",
        "BLAME": "cd65cb992938f27c",
        "NEGATIONS": "a8439f0412cb6e85",
    },
    question_words: {
        "KIND_NAMES": "59b2040cf1d2e1b7",
        "ASKED_NOUNS": "278a4d6423116fa5",
        "ASKED_FORMS": "fa1aa34fcff3895c",
    },
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in RECORDED.items() for name in names])
def test_shipped_lists_are_the_recorded_ones(module, name):
    assert digest(getattr(module, name)) == RECORDED[module][name]


def test_every_list_has_the_names_that_it_is_asked_under():
    assert set(topic_words.TOPIC_WORDS) <= set(topic_words.TOPIC_NAMES)
    assert {topic for _, topic in topic_words.OPENING_NOUNS} <= set(topic_words.TOPIC_NAMES)
    assert set(question_words.ASKED_FORMS) <= set(question_words.KIND_NAMES)
    assert {kind for _, kind in question_words.OPENING_WORDS} <= set(question_words.KIND_NAMES)
    asking = {kind for kind, forms in question_words.ASKED_FORMS.items() if any("{noun}" in form for form in forms)}
    assert asking == set(question_words.ASKED_NOUNS)


def test_no_file_of_words_is_left_unread():
    modules = (topic_words, sentiment_words, question_words)
    sources = "".join(module.__loader__.get_source(module.__name__) for module in modules)

    assert [file.name for file in WORDS.iterdir() if f'"{file.name}"' not in sources] == []


def test_a_wheel_holds_every_file_of_words():
    root = Path(__file__).parents[2]
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(root / "setup.cfg", encoding="utf-8")
    pattern = setup["options.package_data"]["softprompt_tf.pretraining"]

    assert sorted((root / "softprompt_tf" / "pretraining").glob(pattern)) == sorted(WORDS.iterdir())
