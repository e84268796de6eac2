"""The demo's rows: enough of them, none empty, none in two splits, and labelled as the task files say."""

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
    """Task name -> the task and its train, validation and test examples, as a run of the demo reads them."""
    directory = tmp_path_factory.mktemp("runs")
    tasks = {name: load_task(demo_config(name, directory / name, "mini").tasks[0]) for name in TASKS}
    read = ("train", "validation", "test")
    return {name: (task, *(task.examples(split) for split in read)) for name, task in tasks.items()}


def test_there_are_three_tasks_with_data():
    assert sorted(TASKS) == sorted(entry.name for entry in DATA.iterdir() if entry.is_dir())
    assert len(TASKS) == 3


@each_task
def test_a_task_has_rows_to_train_on_to_choose_by_and_to_report(splits, name):
    _, *rows = splits[name]

    assert [len(split) for split in rows] == [300, 60, 120]


@each_task
def test_no_sentence_is_empty_or_there_twice(splits, name):
    _, train, validation, test = splits[name]
    texts = [" ".join(example.inputs.lower().split()) for example in [*train, *validation, *test]]

    assert all(texts)
    assert [text for text, count in Counter(texts).items() if count > 1] == []


@each_task
def test_every_label_of_the_task_is_used_in_every_split(splits, name):
    task, *rows = splits[name]

    assert [{example.label for example in split} for split in rows] == [set(task.label_words)] * 3


@each_task
def test_no_label_is_more_than_half_again_as_common_as_its_share(splits, name):
    task, *rows = splits[name]

    for split in rows:
        most = Counter(example.label for example in split).most_common(1)[0][1]
        assert most <= 1.5 * len(split) / len(task.label_words)


@each_task
def test_a_demo_run_names_its_task_and_place(tmp_path, name):
    config = demo_config(name, tmp_path / "out", "elsewhere")

    assert [task.name for task in config.tasks] == [name]
    assert (config.backbone, config.output_dir) == ("elsewhere", str(tmp_path / "out"))
    assert demo_config(name, tmp_path / "out", "mini", steps=7).training.steps == 7


@each_task
def test_the_server_puts_nothing_around_a_demo_text(splits, name):
    # The demo sends rendered inputs, which is right only where the template is the bare field.
    task, train, *_ = splits[name]

    assert task.template.affixes() == ("", "")
    assert train[0].inputs == train[0].row.values["text"]
