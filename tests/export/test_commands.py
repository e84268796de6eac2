"""`softprompt export` adds, removes and lists tasks, and says in one line what it did or what is wrong."""

import argparse
import dataclasses
import shutil

import pytest

from softprompt_tf.errors import ConfigError, ExportError
from softprompt_tf.export import commands, list_tasks
from softprompt_tf.methods import write_prompt

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("asked_once")]


@pytest.fixture
def base(base_directory, tmp_path):
    shutil.copytree(base_directory / "1", tmp_path / "tiny" / "1")
    return tmp_path / "tiny"


@pytest.fixture
def file(task_prompts, tmp_path):
    return write_prompt(tmp_path / "mood.safetensors", task_prompts["mood"])


def run(*arguments):
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    commands.run(parser.parse_args([str(argument) for argument in arguments]))


def names_of(base):
    return [task.task_id for task in list_tasks(base)]


def test_tasks_are_added(base, file, capsys):
    run("--add", f"again={file}", "--add", f"more={file}", base)

    assert capsys.readouterr().out == f"{base / '2'}: 2 tasks added, the others answer as before\n"
    assert names_of(base) == ["mood", "story", "reply", "again", "more"]


def test_a_task_is_replaced_where_that_is_asked_for(base, file, capsys):
    with pytest.raises(ExportError, match="or pass `replace`"):
        run("--add", f"story={file}", base, "--no-verify")
    run("--add", f"story={file}", "--replace", "--output", base, "--no-verify")
    run("--add", f"stroy={file}", "--add", f"story={file}", "--replace", base, "--no-verify")

    assert capsys.readouterr().out.splitlines() == [
        f"{base / '2'}: 1 task replaced, not checked",
        f"{base / '3'}: 1 task added, 1 task replaced, not checked",
    ]
    assert [task.prompt_length for task in list_tasks(base)] == [3, 3, 12, 3]


def test_tasks_are_removed(base, capsys):
    run("--remove", "mood", "--remove", "story", base, "--no-verify")

    assert capsys.readouterr().out == f"{base / '2'}: 2 tasks removed, not checked\n"
    assert names_of(base) == ["reply"]


def test_tasks_are_listed(base, capsys):
    run("--list", base)

    assert capsys.readouterr().out.splitlines() == [
        "mood  3 rows, 192 bytes  labels: negative, positive",
        "story  7 rows, 448 bytes",
        "reply  12 rows, 768 bytes  labels: yes, no, nobody could say",
    ]


def test_tasks_of_an_older_version_are_listed_by_its_directory(base, capsys):
    run("--remove", "story", base, "--no-verify")
    run("--list", base / "1")

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["mood", "story", "reply"]


def test_each_task_has_one_line_whatever_its_name(base, file, capsys):
    names = ("größe 情感", "می\u200cشود", "two\nlines", " blank", "\u202eturned", "a=b")
    run(*(part for name in names for part in ("--add", f"{name}={file}")), base, "--no-verify")
    run("--list", base)

    lines = [line.partition("  ")[0] for line in capsys.readouterr().out.splitlines()[-6:]]
    assert lines == ["größe 情感", "می\u200cشود", r"'two\nlines'", "' blank'", r"'\u202eturned'", "a=b"]


def test_a_task_that_looks_like_another_one_is_told(base, file):
    run("--add", f"gr\u00f6\u00dfe={file}", base, "--no-verify")

    with pytest.raises(
        ExportError, match=r"Did you mean 'gr\\xf6\\xdfe'\? It looks the same, but has other characters than"
    ):
        run("--remove", "gro\u0308\u00dfe", base)


def test_the_files_of_an_ensemble_are_parted_by_commas(base, task_prompts, tmp_path, capsys):
    other = dataclasses.replace(task_prompts["mood"], prompt=task_prompts["mood"].prompt + 0.1)
    files = [tmp_path / name for name in ("seed1.safetensors", "seed2, again.safetensors", "1,2,3.safetensors")]
    for file, prompt in zip(files, (task_prompts["mood"], other, task_prompts["story"]), strict=True):
        write_prompt(file, prompt)

    run("--add", f"both={files[0]},{files[1]},{files[0]}", "--add", f"one={files[2]}", base, "--no-verify")
    run("--list", base)

    assert capsys.readouterr().out.splitlines()[-2:] == [
        "both  3 x 3 rows, 576 bytes  labels: negative, positive",
        "one  7 rows, 448 bytes",
    ]


EXAMPLE = "Example: softprompt export --prompt film=film.safetensors --output exports/t5."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["d", "--add", "mood=a,"], "`--add` must be ID=FILE or ID=FILE,FILE. Received: 'mood=a,'."),
        (["d", "--add", "mood=,a"], "`--add` must be ID=FILE or ID=FILE,FILE. Received: 'mood=,a'."),
        (["d"], f"Received: none of them. {EXAMPLE}"),
        (["d", "--list", "--remove", "a"], f"Received: --remove, --list. {EXAMPLE}"),
        (["--list"], "takes one base directory, DIRECTORY or --output DIRECTORY. Received: none."),
        (["d", "--output", "e", "--list"], "Received: d and e."),
        (["d", "--add", "mood"], "`--add` must be ID=FILE, such as film=film.safetensors. Received: 'mood'."),
        (["d", "--add", "a=x", "--add", "a=y"], "Every task id may be given once. Received: 'a' twice."),
        (["d", "--remove", "a", "--replace"], "`--replace` goes with --add. Received: --remove."),
        (["d", "--list", "--compute-dtype", "auto"], "`--compute-dtype` goes with --prompt. Received: --list."),
    ],
)
def test_arguments_that_do_not_fit_are_told(arguments, message):
    with pytest.raises(ConfigError) as info:
        run(*arguments)

    assert str(info.value).endswith(message)


def test_a_whole_export_is_written_with_a_backbone(monkeypatch, capsys, tiny_t5, file, tmp_path):
    from softprompt_tf import backbones as t5
    from softprompt_tf.export.versions import saved_model

    asked = {}

    def write(directory, t5, prompts, **options):
        asked.update(directory=directory, prompts=prompts, **options)
        return tmp_path / "1"

    monkeypatch.setattr(saved_model, "write_saved_model", write)
    monkeypatch.setattr(t5, "load_t5", lambda name, *, dtype: {("tiny", "float32"): tiny_t5}[name, dtype])
    run("--prompt", f"mood={file}", "--output", tmp_path, "--backbone", "tiny", "--table-dtype", "bfloat16")

    said = f"{tmp_path / '1'}: 1 task on {tiny_t5.name}, checked against Keras\nNext: softprompt serve {tmp_path}\n"
    assert capsys.readouterr().out == said
    assert asked == {
        "directory": str(tmp_path),
        "prompts": {"mood": str(file)},
        "verify": True,
        "table_dtype": "bfloat16",
    }


def test_tasks_that_a_new_export_leaves_out_are_named(monkeypatch, capsys, tiny_t5, file, base):
    from softprompt_tf import backbones as t5
    from softprompt_tf.export.versions import saved_model

    monkeypatch.setattr(saved_model, "write_saved_model", lambda *given, **options: base / "2")
    monkeypatch.setattr(t5, "load_t5", lambda name, *, dtype: tiny_t5)
    run("--prompt", f"mood={file}", "--output", base, "--backbone", "tiny")

    left_out = "Not in it, but in the version before: story, reply. `--add` keeps the tasks that are there."
    assert capsys.readouterr().out.splitlines()[1] == left_out


def test_an_export_computes_in_the_dtype_that_is_asked_for(monkeypatch, capsys, tiny_t5_bfloat16, file, tmp_path):
    from softprompt_tf import backbones as t5
    from softprompt_tf.export.versions import saved_model

    monkeypatch.setattr(saved_model, "write_saved_model", lambda directory, t5, prompts, **options: tmp_path / "1")
    monkeypatch.setattr(t5, "load_t5", lambda name, *, dtype: {("tiny", "bfloat16"): tiny_t5_bfloat16}[name, dtype])
    run("--prompt", f"mood={file}", "--output", tmp_path, "--backbone", "tiny", "--compute-dtype", "bfloat16")

    said = f"{tmp_path / '1'}: 1 task on {tiny_t5_bfloat16.name} in bfloat16, checked against Keras\n"
    assert capsys.readouterr().out.startswith(said)
