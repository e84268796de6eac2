"""The tasks of `tiny_run` with their rows."""

import pytest
from tiny_run import write_tasks

from softprompt_tf.runs.run import TaskData
from softprompt_tf.tasks import load_task


@pytest.fixture(scope="session")
def task_data(tmp_path_factory):
    """Task name -> its rows: mood (labels) and echo (free text)."""
    files = write_tasks(tmp_path_factory.mktemp("tasks"))
    tasks = {name: load_task(path) for name, path in files.items()}
    return {name: TaskData(task, task.examples("train"), task.examples("validation")) for name, task in tasks.items()}
