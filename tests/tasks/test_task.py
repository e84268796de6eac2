"""Tasks: what a row becomes, and which settings and labels are refused."""

import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks import Task, load_task

ROWS = [{"sentence": "a charming film", "label": 1}, {"sentence": "gags", "label": 0}]
SST2 = {"name": "sst2", "inputs": "sst2 sentence: {sentence}", "labels": {0: "negative", 1: "positive"}}


def test_examples_hold_text_label_word_and_row():
    first, second = Task(**SST2, train=ROWS).examples("train")

    assert (first.inputs, first.target, first.label) == ("sst2 sentence: a charming film", "positive", "positive")
    assert (second.target, second.row.location, second.row.values) == ("negative", "row 2", ROWS[1])


def test_without_labels_the_field_is_the_target():
    task = Task("qa", "question: {q}", "{a}", train=[{"q": "why", "a": "so"}])

    (example,) = task.examples("train")

    assert (example.target, example.label) == ("so", None)
    assert task.label_words == ()


def test_a_target_stays_plain_text_in_every_format():
    task = Task(**SST2, train=ROWS, target_format="sentinel")

    assert [example.target for example in task.examples("train")] == ["positive", "negative"]
    assert task.label_words == ("negative", "positive")


def test_limit_is_passed_to_the_source():
    assert len(Task(**SST2, train=ROWS).examples("train", limit=1)) == 1


def test_columns_are_passed_to_the_source(tmp_path):
    (tmp_path / "a.tsv").write_text("good\t1\n")
    task = Task(**SST2, columns=("sentence", "label"), test=tmp_path / "a.tsv")

    assert task.examples("test")[0].inputs == "sst2 sentence: good"


def test_split_names_the_split_of_a_tfds_source():
    tfds = pytest.importorskip("tensorflow_datasets")
    task = Task("sst2", "{sentence}", labels={"negative": "bad", "positive": "good"}, validation="glue/sst2")

    with tfds.testing.mock_data(num_examples=2):
        examples = task.examples("validation")

    assert examples[0].row.location == "glue/sst2@validation row 1"
    assert {example.target for example in examples} <= {"bad", "good"}


@pytest.mark.parametrize(("value", "word"), [(True, "yes"), ("True", "yes"), (False, "no")])
def test_label_values_are_compared_as_text(value, word):
    task = Task("boolq", "{question}", labels={False: "no", "True": "yes"}, train=[{"question": "?", "label": value}])

    assert task.examples("train")[0].label == word


def test_label_words_keep_their_order_and_stand_once():
    assert Task("t", "{x}", labels={"b": "two", "a": "one", "c": "two"}).label_words == ("two", "one")


def test_label_field_may_have_any_name():
    task = Task("trec", "{text}", "{label-coarse}", labels={"NUM": "number"})

    assert task.label_words == ("number",)


def test_unknown_label_names_place_field_value_and_known_values():
    task = Task(**SST2, train=[{"sentence": "x", "label": -1}])

    with pytest.raises(
        DataError,
        match=r"row 1: field `label` must be one of the labels of task sst2. Received: '-1'. Known: '0', '1'.",
    ):
        task.examples("train")


def test_one_error_names_all_values_that_are_no_label():
    rows = [{"x": "a", "team": each} for each in ("Sales", "sales ", "", "Sales", "hr", "", "")]
    task = Task("t", "{x}", "{team}", labels={"Sales": "sales"}, train=rows)

    with pytest.raises(DataError) as caught:
        task.examples("train")

    assert str(caught.value).endswith(
        "row 2: field `team` must be one of the labels of task t. Received: 'sales '. Known: 'Sales'. In all, 5 of 7 rows have "
        "such values: '' in 3, 'sales ' in 1, 'hr' in 1. Spaces and capitals count: write 'Sales', or add 'sales ' to `labels`, "
        "with the same word."
    )


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (" ", "Fill the cell, or leave the row out."),
        ("hr", "Correct the row, or add the value to `labels`."),
        ("true", "Correct the row, or add the value to `labels`, in quotes."),
        (
            "Sales\u200b",
            r"Did you mean 'Sales'\? It looks the same, but has other characters than 'Sales\\u200b'. Correct .*",
        ),
    ],
)
def test_an_unknown_label_is_told_with_what_to_do(value, advice):
    task = Task("t", "{x}", "{team}", labels={"Sales": "sales"}, train=[{"x": "a", "team": value}])

    with pytest.raises(DataError, match=rf"Known: 'Sales'. {advice}$"):
        task.examples("train")


def words_as_tokens(texts):
    return [[2] * len(text.split("_")) for text in texts]


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({"labels": {0: "entailment", 1: "not_entailment"}}, 3),  # two tokens and the end of sequence
        ({}, 32),
        ({"labels": {0: "a"}, "max_target_tokens": 8}, 8),
        ({"labels": {0: "a", 1: "b_c"}, "target_format": "sentinel"}, 3),  # the sentinel comes on top
    ],
)
def test_target_token_limit_is_the_longest_label_or_32(settings, limit):
    assert Task("rte", "{x}", **settings).target_token_limit(words_as_tokens) == limit


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "a b"}, "must be of the letters a to z and A to Z, digits, `_`, `.` and `-`. Received: 'a b'"),
        ({"name": ""}, "Received: ''"),
        ({"name": "größe"}, "must be of the letters a to z and A to Z.* Received: 'größe'"),
        ({"max_input_tokens": 0}, "`max_input_tokens` must be a whole number above 0. Received: 0"),
        ({"max_target_tokens": -1}, "`max_target_tokens` must be a whole number above 0. Received: -1"),
        ({"target_format": "span"}, "`target_format` must be one of text, sentinel. Received: 'span'"),
        ({"metrics": ("acuracy",)}, r"Unknown metric. Received: 'acuracy'. Did you mean `accuracy`\?"),
        ({"metrics": ()}, "needs at least one metric"),
        ({"inputs": "{a.b}"}, "plain field name"),
        ({"labels": {}}, "must name at least one label"),
        ({"labels": ["a", "b"]}, r"`labels` must be a mapping from raw value to label word.* Received: \['a', 'b'\]"),
        ({"labels": {1: "a", "1": "b"}}, r"must have each raw value once, compared as text. Received: \[1, '1'\]"),
        ({"labels": {0: False}}, "A label word must be text. Received: False for 0. Quote it."),
        ({"labels": {0: "a"}, "targets": "it was {label}"}, "must be one bare field. Received: 'it was {label}'"),
        ({"labels": {0: "a"}, "targets": "{a}{b}"}, "must be one bare field"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Task(**{"name": "t", "inputs": "{x}", **settings})


def test_unknown_split_names_the_nearest():
    with pytest.raises(ConfigError, match=r"Received: 'validaton'. Did you mean `validation`\?"):
        Task(**SST2).examples("validaton")


def test_split_without_source_is_refused():
    with pytest.raises(ConfigError, match="Task sst2 has no source for this split. Received: 'test'. Set `test`."):
        Task(**SST2).examples("test")


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("task", "split", "counts"),
    [
        ("sst2", "train", {"negative": 29_780, "positive": 37_569}),
        ("sst2", "validation", {"negative": 428, "positive": 444}),
        ("rte", "train", {"entailment": 1_249, "not_entailment": 1_241}),
        ("rte", "validation", {"entailment": 146, "not_entailment": 131}),
        ("subj", "validation", {"story": 489, "opinion": 511}),
        ("ag_news", "test", {"world": 1_900, "sport": 1_900, "business": 1_900, "technology": 1_900}),
        (
            "trec",
            "test",
            {"description": 138, "number": 113, "thing": 94, "place": 81, "person": 65, "letters": 9},
        ),
    ],
)
def test_shipped_tasks_read_the_public_files(shared_data, monkeypatch, pytestconfig, task, split, counts):
    monkeypatch.setenv("SOFTPROMPT_DATA", str(shared_data))

    examples = load_task(pytestconfig.rootpath / f"configs/tasks/{task}.yaml").examples(split)

    assert {word: sum(example.label == word for example in examples) for word in counts} == counts
    assert len(examples) == sum(counts.values())


# === Preprocessing, references and groups ===

QUESTIONS = [
    {"context": "c", "question": "q", "answers": ["a", "b"]},
    {"context": "d", "question": "r", "answers": ["e"]},
]
QA = {
    "name": "qa",
    "inputs": "question: {question} context: {context}",
    "targets": "{answer}",
    "preprocess": ("squad",),
}


def test_examples_are_made_of_preprocessed_rows():
    task = Task(**QA, references="answers", group_by=("context",), validation=QUESTIONS)

    first, second = task.examples("validation")

    assert (first.inputs, first.target, first.references) == ("question: q context: c", "a", ("a", "b"))
    assert (first.group, second.group) == (("c",), ("d",))
    assert first.row.values["answer"] == "a"


def test_training_rows_have_more_preprocessors():
    task = Task(**QA, preprocess_train=("one_row_per_answer",), train=QUESTIONS, validation=QUESTIONS)

    assert [example.target for example in task.examples("train")] == ["a", "b", "e"]
    assert [example.target for example in task.examples("validation")] == ["a", "e"]


def test_a_limit_cuts_no_group_in_two():
    """A question of which one answer of three is scored counted as answered right more often than it is."""
    rows = [{"x": f"{n}", "y": "a", "question": question} for n, question in enumerate("ppqqq")]
    task = Task("read", "{x}", "{y}", group_by=("question",), metrics=("group_accuracy",), train=[*rows, rows[0]])

    assert [example.inputs for example in task.examples("train", limit=1)] == ["0", "1", "0"]
    assert [example.inputs for example in task.examples("train", limit=3)] == ["0", "1", "2", "3", "4", "0"]


def test_limit_counts_preprocessed_rows():
    task = Task(**QA, preprocess_train=("one_row_per_answer",), train=QUESTIONS)

    assert [example.target for example in task.examples("train", limit=2)] == ["a", "b"]
    with pytest.raises(ConfigError, match="`limit` must be a whole number above 0. Received: 0."):
        task.examples("train", limit=0)


def test_a_source_of_which_preprocessing_leaves_nothing_is_refused():
    task = Task("t", "{x}", preprocess=("true_rows",), train=[{"x": 1, "label": False}])

    with pytest.raises(DataError, match="The source in memory: true_rows left no rows of it."):
        task.examples("train")


def test_without_references_the_target_is_the_one_right_answer():
    (example, _) = Task(**QA, validation=QUESTIONS).examples("validation")

    assert (example.references, example.right_answers) == ((), ("a",))


def test_references_may_be_one_value():
    task = Task("t", "{x}", "{y}", references="label", validation=[{"x": 1, "y": 2, "label": True}])

    assert task.examples("validation")[0].right_answers == ("True",)


@pytest.mark.parametrize(("answers", "message"), [([], "must hold at least one text"), (["a", None], "has no value")])
def test_references_without_a_text_are_refused(answers, message):
    task = Task("t", "{x}", "{x}", references="answers", validation=[{"x": 1, "answers": answers}])

    with pytest.raises(DataError, match=f"row 1: field `answers` {message}"):
        task.examples("validation")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preprocess": ("squat",)}, r"Unknown preprocessor. Received: 'squat'. Did you mean `squad`\?"),
        ({"preprocess_train": ("x",)}, "Unknown preprocessor. Received: 'x'. Known: multirc, one_row_per_answer"),
        ({"preprocess": "squad"}, r"`preprocess` must be a list of names. Received: 'squad'. Write \[squad\]."),
        ({"metrics": ("group_accuracy",)}, "`group_accuracy` needs `group_by`. Received: none, in task t."),
        (
            {"labels": {0: "a"}, "references": "x"},
            "With `labels`, the label's word is the right answer. Received: `refer",
        ),
    ],
)
def test_scoring_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Task(**{"name": "t", "inputs": "{x}", **settings})
