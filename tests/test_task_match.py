"""A prompt that is asked to do another task than its own is told by what differs, whichever function evaluates it."""

import dataclasses
import warnings

import numpy as np
import pytest
from tiny_t5 import HIDDEN_DIM

from softprompt_tf.evaluation.ensemble import PromptEnsemble
from softprompt_tf.evaluation.ensemble_scores import evaluate_ensemble
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.methods import TaskPrompt, prompt_tuning
from softprompt_tf.model.prompted_t5 import PromptedT5
from softprompt_tf.model.task_match import task_differences, warn_of_another_task
from softprompt_tf.tasks import Task
from softprompt_tf.training import TargetCrossEntropy

TASK = Task("mood", "film: {text}", labels={0: "bad", 1: "good"})
PROMPT = TaskPrompt(prompt=np.ones((1, 4), np.float32), task_id="mood", template="film: {text}", labels=("bad", "good"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"task_id": "", "template": "", "labels": ()}, []),  # a .npy file knows none of them
        ({"task_id": "topic"}, ["task id 'topic', not 'mood'"]),
        ({"task_id": "mood_adapter", "template": "", "labels": ()}, []),  # the name of a folder of PEFT
        (
            {"task_id": "topic", "template": "", "labels": (), "backbone_fingerprint": "f"},
            ["task id 'topic', not 'mood'"],
        ),
        ({"labels": ("good", "bad")}, ["labels ['good', 'bad'], not ['bad', 'good']"]),
        ({"template": "book: {text}"}, ["template 'book: {text}', not 'film: {text}'"]),
        ({"target_format": "sentinel"}, ["target format 'sentinel', not 'text'"]),
    ],
)
def test_each_difference_is_named(fields, expected):
    assert task_differences(dataclasses.replace(PROMPT, **fields), TASK) == expected


def test_the_warning_names_both_tasks():
    other = dataclasses.replace(PROMPT, task_id="topic", labels=("a", "b"))

    with pytest.warns(
        UserWarning, match=r"a.npy was trained for another task than 'mood': task id 'topic'.*; labels \['a', 'b'\]"
    ):
        warn_of_another_task(other, TASK, name="a.npy")


# === Evaluation ===

ROWS = dataclasses.replace(TASK, validation=[{"text": "a film", "label": 1}]).examples("validation")
OWN = dataclasses.replace(PROMPT, prompt=np.ones((1, HIDDEN_DIM), np.float32))
OTHER = dataclasses.replace(OWN, task_id="topic", template="book: {text}")


def told(run):
    """Return what is warned of while something runs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [text for text in (str(each.message) for each in caught) if "trained for another task" in text]


def test_evaluation_of_a_loaded_prompt_says_that_it_is_of_another_task(tiny_t5):
    (text,) = told(lambda: evaluate_examples(PromptedT5(tiny_t5, OTHER), TASK, ROWS))

    assert text.startswith(
        "The prompt was trained for another task than 'mood': task id 'topic', not 'mood'; "
        "template 'book: {text}', not 'film: {text}'."
    )


def test_labels_that_the_model_was_given_do_not_hide_the_prompts_own(tiny_t5):
    loaded = dataclasses.replace(OWN, labels=("yes", "no"))

    (text,) = told(lambda: evaluate_examples(PromptedT5(tiny_t5, loaded, labels=["bad", "good"]), TASK, ROWS))

    assert "labels ['yes', 'no'], not ['bad', 'good']" in text


def test_evaluation_of_a_prompts_own_task_says_nothing(tiny_t5):
    models = PromptedT5(tiny_t5, OWN), PromptedT5(tiny_t5, prompt_tuning(length=1)), PromptEnsemble(tiny_t5, [OWN] * 2)

    assert [told(lambda model=model: evaluate_examples(model, TASK, ROWS)) for model in models] == [[], [], []]


@pytest.mark.parametrize("evaluate", [evaluate_examples, evaluate_ensemble])
def test_of_several_prompts_each_that_is_of_another_task_is_named(tiny_t5, evaluate):
    topic = dataclasses.replace(OWN, task_id="topic")

    (text,) = told(lambda: evaluate(PromptEnsemble(tiny_t5, [OWN, topic, OWN]), TASK, ROWS))

    assert text.startswith("Prompt 2 of 3 was trained for another task than 'mood': task id 'topic', not 'mood'.")


def test_in_a_model_of_several_tasks_the_one_that_is_asked_counts(tiny_t5):
    model = PromptedT5(tiny_t5, prompt_tuning(length=1, task_ids=["mood", "topic"]))

    assert told(lambda: evaluate_examples(model, TASK, ROWS, task_id="mood")) == []
    (text,) = told(lambda: evaluate_examples(model, TASK, ROWS, task_id="topic"))
    assert "task id 'topic', not 'mood'" in text


def test_a_loaded_prompt_that_was_trained_further_is_not_judged_by_its_file(tiny_t5):
    model = PromptedT5(tiny_t5, OTHER)
    model.compile(optimizer="sgd", loss=TargetCrossEntropy())

    model.train_on_batch(["film: a film"], ["good"])

    assert told(lambda: evaluate_examples(model, TASK, ROWS)) == []
