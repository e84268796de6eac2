"""What a run says at its end: scores, baselines and the next command; and what it does with test rows."""

import dataclasses
from pathlib import Path

import pytest
from tiny_run import mood_rows, write_rows, write_tasks

from softprompt_tf.evaluation.scores import TaskScores
from softprompt_tf.runs.run import RunResult
from softprompt_tf.runs.summary import summary_lines
from softprompt_tf.runs.task_data import read_task_data
from softprompt_tf.tasks import load_task
from softprompt_tf.training import TrainingResult


def result(*, steps_taken=6, test=True):
    """A finished run of the tasks `mood`, with labels, and `echo`, without; predictions are not looked into."""
    training = TrainingResult(
        steps_done=6,
        best_step=3,
        best_score=0.8,
        history=(),
        seconds_per_step=0.1,
        stopped_early=False,
        steps_taken=steps_taken,
    )
    scores = {"mood": TaskScores({"accuracy": 0.75, "macro_f1": 0.5}, (None,) * 8)}
    both = {"validation": {"accuracy": 0.5, "macro_f1": 1 / 3}, "test": {"accuracy": 0.25, "macro_f1": 0.2}}
    return RunResult(
        prompts={"mood": Path("runs/my mood/prompt.safetensors")},
        scores=scores,
        training=training,
        output_dir=Path("runs/my mood"),
        test_scores={"mood": TaskScores({"accuracy": 0.625, "macro_f1": 0.6}, (None,) * 16)} if test else {},
        majority={"mood": both if test else {"validation": both["validation"]}},
    )


def test_a_run_ends_with_a_table_and_the_next_command():
    assert summary_lines(result(), backbone="mini") == [
        "mood: prompt in runs/my mood/prompt.safetensors; the dev rows chose step 3",
        "                     accuracy  macro_f1",
        "dev, 8 rows            0.7500    0.5000",
        "  majority baseline    0.5000    0.3333",
        "test, 16 rows          0.6250    0.6000",
        "  majority baseline    0.2500    0.2000",
        "",
        "Next: softprompt export --prompt 'mood=runs/my mood/prompt.safetensors' --output 'exports/my mood'",
    ]


def test_without_a_test_split_there_is_no_test_line():
    lines = summary_lines(result(test=False), backbone="mini")

    assert not any("test" in line for line in lines)
    assert len(lines) == 6


def test_a_prompt_that_is_no_better_than_one_answer_is_called_so():
    finished = result()
    finished.majority["mood"]["validation"].update(accuracy=0.75, macro_f1=0.5)

    lines = summary_lines(finished, backbone="mini")

    assert lines[6].startswith("The prompt is no better than one answer for all rows: train more steps")


def test_a_run_that_was_finished_before_says_so():
    lines = summary_lines(result(steps_taken=0), backbone="mini")

    assert lines[0] == "The run was finished before: nothing was trained."


def test_the_next_command_names_a_backbone_that_is_a_directory(tmp_path):
    assert f" --backbone {tmp_path} " in summary_lines(result(), backbone=str(tmp_path))[-1]


# === Test rows ===


@pytest.fixture
def task(tmp_path):
    """Return a function that reads the task `mood` with this test file."""

    def read(name, rows):
        write_rows(tmp_path / "mood_test.jsonl", rows)
        path = write_tasks(tmp_path)["mood"]
        text = path.read_text("utf-8") + f"test: {name}\n"
        path.write_text(text, "utf-8")
        return load_task(path)

    return read


def test_the_test_rows_are_those_of_the_test_split(task):
    data = read_task_data(task("mood_test.jsonl", mood_rows()[:3]))

    assert [example.target for example in data.test] == [row["label"] for row in mood_rows()[:3]]


@pytest.mark.parametrize(
    ("name", "rows"),
    [("mood_test.jsonl", [{"text": "a film", "label": "-1"}]), ("not_here.jsonl", [])],
    ids=["no labels", "no file"],
)
def test_a_run_goes_without_a_test_split_that_cannot_be_read(task, name, rows):
    with pytest.warns(UserWarning, match="The run of task mood will have no test score: "):
        data = read_task_data(task(name, rows))

    assert data.test == ()
    assert len(data.train) == 16


def test_rows_that_are_trained_on_and_scored_are_told(task):
    with pytest.warns(UserWarning, match=r"Task mood: 2 of 3 test rows have the text of a train row, so their scores"):
        read_task_data(task("mood_test.jsonl", [*mood_rows()[:2], {"text": "another one", "label": "positive"}]))


def test_the_rows_that_choose_the_step_are_called_dev_rows(task):
    known = task("mood_test.jsonl", [{"text": "a new one", "label": "positive"}])

    with pytest.warns(UserWarning, match=r"Task mood: 16 of 16 dev rows have the text of a train row, so their scores"):
        read_task_data(dataclasses.replace(known, validation=known.train))


def test_what_a_split_lacks_is_told(task):
    with pytest.warns(UserWarning, match="Task mood: ") as told:
        read_task_data(task("mood_test.jsonl", [{"text": text, "label": "positive"} for text in ("new", " ", "")]))

    assert [str(each.message) for each in told] == [
        "Task mood: No test row has the label 'negative'. If the rows of the file are sorted, shuffle them before you "
        "divide them.",
        "Task mood: 2 of 3 test rows have no text in `text`. Leave them out.",
    ]
