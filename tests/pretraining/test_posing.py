"""The instruction around a text: its forms, the answers that it offers and the words that tasks draw."""

import re
from collections import Counter

import numpy as np
import pytest

from softprompt_tf.pretraining.corpus import Corpus
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.posing import (
    answer_pair,
    blank_out,
    draw_word,
    draw_words,
    pick,
    pose,
    pose_named,
    some_of,
)

# What an instruction with two options and the noise "noise one" can be -> how often it is.
FORMS = {
    r"Which\? (yes|no), (yes|no): Some text\.": 0.3,
    r"(yes|no), (yes|no): Some text\.": 0.25,
    r"(yes|no) (yes|no) Some text\.": 0.15,
    r"Which\? Some text\. (yes|no), (yes|no)\?": 0.15,
    r"(yes|no) (yes|no) noise one Some text\.": 0.15,
}
PAIRS = (("yes", "no"), ("true", "false"))

# "crimson" is a name of two kinds.
NAMES = {
    "red": ("red", "crimson", "scarlet"),
    "pink": ("pink", "crimson"),
    "blue": ("blue", "navy"),
    "black": ("black", "sable"),
    "white": ("white", "ivory"),
    "brown": ("brown", "umber"),
    "gold": ("gold", "amber"),
    "orange": ("orange", "ochre"),
    "purple": ("purple", "mauve"),
}
KIND_OF = {name: kind for kind, names in NAMES.items() if kind != "pink" for name in names}


def source_of(*documents):
    return PassageSource(Corpus(("book",), (documents,)))


def generators(count):
    return (np.random.default_rng(seed) for seed in range(count))


def named_row(source, rng, names=NAMES, right="red"):
    return pose_named(source, rng, questions=("Which colour?", "Colour:"), names=names, right=right, text="Text.")


@pytest.fixture(scope="module")
def source(corpus):
    return PassageSource(corpus)


# === Forms ===


def test_instruction_has_one_of_five_forms_each_as_often_as_meant():
    posed = [
        pose(rng, "Which?", ("yes", "no"), "Some text.", noise=("noise", "one")).strip() for rng in generators(2000)
    ]

    shares = {form: sum(bool(re.fullmatch(form, text)) for text in posed) / len(posed) for form in FORMS}

    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares == pytest.approx(FORMS, abs=0.04)


def test_instruction_without_noise_words_holds_question_options_and_text_alone():
    forms = [form for form in FORMS if "noise" not in form]

    for rng in generators(300):
        posed = pose(rng, "Which?", ("yes", "no"), "Some text.")

        assert any(re.fullmatch(form, posed) for form in forms)


def test_options_come_in_every_order():
    orders = Counter(
        tuple(re.findall(r"\b(?:aye|nay|maybe)\b", pose(rng, "Which?", ("aye", "nay", "maybe"), "Text.")))
        for rng in generators(600)
    )

    assert len(orders) == 6
    assert min(orders.values()) > 60


def test_same_generator_poses_the_same():
    posed = {pose(np.random.default_rng(7), "Which?", ("a", "b", "c"), "Text.", noise=("d",)) for _ in range(5)}

    assert len(posed) == 1


# === Kinds with names ===


def test_no_kind_that_shares_a_name_with_the_right_one_is_offered(source):
    for rng in generators(150):
        inputs, answer = named_row(source, rng)

        assert answer in NAMES["red"]
        assert not re.search(r"\bpink\b", inputs)
        assert len(re.findall(r"\b(?:red|crimson|scarlet)\b", inputs)) == 1


def test_one_to_six_other_kinds_are_offered_each_by_one_name(source):
    counts = Counter()
    for rng in generators(120):
        inputs, answer = named_row(source, rng)
        kinds = [KIND_OF[word] for word in re.findall(r"\w+", inputs) if word in KIND_OF and word != answer]

        assert len(kinds) == len(set(kinds))
        counts[len(kinds)] += 1
    assert set(counts) == {1, 2, 3, 4, 5, 6}


def test_plainest_name_is_the_answer_two_thirds_of_the_time(source):
    answers = Counter(named_row(source, rng)[1] for rng in generators(400))

    # Half the time at once, and once in three of the other half.
    assert answers["red"] / 400 == pytest.approx(2 / 3, abs=0.06)
    assert answers["crimson"] / 400 == pytest.approx(1 / 6, abs=0.06)


def test_name_that_two_other_kinds_share_is_offered_once(source):
    names = {"red": ("red",), "blue": ("navy",), "navy": ("navy",)}

    for rng in generators(100):
        inputs, answer = named_row(source, rng, names=names)

        assert answer == "red"
        assert inputs.count("navy") == 1


def test_noise_words_are_words_of_the_corpus(source, corpus):
    text = " ".join(document for kind in corpus.documents for document in kind)
    seen = set()
    for rng in generators(150):
        inputs, _ = named_row(source, rng)
        seen.update(re.findall(r"\w+", inputs))
    seen -= {*KIND_OF, "Which", "colour", "Colour", "Text"}

    assert len(seen) > 15
    assert seen <= set(re.findall(r"\w+", text))


# === Draws ===


def test_pick_takes_every_option():
    picked = Counter(pick(rng, ("one", "two", "three")) for rng in generators(300))

    assert set(picked) == {"one", "two", "three"}
    assert min(picked.values()) > 60


def test_some_of_holds_the_right_answer_and_one_to_most_others():
    others = ("b", "c", "d", "e")
    lengths = set()
    for rng in generators(200):
        first, *rest = some_of(rng, "a", others, most=3)

        assert first == "a"
        assert set(rest) <= set(others)
        assert len(rest) == len(set(rest))
        lengths.add(len(rest))
    assert lengths == {1, 2, 3}


def test_some_of_few_others_takes_no_more_than_there_are():
    assert {len(some_of(rng, "a", ("b",), most=5)) for rng in generators(50)} == {2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The old mill stood here.", {"mill", "stood", "here"}),
        ("McDonald ran", {"Donald"}),
        ("An ox is in it.", {None}),
        ("", {None}),
        ("NATO 1843", {None}),
    ],
    ids=["four letters or more", "capital inside", "short words", "nothing", "no small letters"],
)
def test_word_drawn_from_a_text_by_hand(text, words):
    assert {draw_word(text, rng) for rng in generators(60)} == words


def test_words_drawn_are_of_one_passage_and_at_most_count():
    source = source_of("Alpha bravo charlie delta. ", "Oscar papa quebec romeo sierra.")
    passages = ({"Alpha", "bravo", "charlie", "delta"}, {"Oscar", "papa", "quebec", "romeo", "sierra"})
    for rng in generators(60):
        words = draw_words(source, rng, count=3)

        assert len(set(words)) == 3
        assert any(set(words) <= passage for passage in passages)


def test_passage_of_short_words_gives_no_words():
    assert draw_words(source_of("An ox is in it."), np.random.default_rng(0), count=3) == []


@pytest.mark.parametrize(
    ("text", "word", "blanked"),
    [
        ("The cat saw a cat.", "cat", "The ___ saw a ___."),
        ("Concatenate the cats.", "cat", "Concatenate the cats."),
        ("Cat and cat", "cat", "Cat and ___"),
        ("a.c and axc", "a.c", "___ and axc"),
    ],
    ids=["every place", "not inside a word", "case tells", "no pattern"],
)
def test_blank_out_by_hand(text, word, blanked):
    assert blank_out(text, word) == blanked


def test_usual_answers_are_one_of_the_pairs(source):
    assert {answer_pair(source, rng, PAIRS, drawn=0.0) for rng in generators(60)} == set(PAIRS)


def test_drawn_answers_are_two_different_words_of_the_corpus(source, corpus):
    words = {w.lower() for kind in corpus.documents for text in kind for w in re.findall(r"\w+", text)}
    pairs = [pair for pair in (answer_pair(source, rng, PAIRS, drawn=1.0) for rng in generators(100)) if pair]

    assert len(pairs) > 80
    for first, second in pairs:
        assert first != second
        assert {first, second} <= words


def test_answers_are_drawn_as_often_as_asked_for(source):
    pairs = [answer_pair(source, rng, PAIRS, drawn=0.5) for rng in generators(400)]

    assert sum(pair in PAIRS for pair in pairs) / 400 == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("text", ["Same same, SAME Same.", "An ox is in it."], ids=["one word", "no word"])
def test_texts_without_two_words_give_no_answers(text):
    assert all(answer_pair(source_of(text), rng, PAIRS, drawn=1.0) is None for rng in generators(20))
