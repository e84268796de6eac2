"""Task files: where their sources lie, and which mistakes are named."""

import pytest

from softprompt_tf.config import TaskConfig
from softprompt_tf.errors import ConfigError
from softprompt_tf.tasks import Task, load_task, task_table

SST2 = 'name: sst2\ninputs: "sst2 sentence: {sentence}"\nlabels: {0: negative, 1: positive}\n'


def test_task_file_becomes_a_task_with_sources_beside_it(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.tsv").write_text("sentence\tlabel\ngood\t1\n")
    path = tmp_path / "tasks/sst2.yaml"
    path.write_text(SST2 + "train: ../data/train.tsv\nvalidation: glue/sst2\nmetrics: [accuracy, f1]\n")

    task = load_task(path)

    assert task == Task(
        "sst2",
        "sst2 sentence: {sentence}",
        labels={"0": "negative", "1": "positive"},
        metrics=("accuracy", "f1"),
        train=str(tmp_path / "data/train.tsv"),
        validation="glue/sst2",
    )
    assert task.examples("train")[0].target == "positive"


def test_mapping_becomes_a_task_with_sources_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    task = load_task({"name": "t", "inputs": "{x}", "labels": {True: "yes"}, "train": "train.tsv", "metrics": ["f1"]})

    assert task.train == str(tmp_path / "train.tsv")
    assert task.labels == {"True": "yes"}
    assert task.metrics == ("f1",)


def test_checked_config_becomes_a_task():
    assert load_task(TaskConfig(name="t", inputs="{x}")) == Task("t", "{x}")


def test_words_for_no_and_yes_need_no_quotes(tmp_path):
    (tmp_path / "t.yaml").write_text('name: t\ninputs: "{x}"\nlabels: {false: no, true: yes}\n')

    assert load_task(tmp_path / "t.yaml").labels == {"False": "no", "True": "yes"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SST2 + "lables: {}\n", r"Unknown key `lables` in .*t.yaml:4. Did you mean `labels`\?"),
        ('name: t\ninputs: "{a.b}"\n', "t.yaml: A placeholder must be a plain field name"),
        ("name: t\n", "Missing key `inputs` in .*t.yaml. It must be a template, such as"),
        (
            'name: a b\ninputs: "{x}"\n',
            r"`name` must be a name of the letters a to z and A to Z, digits, .* Received: 'a b' \(.*t.yaml:1\)",
        ),
        (
            'name: t\ninputs: "{x}"\nlabels:\n  0: 1\n',
            r"`labels.0` must be a mapping from raw value .* Received: 1 \(.*t.yaml:4\)",
        ),
        (
            SST2 + "train: ${NO_SUCH_VARIABLE}/a.tsv\n",
            "`NO_SUCH_VARIABLE` must be set for `train`. Received: .*t.yaml:4",
        ),
    ],
)
def test_mistakes_in_a_task_file_are_named(tmp_path, text, message):
    (tmp_path / "t.yaml").write_text(text)

    with pytest.raises(ConfigError, match=message):
        load_task(tmp_path / "t.yaml")


def test_mistake_in_a_mapping_is_named():
    with pytest.raises(ConfigError, match=r"Unknown key `input` in the task's mapping. Did you mean `inputs`\?"):
        load_task({"name": "t", "inputs": "{x}", "input": "{x}"})


def test_missing_task_file_names_the_nearest(tmp_path):
    (tmp_path / "sst2.yaml").write_text(SST2)

    with pytest.raises(ConfigError, match=r"No such config file: .*sst.yaml. Did you mean `sst2.yaml`\?"):
        load_task(tmp_path / "sst.yaml")


def test_table_lists_tasks_by_name_without_their_sources(tmp_path):
    (tmp_path / "z.yaml").write_text(SST2 + "train: ${NO_SUCH_VARIABLE}/a.tsv\n")
    (tmp_path / "a.yml").write_text('name: zeta\ninputs: "{x}"\n')

    assert list(task_table(tmp_path).items()) == [("sst2", tmp_path / "z.yaml"), ("zeta", tmp_path / "a.yml")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.yaml": SST2, "b.yaml": SST2}, "must not have the same name. Received: `sst2` in .*a.yaml and .*b.yaml"),
        ({"a.yaml": 'inputs: "{x}"'}, "Missing key `name` in .*a.yaml"),
    ],
)
def test_table_refuses_nameless_and_equal_tasks(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(ConfigError, match=message):
        task_table(tmp_path)


def test_table_of_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such directory of task files: .*none"):
        task_table(tmp_path / "none")


def test_one_name_needs_no_list(tmp_path):
    (tmp_path / "t.yaml").write_text('name: t\ninputs: "{x}"\npreprocess: squad\ngroup_by: [a, b]\n')

    task = load_task(tmp_path / "t.yaml")

    assert (task.preprocess, task.group_by, task.postprocess) == (("squad",), ("a", "b"), ())


@pytest.mark.parametrize(
    ("inputs", "taskless"),
    [("boolq passage: {passage}", "passage: {passage}"), ("wsc: {text}", "{text}"), ("a  {x}", " {x}")],
)
def test_taskless_inputs_lose_their_first_word(inputs, taskless):
    config = {"name": "t", "inputs": inputs}

    assert load_task({**config, "taskless": True}).inputs == taskless
    assert load_task({**config, "taskless": False}).inputs == inputs


@pytest.mark.parametrize("inputs", ["{passage} question: {q}", "sst2", " {x}", "{x}"])
def test_taskless_inputs_need_a_first_word(inputs):
    with pytest.raises(
        ConfigError, match="With `taskless`, `inputs` must begin with a word to leave out and a space. Rec"
    ):
        load_task({"name": "t", "inputs": inputs, "taskless": True})


def test_a_task_file_may_change_another_one(tmp_path):
    (tmp_path / "boolq.yaml").write_text('name: boolq\ninputs: "boolq question: {question}"\nmetrics: [f1]\n')
    (tmp_path / "mine.yaml").write_text("include: boolq.yaml\nname: mine\ntaskless: true\n")

    assert load_task(tmp_path / "mine.yaml") == Task("mine", "question: {question}", metrics=("f1",))
