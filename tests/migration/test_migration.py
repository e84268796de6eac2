"""A migration goes on where it was stopped, keeps what is done, and refuses to become another one. The models are stand-ins."""

import json
from pathlib import Path

import numpy as np
import pytest

from softprompt_tf.config import TrainingConfig
from softprompt_tf.errors import ConfigError, DataError, PromptFileError, TrainingError
from softprompt_tf.export.graph.served_tasks import ServedTask
from softprompt_tf.files import atomic_file
from softprompt_tf.migration import MigrationSettings, migrate, migration, work
from softprompt_tf.migration.answers import Answers
from softprompt_tf.migration.student import Start
from softprompt_tf.training import TrainingResult

LINES = [f"line {k}" for k in range(20)]


def served(name, labels=()):
    return ServedTask(name, {"prompt": 3}, "", "", labels, (), 0, 64, 8)


class Old:
    """Answers each line with its last figure's half; its text with 9 in it is refused where a task is broken."""

    tasks = {name: served(name) for name in ("film", "a/b", "news")}  # noqa: RUF012
    backbone_name, fingerprint = "old", "t5:0"
    broken: set[str] = set()  # noqa: RUF012
    prompts: dict[str, str] = {}  # noqa: RUF012  task -> what tells its prompt from others
    asked: list[str] = []  # noqa: RUF012

    def __init__(self, export):
        self.directory = Path(export) / "1"

    def ask(self, task, lines):
        self.asked.append(task.task_id)
        if task.task_id in self.broken:
            raise DataError("The old model must answer every line.")
        return Answers(tuple(str(int(line[-1]) // 5) for line in lines))

    def digests(self):
        return {name: self.prompts.get(name, name) for name in self.tasks}

    def prompt_of(self, task):
        return None

    def vocabulary(self):
        return None

    def forget_model(self):
        pass


class New:
    """Is right about every line once it is trained."""

    is_trained = False

    def save_prompt(self, path, *, task_id, **fields):
        Path(path).write_text(task_id)


@pytest.fixture
def trained(monkeypatch):
    """Stand-ins for both models; the names of the tasks that were trained."""
    names = []

    def train(model, task, inputs, answers, *, evaluate, **others):
        names.append(task.task_id)
        model.is_trained = True
        return TrainingResult(2, 2, evaluate()["agreement"], (), 0.0, False)

    monkeypatch.setattr(migration, "Teacher", Old)
    monkeypatch.setattr(work, "start_of", lambda *parts: Start(None, "labels"))
    monkeypatch.setattr(work, "new_model", lambda *parts: New())
    monkeypatch.setattr(work, "train_student", train)
    monkeypatch.setattr(work, "target_limit", lambda task, t5: 8)
    monkeypatch.setattr(
        work,
        "answers_of",
        lambda model, inputs: Answers(tuple(str(int(t[-1]) // 5) if model.is_trained else "?" for t in inputs)),
    )
    monkeypatch.setattr(Old, "asked", [])
    monkeypatch.setattr(Old, "broken", set())
    return names


@pytest.fixture
def run(one_layer_t5, tmp_path):
    def start(lines=LINES, **settings):
        settings = MigrationSettings(held_out=0.4, **settings)
        return migrate("exports/t5", one_layer_t5, lines, tmp_path / "out", settings=settings)

    return start


def test_every_task_gets_a_file_and_a_row_of_the_table(trained, run, tmp_path):
    result = run()

    assert [(task.task_id, task.at_start, task.agreement) for task in result.tasks] == [
        ("film", 0.0, 1.0),
        ("a/b", 0.0, 1.0),
        ("news", 0.0, 1.0),
    ]
    assert result.prompts["a/b"].read_text() == "a/b"
    kept = json.loads((tmp_path / "out" / "agreement.json").read_text())
    assert [row["agreement"] for row in kept["tasks"]] == [1.0, 1.0, 1.0]
    assert (kept["version"], kept["tasks"][0]["held_out"], kept["tasks"][0]["lines"]) == ("1", 4, 12)


def test_files_of_tasks_differ_in_more_than_their_case(trained, run, monkeypatch):
    """On the file systems of macOS and Windows `film.safetensors` is `FILM.safetensors`: one task's result would be the other's.

    On that of macOS an accent is the same as a part of its letter and as a character of its own.
    """
    names = ("film", "FILM", "Film", "gr\u00f6\u00dfe", "gro\u0308\u00dfe", "情感 \u0645", "100%/a:b\n", "é" * 150)
    monkeypatch.setattr(Old, "tasks", {name: served(name) for name in names})

    prompts = run().prompts

    files = [prompts[name].name for name in names]
    assert [file.removesuffix(".safetensors") for file in files[:-1]] == [
        "film",
        "FILM-2",
        "Film-3",
        "gr\u00f6\u00dfe",
        "gro\u0308\u00dfe-2",
        "情感 \u0645",
        "100%25%2Fa%3Ab%0A",
    ]
    assert files[-1] == "é" * 100 + ".safetensors"  # 200 bytes and the ending


@pytest.mark.parametrize("name", ["film.safetensors", "work", "agreement.json"])
def test_files_of_other_work_are_not_written_over(name, trained, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")

    with pytest.raises(TrainingError, match=f"must not write over other work. Received: .*{name}, which exists"):
        run()

    assert (trained, (tmp_path / "out" / name).read_text()) == ([], "mine")


def test_what_is_done_is_neither_asked_nor_trained_again(trained, run):
    first = run()
    trained.clear()
    Old.asked.clear()

    assert run() == first
    assert (trained, Old.asked) == ([], [])


def test_an_interrupted_migration_goes_on_with_the_task_that_was_cut_short(trained, run, monkeypatch, tmp_path):
    train = work.train_student

    def interrupted(model, task, *parts, **others):
        if task.task_id == "a/b":
            raise KeyboardInterrupt
        return train(model, task, *parts, **others)

    with monkeypatch.context() as patch:
        patch.setattr(work, "train_student", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert [row["task_id"] for row in json.loads((tmp_path / "out/agreement.json").read_text())["tasks"]] == ["film"]
    trained.clear()
    Old.asked.clear()

    result = run()

    assert (trained, Old.asked) == (["a/b", "news"], [])
    assert [task.agreement for task in result.tasks] == [1.0, 1.0, 1.0]


def test_a_task_that_fails_costs_the_others_nothing_and_is_tried_again(trained, run):
    Old.broken.add("a/b")

    result = run()

    assert [task.error for task in result.tasks] == ["", "The old model must answer every line.", ""]
    assert list(result.prompts) == ["film", "news"]
    Old.broken.clear()
    assert [task.error for task in run().tasks] == ["", "", ""]
    assert trained == ["film", "news", "a/b"]


@pytest.mark.parametrize("error", [RuntimeError("a fault"), KeyError("x"), MemoryError()], ids=repr)
def test_a_fault_in_training_one_task_is_kept_too(error, trained, run, monkeypatch):
    train = work.train_student

    def failing(model, task, *parts, **others):
        if task.task_id == "film":
            raise error
        return train(model, task, *parts, **others)

    monkeypatch.setattr(work, "train_student", failing)

    assert [bool(task.error) for task in run().tasks] == [True, False, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 2}, "`seed` is 2, it was 1"),
        ({"training": TrainingConfig(steps=7)}, "`training.steps` is 7, it was 1000"),
        ({"lines": [*LINES, "one more"]}, "`lines.film` is"),
        ({"recycle": "none"}, "`recycle` is 'none', it was 'v2v-lin'"),
    ],
)
def test_another_migration_does_not_go_on_in_the_same_directory(change, words, trained, run):
    run()

    with pytest.raises(TrainingError, match=f"A migration goes on as it began. Received: .*{words}"):
        run(**change)


def test_an_export_of_the_same_name_with_another_prompt_is_another_migration(trained, run, monkeypatch):
    """The result of the old prompt stood for the new one."""
    run()
    monkeypatch.setattr(Old, "prompts", {"film": "trained again"})

    with pytest.raises(
        TrainingError, match="goes on as it began. Received: `prompts.film` is 'trained again', it was 'film'"
    ):
        run()


def test_tasks_are_chosen_by_name(trained, one_layer_t5, tmp_path):
    result = migrate("exports/t5", one_layer_t5, {"news": LINES}, tmp_path, task_ids=["news"])

    assert [task.task_id for task in result.tasks] == ["news"]
    with pytest.raises(ConfigError, match="one of the export's. Received: new. Did you mean `news`"):
        migrate("exports/t5", one_layer_t5, LINES, tmp_path / "other", task_ids=["new"])
    with pytest.raises(ConfigError, match="`task_ids` must be a list of names. Received: 'news'"):
        migrate("exports/t5", one_layer_t5, LINES, tmp_path / "other", task_ids="news")


def test_further_tasks_may_join(trained, one_layer_t5, tmp_path):
    for names in (["film"], ["film", "news"], ["a/b"]):
        migrate("exports/t5", one_layer_t5, LINES, tmp_path, task_ids=names)

    assert trained == ["film", "news", "a/b"]
    kept = json.loads((tmp_path / "agreement.json").read_text())
    assert sorted(row["task_id"] for row in kept["tasks"]) == ["a/b", "film", "news"]
    with pytest.raises(TrainingError, match="`lines.news` is"):
        migrate("exports/t5", one_layer_t5, [*LINES, "x"], tmp_path, task_ids=["news"])


def test_a_damaged_result_is_made_again_and_damaged_settings_are_refused(trained, run, tmp_path):
    run()
    (tmp_path / "out/work/film.result.json").write_text('{"task_id": "fi')
    trained.clear()

    assert run().tasks[0].agreement == 1.0
    assert trained == ["film"]
    (tmp_path / "out/migration.json").write_text("{")
    with pytest.raises(TrainingError, match="must hold the settings of a migration"):
        run()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"length": 0}, "`length` must be a whole number above 0"),
        ({"recycle": "v2v"}, "`recycle` must be one of v2v-lin, v2v-nn, lin-comb, none"),
        ({"held_out": 1.0}, "`held_out` must be a share above 0 and below 1"),
        ({"held_out": float("nan")}, "`held_out` must be a share"),
        ({"seed": -1}, "`seed` must be a whole number from 0 up"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        MigrationSettings(**settings)


def test_probabilities_survive_the_file_of_answers(tmp_path):
    from softprompt_tf.migration.kept_answers import asked_once
    from softprompt_tf.migration.lines import split_lines

    shares = np.random.default_rng(0).dirichlet([1, 1], size=20)
    asked = []

    class Labelled:
        def ask(self, task, lines):
            asked.append(lines)
            return Answers(tuple("ab"[row.argmax()] for row in shares), shares)

    split = split_lines(LINES, held_out=0.2, seed=1, task_id="film")
    first = asked_once(Labelled(), served("film", ("a", "b")), split, tmp_path / "answers.json")
    again = asked_once(Labelled(), served("film", ("a", "b")), split, tmp_path / "answers.json")

    assert len(asked) == 1
    assert [len(part.texts) for part in again] == [16, 2, 2]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


# === A full disk ===


@pytest.mark.parametrize("num_written", range(15))
def test_a_full_disk_leaves_whole_files_alone_and_the_next_start_goes_on(
    num_written, trained, run, tmp_path, monkeypatch
):
    """The settings, three files of answers, then a prompt, a result and the table for each of three tasks, and the table again."""
    synced, sync = [], atomic_file._sync

    def fill(file):
        synced.append(file)
        if len(synced) > num_written:
            file.truncate(1)  # what went to the disk before it was full
            raise OSError(28, "No space left on device")
        sync(file)

    def save_prompt(model, path, *, task_id, **fields):
        atomic_file.write_atomically(path, task_id.encode(), error_type=PromptFileError)

    monkeypatch.setattr(New, "save_prompt", save_prompt)
    with monkeypatch.context() as patch:
        patch.setattr(atomic_file, "_sync", fill)
        if num_written < 14:
            with pytest.raises(
                TrainingError, match=r"^File .*\.json cannot be written\. Received: .*No space left.* is kept"
            ):
                run()
        else:
            run()

    for path in [path for path in (tmp_path / "out").rglob("*") if path.is_file()]:
        assert path.suffix in (".json", ".safetensors"), path
        content = path.read_text("utf-8")
        assert json.loads(content) if path.suffix == ".json" else content in ("film", "a/b", "news")
    assert [task.agreement for task in run().tasks] == [1.0, 1.0, 1.0]
