"""A prompt that is asked to do another task than its own is told by what differs."""

import dataclasses

import numpy as np
import pytest

from softprompt_tf.prompts import TaskPrompt
from softprompt_tf.task_match import task_differences, warn_of_another_task
from softprompt_tf.tasks import Task

TASK = Task("mood", "film: {text}", labels={0: "bad", 1: "good"})
PROMPT = TaskPrompt(prompt=np.ones((1, 4), np.float32), task_id="mood", template="film: {text}", labels=("bad", "good"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"task_id": "", "template": "", "labels": ()}, []),  # a .npy file knows none of them
        ({"task_id": "topic"}, ["task id 'topic', not 'mood'"]),
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
