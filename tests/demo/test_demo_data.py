"""The demo's rows: enough of them, none empty, none in both splits, and labelled as the task files say."""

from collections import Counter
from pathlib import Path

import pytest

from softprompt_tf import demo
from softprompt_tf.demo.demo import TASKS, demo_config
from softprompt_tf.tasks import load_task

DATA = Path(demo.__file__).parent / "data"

each_task = pytest.mark.parametrize("name", TASKS)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Task name -> its train and validation examples, as a run of the demo reads them."""
    directory = tmp_path_factory.mktemp("runs")
    tasks = {name: load_task(demo_config(name, directory / name, "mini").tasks[0]) for name in TASKS}
    return {name: (task, task.examples("train"), task.examples("validation")) for name, task in tasks.items()}


def test_there_are_three_tasks_with_data():
    assert sorted(TASKS) == sorted(entry.name for entry in DATA.iterdir() if entry.is_dir())
    assert len(TASKS) == 3


@each_task
def test_a_task_has_at_least_300_rows(splits, name):
    _, train, validation = splits[name]

    assert len(train) + len(validation) >= 300


@each_task
def test_no_sentence_is_empty_or_there_twice(splits, name):
    _, train, validation = splits[name]
    texts = [" ".join(example.inputs.lower().split()) for example in [*train, *validation]]

    assert all(texts)
    assert [text for text, count in Counter(texts).items() if count > 1] == []


@each_task
def test_every_label_of_the_task_is_used_in_both_splits(splits, name):
    task, train, validation = splits[name]

    assert {example.label for example in train} == set(task.label_words)
    assert {example.label for example in validation} == set(task.label_words)


@each_task
def test_no_label_is_more_than_half_again_as_common_as_its_share(splits, name):
    task, train, validation = splits[name]

    for split in (train, validation):
        most = Counter(example.label for example in split).most_common(1)[0][1]
        assert most <= 1.5 * len(split) / len(task.label_words)


@each_task
def test_a_demo_run_names_its_task_and_place(tmp_path, name):
    config = demo_config(name, tmp_path / "out", "elsewhere")

    assert [task.name for task in config.tasks] == [name]
    assert (config.backbone, config.output_dir) == ("elsewhere", str(tmp_path / "out"))


@each_task
def test_the_server_puts_nothing_around_a_demo_text(splits, name):
    # The demo sends rendered inputs, which is right only where the template is the bare field.
    task, train, _ = splits[name]

    assert task.template.affixes() == ("", "")
    assert train[0].inputs == train[0].row.values["text"]
