"""The instruction tasks on texts whose answers are known from the tables below, and the mixture that they are drawn from.

All sentences are short enough to be drawn whole.
"""

import hashlib
import itertools
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from softprompt_tf.pretraining import article_tasks, instruction_tasks, posing, sentiment_tasks
from softprompt_tf.pretraining.corpus import Corpus
from softprompt_tf.pretraining.instruction_tasks import BLANKED_KINDS, INSTRUCTION_TASKS, draw_row
from softprompt_tf.pretraining.passages import PassageSource

ARTICLES = (
    "Borun is a retired footballer from the north, who played for two clubs. Little is told of Borun. Many letters "
    "mention Borun by that name. Nobody wrote on Borun later.",
    "Calmeta was a bank that lent to farmers. The tall Calmeta stood empty. It sold its ships and its trains. Its "
    "ledgers burned quickly.",
    "Fornwick is a village on a hill which has one street. Hens cross there. The bridge was carried off by a tram. "
    "Its baker left.",
)
BOOKS = (
    "The hall was dark and Anselm sat alone. Who has seen the letter that Anselm wrote?",
    "The door was open and Brandt came in. Where did the carriage leave Brandt that night?",
    "The mill of Oswald burned down, 1843 being a dry summer. Oswald had seven sons and a farm. It was Mr. Harker who "
    "told Oswald of the fire. He lived in Norwick with a cousin of Oswald. They could not find the ferry because the "
    "river had carried it off. Oswald saw the smoke only yesterday, they say.",
)
SPEECHES = (
    "The cook gave us a delicious supper. The room had a charming view.",
    "The road to the inn was dreadful. At the inn we met a cruel landlord.",
)
DOCUMENTS = {"article": ARTICLES, "book": BOOKS, "speech": SPEECHES}
SENTENCES = [s for kind in DOCUMENTS.values() for text in kind for s in re.split(r"(?<=[.?])(?<!Mr\.) ", text)]

# what can be blanked out of the texts above -> its kind
THINGS = {
    "1843": "year",
    "seven": "number",
    "Harker": "person",
    "Norwick": "place",
    "because the river had carried it off": "reason",
    "yesterday": "time",
    "two": "number",
}

YES = {"yes", "true", "right", "correct", "agree", "same", "equal", "entailment"}
NO = {"no", "false", "wrong", "incorrect", "disagree", "different", "not equal", "not_entailment"}
TASKS_WITHOUT_OPTIONS = {"missing_word", "contains_word", "definition", "first_words"}
ROWS = 100


@pytest.fixture(scope="module")
def source():
    return PassageSource(Corpus(tuple(DOCUMENTS), tuple(DOCUMENTS.values())))


def rows_of(task, source, count=ROWS):
    """Return the rows of the first seeds; those of passages that do not suit the task are left out."""
    make, _ = INSTRUCTION_TASKS[task]
    drawn = (make(source, np.random.default_rng(seed)) for seed in range(60 * count))
    rows = list(itertools.islice((row for row in drawn if row is not None), count))
    assert len(rows) == count
    return rows


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
    assert min(answers.values()) > 0.1 * ROWS


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
    assert answers[True, True] > 0.3 * ROWS
    assert answers[False, False] > 0.25 * ROWS
    assert answers[False, True] < 0.15 * ROWS


def test_kind_of_text_is_that_of_its_document(source):
    for inputs, target in rows_of("kind_of_text", source):
        shown = [sentence for sentence in SENTENCES if sentence in inputs]

        assert any(shown[0] in document for document in DOCUMENTS[target])
        assert all(kind in inputs for kind in DOCUMENTS)


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


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("place", "They met in Norwick.", "Norwick"),
        ("place", "They met in June.", None),
        ("place", "They met in October and left from March on.", None),
        ("place", "They met in Junewick.", "Junewick"),
        ("place", "They came from Norwick.", "Norwick"),
        ("place", "They met in August 1843.", None),
        ("time", "They met in June.", "June"),
        ("year", "They met in 1843.", "1843"),
        ("year", "They met in 1243.", None),
        ("number", "They met in 1843.", None),
        ("number", "There were 12 of them.", "12"),
        ("person", "She saw Lady Agnes there.", "Agnes"),
        ("person", "She saw a lady there.", None),
        ("reason", "He left because it rained, they say.", "because it rained"),
    ],
)
def test_thing_to_blank_out_by_hand(kind, text, found):
    match = re.search(BLANKED_KINDS[kind], text)

    assert (match and match[0]) == found


# === What was drawn before ===

# task -> digest of what it makes of the texts above with seeds 0 to 499; recorded when the words were still in Python.
RECORDED = {
    "missing_word": "021bfbeaae64a33d",
    "choose_word": "6bcd43ca4cfb90af",
    "contains_word": "3ee1481c625b0f38",
    "goes_together": "6f9646d03605860d",
    "kind_of_text": "849618c1a77272c1",
    "kind_of_blank": "4d247d74a5c37407",
    "first_words": "a754135a527dcaee",
    "subject": "358dce0571003456",
    "definition": "95e939d4cbe40eb3",
    "choose_definition": "d6e1521f8baf56da",
    "related_word": "763c4fe5a14aaeed",
    "topic_of_passage": "419c11c24248f4a5",
    "topic_words": "62e68f0e74eaea02",
    "question_kind": "58c90bd7d6b1b448",
    "made_question": "cdf23e8712c20df1",
    "feeling": "0447f0232b4ca503",
    "remark": "9b35da3cd6fd3f46",
}


def digest(rows):
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


@pytest.mark.parametrize("task", INSTRUCTION_TASKS)
def test_task_draws_the_recorded_rows(task, source):
    make, _ = INSTRUCTION_TASKS[task]

    assert digest([make(source, np.random.default_rng(seed)) for seed in range(500)]).startswith(RECORDED[task])


def test_mixture_draws_the_recorded_rows(source):
    rows = [draw_row(source, np.random.default_rng(seed)) for seed in range(1000)]

    assert digest(rows) == "b7d534321c235905064b3e31faa7988788b3ab1e8a43b4bb236ab503dc1e94e6"


# === The mixture of tasks ===


@pytest.fixture
def offered(monkeypatch):
    """Note the options of every instruction that the tasks pose."""
    noted = []
    pose = posing.pose

    def noting(rng, question, options, text, *, noise=()):
        noted.append(list(options))
        return pose(rng, question, options, text, noise=noise)

    for module in (posing, instruction_tasks, article_tasks, sentiment_tasks):
        monkeypatch.setattr(module, "pose", noting)
    return noted


@pytest.mark.parametrize("task", INSTRUCTION_TASKS)
def test_answer_stands_once_among_the_options_that_are_offered(task, source, offered):
    rows = rows_of(task, source, count=30)

    assert len(offered) == (0 if task in TASKS_WITHOUT_OPTIONS else len(rows))
    for (inputs, target), options in zip(rows, offered, strict=False):
        assert options.count(target) == 1
        assert len(options) > 1
        assert all(option in inputs for option in options)


@pytest.mark.parametrize("task", INSTRUCTION_TASKS)
def test_no_row_is_empty(task, source):
    for inputs, target in rows_of(task, source, count=10):
        assert inputs.strip()
        assert target.strip()


def test_every_task_is_drawn_by_its_weight(source):
    names = Counter(draw_row(source, np.random.default_rng(seed))[0] for seed in range(1000))

    # missing_word 1, subject 2 and feeling 2.5 of 21.3 in all.
    assert sum(weight for _, weight in INSTRUCTION_TASKS.values()) == pytest.approx(21.3)
    assert set(names) == set(INSTRUCTION_TASKS)
    assert names["missing_word"] == pytest.approx(1000 * 1 / 21.3, rel=0.4)
    assert names["subject"] == pytest.approx(1000 * 2 / 21.3, rel=0.3)
    assert names["feeling"] == pytest.approx(1000 * 2.5 / 21.3, rel=0.3)


def test_row_is_a_pure_function_of_the_generator(corpus):
    forwards = [draw_row(PassageSource(corpus), np.random.default_rng(seed)) for seed in range(60)]
    source = PassageSource(corpus)
    backwards = [draw_row(source, np.random.default_rng(seed)) for seed in reversed(range(60))]

    assert backwards[::-1] == forwards
    assert len(set(forwards)) == 60


def test_rows_of_one_generator_go_on_as_its_state_says(source):
    rng = np.random.default_rng(3)
    draw_row(source, rng)
    other = np.random.default_rng(0)
    other.bit_generator.state = rng.bit_generator.state

    assert [draw_row(source, rng) for _ in range(5)] == [draw_row(source, other) for _ in range(5)]


def test_task_is_tried_as_often_as_asked_for_before_first_words(source, monkeypatch):
    tried = []
    monkeypatch.setattr(instruction_tasks, "INSTRUCTION_TASKS", {"hard": (lambda *_: tried.append(1), 1.0)})

    name, inputs, _ = draw_row(source, np.random.default_rng(0), attempts=7)

    assert name == "first_words"
    assert re.match(r"The (first|last) \d words: ", inputs)
    assert len(tried) == 7


def test_corpus_without_articles_gives_first_words_for_an_article_task(monkeypatch):
    source = PassageSource(Corpus(("book",), (ARTICLES,)))
    for task in ("subject", "definition", "choose_definition", "related_word"):
        monkeypatch.setattr(instruction_tasks, "INSTRUCTION_TASKS", {task: INSTRUCTION_TASKS[task]})

        assert draw_row(source, np.random.default_rng(0))[0] == "first_words"


def test_task_that_suits_no_passage_gives_way_to_first_words():
    source = PassageSource(Corpus(("book",), (("The hall was dark and the door stood open.",),)))

    names = {draw_row(source, np.random.default_rng(seed), attempts=2)[0] for seed in range(300)}

    # Neither articles nor questions, one sentence, no feeling and no topic. "choose_word" needs another word, which
    # the same text has; topics, questions and remarks are made from words of their own.
    own = {"topic_words", "made_question", "remark"}
    assert names == {"missing_word", "choose_word", "contains_word", "kind_of_text", "first_words", *own}


def test_the_families_that_the_documentation_compares_are_all_tasks_each_once():
    page = (Path(__file__).parents[2] / "docs" / "measurements" / "experiments.md").read_text(encoding="utf-8")
    families = re.findall(r'^ {4}(WORDS|ARTICLES|TOPICS|QUESTIONS|SENTIMENT)="([\w ]+)"$', page, flags=re.MULTILINE)

    assert len(families) == 5
    assert sorted(task for _, tasks in families for task in tasks.split()) == sorted(INSTRUCTION_TASKS)
