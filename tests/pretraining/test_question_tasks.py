"""Questions and what they ask for, by hand; and the forms and nouns that questions are made from."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest

from softprompt_tf.pretraining import question_tasks
from softprompt_tf.pretraining.corpus import Corpus
from softprompt_tf.pretraining.passages import PassageSource
from softprompt_tf.pretraining.question_tasks import made_question, question_kind
from softprompt_tf.pretraining.question_words import ASKED_FORMS, ASKED_NOUNS, KIND_NAMES, OPENING_WORDS

# name -> (a question, what it asks for)
QUESTIONS = {
    "Anselm": ("Who has seen the letter that Anselm wrote?", "person"),
    "Brandt": ("Where did the carriage leave Brandt that night?", "place"),
    "Cecily": ("When will the doctor visit Cecily again?", "time"),
    "Dorrit": ("But how long must Dorrit wait for us?", "time"),
    "Edmund": ("How many horses did Edmund bring along?", "number"),
    "Fanny": ("Why should Fanny believe such a story?", "reason"),
    "Gilbert": ("How did Gilbert open the iron door?", "manner"),
    "Hester": ("And what did Hester find below the stairs?", "thing"),
}
KINDS = {
    "Which king was it then?": "person",
    "Whose is the coat here?": "person",
    "WHO goes there so late?": "person",
    "What city lies to the north?": "place",
    "And where did he go?": "place",
    "What time is it now?": "time",
    "How often must I say it?": "time",
    "How fast does it go?": "number",
    "How much is the coat?": "number",
    "How come you are late?": "reason",
    "What for did he come?": "reason",
    "How is it done here?": "manner",
    "What lies in the box?": "thing",
    "“Where did you go?”": "place",
    "Who is that? Why do you ask?": "reason",  # the first one has too few words
    "Did you go there then?": None,
    "I know who did it all.": None,
    "Who is it?": None,
    f"Who {'very ' * 40}well knows?": None,
    "Whoever did such a thing?": None,
}
ROWS = 250


@pytest.fixture(scope="module")
def source(corpus):
    return PassageSource(corpus)


@pytest.fixture(scope="module")
def books():
    texts = tuple(f"The hall was dark and {name} sat alone. {text}" for name, (text, _) in QUESTIONS.items())
    return PassageSource(Corpus(("book",), (texts,)))


@pytest.fixture
def rows_without_instruction(monkeypatch):
    """Make the tasks return the bare question and the kind."""
    monkeypatch.setattr(question_tasks, "pose_named", lambda *_, right, text, **__: (text, right))


def source_of(*documents):
    return PassageSource(Corpus(("book",), (documents,)))


def rows_of(task, source, count=ROWS):
    drawn = (task(source, np.random.default_rng(seed)) for seed in itertools.count())
    return list(itertools.islice((row for row in drawn if row is not None), count))


# === Questions of books ===


@pytest.mark.usefixtures("rows_without_instruction")
@pytest.mark.parametrize(("question", "kind"), KINDS.items(), ids=[question[:30] for question in KINDS])
def test_question_kind_by_hand(question, kind):
    rows = [question_kind(source_of(question), np.random.default_rng(seed)) for seed in range(20)]

    assert {row[1] for row in rows if row} == ({kind} if kind else set())


def test_question_asks_for_what_its_opening_says(books):
    hidden = 0
    rows = rows_of(question_kind, books)
    for inputs, target in rows:
        # The noise around a question may hold names of others, but not so much of one.
        ((question, kind),) = [asked for asked in QUESTIONS.values() if asked[0].split(" ", 3)[3] in inputs]
        is_hidden = question not in inputs

        assert target in KIND_NAMES[kind]
        assert re.search(rf"\b{target}\b", inputs)
        assert not is_hidden or re.search(rf"___.*{re.escape(question.split(' ', 3)[3])}", inputs)
        hidden += is_hidden
    assert hidden / len(rows) == pytest.approx(0.4, abs=0.1)


@pytest.mark.usefixtures("rows_without_instruction")
def test_manner_and_thing_are_asked_for_less_often(books):
    kinds = Counter(kind for _, kind in rows_of(question_kind, books))

    # One document each of eight, two of them of time; 0.4 of manner and thing are kept.
    assert set(kinds) == {"person", "place", "time", "number", "reason", "manner", "thing"}
    assert kinds["manner"] + kinds["thing"] == pytest.approx(ROWS * 0.8 / 6.8, rel=0.4)


def test_corpus_without_books_gives_questions_of_its_own_kinds():
    source = PassageSource(Corpus(("speech",), (("Where did the carriage leave us?",),)))

    (row,) = rows_of(question_kind, source, count=1)

    assert row[1] in KIND_NAMES["place"]


# === Made questions ===


def pattern_of(form, kind):
    """Return the form as a pattern whose group 1 is what a passage filled in."""
    nouns = "|".join(re.escape(noun.replace("-", " ")) for noun in ASKED_NOUNS.get(kind, ()))
    pattern = re.escape(form).replace(re.escape("{letters}"), "[A-Z]{2,5}").replace(re.escape("{noun}"), f"(?:{nouns})")
    return pattern.replace(re.escape("{}"), "(.+)")


PATTERNS = [(kind, re.compile(pattern_of(form, kind))) for kind, forms in ASKED_FORMS.items() for form in forms]


def closest_kinds(question):
    """Return the kinds of the forms that leave the fewest letters of the question to the passage."""
    found = [(kind, pattern.fullmatch(question)) for kind, pattern in PATTERNS]
    filled = [(sum(map(len, match.groups())), kind) for kind, match in found if match]
    return {kind for length, kind in filled if length == min(filled)[0]}


@pytest.mark.usefixtures("rows_without_instruction")
def test_made_question_has_a_form_of_its_kind(source):
    kinds = Counter()
    for question, kind in rows_of(made_question, source):
        assert closest_kinds(re.sub(r" ([?.])$", r"\1", question)) == {kind}
        assert not re.search("[{}]", question)
        kinds[kind] += 1
    assert set(kinds) == set(ASKED_FORMS)
    assert min(kinds.values()) > 0.4 * ROWS / len(ASKED_FORMS)


@pytest.mark.usefixtures("rows_without_instruction")
def test_made_question_is_filled_with_one_to_nine_words_of_a_passage(source, corpus):
    text = " ".join(document for kind in corpus.documents for document in kind)
    bare = re.sub(r"[.]", "", text)
    lengths = Counter()
    for question, kind in rows_of(made_question, source):
        question = re.sub(r" ([?.])$", r"\1", question)
        matches = [pattern.fullmatch(question) for other, pattern in PATTERNS if other == kind]
        stretch = min((m[1] for m in matches if m and m.groups()), key=len, default="")

        # The letters of an abbreviation are drawn; no passage holds them.
        assert stretch in bare or (kind == "letters" and stretch.isupper())
        lengths[kind == "meaning", len(stretch.split())] += 1
    assert {length for is_meaning, length in lengths if is_meaning} == {1, 2, 3}
    assert max(length for _, length in lengths) == 9


@pytest.mark.usefixtures("rows_without_instruction")
def test_half_of_the_made_questions_have_a_space_before_the_end(source):
    rows = rows_of(made_question, source)

    assert all(re.search(r"\w ?[?.]$", question) for question, _ in rows)
    assert sum(bool(re.search(r" [?.]$", question)) for question, _ in rows) / len(rows) == pytest.approx(0.5, abs=0.1)


def test_made_question_offers_the_name_of_its_kind(source):
    names = {name for names in KIND_NAMES.values() for name in names}
    for inputs, target in rows_of(made_question, source, count=150):
        assert target in names
        assert re.search(rf"\b{target}\b", inputs)


@pytest.mark.usefixtures("rows_without_instruction")
def test_short_passage_fills_only_short_questions():
    drawn = [made_question(source_of("Harkers."), np.random.default_rng(seed)) for seed in range(100)]
    questions = [row[0] for row in drawn if row]

    assert 0 < len(questions) < 60
    assert all("Harkers" in question or re.search("[A-Z]{2}", question) for question in questions)


# === Word lists ===


def test_every_kind_has_names():
    assert set(ASKED_FORMS) == set(KIND_NAMES)
    assert {kind for _, kind in OPENING_WORDS} <= set(KIND_NAMES)


def test_nouns_are_asked_for_by_the_kinds_that_have_nouns():
    assert {kind for kind, forms in ASKED_FORMS.items() if any("{noun}" in form for form in forms)} == set(ASKED_NOUNS)


def test_every_form_is_filled_by_a_stretch_of_text_or_by_letters():
    for form in itertools.chain(*ASKED_FORMS.values()):
        assert form.count("{}") + form.count("{letters}") == 1
        assert form.count("{noun}") <= 1
        assert form[-1] in "?."


@pytest.mark.parametrize("lists", [KIND_NAMES, ASKED_NOUNS, ASKED_FORMS], ids=["names", "nouns", "forms"])
def test_no_kind_lists_a_word_twice(lists):
    for words in lists.values():
        assert len(set(words)) == len(words)


def test_no_noun_asks_for_two_kinds():
    counts = Counter(itertools.chain(*ASKED_NOUNS.values()))

    assert max(counts.values()) == 1


def test_no_form_without_a_noun_asks_for_two_kinds():
    counts = Counter(form for forms in ASKED_FORMS.values() for form in forms if "{noun}" not in form)

    assert max(counts.values()) == 1


def test_every_kind_can_be_asked_for_amid_six_others():
    for names in KIND_NAMES.values():
        assert sum(not set(names) & set(others) for others in KIND_NAMES.values()) >= 6
