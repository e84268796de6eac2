"""A search keeps its time, goes on where it was killed, and lets no test row choose."""

import json
import shutil

import numpy as np
import pytest
from tuning_searches import MINUTES, ROW_S, FakeClock, Killed, mood_task, search

import softprompt_tf as sp
from softprompt_tf.errors import ConfigError, TrainingError
from softprompt_tf.tuning.choice import ordered
from softprompt_tf.tuning.record import read_record
from softprompt_tf.tuning.sources import sources_of

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A search of one minute: its directory, its record and its clock."""
    output, clock = tmp_path_factory.mktemp("finished"), FakeClock()
    return output, search(tiny, output, clock), clock


def test_a_search_leaves_its_files_and_nothing_else(finished):
    output, _, _ = finished

    names = sorted(path.name for path in output.iterdir())
    assert names == ["index.html", "learning_curve.svg", "mood.safetensors", "test_predictions.jsonl", "tune.json"]


def test_a_search_keeps_its_time(finished):
    _, record, clock = finished

    assert 0.95 * 60 * MINUTES <= clock.now <= 60 * MINUTES
    assert record.spent_s == clock.now


def test_candidates_on_a_t5_that_does_not_ship_have_the_rates_of_papers(finished):
    _, record, _ = finished

    found = [(each["method"], each["rate"], each["schedule"]) for each in record.candidates[:3]]
    assert found == [("prompt_tuning", 0.3, "constant"), ("adapters", 0.003, "cosine"), ("ia3", 0.003, "cosine")]


def test_candidates_go_on_by_their_scores_and_end_in_one(finished):
    _, record, _ = finished

    first, second = record.tries_of("1"), record.tries_of("2")
    (last,) = {each.candidate for each in record.tried if each.rung == "last"}
    assert (len(first), len(second)) == (4, 2)
    assert {each.candidate for each in ordered(list(first.values()), rows=8)[:2]} == set(second)
    assert ordered(list(second.values()), rows=8)[0].candidate == last


def test_the_prompt_file_is_of_the_best_look_and_answers(finished, tiny):
    output, record, _ = finished

    prompt = sp.load_prompt(output / "mood.safetensors")

    best = record.tried[record.best]
    assert best.score == prompt.metrics["accuracy"]
    assert best.score >= max(each.score for each in record.tried) - 8**-0.5 / 2
    assert prompt.metrics == record.result["dev"]["metrics"]
    model = sp.PromptedT5(tiny, prompt)
    answers = model.classify([row["text"] for row in mood_task().validation])
    right = [answer.label == row["label"] for answer, row in zip(answers, mood_task().validation, strict=True)]
    assert np.mean(right) == prompt.metrics["accuracy"]


def test_test_rows_are_asked_once_at_the_end(finished):
    _, record, clock = finished
    rows = {row["text"] for row in mood_task().test}

    asked = [text in rows for text in clock.asked]

    assert sum(asked) == len(rows) == record.result["test"]["rows"]
    assert all(asked[-len(rows) :])


def test_dev_rows_of_the_best_look_are_not_asked_again(finished):
    _, record, clock = finished
    rows = {row["text"] for row in mood_task().validation}

    looks = len(record.tried) + 2  # two for measuring
    assert sum(text in rows for text in clock.asked) == looks * len(rows)


def test_majority_stands_beside_the_score(finished):
    _, record, _ = finished

    # Of 12 train rows 6 have each label, and the first row is positive; so is one of the four test rows, "warm".
    assert record.result["test"]["majority"] == {"accuracy": 0.25}


def test_a_finished_search_says_so_and_does_nothing(finished, tiny, capsys):
    output, record, _ = finished
    before = (output / "tune.json").read_bytes()
    clock = FakeClock()

    again = search(tiny, output, clock)

    assert (clock.steps, again.result) == (0, json.loads(json.dumps(record.result)))
    assert (output / "tune.json").read_bytes() == before
    assert "was finished before: nothing was done" in capsys.readouterr().err


def test_a_search_that_was_stopped_goes_on_to_the_same_end(finished, tiny, tmp_path):
    _, expected, _ = finished
    clock = FakeClock()
    for end, steps in ((Killed, 13), (KeyboardInterrupt, 60)):  # in the first rung, and in the last leg
        clock.end, clock.killed_at = end, clock.steps + steps
        with pytest.raises(end):
            search(tiny, tmp_path, clock)
        clock.now += 1_000.0  # another process, whose clock stands elsewhere
    assert {each.rung for each in read_record(tmp_path).tried} == {"1", "2", "last"}
    clock.killed_at = 0

    found = search(tiny, tmp_path, clock)

    assert list(found.tried) == expected.tried
    again = 8 * ROW_S  # dev rows of the best look, whose answers the last process did not have
    assert found.spent_s == expected.spent_s + again
    ours, theirs = (sp.load_prompt(place / "mood.safetensors").tensors for place in (tmp_path, expected.path.parent))
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value)


def test_another_seed_finds_another_prompt_and_is_refused_in_the_same_directory(finished, tiny):
    output, _, _ = finished

    with pytest.raises(
        TrainingError, match=r"A search goes on with what it began with\. Received: `seed` is 2, it was 1"
    ):
        search(tiny, output, FakeClock(), seed=2)


def test_other_rows_are_refused(finished, tiny):
    output, _, _ = finished

    with pytest.raises(TrainingError, match=r"Received: `rows.train` is '[0-9a-f]+', it was"):
        search(tiny, output, FakeClock(), task=mood_task(train=mood_task().train[:-1]))


@pytest.fixture
def unfinished(finished, tmp_path):
    """A copy of the search as it was before its last word: its record and its directory."""
    shutil.copytree(finished[0], tmp_path / "copy")
    record = read_record(tmp_path / "copy")
    record.finished, record.result = False, {}
    return record, tmp_path / "copy"


def test_with_no_time_left_the_best_prompt_is_scored(finished, unfinished, tiny):
    record, output = unfinished
    record.write()
    clock = FakeClock()

    found = search(tiny, output, clock, minutes=0.5)

    assert (clock.steps, found.finished) == (0, True)
    assert found.result["test"] == finished[1].result["test"]


def test_with_no_time_left_and_nothing_scored_more_minutes_are_asked_for(unfinished, tiny):
    record, output = unfinished
    record.best, record.tried, record.parts = None, [], {}
    record.write()

    with pytest.raises(ConfigError, match=r"more than what is spent before\. Received: 0\.5, of which 1\.7 are spent"):
        search(tiny, output, FakeClock(), minutes=0.5)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": "other"}'])
def test_a_record_that_cannot_be_read_is_refused(content, tmp_path):
    (tmp_path / "tune.json").write_text(content, encoding="utf-8")

    with pytest.raises(TrainingError, match=r"tune\.json must hold the record of a search"):
        read_record(tmp_path)


def test_a_source_that_does_not_fit_is_named(tiny, tmp_path, capsys):
    sp.PromptedT5(tiny, sp.prompt_tuning(3)).save_prompt(tmp_path / "fits.safetensors", task_id="a")
    sp.PromptedT5(tiny, sp.late_prompts(3)).save_prompt(tmp_path / "late.safetensors", task_id="b")

    found = sources_of(tiny, tmp_path)

    assert [(source.path.name, source.length) for source in found] == [("fits.safetensors", 3)]
    assert "late.safetensors is left out as a start" in capsys.readouterr().err


def test_a_time_that_is_too_short_is_refused_with_one_that_is_enough(tiny, tmp_path):
    with pytest.raises(
        ConfigError, match=r"`minutes` must leave time to train\. Received: 0\.05, of which .*Give at least"
    ):
        search(tiny, tmp_path, FakeClock(), minutes=0.05)

    assert not (tmp_path / "tune.json").exists()
