"""The check of a change finds a task that answers otherwise than before, and one that does not answer."""

import dataclasses
import shutil

import numpy as np
import pytest
from asked_versions import ask_once

from softprompt_tf.errors import VerificationError
from softprompt_tf.export import add_tasks
from softprompt_tf.export.versions import verify_change as verify_change_module
from softprompt_tf.export.versions.task_shards import StoredTasks
from softprompt_tf.export.versions.verify_change import probe_requests, verify_change

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("asked_once")]


@pytest.fixture(scope="module")
def changed(version_directory, task_prompts, asked_once, tmp_path_factory):
    """Version 1 and, as version 2, the same with another prompt for one task."""
    base = tmp_path_factory.mktemp("changed")
    shutil.copytree(version_directory, base / "1")
    other = dataclasses.replace(task_prompts["story"], prompt=task_prompts["story"].prompt * np.float32(1.001))
    add_tasks(base, {"story": other}, replace=True, verify=False)
    kept, added = (["mood", "story"], ["mood", "reply"]), (["story"], ["review"])
    for version, batches in (("1", kept), ("2", (*kept, *added))):  # each in one process
        ask_once(base / version, [request for tasks in batches for request in probe_requests(tasks).values()])
    return base


def test_a_task_that_answers_otherwise_is_named(changed):
    with pytest.raises(VerificationError, match="others' answers. Received for task 'story', serving_default, score: "):
        verify_change(changed / "1", changed / "2", kept=["mood", "story"], added=[])


def test_tasks_that_answer_as_before_pass(changed):
    verify_change(changed / "1", changed / "2", kept=["mood", "reply"], added=StoredTasks.read(changed / "2").rows[1:2])


def test_an_added_task_that_does_not_answer_is_named(changed):
    missing = dataclasses.replace(StoredTasks.read(changed / "2").rows[0], task_id="review")

    with pytest.raises(
        VerificationError, match="Received for task 'review', serving_default: Unknown task id 'review'."
    ):
        verify_change(changed / "1", changed / "2", kept=[], added=[missing])


def test_an_export_that_filled_up_with_infinity_may_get_more_labels():
    before = {"log_probabilities": np.array([[-0.5, -np.inf]] * 3, np.float32)}
    after = {"log_probabilities": np.array([[-0.5, -np.inf, -np.inf]] * 3, np.float32)}

    verify_change_module._compare("classify", ["mood"], before, after)


def test_an_export_that_filled_up_with_a_number_may_get_more_labels():
    before = {"log_probabilities": np.array([[-0.5, -1e9]] * 3, np.float32)}
    after = {"log_probabilities": np.array([[-0.5, -1e9, -1e9]] * 3, np.float32)}

    verify_change_module._compare("classify", ["mood"], before, after)
