"""Metrics and predictions of a model whose answers are known by hand."""

import dataclasses
import json
import math

import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.evaluation.by_label import LabelScore, label_scores, label_table
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.evaluation.scores import majority_baseline, score_answers, write_predictions
from softprompt_tf.inference.answers import Classification, Generation
from softprompt_tf.tasks import Task

MOODS = [("a good film", "positive"), ("a bad film", "negative"), ("a dull film", "negative"), ("a film", "positive")]
CHOICES = Task(name="mood", inputs="say {text}", labels={"n": "negative", "p": "positive"}, metrics=("accuracy", "f1"))
TEXTS = Task(name="echo", inputs="{text}", targets="{answer}", metrics=("exact_match", "token_f1"))


class FakeModel:
    """Finds "good" or "dull" positive; writes the text back."""

    def __init__(self):
        self.calls = []

    def classify(self, texts, *, labels=None, task_id=None):
        self.calls.append((list(texts), labels, task_id))
        return [self._choice(any(word in text for word in ("good", "dull")), labels) for text in texts]

    def generate_scored(self, texts, *, max_tokens=None, task_id=None):
        self.calls.append((list(texts), None, task_id))
        return [Generation(text, -float(len(text))) for text in texts]

    @staticmethod
    def _choice(is_positive, labels):
        probabilities = (0.2, 0.8) if is_positive else (0.9, 0.1)
        return Classification(
            labels[int(is_positive)], max(probabilities), tuple(labels), tuple(math.log(p) for p in probabilities)
        )


def examples_of(task, rows):
    columns = ("text", "label") if task.labels else ("text", "answer")
    named = [dict(zip(columns, row, strict=True)) for row in rows]
    return dataclasses.replace(task, validation=named).examples("validation")


@pytest.fixture
def moods():
    return examples_of(CHOICES, [(text, label[0]) for text, label in MOODS])


def test_each_label_has_its_scores_and_what_it_was_taken_for():
    labels = {"b": "billing", "d": "delivery", "a": "account", "o": "other"}
    task = dataclasses.replace(CHOICES, labels=labels, metrics=("accuracy",))
    targets = ["billing"] * 4 + ["delivery"] * 3 + ["account"]
    answers = ["billing", "delivery", "account", "delivery", "delivery", "delivery", "billing", "billing"]
    rows = examples_of(task, [("a", target[0]) for target in targets])
    choices = [Classification(each, 1.0, tuple(labels.values()), (0.0,) * 4) for each in answers]

    scores = label_scores(task, score_answers(task, rows, choices).predictions)

    assert [(each.rows, each.answered, each.right) for each in scores] == [(4, 3, 1), (3, 4, 2), (1, 1, 0), (0, 0, 0)]
    assert [each.f1 for each in scores] == [pytest.approx(2 / 7), pytest.approx(4 / 7), 0.0, None]
    assert label_table(scores) == [
        "label     rows  recall  precision      f1  taken for",
        "billing      4  0.2500     0.3333  0.2857  delivery 2, account 1",
        "delivery     3  0.6667     0.5000  0.5714  billing 1",
        "account      1  0.0000     0.0000  0.0000  billing 1",
        "other        0       -          -       -",
    ]


def test_columns_are_straight_beside_words_of_any_script():
    # Letters with an accent of its own, of two columns, with a joint that is not seen; and the columns of each word.
    columns = {"gro\u0308\u00dfe": 5, "情感": 4, "می\u200cشود": 5, "ab": 2}

    _, *lines = label_table([LabelScore(word, 1, 1, 1, {}) for word in columns])

    assert [line.index("1") - len(word) + columns[word] for word, line in zip(columns, lines, strict=True)] == [10] * 4


def test_a_task_without_labels_has_no_scores_by_label():
    with pytest.raises(ConfigError, match="Received: task echo, which has none"):
        label_scores(TEXTS, ())


def test_a_task_with_labels_is_scored_by_its_choices(moods):
    model = FakeModel()

    scores = evaluate_examples(model, CHOICES, moods)

    # Answers: positive, negative, positive, negative; right: the first two. Precision and recall of "positive": 1/2.
    assert scores.metrics == {"accuracy": 0.5, "f1": 0.5}
    assert [prediction.output for prediction in scores.predictions] == ["positive", "negative"] * 2
    assert model.calls == [([f"say {text}" for text, _ in MOODS], ("negative", "positive"), None)]


def test_a_prediction_keeps_the_row_and_the_log_probabilities(moods):
    prediction = evaluate_examples(FakeModel(), CHOICES, moods).predictions[2]

    assert (prediction.inputs, prediction.target, prediction.location) == ("say a dull film", "negative", "row 3")
    assert prediction.score == pytest.approx(math.log(0.8))
    assert prediction.label_log_probabilities == pytest.approx({"negative": math.log(0.2), "positive": math.log(0.8)})


def test_a_task_without_labels_is_scored_by_its_texts():
    model = FakeModel()
    examples = examples_of(TEXTS, [("a red door", "The red door!"), ("two boats", "two trains"), ("no", "yes")])

    scores = evaluate_examples(model, TEXTS, examples, task_id="echo")

    # Without case, articles and punctuation: equal; one word of two shared, F1 1/2; nothing.
    assert scores.metrics == pytest.approx({"exact_match": 1 / 3, "token_f1": (1 + 0.5 + 0) / 3})
    assert scores.predictions[1].label_log_probabilities is None
    assert scores.predictions[1].score == -9.0
    assert model.calls == [(["a red door", "two boats", "no"], None, "echo")]


def test_every_right_answer_counts_and_a_group_counts_once():
    task = Task("qa", "{text}", "{answer}", references="answers", group_by=("id",), metrics=("exact_match",))
    rows = [
        {"text": "red", "answer": "blue", "answers": ["blue", "red"], "id": 1},
        {"text": "no", "answer": "red", "answers": ["blue", "red"], "id": 1},
        {"text": "no", "answer": "yes", "answers": ["yes"], "id": 2},
    ]

    scores = evaluate_examples(FakeModel(), task, dataclasses.replace(task, test=rows).examples("test"))

    # The model writes its text back: right in row 1, which stands for question 1; wrong in row 3.
    assert scores.metrics == {"exact_match": 0.5}
    assert scores.predictions[0].references == ("blue", "red")
    assert (scores.predictions[0].target, scores.predictions[0].answer) == ("blue", None)


REFERENTS = Task(
    "wsc", "{text}", "{referent}", postprocess=("wsc_referent",), references="label", preprocess_train=("true_rows",)
)
REFERENT_ROWS = [
    {"text": "The cat", "referent": "a cat", "label": True},  # named, rightly
    {"text": "the cat", "referent": "dog", "label": False},  # another named, rightly
    {"text": "dog", "referent": "the dog", "label": False},  # named, wrongly
    {"text": "the", "referent": "dog", "label": False},  # none named, which is wrong for either label
]


def test_a_postprocessor_stands_between_the_text_and_the_metric():
    examples = dataclasses.replace(REFERENTS, test=REFERENT_ROWS).examples("test")

    scores = evaluate_examples(FakeModel(), REFERENTS, examples)

    assert scores.metrics == {"accuracy": 0.5}
    assert [prediction.answer for prediction in scores.predictions] == ["True", "False", "True", ""]
    assert [prediction.output for prediction in scores.predictions] == ["The cat", "the cat", "dog", "the"]
    assert scores.predictions[1].references == ("False",)


def test_the_majority_baseline_is_postprocessed_too():
    task = dataclasses.replace(REFERENTS, train=REFERENT_ROWS, test=REFERENT_ROWS)

    # The one training row says "a cat": named in row 1 alone, so that rows 1, 2, 3 and 4 are right.
    assert majority_baseline(task, task.examples("train"), task.examples("test")) == {"accuracy": 1.0}


@pytest.mark.parametrize("task", [CHOICES, TEXTS], ids=["labels", "text"])
def test_no_rows_are_refused(task):
    model = FakeModel()
    for evaluate in (lambda: evaluate_examples(model, task, []), lambda: score_answers(task, [], [])):
        with pytest.raises(DataError, match=f"at least one row. Received: none, for task '{task.name}'."):
            evaluate()
    assert model.calls == []


def test_answers_from_anywhere_are_scored_without_a_model(moods):
    answers = [Generation(text, -1.5) for text in ("positive", "negative", "positive", "neither")]

    scores = score_answers(CHOICES, moods, answers)

    # The first two are right; precision and recall of "positive" are 1/2.
    assert scores.metrics == {"accuracy": 0.5, "f1": 0.5}
    assert [(p.output, p.score, p.label_log_probabilities) for p in scores.predictions][3] == ("neither", -1.5, None)


@pytest.mark.parametrize("count", [3, 5])
def test_one_answer_for_each_row_is_needed(moods, count):
    with pytest.raises(DataError, match=f"one answer for each row. Received: {count} answers, 4 rows of task 'mood'"):
        score_answers(CHOICES, moods, [Generation("positive", -1.0)] * count)


def test_the_majority_baseline_answers_with_the_commonest_training_target(moods):
    train = examples_of(CHOICES, [("a", "p"), ("b", "n"), ("c", "p")])

    # Always "positive": 2 of 4 right; precision 1/2, recall 1, F1 2/3.
    assert majority_baseline(CHOICES, train, moods) == pytest.approx({"accuracy": 0.5, "f1": 2 / 3})


def test_predictions_are_json_lines(moods, tmp_path):
    scores = evaluate_examples(
        FakeModel(), CHOICES, [*moods, *examples_of(CHOICES, [("ein süßer \u2028\x85\u2029 Film", "p")])]
    )

    write_predictions(tmp_path / "predictions.jsonl", scores.predictions)

    lines = (tmp_path / "predictions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    rows = [json.loads(line) for line in lines]
    assert [line[-1] for line in lines] == ["\n"] * 5
    assert rows[0] == {
        "inputs": "say a good film",
        "target": "positive",
        "output": "positive",
        "score": pytest.approx(math.log(0.8)),
        "location": "row 1",
        "label_log_probabilities": {"negative": pytest.approx(math.log(0.2)), "positive": pytest.approx(math.log(0.8))},
        "references": None,
        "answer": None,
    }
    assert rows[4]["inputs"] == "say ein süßer \u2028\x85\u2029 Film"
    assert "süßer" in lines[4]


def test_predictions_that_cannot_be_written_are_a_data_error(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(DataError, match="predictions.jsonl"):
        write_predictions(tmp_path / "file" / "predictions.jsonl", [])
