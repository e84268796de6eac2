"""Which rows an experiment uses: the same for every run, groups whole, and limits that only lower a task's own."""

import pytest
from tiny_run import echo_rows, write_rows, write_yaml

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.experiments.rows import check_rows, find_task, sample, scored_examples, task_identity, training_data
from softprompt_tf.experiments.settings import Rows, RunSettings
from softprompt_tf.tasks import Example


def examples(*groups):
    return [Example(f"text {k}", "answer", None, {}, group=group) for k, group in enumerate(groups)]


def test_all_rows_are_used_where_there_is_no_limit_or_a_high_one():
    rows = examples(None, None, None)

    assert sample(rows, None) == rows
    assert sample(rows, 3) == rows


def test_a_draw_is_a_part_in_its_own_order_and_always_the_same():
    rows = examples(*[None] * 50)

    drawn = sample(rows, 10)

    assert len(drawn) == 10
    numbers = [rows.index(row) for row in drawn]
    assert numbers == sorted(numbers)
    assert numbers != list(range(10))  # not merely the first
    assert sample(rows, 10) == drawn
    fewer = sample(rows, 5)
    assert [row for row in drawn if row in fewer] == fewer  # are some of the same


def test_a_group_is_drawn_whole():
    rows = examples(*[f"question {k // 4}" for k in range(40)])

    drawn = sample(rows, 6)

    assert len(drawn) == 8  # two groups of four are the first that are 6 or more
    groups = {row.group for row in drawn}
    assert drawn == [row for row in rows if row.group in groups]


def test_limits_only_lower_a_tasks_own(place):
    assert find_task(place.mood, RunSettings(max_input_tokens=12)).max_input_tokens == 12
    assert find_task(place.mood, RunSettings(max_input_tokens=500)).max_input_tokens == 30
    assert find_task(place.mood, RunSettings(target_format="sentinel")).target_format == "sentinel"


def test_a_task_of_the_library_is_found_by_name(monkeypatch, tmp_path):
    monkeypatch.setenv("SOFTPROMPT_DATA", str(tmp_path))

    assert find_task("superglue_cb", RunSettings()).name == "superglue_cb"
    with pytest.raises(ConfigError, match="No such task. Received: 'superglue_bc'.*superglue_cb"):
        find_task("superglue_bc", RunSettings())
    with pytest.raises(ConfigError, match="No such task. Received: '/none.yaml'"):
        find_task("/none.yaml", RunSettings())


def test_a_missing_file_is_noticed_before_anything_runs(place, tmp_path):
    sources = {"train": "train.jsonl", "validation": "dev.jsonl"}
    echo = {"name": "echo", "inputs": "{first} and {second}", "targets": "{answer}", "metrics": ["exact_match"]}
    task = find_task(str(write_yaml(tmp_path / "echo.yaml", echo | sources)), RunSettings())
    write_rows(tmp_path / "train.jsonl", echo_rows())

    check_rows(find_task(place.echo, RunSettings()), ("train", "validation"))
    check_rows(task, ("train",))
    with pytest.raises(DataError, match=r"dev\.jsonl"):
        check_rows(task, ("train", "validation"))


def test_a_tasks_rows_are_as_many_as_asked_for(place):
    task = find_task(place.mood, RunSettings())

    data = training_data(task, Rows(train=10, validation=3))

    assert (len(data.train), len(data.validation)) == (10, 3)
    assert len(training_data(task, Rows()).train) == 16
    assert list(scored_examples(task, Rows(validation=3))) == data.validation


def test_a_task_is_told_apart_by_what_it_is_and_not_by_where_it_lies(place, tmp_path):
    here = find_task(place.mood, RunSettings())
    moved = here.model_copy(update={"train": f"/elsewhere/{place.directory.name}/mood_train.jsonl"})
    shorter = find_task(place.mood, RunSettings(max_input_tokens=12))

    assert task_identity(here)["train"] == f"{place.directory.name}/mood_train.jsonl"
    assert task_identity(moved) == task_identity(here)
    assert task_identity(shorter) != task_identity(here)
