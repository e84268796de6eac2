"""`softprompt migrate` reads its files, prints the table and the next command, and says which tasks failed."""

import pytest

from softprompt_tf.cli.cli import main
from softprompt_tf.migration import Migration, TaskAgreement, migration


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command with a migration that only notes what it was asked; return status, output, error and that."""
    (tmp_path / "all.txt").write_text("one\ntwo\n")
    (tmp_path / "film.txt").write_text("three\n")
    (tmp_path / "t5").mkdir()
    monkeypatch.chdir(tmp_path)
    asked = {}

    def start(*options, errors=()):
        def noted(export, backbone, lines, output, *, task_ids, settings):
            asked.update(export=export, backbone=backbone, lines=lines, task_ids=task_ids, settings=settings)
            done = {"answers": 2, "agreement": 1.0}
            tasks = [
                TaskAgreement(name, error="no text")
                if name in errors
                else TaskAgreement(name, 8, 1, prompt=f"{name}.safetensors", **done)
                for name in ("film", "news")
            ]
            return Migration(tuple(tasks), tmp_path / output)

        monkeypatch.setattr(migration, "migrate", noted)
        status = main(["migrate", "t5", "--backbone", "mini", "-o", "out", *options])
        return status, *capsys.readouterr(), asked

    return start


def test_files_are_for_all_tasks_or_for_one(run, tmp_path):
    status, output, _, asked = run("--text", "all.txt", "film=film.txt", "--steps", "7", "--task", "film")

    assert status == 0
    assert asked["lines"] == {"": ["one", "two"], "film": ["three"]}
    assert (asked["task_ids"], asked["settings"].training.steps, asked["settings"].training.evaluate_every) == (
        ["film"],
        7,
        100,
    )
    lines = output.splitlines()
    assert lines[1].split() == ["film", "8", "1", "0.000", "1.000", "0.000", "-"]
    assert lines[-1].startswith(f"Next: softprompt export --prompt film={tmp_path}/out/film.safetensors --prompt news=")


def test_failed_tasks_are_named_after_the_table_and_the_status_says_so(run):
    status, output, error, _ = run("--text", "all.txt", errors=("news",))

    assert status == 2
    assert output.splitlines()[1].split()[:2] == ["film", "8"]
    assert "news: failed: no text" in output
    assert "1 of 2 tasks failed: news. The others are in" in error


def test_where_all_tasks_failed_no_others_are_named(run):
    _, _, error, _ = run("--text", "all.txt", errors=("film", "news"))

    assert "2 of 2 tasks failed: film, news. Run the same command again" in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--text", "al.txt"], "No such file: al.txt. Did you mean `all.txt`?"),
        (["--text", "film="], "`--text` must be FILE or ID=FILE. Received: 'film='"),
        (["--text", "all.txt", "--steps", "0"], "`--steps` is out of range"),
        (["--text", "all.txt", "--held-out", "2"], "`held_out` must be a share above 0 and below 1. Received: 2.0"),
    ],
)
def test_a_mistake_is_one_line(options, words, run):
    status, _, error, _ = run(*options)

    assert (status, len(error.strip().splitlines())) == (2, 1)
    assert words in error
