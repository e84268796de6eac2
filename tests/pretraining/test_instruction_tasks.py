"""Every instruction task on texts whose answers are known from the tables below, not from the code under test.

Each document has a name of its own in each of its sentences, so that a row's text tells which document it came from.
All sentences are short enough to be drawn whole.
"""

import itertools
import re
from collections import Counter

import numpy as np
import pytest

from softprompt_tf.pretraining.corpus import Corpus
from softprompt_tf.pretraining.instruction_tasks import INSTRUCTION_TASKS, article_subject, draw_row, polarity
from softprompt_tf.pretraining.passages import PassageSource

# name -> (the article's opening behind the name, its subject, its definition)
ARTICLES = {
    "Borun": ("is a retired footballer from the north, who played for two clubs.", "sport", "a retired footballer"),
    "Calmeta": ("was a bank that lent to farmers.", "business", "a bank"),
    "Dervish Lane": ("is the third album of a quartet, made in one week.", "music", "the third album of a quartet"),
    "Etheline": ("is a species of moth, seen at dusk.", "science", "a species of moth"),
    "Fornwick": ("is a village on a hill which has one street.", "place", "a village on a hill"),
    "Gundred": ("was an officer of the guard, sent away twice.", "war", "an officer of the guard"),
    "Hesper": ("is one of the dishes of the coast, eaten cold.", "food", "dishes of the coast"),
    "Ixworth": ("is the word for an oath, used by two bakers.", None, "the word for an oath"),
}
MORE_OF_AN_ARTICLE = (
    "Little else is told of {}.",
    "Many letters mention {} by that name.",
    "Nobody wrote on {} later.",
)

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

# name -> (sentences, do they praise?)
REVIEWS = {
    "Ilford": (("Ilford cooked a delicious supper for us.", "The room at Ilford had a charming view."), True),
    "Jocelin": (("The road to Jocelin was dreadful.", "At Jocelin we met a cruel landlord."), False),
    "Kestrel": (("The soup at Kestrel was never good.", "Nobody thanked the cook of Kestrel."), False),
    "Lambert": (("There was not a dull evening with Lambert.", "Lambert told us splendid tales."), True),
    "Mowbray": (("Mowbray gave us no warm bed.", "We left Mowbray tired and sick."), False),
}

# what can be blanked out of the texts above and the letters below -> its kind
THINGS = {
    "1843": "year",
    "seven": "number",
    "Harker": "person",
    "Norwick": "place",
    "because the river had carried it off": "reason",
    "yesterday": "time",
    "two": "number",
    "Ilford": "place",
    "Kestrel": "place",
}
LETTERS = (
    "The mill of Oswald burned down, 1843 being a dry summer.",
    "Oswald had seven sons and a farm.",
    "It was Mr. Harker who told Oswald of the fire.",
    "He lived in Norwick with a cousin of Oswald.",
    "They could not find the bridge because the river had carried it off.",
    "Oswald saw the smoke only yesterday, they say.",
)

POSITIVE = {"positive", "good", "great", "happy", "pleasant", "praise", "like", "love"}
NEGATIVE = {"negative", "bad", "terrible", "sad", "unpleasant", "blame", "dislike", "hate"}
YES = {"yes", "true", "right", "correct", "agree", "same", "equal", "entailment"}
NO = {"no", "false", "wrong", "incorrect", "disagree", "different", "not equal", "not_entailment"}
ROWS_PER_TASK = 150


def article(name, opening):
    return " ".join([f"{name} {opening}", *(sentence.format(name) for sentence in MORE_OF_AN_ARTICLE)])


BOOKS = [f"The hall was dark and {name} sat alone. {question}" for name, (question, _) in QUESTIONS.items()]
BOOKS += [" ".join(LETTERS)]
DOCUMENTS = {
    "article": tuple(article(name, opening) for name, (opening, _, _) in ARTICLES.items()),
    "book": tuple(BOOKS),
    "speech": tuple(" ".join(sentences) for sentences, _ in REVIEWS.values()),
}
SENTENCES = [s for kind in DOCUMENTS.values() for text in kind for s in re.split(r"(?<=[.?])(?<!Mr\.) ", text)]


@pytest.fixture(scope="module")
def source():
    return PassageSource(Corpus(tuple(DOCUMENTS), tuple(DOCUMENTS.values())))


def rows_of(task, source):
    """Return the rows of the first seeds; those of passages that do not suit the task are left out."""
    make, _ = INSTRUCTION_TASKS[task]
    drawn = (make(source, np.random.default_rng(seed)) for seed in range(40 * ROWS_PER_TASK))
    rows = list(itertools.islice((row for row in drawn if row is not None), ROWS_PER_TASK))
    assert len(rows) == ROWS_PER_TASK
    return rows


def name_in(inputs, names):
    """Return the one of the names that the inputs mention."""
    (name,) = [name for name in names if name in inputs]
    return name


def blanked(text, word):
    return re.sub(rf"\b{re.escape(word)}\b", "___", text)


def is_from_the_corpus(text):
    return any(text in document for kind in DOCUMENTS.values() for document in kind)


# === Words ===


def test_missing_word_put_back_gives_the_original(source):
    for inputs, target in rows_of("missing_word", source):
        text = re.fullmatch(r"(?:Fill in the missing word:|Which word is missing\?|Complete the text:) (.*)", inputs)[1]

        assert "___" in text
        assert not re.search(rf"\b{target}\b", text)
        assert is_from_the_corpus(text.replace("___", target))


def test_chosen_word_is_offered_and_fits(source):
    for inputs, target in rows_of("choose_word", source):
        holding = [blanked(sentence, target) for sentence in SENTENCES if re.search(rf"\b{target}\b", sentence)]
        shown = [sentence for sentence in holding if sentence in inputs]
        instruction = re.sub("|".join(map(re.escape, shown)), "", inputs)

        assert shown
        assert re.search(rf"\b{target}\b", instruction)


def test_contains_word_tells_the_truth(source):
    answers = Counter()
    for inputs, target in rows_of("contains_word", source):
        yes, word, no, text = re.fullmatch(r"(.+?) if the text has (\w+), else (.+?): (.*)", inputs).groups()

        assert is_from_the_corpus(text)
        assert target == (yes if word in re.findall(r"\w+", text) else no)
        answers["yes" if target == yes else "no", "usual" if yes in YES else "drawn"] += 1
    assert len(answers) == 4
    assert min(answers.values()) > 0.1 * ROWS_PER_TASK


def test_first_and_last_words_are_those_of_the_text(source):
    for inputs, target in rows_of("first_words", source):
        side, count, text = re.fullmatch(r"The (first|last) (\d) words: (.*)", inputs).groups()
        words = text.split(" ")

        assert is_from_the_corpus(text)
        assert target.split(" ") == (words[: int(count)] if side == "first" else words[-int(count) :])


# === Texts ===


def test_texts_that_belong_together_stand_in_a_row(source):
    answers = Counter()
    word = "|".join(map(re.escape, YES | NO))
    for inputs, target in rows_of("goes_together", source):
        first, second = re.search(rf"first: (.*) second: (.*?)(?: (?:{word}), (?:{word})\?)?$", inputs).groups()
        answers[target in YES, is_from_the_corpus(f"{first} {second}")] += 1
        assert target in YES | NO
    # A second text drawn from anywhere may by chance be what follows, in a corpus as small as this one.
    assert answers[True, False] == 0
    assert answers[True, True] > 0.3 * ROWS_PER_TASK
    assert answers[False, False] > 0.3 * ROWS_PER_TASK
    assert answers[False, True] < 0.05 * ROWS_PER_TASK


def test_kind_of_text_is_that_of_its_document(source):
    for inputs, target in rows_of("kind_of_text", source):
        shown = [sentence for sentence in SENTENCES if sentence in inputs]

        assert any(shown[0] in document for document in DOCUMENTS[target])
        assert all(kind in inputs for kind in DOCUMENTS)


def test_subject_is_that_of_the_articles_opening(source):
    seen = set()
    for inputs, target in rows_of("subject", source):
        name = name_in(inputs, ARTICLES)
        instruction = re.sub("|".join(re.escape(sentence) for sentence in SENTENCES), "", inputs)

        assert target == ARTICLES[name][1]
        assert re.search(rf"\b{target}\b", instruction)
        seen.add(name)
    assert seen == {name for name, (_, subject, _) in ARTICLES.items() if subject}


def test_definition_is_the_articles_own(source):
    for inputs, target in rows_of("definition", source):
        name = name_in(inputs, ARTICLES)

        # The article before the noun is a word of the pattern that finds the definition.
        assert target == re.sub("^(?:an?|the) ", "", ARTICLES[name][2])
        assert inputs == f"What is {name}? {' '.join(sentence.format(name) for sentence in MORE_OF_AN_ARTICLE)}"


def test_question_asks_for_what_its_opening_says(source):
    hidden = 0
    for inputs, target in rows_of("question_kind", source):
        name = name_in(inputs, QUESTIONS)
        question, kind = QUESTIONS[name]
        is_hidden = question not in inputs
        rest = question.split(" ", 1)[1]

        assert target == kind
        assert not is_hidden or re.search(rf"___.*{re.escape(rest.split(' ', 2)[2])}", inputs)
        assert re.search(rf"\b{target}\b", inputs)
        hidden += is_hidden
    assert 0.2 * ROWS_PER_TASK < hidden < 0.6 * ROWS_PER_TASK


def test_feeling_is_that_of_the_review(source):
    blanks = 0
    for inputs, target in rows_of("feeling", source):
        praises = REVIEWS[name_in(inputs, REVIEWS)][1]

        assert target in (POSITIVE if praises else NEGATIVE)
        blanks += "___" in inputs
    assert 0.15 * ROWS_PER_TASK < blanks < 0.5 * ROWS_PER_TASK


def test_both_answers_of_a_feeling_are_offered(source):
    for inputs, target in rows_of("feeling", source):
        offered = set(re.findall(r"\w+", inputs))

        assert target in offered
        assert offered & POSITIVE
        assert offered & NEGATIVE


def test_blank_has_the_kind_of_what_stood_there(source):
    kinds = set()
    for inputs, target in rows_of("kind_of_blank", source):
        (missing,) = [
            thing for s in SENTENCES for thing in THINGS if blanked(s, thing) != s and blanked(s, thing) in inputs
        ]

        assert target == THINGS[missing]
        assert re.search(rf"\b{target}\b", inputs)
        kinds.add(target)
    assert kinds == set(THINGS.values())


# === What the tasks read from a text ===


@pytest.mark.parametrize("name", ARTICLES)
def test_article_subject_by_hand(name):
    assert article_subject(article(name, ARTICLES[name][0])) == ARTICLES[name][1]


def test_article_without_an_opening_has_no_subject():
    assert article_subject("Football! Football! The crowd went home early.") is None


POLARITIES = {
    "a good meal": (True, {1}),
    "a bad meal": (False, {1}),
    "a good and a bad meal": None,
    "a table and a chair": None,
    "not a good meal": (False, {2}),
    "never dull": (True, {1}),
    "not bad at all, but beautiful": (True, {1, 5}),
    "not bad, but beautiful": None,  # a no reaches three words far
    "no one was good": (False, {3}),
    "no one there was good": (True, {4}),
    "“Splendid!” he cried.": (True, {0}),
    "Good and not good": None,
}


@pytest.mark.parametrize(("text", "expected"), POLARITIES.items(), ids=POLARITIES)
def test_polarity_by_hand(text, expected):
    assert polarity(text.split()) == expected


# === The mixture of tasks ===


def test_every_task_is_drawn_by_its_weight(source):
    names = Counter(draw_row(source, np.random.default_rng(seed))[0] for seed in range(2000))

    # missing_word 1, subject 3.5 and kind_of_text 0.5 of 16.2 in all.
    assert sum(weight for _, weight in INSTRUCTION_TASKS.values()) == pytest.approx(16.2)
    assert set(names) == set(INSTRUCTION_TASKS)
    assert names["missing_word"] == pytest.approx(2000 * 1 / 16.2, rel=0.3)
    assert names["subject"] == pytest.approx(2000 * 3.5 / 16.2, rel=0.2)
    assert names["kind_of_text"] == pytest.approx(2000 * 0.5 / 16.2, rel=0.4)


def test_same_seed_gives_the_same_row(source):
    for seed in range(20):
        first, second = (draw_row(source, np.random.default_rng(seed)) for _ in range(2))

        assert first == second


def test_task_that_suits_no_passage_gives_way_to_first_words():
    source = PassageSource(Corpus(("book",), (("The hall was dark and the door stood open.",),)))

    names = {draw_row(source, np.random.default_rng(seed), attempts=2)[0] for seed in range(300)}

    # Neither articles nor questions, one sentence, no feeling; "choose_word" needs another text's word.
    assert names == {"missing_word", "choose_word", "contains_word", "kind_of_text", "first_words"}
