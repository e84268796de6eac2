"""The shipped tasks of SuperGLUE and GLUE write T5's texts: each row here is in the archive's form, each text by hand."""

import dataclasses

import pytest

from softprompt_tf.tasks import Task, load_task

# task -> (a row of the archive's file, what T5 reads, what it shall write)
ROWS = {
    "superglue_boolq": (
        {"question": "is it red", "passage": "Rose -- A rose.", "idx": 0, "label": True},
        "boolq passage: Rose -- A rose. question: is it red",
        "True",
    ),
    "superglue_cb": (
        {"premise": "I doubt it rained.", "hypothesis": "it rained", "label": "contradiction", "idx": 0},
        "cb hypothesis: it rained premise: I doubt it rained.",
        "contradiction",
    ),
    "superglue_copa": (
        {"premise": "It rained.", "choice1": "I got wet.", "choice2": "I slept.", "question": "effect", "label": 0, "idx": 0},
        "copa choice1: I got wet. choice2: I slept. premise: It rained. question: effect",
        "choice1",
    ),
    "superglue_multirc": (
        {"idx": 0, "passage": {"text": "A. B.", "questions": [
            {"question": "Who?", "idx": 0, "answers": [{"text": "Ann", "idx": 0, "label": 0}]}]}},
        "multirc question: Who? answer: Ann paragraph: A. B.",
        "False",
    ),
    "superglue_record": (
        {"idx": 0, "passage": {"text": "Ann left.\n@highlight\nBob stayed", "entities": [{"start": 21, "end": 23},
            {"start": 0, "end": 2}]}, "qas": [{"query": "@placeholder is gone", "idx": 0, "answers": [{"text": "Ann"}]}]},
        "record query: @placeholder is gone entities: Ann, Bob passage: Ann left. Bob stayed",
        "Ann",
    ),
    "superglue_rte": (
        {"premise": "It rains.", "hypothesis": "It is wet.", "label": "entailment", "idx": 0},
        "rte hypothesis: It is wet. premise: It rains.",
        "entailment",
    ),
    "superglue_wic": (
        {"word": "run", "sentence1": "A run.", "sentence2": "I run.", "label": False, "start1": 2, "version": 1.1},
        "wic sentence1: A run. sentence2: I run. word: run",
        "False",
    ),
    "superglue_wsc": (
        {"text": "Ann saw it .", "target": {"span1_text": "Ann", "span1_index": 0, "span2_text": "it", "span2_index": 2},
         "label": True},
        "wsc: Ann saw *it* .",
        "Ann",
    ),
    "glue_sst2": ({"sentence": "so good ", "label": "1"}, "sst2 sentence: so good ", "positive"),
    "glue_cola": ({"sentence": "Me go.", "label": "0"}, "cola sentence: Me go.", "unacceptable"),
    "glue_qnli": (
        {"question": "Who?", "sentence": "Ann did.", "label": "not_entailment", "idx": 0},
        "qnli question: Who? sentence: Ann did.",
        "not_entailment",
    ),
    "glue_wnli": (
        {"sentence1": "Ann saw it.", "sentence2": "Ann saw Bob.", "label": "1"},
        "wnli sentence1: Ann saw it. sentence2: Ann saw Bob.",
        "entailment",
    ),
    "glue_stsb": (
        {"sentence1": "A man sings.", "sentence2": "A man sang.", "label": 3.25, "idx": 0},
        "stsb sentence1: A man sings. sentence2: A man sang.",
        "3.2",
    ),
    "glue_rte": (
        {"sentence1": "It rains.", "sentence2": "It is wet.", "label": "not_entailment"},
        "rte sentence1: It rains. sentence2: It is wet.",
        "not_entailment",
    ),
    "glue_mrpc": ({"#1 String": "A", "#2 String": "B", "Quality": "1"}, "mrpc sentence1: A sentence2: B", "equivalent"),
    "glue_qqp": ({"question1": "A?", "question2": "B?", "label": 0}, "qqp question1: A? question2: B?", "not_duplicate"),
    "glue_mnli_matched": (
        {"premise": "A", "hypothesis": "B", "label": "neutral", "idx": 1},
        "mnli hypothesis: B premise: A",
        "neutral",
    ),
    "glue_mrpc_from_qqp": ({"#1 String": "A", "#2 String": "B", "Quality": "0"}, "mrpc sentence1: A sentence2: B", "not_duplicate"),
    "glue_qqp_from_mrpc": ({"question1": "A?", "question2": "B?", "label": 1}, "qqp question1: A? question2: B?", "equivalent"),
}  # fmt: skip

LABELS = {
    "superglue_boolq": ("False", "True"),
    "superglue_cb": ("entailment", "contradiction", "neutral"),
    "superglue_copa": ("choice1", "choice2"),
    "superglue_multirc": ("False", "True"),
    "superglue_rte": ("entailment", "not_entailment"),
    "superglue_wic": ("False", "True"),
    "glue_sst2": ("negative", "positive"),
    "glue_cola": ("unacceptable", "acceptable"),
    "glue_mrpc": ("not_equivalent", "equivalent"),
    "glue_qqp": ("not_duplicate", "duplicate"),
    "glue_mnli_mismatched": ("entailment", "neutral", "contradiction"),
}

METRICS = {
    "superglue_cb": ("macro_f1", "accuracy"),
    "superglue_multirc": ("f1", "group_accuracy"),
    "superglue_record": ("exact_match", "token_f1"),
    "superglue_wsc": ("accuracy",),
    "glue_cola": ("matthews_correlation",),
    "glue_mrpc": ("f1", "accuracy"),
    "glue_qqp": ("f1", "accuracy"),
}


@pytest.fixture
def shipped(monkeypatch, pytestconfig):
    """Return the shipped task of a name; its sources need not exist."""
    monkeypatch.setenv("SOFTPROMPT_DATA", "/nowhere")
    return lambda name: load_task(pytestconfig.rootpath / f"configs/tasks/{name}.yaml")


def example_of(task: Task, row, split="validation"):
    (example,) = dataclasses.replace(task, **{split: [row]}).examples(split)
    return example


@pytest.mark.parametrize("name", ROWS)
def test_a_row_becomes_t5s_text(shipped, name):
    row, inputs, target = ROWS[name]

    example = example_of(shipped(name), row)

    assert (example.inputs, example.target) == (inputs, target)


@pytest.mark.parametrize("name", [name for name in ROWS if name not in ("glue_mrpc_from_qqp", "glue_qqp_from_mrpc")])
def test_taskless_inputs_are_t5s_text_behind_its_first_word(pytestconfig, monkeypatch, tmp_path, name):
    monkeypatch.setenv("SOFTPROMPT_DATA", "/nowhere")
    (tmp_path / "t.yaml").write_text(f"include: {pytestconfig.rootpath}/configs/tasks/{name}.yaml\ntaskless: true\n")
    row, inputs, _ = ROWS[name]

    example = example_of(load_task(tmp_path / "t.yaml"), row)

    assert example.inputs == inputs.split(" ", 1)[1]


@pytest.mark.parametrize(("name", "words"), LABELS.items())
def test_label_words_stand_in_the_order_of_tfds(shipped, name, words):
    assert shipped(name).label_words == words


@pytest.mark.parametrize(("name", "metrics"), METRICS.items())
def test_metrics_are_those_of_the_benchmarks(shipped, name, metrics):
    assert shipped(name).metrics == metrics


def test_wsc_trains_on_true_candidates_only_and_is_judged_by_its_label(shipped):
    row, _, _ = ROWS["superglue_wsc"]
    task = dataclasses.replace(shipped("superglue_wsc"), train=[row, {**row, "label": False}])

    (only,) = task.examples("train")

    assert (only.target, only.right_answers) == ("Ann", ("True",))
    assert example_of(task, {**row, "label": False}).right_answers == ("False",)


def test_record_trains_on_every_answer_and_is_judged_by_all(shipped):
    row, _, _ = ROWS["superglue_record"]
    query = {**row["qas"][0], "answers": [{"text": "Bob"}, {"text": "Ann"}]}
    task = dataclasses.replace(shipped("superglue_record"), train=[{**row, "qas": [query]}])

    first, second = task.examples("train")

    assert [first.target, second.target] == ["Ann", "Bob"]
    assert first.right_answers == second.right_answers == ("Ann", "Bob")
    assert first.group == second.group == ("0", "0")
    assert example_of(task, {**row, "qas": [query]}).right_answers == ("Ann", "Bob")


def test_multirc_groups_by_passage_and_question(shipped):
    row, _, _ = ROWS["superglue_multirc"]

    groups = [example_of(shipped("superglue_multirc"), {**row, "idx": idx}).group for idx in (3, 4)]

    assert groups == [("3", "0"), ("4", "0")]
