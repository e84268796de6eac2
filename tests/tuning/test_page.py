"""What a person reads of a search: the page, the table and the last lines."""

import builtins
import dataclasses
import re

import pytest
from full_disk import fill_disk

from softprompt_tf.errors import TrainingError
from softprompt_tf.tuning.page import check_picture, one_answer_warning, tried_rows, write_page
from softprompt_tf.tuning.record import Record, Tried
from softprompt_tf.tuning.summary import summary_lines


def figures(accuracy, rows, of, *, one_answer=None):
    metrics = {"accuracy": accuracy}
    return {"rows": rows, "of": of, "metrics": metrics, "majority": {"accuracy": 0.5}, "one_answer": one_answer}


@pytest.fixture
def record(tmp_path):
    found = Record(tmp_path / "tune.json", {}, 10.0, spent_s=598.0, finished=True)
    found.candidates = [{"number": 1, "name": "prompt_tuning 20, <b>"}, {"number": 2, "name": "superpos 20"}]
    found.tried = [
        Tried(1, "1", 40, 0.75, -0.5, 12.0),
        Tried(2, "1", 40, 0.5, -0.7, 12.0, one_answer="good"),
        Tried(1, "last", 1_240, 0.8, -0.4, 300.0),
    ]
    found.rows = {"counts": {"train rows": 1_200, "dev rows": 300}, "notes": ["Some rows are held out."]}
    found.result = {
        "prompt": "film.safetensors",
        "candidate": found.candidates[0],
        "steps": 1_240,
        "dev": figures(0.8, 300, 300),
        "test": figures(0.79, 1_000, 7_600),
    }
    return found


def text_of(record, directory):
    write_page(record, directory, task="film", backbone="mini", next_command="softprompt export x")
    return (directory / "index.html").read_text(encoding="utf-8")


def test_the_page_escapes_names_and_shows_all_that_was_tried(record, tmp_path):
    page = text_of(record, tmp_path)

    assert "<b>" not in page
    assert "1. prompt_tuning 20, &lt;b&gt;" in page
    assert re.findall(r'<th scope="row">(\d\.[^<]*)<', page) == [
        "1. prompt_tuning 20, &lt;b&gt;",
        "2. superpos 20",
        "1.",
    ]
    assert "0.5000 (one answer)" in page
    assert "test, 1,000 rows of 7,600, chose nothing" in page
    assert "Some rows are held out." in page
    assert page.index("learning curves".capitalize()) < page.index("What was tried")


def test_the_page_names_another_precision_than_float32(record, tmp_path):
    assert "2 candidates on mini. Written" in text_of(record, tmp_path)

    record.identity = {"precision": "bfloat16"}

    assert "2 candidates on mini in bfloat16. Written" in text_of(record, tmp_path)


def test_the_picture_is_a_file_of_its_own(record, tmp_path):
    text_of(record, tmp_path)

    assert "dev score" in (tmp_path / "learning_curve.svg").read_text(encoding="utf-8")


def test_a_search_in_progress_says_so(record, tmp_path):
    record.finished, record.result = False, {}

    page = text_of(record, tmp_path)

    assert "The search is not finished." in page
    assert "<h2>Result" not in page


def test_one_answer_for_all_rows_is_told(record, tmp_path):
    record.result["test"] = figures(0.5, 1_000, 7_600, one_answer="good")

    warned = one_answer_warning(record.result)

    assert warned.startswith("The prompt has learned one answer for all 1,000 test rows: 'good'.")
    assert warned in summary_lines(record, tmp_path, task="film", backbone="mini")
    assert "The prompt has learned one answer" in text_of(record, tmp_path)


def test_a_candidate_that_failed_has_no_score(record):
    record.tried.append(Tried(2, "2", 50, None, None, 9.0, failure="The training loss must be finite."))

    assert tried_rows(record)[-1] == ["2.", "2", "50", "failed", "", "9"]


def test_the_last_lines_have_both_scores_and_the_next_command(record, tmp_path):
    lines = summary_lines(record, tmp_path, task="film", backbone="mini")

    assert "dev, 300 rows                0.8000" in lines
    assert "test, 1,000 rows of 7,600    0.7900" in lines
    assert lines.count("  majority baseline          0.5000") == 2
    assert f"Next: softprompt export --prompt film={tmp_path / 'film.safetensors'}" in lines[-1]


def test_the_last_lines_show_the_labels_of_the_test_rows_if_they_are_few(record, tmp_path):
    (tmp_path / "test_predictions.jsonl").write_text("")
    wrong = {"label": "good", "rows": 4, "answered": 3, "right": 3, "taken_for": {"bad": 1}}
    record.result["test"]["by_label"] = [wrong]

    lines = summary_lines(record, tmp_path, task="film", backbone="mini")

    assert "good      4  0.7500     1.0000  0.8571  bad 1" in lines
    assert f"Its answers to the test rows: {tmp_path / 'test_predictions.jsonl'}" in lines
    record.result["test"]["by_label"] = [wrong] * 13
    assert not any("bad 1" in line for line in summary_lines(record, tmp_path, task="film", backbone="mini"))


@pytest.mark.parametrize("num_written", [0, 1])
def test_on_a_full_disk_the_page_before_stays_with_its_picture(num_written, record, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")

    def files():
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    write_page(record, tmp_path, task="film", backbone="mini")
    before = files()

    fill_disk(monkeypatch, num_written=num_written)
    record.tried[0] = dataclasses.replace(record.tried[0], score=0.1)
    with pytest.raises(TrainingError, match="cannot be written. Received: .*No space left"):
        write_page(record, tmp_path, task="film", backbone="mini")

    assert files() == before
    assert len(before) == 2


def test_without_matplotlib_the_search_goes_on_without_a_picture(record, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.warns(UserWarning, match=r"goes on without a picture of its learning curves.*softprompt-tf\[report\]"):
        check_picture()
    assert "Learning curves" not in text_of(record, tmp_path)
    assert not (tmp_path / "learning_curve.svg").exists()
