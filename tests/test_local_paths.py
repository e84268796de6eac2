"""Paths of other machines are refused wherever a path is written or read, and no folder of that name is made."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from softprompt_tf.cli import cli
from softprompt_tf.cli.cli import main
from softprompt_tf.errors import ConfigError, DataError, SoftPromptError, TrainingError
from softprompt_tf.files.atomic_file import write_atomically
from softprompt_tf.files.directory_lock import locked
from softprompt_tf.files.local_paths import local_source, local_target

REMOTE = [
    "s3://bucket/x",
    "gs://bucket/x",
    "hdfs://host:9000/x",
    "abfss://a@b/x",
    "file:///tmp/x",
    Path("s3://bucket/x"),
]
LOCAL = ["x", "/tmp/x", "./x:y/z", "a:b", "C:/models/x", "C:\\models\\x", "x/s3://y", Path("x")]


@pytest.mark.parametrize("path", REMOTE, ids=map(str, REMOTE))
def test_a_remote_path_is_refused_as_it_was_given(path):
    given = str(path).replace("s3:/bucket", "s3://bucket")

    with pytest.raises(
        TrainingError, match=f"must be a local one. Received: {re.escape(given)[:6]}.*Write to a local dir"
    ):
        local_target(path, error_type=TrainingError)
    with pytest.raises(
        DataError, match=r"The path to read must be a local one. Received: .*://.*\. Copy it here first\."
    ):
        local_source(path, error_type=DataError)


@pytest.mark.parametrize("path", LOCAL, ids=map(str, LOCAL))
def test_a_local_path_is_let_through(path):
    assert local_target(path, error_type=ConfigError) == local_source(path, error_type=ConfigError) == Path(path)


def uses(t5):
    """What a user calls with a path, by name."""
    from softprompt_tf import saving
    from softprompt_tf.backbones import write_preset
    from softprompt_tf.cli.convert import convert
    from softprompt_tf.export.server.serve_until_stopped import serve
    from softprompt_tf.export.server.server import ModelServer
    from softprompt_tf.export.versions import saved_model, task_changes
    from softprompt_tf.methods import load_prompt, prompt_tuning
    from softprompt_tf.model.prompted_t5 import PromptedT5

    model = PromptedT5(t5, prompt_tuning(length=1))
    return {
        "write_saved_model": lambda path: saved_model.write_saved_model(path, t5, {"a": model}),
        "add_tasks": lambda path: task_changes.add_tasks(path, {"a": model}),
        "remove_tasks": lambda path: task_changes.remove_tasks(path, ["a"]),
        "list_tasks": task_changes.list_tasks,
        "serve": serve,
        "ModelServer": lambda path: ModelServer(path, grpc_port=0, rest_port=None).start(),
        "save_prompt": lambda path: model.save_prompt(f"{path}/a.safetensors", task_id="a"),
        "load_prompt": lambda path: load_prompt(f"{path}/a.safetensors"),
        "load_prompt, a folder": load_prompt,
        "load_model": lambda path: saving.load_model(f"{path}/a.keras"),
        "write_preset": lambda path: write_preset(t5.backbone, t5.tokenizer.proto, path),
        "convert": lambda path: convert("mini", path),
        "a run directory": lambda path: locked(path, error_type=TrainingError).__enter__(),
        "any file": lambda path: write_atomically(path, b"", error_type=DataError),
    }


NAMES = [
    "write_saved_model", "add_tasks", "remove_tasks", "list_tasks", "serve", "ModelServer", "save_prompt", "load_prompt",
    "load_prompt, a folder", "load_model", "write_preset", "convert", "a run directory", "any file",
]  # fmt: skip


@pytest.fixture(scope="module")
def calls(tiny_t5):
    made = uses(tiny_t5)
    assert list(made) == NAMES
    return made


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", ["s3://bucket/x", Path("gs://bucket/x")], ids=["text", "Path"])
def test_a_remote_path_is_refused_everywhere_and_leaves_nothing_behind(calls, name, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SoftPromptError, match=r"must be a local one. Received: (s3|gs)://bucket/x"):
        calls[name](path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [*NAMES, "load_t5"])
def test_a_path_that_cannot_be_looked_at_is_one_clear_line(calls, name, tmp_path):
    from softprompt_tf.backbones import load_t5

    path = tmp_path / ("a" * 300)  # longer than the system allows; without permission it answers likewise

    with pytest.raises(SoftPromptError, match=r"Received: .*(: File name too long|\[Errno 36\])") as error:
        {**calls, "load_t5": load_t5}[name](path)
    assert "\n" not in str(error.value)


def test_a_directory_that_cannot_be_read_is_one_clear_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    assert main(["evaluate", str(tmp_path), "--task", "sst2"]) == 2

    assert f"must be one that can be read. Received: {tmp_path}: Permission denied." in capsys.readouterr().err


def test_a_file_without_permission_ends_a_command_in_one_line(monkeypatch, capsys):
    def refuse(parsed):
        raise PermissionError(13, "Permission denied", "rows.csv")

    monkeypatch.setattr(cli, "_check_paths", refuse)

    assert main(["configs"]) == 2
    assert (
        capsys.readouterr().err == "softprompt: rows.csv must be one that you may use. Received: Permission denied.\n"
    )


COMMANDS = [
    "export s3://b/x --add a=a.npy",
    "export --output s3://b/x --prompt a=a.npy",
    "evaluate a.npy --task sst2 --predictions s3://b/x",
    "evaluate s3://b/x.npy --task sst2",
    "evaluate a.npy --task s3://b/x.yaml",
    "evaluate a.npy --task sst2 --backbone s3://b/x",
    "train sst2 output_dir=s3://b/x",
    "train sst2 backbone=s3://b/x",
    "train s3://b/x.yaml",
    "convert mini s3://b/x",
    "inspect a.npy --output s3://b/x",
    "sweep prompt_length --output s3://b/x",
    "pretrain --text s3://b/x --output o",
    "pretrain --text a.txt --output s3://b/x",
    "adapt s3://b/x --text a.txt --output o",
    "demo --output s3://b/x",
    "serve s3://b/x",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_a_remote_path_in_one_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOFTPROMPT_DATA", str(tmp_path))
    np.save("a.npy", np.ones((2, 4), np.float32))
    Path("a.txt").write_text("a long line " * 20)

    assert main(command.split()) == 2

    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "must be a local one. Received: s3://b/x" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "a.txt"]
