"""Fields of rows become values of each format, and nothing of them is lost on the way or stops a job."""

import csv
import io
import json

import pytest

from softprompt_tf.errors import ConfigError
from softprompt_tf.export.bulk.output_rows import RowWriter
from softprompt_tf.export.bulk.questions import BadRow, Question
from softprompt_tf.export.bulk.records import Record, tfrecords
from softprompt_tf.export.bulk.row_fields import fields_of
from softprompt_tf.export.bulk.settings import AnswerSettings

VALUES = {
    "text": "a\r\nb,\u2028",
    "whole": 7,
    "huge": 10**400,
    "real": 0.1,
    "large": 1e300,
    "flag": True,
    "nothing": None,
    "list": [1, 2],
    "mixed": [1, "x"],
    "nested": {"a": [None]},
}
ANSWER = {"label": "good", "probability": 0.5, "log_probabilities": {"good": -0.7, "bad": -0.7}}


def written(kind, fields=VALUES, *, columns=(), **settings):
    question = Question(3, Record(0, 1, b""), "jsonl", fields, "mood", "classify", "x")
    return RowWriter(kind, columns, AnswerSettings(**settings)).row(question, ANSWER)


def json_fields(content):
    return fields_of(Record(0, 1, content), "jsonl", ())


def test_json_keeps_every_value():
    (line,) = written("jsonl").decode().splitlines()
    row = json.loads(line)

    assert {name: row[name] for name in VALUES} == VALUES
    assert list(row)[-4:] == ["answer_row", "answer_task", "answer_label", "answer_probability"]


def test_csv_has_json_for_what_is_no_text():
    (row,) = csv.reader(io.StringIO(written("csv", columns=tuple(VALUES)).decode(), newline=""))

    cells = dict(zip(VALUES, row, strict=True))
    assert (cells["text"], cells["flag"], cells["nothing"], cells["nested"]) == (
        "a\r\nb,\u2028",
        "true",
        "",
        '{"a": [null]}',
    )


def test_an_example_has_a_type_for_each_value_and_json_for_the_others():
    (record,) = tfrecords(io.BytesIO(written("tfrecord", log_probabilities=True)), "x")
    fields = fields_of(record, "tfrecord", ())

    assert {name: fields[name] for name in ("text", "whole", "real", "list")} == {
        "text": "a\r\nb,\u2028",
        "whole": 7,
        "real": 0.1,  # a float32 in its shortest form
        "list": [1, 2],
    }
    assert (fields["flag"], fields["nothing"]) == (1, [])
    assert {name: json.loads(fields[name]) for name in ("huge", "large", "mixed", "nested")} == {
        "huge": 10**400,
        "large": 1e300,
        "mixed": [1, "x"],
        "nested": {"a": [None]},
    }
    assert json.loads(fields["answer_log_probabilities"]) == ANSWER["log_probabilities"]


def test_numbers_that_json_has_not_become_text():
    assert json.loads(written("jsonl", json_fields(b'{"a": 1e999, "b": -1e999}')))["b"] == "-Infinity"


def test_a_prefix_names_the_answers_fields():
    assert '"p.row": 3, "p.task": "mood", "p.label": "good"' in written("jsonl", {}, prefix="p.").decode()


def test_a_bad_row_keeps_bytes_that_are_no_text():
    line = BadRow(1, Record(0, 2, b"\xff"), "f", "why").as_json()

    assert line == {"row": 1, "file": "f", "line": 2, "reason": "why", "record": {"b64": "/w=="}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"signature": "label"}, "`signature` must be one of auto, classify, generate, score"),
        ({"batch_size": 0}, "`batch_size` must be a whole number above 0"),
        ({"templates": {"mood": "no field"}}, "The template of task 'mood': A template needs at least one"),
        ({"prefix": "\udcff"}, "A setting must be valid Unicode"),
    ],
    ids=["signature", "batch", "template", "unicode"],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        AnswerSettings(**settings)
