"""Rows of files are answered once each, as the export answers them, in whatever format, and also after the job was killed."""

import csv
import functools
import gzip
import json
import signal
import threading

import numpy as np
import pytest

from softprompt_tf.cli.cli import main
from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.export import AnswerSettings, answer_files

pytestmark = pytest.mark.thorough

TEMPLATES = {"reply": "{first} and then {second}"}
ROWS = [
    {"task": "mood", "text": "a charming film", "id": 7},
    {"task": "story", "text": "the old miller walks"},
    {"task": "reply", "first": "a cold wind", "second": "the plot is thin"},
    {"task": "mood", "text": 3.5, "nested": {"a": [1, None]}},
    {"task": "story", "text": ""},
    {"task": "mood", "text": "a word " * 60},  # longer than the task's limit: it is cut
    {"task": "mood", "text": "süß \U0001f600\u2028 {braces}"},
]
BAD = {
    b"not json": "Must be one JSON object",
    b'{"task": "mood", "text": "\xff"}': "Must be valid UTF-8",
    b'{"task": "mood", "text": "\\ud800"}': "Must be valid Unicode",
    b'{"task": "nobody", "text": "x"}': "The export must have the task. Received: 'nobody'",
    b'{"text": "x"}': "the row has no field `task`",
    b'{"task": "mood"}': "the row has no field `text`",
    b'{"task": "mood", "text": ["x"]}': "must be text, a number or a boolean",
    b'{"task": "mood", "text": null}': "has no value",
    b'{"task": "mood", "text": NaN}': "NaN is no JSON number",
    b'{"task": "reply", "first": "x"}': "the row has no field `second`",
    b'{"task": "mood", "text": "x", "answer_label": "y"}': "No field of a row may have the name of the answer's",
    b"[" * 100_000: "Must be one JSON object",
    b'{"task": "mood", "text": "x", "n": ' + b"[" * 300 + b"]" * 300 + b"}": "Must be nested at most 100 deep",
}


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """Every job of this process gets the same loaded export: to load it and to run it first takes longer than all else."""
    from softprompt_tf.export.bulk import model_handler

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_handler, "ServedModel", functools.cache(model_handler.ServedModel))
        yield


@pytest.fixture(scope="module")
def expected(signatures):
    """What the SavedModel's signatures answer for ROWS, asked directly."""
    texts = [str(row.get("text", f"{row.get('first')} and then {row.get('second')}")) for row in ROWS]
    ids = [row["task"] for row in ROWS]
    labels, texts_out = (
        signatures["classify"](task_id=ids, text=texts),
        signatures["serving_default"](task_id=ids, text=texts),
    )
    return [
        {"text": texts_out["output"][k].decode(), "score": texts_out["score"][k]}
        if row["task"] == "story"
        else {"label": labels["label"][k].decode(), "probability": labels["probability"][k]}
        for k, row in enumerate(ROWS)
    ]


def write_rows(path, rows=ROWS):
    path.write_bytes(b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows))
    return path


def read_rows(path):
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def ask(base_directory, source, output, **options):
    settings = AnswerSettings(templates=TEMPLATES, **options.pop("settings", {}))
    return answer_files(base_directory, source, output, settings=settings, **{"chunk_rows": 3, **options})


def check_answers(rows, expected, *, start=1):
    """Compare rows of an output with what the signatures answer; numbers may differ by how a batch is padded."""
    assert [row["answer_row"] for row in rows] == list(range(start, start + len(expected)))
    for row, answer in zip(rows, expected, strict=True):
        for name, value in answer.items():
            if isinstance(value, str):
                assert row[f"answer_{name}"] == value
            else:
                np.testing.assert_allclose(float(row[f"answer_{name}"]), value, rtol=1e-4, atol=1e-5)


def test_bad_rows_go_to_a_file_of_their_own_and_hurt_no_other(base_directory, tmp_path, expected):
    bad = [content + b"\n" for content in BAD]
    source = write_rows(tmp_path / "rows.jsonl", [*bad[:5], *ROWS, *bad[5:]])

    done = ask(base_directory, source, tmp_path / "out.jsonl")

    rows = read_rows(done.output)
    check_answers(rows, expected, start=6)
    for row, given in zip(rows, ROWS, strict=True):
        assert {name: row[name] for name in given} == given
        assert list(row)[: len(given)] == list(given)
    assert (done.num_answered, done.num_bad) == (len(ROWS), len(BAD))
    told = read_rows(done.bad_output)
    assert done.bad_output.name == "out.jsonl.bad.jsonl"
    assert [row["line"] for row in told] == [1, 2, 3, 4, 5, *range(13, 21)]
    for row, reason in zip(told, BAD.values(), strict=True):
        assert reason in row["reason"]
    assert told[0]["record"] == "not json"
    assert not (tmp_path / "out.jsonl.work").exists()


def test_csv_goes_in_and_out(base_directory, tmp_path, expected):
    source = tmp_path / "rows.csv"
    source.write_text('task,text,first\nmood,"a charming film",\nstory,the old miller walks,x\nmood\nmood,"a\r\nb",\n')

    done = ask(base_directory, source, tmp_path / "out.csv")

    with done.output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    fields = ["task", "text", "first", "answer_row", "answer_task"]
    assert list(rows[0]) == [*fields, "answer_label", "answer_probability", "answer_text", "answer_score"]
    assert [row["answer_row"] for row in rows] == ["1", "2", "4"]
    assert rows[2]["text"] == "a\r\nb"
    assert rows[0]["answer_label"] == expected[0]["label"]
    assert rows[1]["answer_text"] == expected[1]["text"]
    assert rows[1]["answer_label"] == ""
    assert "Must have 3 columns" in read_rows(done.bad_output)[0]["reason"]


def test_examples_go_in_and_out_and_keep_their_features(base_directory, tmp_path, expected):
    import tensorflow as tf

    def example(**features):
        made = {
            name: tf.train.Feature(int64_list=tf.train.Int64List(value=value))
            if isinstance(value, list)
            else tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
            for name, value in features.items()
        }
        return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()

    with tf.io.TFRecordWriter(str(tmp_path / "rows.tfrecord")) as file:
        file.write(example(task=b"mood", text=b"a charming film", image=b"\xff\xfe", sizes=[1, 2]))
        file.write(b"\xff no example")
        file.write(example(task=b"mood", text=b"\xff"))

    done = ask(base_directory, tmp_path / "rows.tfrecord", tmp_path / "out.tfrecord")

    (record,) = tf.data.TFRecordDataset(str(done.output)).as_numpy_iterator()
    found = tf.train.Example.FromString(record).features.feature
    assert found["image"].bytes_list.value[0] == b"\xff\xfe"
    assert list(found["sizes"].int64_list.value) == [1, 2]
    assert found["answer_label"].bytes_list.value[0].decode() == expected[0]["label"]
    np.testing.assert_allclose(found["answer_probability"].float_list.value[0], expected[0]["probability"], rtol=1e-4)
    reasons = [row["reason"] for row in read_rows(done.bad_output)]
    assert "Must be one tf.train.Example" in reasons[0]
    assert "field `text` must be valid UTF-8" in reasons[1]


def test_rows_of_any_kind_become_csv_and_packed(base_directory, tmp_path, expected):
    source = write_rows(tmp_path / "rows.jsonl")

    done = ask(base_directory, source, tmp_path / "out.csv.gz")

    with gzip.open(done.output, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == ["task", "text", "id", "first", "second", "nested"]
    assert rows[3]["nested"] == '{"a": [1, null]}'
    assert [float(row["answer_probability"]) for row in rows if row["task"] == "mood"] == pytest.approx(
        [answer["probability"] for row, answer in zip(ROWS, expected, strict=True) if row["task"] == "mood"], rel=1e-4
    )


def test_a_target_is_scored(base_directory, tmp_path, signatures):
    source = write_rows(
        tmp_path / "rows.jsonl", [{"text": "a film", "target": "yes"}, {"text": "a film", "target": "a " * 300}]
    )

    done = ask(base_directory, source, tmp_path / "out.jsonl", settings={"task": "story", "signature": "score"})

    (row,) = read_rows(done.output)
    scored = signatures["score"](task_id=["story"], text=["a film"], target=["yes"])["log_likelihood"]
    np.testing.assert_allclose(row["answer_log_likelihood"], scored[0], rtol=1e-4)
    assert "The target must have at most" in read_rows(done.bad_output)[0]["reason"]


# === Stops ===

KILL = """
import os, signal, sys
from pathlib import Path
from softprompt_tf.export import AnswerSettings, answer_files
from softprompt_tf.export.bulk import answer_files as job
from softprompt_tf.export.bulk.work_directory import WorkDirectory

export, source, output, place = sys.argv[1:]

def kill(*given, **more):
    os.kill(os.getpid(), signal.SIGKILL)

def at_second_part(write):
    def written(self, number, **parts):
        if number == 1:
            (self.path / f"part-{number:08d}.bad").write_bytes(b"half") and kill()
        write(self, number, **parts)
    return written

if place == "part":
    WorkDirectory.write_part = at_second_part(WorkDirectory.write_part)
elif place == "bad output":
    job.put = kill
elif place == "output":
    put = job.put
    job.put = lambda source, target, **options: kill() if target == Path(output) else put(source, target, **options)
elif place == "end":
    WorkDirectory.remove = kill
answer_files(export, source, output, settings=AnswerSettings(task="mood"), chunk_rows=2)
"""


@pytest.mark.parametrize("place", ["part", "bad output", "output", "end"])
def test_a_killed_job_goes_on_and_answers_each_row_once(base_directory, tmp_path, forked, place):
    rows = [{"text": "a film"}, b"bad\n", {"text": "a dull film"}, {"text": "the plot"}, b"[]\n"]
    source, output = write_rows(tmp_path / "rows.jsonl", rows), tmp_path / "out.jsonl"
    killed = forked.run(KILL, base_directory, source, output, place)
    assert killed.returncode == -signal.SIGKILL, forked.errors()

    done = answer_files(base_directory, source, output, settings=AnswerSettings(task="mood"), chunk_rows=2)

    assert [row["answer_row"] for row in read_rows(output)] == [1, 3, 4]
    assert [row["row"] for row in read_rows(done.bad_output)] == [2, 5]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.bad.jsonl", "rows.jsonl"]


def test_parts_that_a_removal_left_behind_count_for_nothing(base_directory, tmp_path):
    source, output = write_rows(tmp_path / "rows.jsonl", [{"text": "a film"}]), tmp_path / "out.jsonl"
    settings, work = AnswerSettings(task="mood"), tmp_path / "out.jsonl.work"
    work.mkdir()
    (work / "part-00000000.rows").write_text("old\n")
    output.write_text("finished\n")

    with pytest.raises(ConfigError, match="An output that exists is not overwritten"):
        answer_files(base_directory, source, output, settings=settings)
    assert not work.exists()

    output.unlink()
    work.mkdir()
    (work / "part-00000000.rows").write_text("old\n")
    answer_files(base_directory, source, output, settings=settings)
    assert [row["answer_row"] for row in read_rows(output)] == [1]


def test_a_directory_of_others_is_left_alone(base_directory, tmp_path):
    (tmp_path / "out.jsonl.work").mkdir()
    (tmp_path / "out.jsonl.work" / "thesis.doc").write_text("mine")

    with pytest.raises(ConfigError, match="it holds thesis.doc"):
        ask(base_directory, write_rows(tmp_path / "rows.jsonl"), tmp_path / "out.jsonl")

    assert (tmp_path / "out.jsonl.work" / "thesis.doc").read_text() == "mine"


@pytest.fixture
def stopped(base_directory, tmp_path, monkeypatch):
    """The source and output of a job that was stopped after its plan."""
    from softprompt_tf.export.bulk import answer_files as job

    def interrupted(*given, **more):
        raise KeyboardInterrupt

    source, output = write_rows(tmp_path / "rows.jsonl"), tmp_path / "out.jsonl"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job, "run_job", interrupted)
        ask(base_directory, source, output)
    assert (tmp_path / "out.jsonl.work" / "plan.json").exists()
    return source, output


def test_a_changed_input_is_refused(base_directory, stopped):
    write_rows(stopped[0], ROWS[:-1])

    with pytest.raises(ConfigError, match="Received: another input: rows 6, and not 7; digest"):
        ask(base_directory, *stopped)


def test_other_settings_are_refused_unless_forced(base_directory, stopped):
    with pytest.raises(ConfigError, match="another settings: batch_size 2, and not 64. Give what was given before"):
        ask(base_directory, *stopped, settings={"batch_size": 2})

    assert ask(base_directory, *stopped, settings={"batch_size": 2}, force=True).num_answered == len(ROWS)


def test_another_export_is_refused(base_directory, stopped, monkeypatch):
    from softprompt_tf.export.bulk import export_version

    monkeypatch.setattr(export_version, "_digest", lambda directory: "other")
    with pytest.raises(ConfigError, match='another export: digest "other", and not'):
        ask(base_directory, *stopped)


def test_a_newer_export_is_refused_with_the_one_to_name(base_directory, tmp_path):
    """As after a task was added: the same command means another version then."""
    from softprompt_tf.export.bulk.work_directory import WorkDirectory

    work, others = WorkDirectory(tmp_path), {"input": {}, "settings": {}, "output": {}}
    work.begin({"export": {"version": "1", "digest": "a"}, **others})

    with pytest.raises(
        ConfigError, match='version "2", and not "1".* Name version 1 itself, such as exports/t5/1, or begin'
    ):
        work.check_plan({"export": {"version": "2", "digest": "b"}, **others})


def test_an_output_that_exists_is_not_overwritten(base_directory, tmp_path):
    source, output = write_rows(tmp_path / "rows.jsonl"), tmp_path / "out.jsonl"
    output.write_text("mine")

    with pytest.raises(ConfigError, match="An output that exists is not overwritten"):
        ask(base_directory, source, output)

    assert output.read_text() == "mine"
    assert not (tmp_path / "out.jsonl.work").exists()


def test_a_failure_of_a_worker_is_told_in_its_own_words(base_directory, tmp_path, monkeypatch):
    from softprompt_tf.export.bulk import job_run as job

    source = write_rows(tmp_path / "rows.jsonl")
    run = job._run

    def changed(*given):
        write_rows(source, ROWS[1:])
        run(*given)

    monkeypatch.setattr(job, "_run", changed)
    with pytest.raises(DataError, match="must not change while its rows are answered"):
        ask(base_directory, source, tmp_path / "out.jsonl")


def test_a_stopped_job_ends_and_says_how_to_go_on(base_directory, tmp_path, monkeypatch):
    from softprompt_tf.export.bulk import job_run as job

    def stop_and_hang(plan, chunks, signals, options):
        signals.stop()
        threading.Event().wait()  # as a runner does whose workers are gone

    monkeypatch.setattr(job, "_run", stop_and_hang)
    monkeypatch.setattr(job, "_STOP_S", 0.5)

    with pytest.raises(KeyboardInterrupt, match="0 of 7 rows are answered. Run the same command again to go on"):
        ask(base_directory, write_rows(tmp_path / "rows.jsonl"), tmp_path / "out.jsonl")


# === Arguments ===


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"task": "moods"}}, "Received: 'moods'. Did you mean `mood`?"),
        ({"settings": {"task": "story", "signature": "classify"}}, "Only a task with labels can classify"),
        ({"chunk_rows": 0}, "`chunk_rows` must be a whole number above 0"),
        ({"runner": "NoRunner"}, "Beam must know its runner. Received: NoRunner"),
        ({"beam_options": ["direct_num_wokers=2"]}, "Beam must know its options. Received: direct_num_wokers"),
    ],
    ids=["task", "labels", "chunk", "runner", "option"],
)
def test_a_mistake_is_told_before_anything_is_answered(base_directory, tmp_path, options, message):
    source = write_rows(tmp_path / "rows.jsonl")

    with pytest.raises(ConfigError) as error:
        ask(base_directory, source, tmp_path / "out.jsonl", **options)

    assert message in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_template_that_the_export_applies_is_not_applied_twice(base_directory, tmp_path, expected):
    template = {"mood": "the film: {sentence} is it good?"}
    source = write_rows(tmp_path / "rows.jsonl", [{"sentence": "a charming film"}])

    answer_files(
        base_directory, source, tmp_path / "out.jsonl", settings=AnswerSettings(task="mood", templates=template)
    )

    check_answers(read_rows(tmp_path / "out.jsonl"), expected[:1])


def test_a_template_of_another_text_is_refused(base_directory, tmp_path):
    source = write_rows(tmp_path / "rows.jsonl")

    with pytest.raises(ConfigError, match="A template must be that of the task, or a field alone"):
        answer_files(
            base_directory, source, tmp_path / "o.jsonl", settings=AnswerSettings(templates={"mood": "a {text}"})
        )


def test_without_beam_the_command_says_how_to_get_it(base_directory, tmp_path, monkeypatch, capsys):
    from softprompt_tf.export.bulk import answer_files as job

    monkeypatch.setattr(job.importlib.util, "find_spec", lambda name: None)
    write_rows(tmp_path / "rows.jsonl")

    status = main(["answer-files", str(base_directory), str(tmp_path / "rows.jsonl"), str(tmp_path / "out.jsonl")])

    assert status == 2
    assert "Received: no package apache_beam. Install it: pip install 'softprompt-tf[beam]'." in capsys.readouterr().err


def test_the_command_tells_what_it_did(base_directory, tmp_path, capsys):
    source, output = write_rows(tmp_path / "rows.jsonl", [{"text": "x"}, b"bad\n"]), tmp_path / "out.jsonl"

    status = main(
        ["answer-files", str(base_directory), str(source), str(output), "--task", "mood", "--log-probabilities"]
    )

    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    assert printed.out == f"{output}: 1 row answered, 1 bad row in {output}.bad.jsonl\n"
    assert list(read_rows(output)[0]["answer_log_probabilities"]) == ["negative", "positive"]
