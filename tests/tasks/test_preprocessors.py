"""Preprocessors on rows worked out by hand: which rows they make of one, and which rows they refuse."""

import itertools

import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks import PREPROCESSORS, Row, preprocessed


def run(name, values):
    return [dict(row.values) for row in PREPROCESSORS[name](Row(values, "a.jsonl:3"))]


# === The chain ===


def test_preprocessors_run_in_order_and_pass_on_what_the_one_before_left():
    row = Row({"context": "a.b", "question": "q?", "answers": ["x!", "y"]}, "row 1")

    rows = list(preprocessed([row], ["squad", "pad_punctuation", "one_row_per_answer"]))

    assert [(row.values["context"], row.values["question"], row.values["answer"]) for row in rows] == [
        ("a . b", "q ?", "x !"),
        ("a . b", "q ?", "y"),
    ]


def test_rows_are_taken_only_as_results_are_asked_for():
    endless = (Row({"label": number % 2}, f"row {number}") for number in itertools.count())

    assert [row.location for row in itertools.islice(preprocessed(endless, ["true_rows"]), 2)] == ["row 1", "row 3"]


def test_an_unknown_preprocessor_names_the_nearest():
    with pytest.raises(ConfigError, match=r"Unknown preprocessor. Received: 'multric'. Did you mean `multirc`\?"):
        list(preprocessed([], ["multric"]))


# === MultiRC ===

PASSAGE = {
    "idx": 7,
    "version": 1.1,
    "passage": {
        "text": "<b>Sent 1:</b> It rained.<br>Ann ran.",
        "questions": [
            {
                "question": "Who <b>ran</b>?",
                "idx": 20,
                "answers": [{"text": "Ann", "idx": 40, "label": 1}, {"text": "Bob<br>", "idx": 41, "label": 0}],
            },
            {"question": "Why?", "idx": 21, "answers": [{"text": "Rain", "idx": 42}]},
        ],
    },
}


def test_multirc_makes_one_row_per_answer_without_markup():
    paragraph = "Sent 1: It rained. Ann ran."
    fields = ("paragraph", "question", "answer", "label", "paragraph_id", "question_id", "answer_id")

    assert run("multirc", PASSAGE) == [
        dict(zip(fields, (paragraph, "Who ran?", "Ann", 1, 7, 20, 40), strict=True)),
        dict(zip(fields, (paragraph, "Who ran?", "Bob ", 0, 7, 20, 41), strict=True)),
        dict(zip(fields, (paragraph, "Why?", "Rain", None, 7, 21, 42), strict=True)),
    ]


def test_multirc_of_tfds_is_one_row_already():
    row = {
        "paragraph": "It<br>rained.",
        "question": "Why?",
        "answer": "<b>Rain</b>",
        "label": "True",
        "idx": {"paragraph": 1, "question": 2, "answer": 3},
    }

    (only,) = run("multirc", row)

    assert (only["paragraph"], only["answer"], only["label"]) == ("It rained.", "Rain", "True")
    assert (only["paragraph_id"], only["question_id"], only["answer_id"]) == (1, 2, 3)


def test_multirc_rows_know_their_place():
    places = [row.location for row in PREPROCESSORS["multirc"](Row(PASSAGE, "a.jsonl:3"))]

    assert places[1] == "a.jsonl:3 (question 20, answer 41)"


# === ReCoRD ===

NEWS = {
    "idx": 5,
    "source": "Daily mail",
    "passage": {
        "text": "Ann met Bob.\n@highlight\nBob left\n@highlight\nAnn stayed",
        "entities": [{"start": 8, "end": 10}, {"start": 0, "end": 2}, {"start": 24, "end": 26}],
    },
    "qas": [
        {"query": "@placeholder left", "idx": 9, "answers": [{"start": 8, "end": 10, "text": "Bob"}]},
        {"query": "@placeholder met", "idx": 10, "answers": [{"text": "Bob"}, {"text": "Ann"}, {"text": "Bob"}]},
    ],
}
NEWS_TEXT = "Ann met Bob. Bob left. Ann stayed"


def test_record_makes_one_row_per_query_with_sorted_entities_and_answers():
    first, second = run("record", NEWS)

    assert (first["passage"], first["entities"]) == (NEWS_TEXT, "Ann, Bob")
    assert (first["query"], first["answers"], first["answer"]) == ("@placeholder left", ("Bob",), "Bob")
    assert (second["answers"], second["answer"]) == (("Ann", "Bob"), "Ann")
    assert [(row["passage_id"], row["query_id"]) for row in (first, second)] == [(5, 9), (5, 10)]


def test_record_of_tfds_is_one_row_already():
    row = {
        "passage": "He said: 'Go'\n@highlight\nShe went",
        "query": "@placeholder went",
        "entities": ["Bob", "Ann"],
        "answers": [],
        "idx": {"passage": 1, "query": 2},
    }

    (only,) = run("record", row)

    assert only["passage"] == "He said: 'Go' She went"
    assert (only["entities"], only["answers"], only["answer"]) == ("Ann, Bob", (), None)
    assert (only["passage_id"], only["query_id"]) == (1, 2)


def test_record_refuses_an_entity_outside_its_passage():
    passage = {"text": "Ann", "entities": [{"start": 0, "end": 3}]}

    with pytest.raises(DataError, match="an entity must lie inside its passage. Received: 0 to 3 of 3 characters"):
        run("record", {**NEWS, "passage": passage})


def test_one_row_per_answer_repeats_the_row():
    rows = run("one_row_per_answer", {"query": "q", "answers": ("a", "b"), "answer": "a"})

    assert [(row["query"], row["answer"], row["answers"]) for row in rows] == [
        ("q", "a", ("a", "b")),
        ("q", "b", ("a", "b")),
    ]


def test_a_row_without_answers_gives_no_training_row():
    assert run("one_row_per_answer", {"answers": ()}) == []


# === WSC ===


def winograd(text, pronoun, index, referent="Tom", **more):
    return {"text": text, "target": {"span1_text": referent, "span2_text": pronoun, "span2_index": index}, **more}


@pytest.mark.parametrize(
    ("text", "pronoun", "index", "marked"),
    [
        ("Bob asked Tom if he can pay.", "he", 4, "Bob asked Tom if *he* can pay."),
        ("He saw Tom if he can pay.", "he", 4, "He saw Tom if *he* can pay."),
        ('Good for him," he said.', "him", 2, 'Good for *him* ," he said.'),
        ("to use it , but it rained", "it", 1, "to use *it* , but it rained"),
        ("  two  spaces his hat", "his", 5, "  two  spaces *his* hat"),
        ("It fell", "It", 0, "*It* fell"),
        ("Tom saw her.", "her", 2, "Tom saw *her* ."),
    ],
    ids=["plain", "the second one", "punctuation behind", "index off by one", "spaces", "first", "last"],
)
def test_wsc_marks_the_pronoun_that_the_index_means(text, pronoun, index, marked):
    (row,) = run("wsc", winograd(text, pronoun, index, label=True))

    assert (row["text"], row["pronoun"], row["label"]) == (marked, pronoun, True)


def test_wsc_does_not_take_a_longer_word_for_the_pronoun():
    (row,) = run("wsc", winograd("Tom item it.", "it", 1))

    assert row["text"] == "Tom item *it* ."


@pytest.mark.parametrize(
    ("referent", "written"),
    [
        ("The roof", "the roof"),
        ("the roof", "the roof"),
        ("The roof.", "the roof"),
        ("The\nroof", "the roof"),
        ("A cat", "A cat"),
    ],
)
def test_wsc_writes_the_referent_as_it_stands_in_the_text(referent, written):
    (row,) = run("wsc", winograd("Rain hit the roof and it broke", "it", 5, referent))

    assert row["referent"] == written


def test_wsc_of_tfds_has_its_spans_beside_the_text():
    row = {"text": "Bob saw he", "span1_text": "Bob", "span2_text": "he", "span1_index": 0, "span2_index": 2}

    assert run("wsc", {**row, "label": "False", "idx": 1}) == [
        {"text": "Bob saw *he*", "referent": "Bob", "pronoun": "he", "label": "False"}
    ]


def test_wsc_refuses_a_pronoun_that_is_not_there():
    with pytest.raises(DataError, match="a.jsonl:3: the pronoun must stand in the text. Received: 'she' in 'Bob saw'"):
        run("wsc", winograd("Bob saw", "she", 1))


@pytest.mark.parametrize(("label", "kept"), [(True, 1), ("True", 1), (1, 1), (False, 0), ("False", 0), (0, 0)])
def test_true_rows_keeps_the_rows_whose_label_is_true(label, kept):
    assert len(run("true_rows", {"label": label})) == kept


# === Question answering ===


def test_squad_makes_one_row_per_question_of_an_article():
    first, second = (
        {"id": "1", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}, {"text": "Ann!"}]},
    ) * 2
    article = {"title": "T", "paragraphs": [{"context": "Ann.", "qas": [first]}, {"context": "She.", "qas": [second]}]}

    rows = list(PREPROCESSORS["squad"](Row(article, "dev.json, object 4")))

    assert dict(rows[0].values) == {
        "id": "1",
        "title": "T",
        "context": "Ann.",
        "question": "Who?",
        "answers": ("Ann", "Ann!"),
        "answer": "Ann",
    }
    assert rows[1].values["context"] == "She."
    assert rows[1].location == "dev.json, object 4, paragraph 2, question 1"


@pytest.mark.parametrize(
    "answers",
    [["b", "c"], [{"text": "b"}, {"text": "c"}], {"text": ["b", "c"], "answer_start": [1, 2]}],
    ids=["mrqa of tfds", "json", "squad of tfds"],
)
def test_squad_takes_every_form_of_answers(answers):
    (row,) = run("squad", {"context": "abc", "question": "?", "answers": answers})

    assert (row["answers"], row["answer"], row["id"]) == (("b", "c"), "b", None)


def test_squad_takes_mrqa_files_with_their_header():
    line = {"context": "abc", "qas": [{"qid": "q1", "question": "?", "answers": ["b"], "detected_answers": []}]}

    assert run("squad", {"header": {"dataset": "DROP"}}) == []
    assert [(row["id"], row["answer"]) for row in run("squad", line)] == [("q1", "b")]


def test_squad_leaves_a_question_without_answers_to_whoever_needs_one():
    (row,) = run("squad", {"context": "abc", "question": "?", "answers": []})

    assert (row["answers"], row["answer"]) == ((), None)


def test_pad_punctuation_parts_all_but_ascii_letters_digits_and_underscores():
    row = {"question": "Who's  A_1?", "context": "(a-b)\n c", "answers": ("U.S.", "é"), "answer": None, "id": "a-1"}

    assert run("pad_punctuation", row) == [
        {
            "question": "Who ' s A_1 ?",
            "context": "( a - b ) c",
            "answers": ("U . S .", "é"),
            "answer": None,
            "id": "a-1",
        }
    ]


# === Rows of no known form ===


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("multirc", {"question": "?"}, "a.jsonl:3: the row has no field `idx`. Its fields: question."),
        ("multirc", {"passage": "text", "idx": 1}, "field `passage` must be an object. Received: 'text'"),
        (
            "multirc",
            {"passage": {"text": "t", "questions": [3]}, "idx": 1},
            "field `questions` must be a list of objects",
        ),
        (
            "record",
            {"qas": [], "idx": True, "passage": {"text": "t"}},
            "field `idx` must be a whole number. Received: 'True'",
        ),
        ("record", {"passage": "t", "idx": {"query": 1}}, "field `entities` must be a list of texts. Received: 'None'"),
        ("wsc", {"text": 3, "target": {"span2_text": "it"}}, "field `text` must be text. Received: '3'"),
        ("squad", {"context": "c", "question": "?", "answers": [3]}, "field `answers` must hold texts. Received: 3"),
        ("squad", {"context": "c", "question": "?", "answers": "b"}, "field `answers` must be a list of texts"),
        ("squad", {"question": "?", "answers": []}, "the row has no field `context`"),
        ("true_rows", {"label": None}, "field `label` has no value"),
    ],
)
def test_rows_of_another_form_are_refused_by_place_and_field(name, values, message):
    with pytest.raises(DataError, match=message):
        run(name, values)


# === STS-B ===


@pytest.mark.parametrize(
    ("score", "label"),
    [
        (0.0, "0.0"),
        (5, "5.0"),
        (3.25, "3.2"),
        (2.5, "2.4"),
        (2.7, "2.8"),
        ("1.39", "1.4"),
        ("4.6", "4.6"),
        (3.9, "4.0"),
    ],
)
def test_stsb_rounds_to_the_nearest_fifth_and_keeps_the_score(score, label):
    (row,) = preprocessed([Row({"sentence1": "a", "label": score}, "row 1")], ["stsb"])

    assert row.values == {"sentence1": "a", "label": label, "score": str(score)}


def test_stsb_takes_the_archives_field():
    (row,) = preprocessed([Row({"score": "4.75"}, "row 1")], ["stsb"])

    assert row.values == {"label": "4.8", "score": "4.75"}


@pytest.mark.parametrize("score", ["high", "5.1", -1.0, "nan"])
def test_stsb_wants_a_score(score):
    with pytest.raises(DataError, match="row 1: field `label` .*Received: "):
        list(preprocessed([Row({"label": score}, "row 1")], ["stsb"]))
