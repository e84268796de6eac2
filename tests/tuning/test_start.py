"""What `sp.tune` and `softprompt tune` refuse, before anything is trained."""

import numpy as np
import pytest
from tuning_searches import mood_task

import softprompt_tf as sp
from softprompt_tf.cli.cli import main
from softprompt_tf.errors import BackboneError, ConfigError, DataError, TrainingError
from softprompt_tf.tuning import run_search, start

TEXTS, LABELS = ["a good film", "a bad film", "a warm film"], ["good", "bad", "good"]


@pytest.fixture(autouse=True)
def searched(monkeypatch):
    """What a search would be begun with."""
    found = {}

    def keep(task, load, settings, **keywords):
        found.update(task=task, settings=settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(start, "run_search", keep)
    return found


def test_texts_and_labels_become_a_task(searched):
    with pytest.raises(KeyboardInterrupt):
        sp.tune("mini", np.array(TEXTS), tuple(LABELS), dev=(TEXTS[:2], LABELS[:2]), name="film", minutes=3)

    task = searched["task"]
    assert (task.name, task.label_words, task.test) == ("film", ("bad", "good"), None)
    assert [example.inputs for example in task.examples("train")] == TEXTS
    assert [example.label for example in task.examples("validation")] == ["good", "bad"]
    assert str(searched["settings"].output) == "tuned/film"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": LABELS}, r"A task file names its own rows\. Received: `labels` too"),
        ({"name": "film"}, r"A task has its own name\. Received: `name` too"),
    ],
    ids=["labels", "name"],
)
def test_a_task_file_names_its_own_rows_and_the_task(given, message):
    with pytest.raises(ConfigError, match=message):
        sp.tune("mini", "film.yaml", **given)


def test_methods_are_a_list():
    with pytest.raises(ConfigError, match=r"`methods` must be a list of names\. Received: 'ia3'\. Write \['ia3'\]\."):
        sp.tune("mini", TEXTS, LABELS, methods="ia3")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": None}, "Texts need `labels`, the label word of each. Received: none"),
        (
            {"labels": LABELS[:2]},
            "texts and labels of train must be equally many, one or more. Received: 3 texts, 2 labels",
        ),
        ({"labels": [1, 0, 1]}, r"Every text must be a string. Received: 1 \(int\)"),
        ({"labels": ["good"] * 3}, "`labels` must have two different words or more. Received: 'good'"),
        ({"labels": LABELS, "dev": TEXTS}, r"`dev` must be a pair, \(texts, labels\). Received: list"),
        (
            {"labels": LABELS, "test": (["a film"], ["poor"])},
            "labels of test must be among those that are trained on. Received: 'poor'. Known: 'bad', 'good'",
        ),
    ],
    ids=["no labels", "too few", "numbers", "one word", "no pair", "unknown label"],
)
def test_data_that_do_not_fit(arguments, message, tmp_path):
    with pytest.raises(DataError, match=message):
        sp.tune("mini", TEXTS, output=tmp_path, **arguments)


def test_a_text_is_no_list_of_texts():
    with pytest.raises(ConfigError, match="a good film"):
        sp.tune("mini", "a good film", ["good"])


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), True, "ten"])
def test_minutes_must_be_a_number_above_0(minutes):
    with pytest.raises(ConfigError, match="`minutes` must be a number above 0"):
        sp.tune("mini", TEXTS, LABELS, minutes=minutes)


def test_a_precision_is_one_of_three():
    with pytest.raises(
        ConfigError, match="`precision` must be one of float32, bfloat16, auto. Received: precision='half'"
    ):
        sp.tune("mini", TEXTS, LABELS, precision="half")


@pytest.mark.parametrize("precision", ["bfloat16", "auto"])
def test_a_t5_that_is_loaded_keeps_its_precision(tiny, searched, precision):
    with pytest.raises(ConfigError, match=f"Received: precision='{precision}' with a T5 that computes in float32"):
        sp.tune(tiny, TEXTS, LABELS, precision=precision)
    with pytest.raises(KeyboardInterrupt):
        sp.tune(tiny, TEXTS, LABELS)

    assert searched["settings"].precision == "float32"


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True])
def test_a_seed_must_be_a_whole_number(seed):
    with pytest.raises(ConfigError, match="`seed` must be a whole number from 0 up"):
        sp.tune("mini", TEXTS, LABELS, seed=seed)


def test_something_else_than_a_t5_is_refused():
    with pytest.raises(BackboneError, match="`t5` must be a T5 from load_t5, or its name. Received: 'int'"):
        sp.tune(5, TEXTS, LABELS)


def test_a_t5_with_dropout_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(type(tiny), "dropout", 0.1)
    settings = run_search.SearchSettings("tiny", tmp_path)

    with pytest.raises(
        BackboneError, match=r"A search needs a T5 without dropout\. Received: a backbone with dropout=0\.1"
    ):
        run_search.run_search(mood_task(), lambda precision: tiny, settings)


def test_the_command_refuses_minutes_and_an_unknown_task_at_once(capsys):
    assert main(["tune", "trec", "--minutes", "0"]) == 2
    assert main(["tune", "trac"]) == 2

    said = capsys.readouterr().err
    assert "`--minutes` must be a number above 0. Received: 0." in said
    assert "Did you mean `trec`?" in said


@pytest.mark.parametrize(
    "name", ["mood.safetensors", "test_predictions.jsonl", "index.html", "learning_curve.svg", "work"]
)
def test_a_new_search_writes_over_no_files_of_other_work(name, tmp_path):
    """A folder `work` was removed, with all that was in it."""
    (tmp_path / name).mkdir()
    settings = run_search.SearchSettings("mini", tmp_path)

    with pytest.raises(TrainingError, match=f"must not write over other work. Received: .*{name}, which exists"):
        run_search.run_search(mood_task(), lambda dtype: pytest.fail("a T5 was loaded"), settings)

    assert (tmp_path / name).is_dir()
