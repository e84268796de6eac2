"""What the command line says before anything slow is loaded: wrong files and ports, shipped configs, help texts, Ctrl-C."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from fake_model_server import FakeServer
from tiny_run import run_values, write_preset, write_tasks, write_yaml

from softprompt_tf.backbones.backbone_option import backbone_of
from softprompt_tf.cli.cli import build_parser, main
from softprompt_tf.cli.output_encoding import escaped_output
from softprompt_tf.errors import ConfigError
from softprompt_tf.methods import TaskPrompt
from softprompt_tf.settings.shipped_configs import find_config, shipped_configs

# Runs each line of stdin as a command; prints what it said and what it loaded.
RUN_LINES = """
import contextlib, io, json, sys
from softprompt_tf.cli.cli import main
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        status = main(line.split())
    print(json.dumps([status, said.getvalue(), [name for name in ("tensorflow", "keras") if name in sys.modules]]))
"""
MISTAKES = {
    "train rum.yaml": "No such config file: rum.yaml. Did you mean `run.yaml`?",
    "train run.yaml training.step=3": "Unknown key `training.step`",
    "train sst": "the name of one that ships with the library. Received: 'sst'. Did you mean `sst2`?",
    "evaluate a.npy --task mod.yaml": "No such config file: mod.yaml",
    "evaluate b.npy --task mood.yaml": "No such file: b.npy. Known: a.npy.",
    "evaluate a.npy --task mood.yaml --split test": "has no source for this split",
    "predict b.npy --text x": "No such file: b.npy",
    "neighbors b.npy": "No such file: b.npy",
    "inspect b.npy": "No such file: b.npy",
    "export --prompt a=b.npy --output e": "No such file: b.npy",
    "train mood.yaml": "Received: mood.yaml, which is a task file. Write a config of a run with `task: mood.yaml` "
    "(`softprompt configs runs` lists examples), or let `softprompt tune mood.yaml` choose",
    "evaluate a.npy --task run.yaml": "must have the key `inputs`. Received: run.yaml, which is a run's config.",
    "query localhost --model-name m --task-id a --text x": "Received: localhost. Did you mean `localhost:8500`?",
    "query h:1 --model-name m --task-id a": "takes --task-id and --text, or --list alone, which shows the server's tasks."
    " Received: --task-id.",
    "query h:1 --model-name m": "Received: none of them.",
    "query h:1 --model-name m --list --classify": "Received: --list, --classify.",
    "query http://h:8501 --model-name m --task-id a --text x": "Leave out `http://`",
    "serve e --grpc-port 99999": "`--grpc-port` must be a port from 0 to 65535. Received: 99999.",
    "serve e --grpc-port 0 --rest-port -1": "`--rest-port` must be a port from 0 to 65535. Received: -1.",
    "serve s3://bucket/model": "must be a local one. Received: s3://bucket/model",
    "serve gone": "The directory to serve must exist. Received: gone.",
    "serve --model-config-file broken.config": "broken.config",
    "serve --model-config-file models.config": "model a must be a local directory for this server. Received: s3://bucket/a",
    "sweep lengths --output o": "the name of one that ships with the library. Received: 'lengths'",
    "adapt mini --text run.yaml --output o --weight book=x": "`--weight` must be NAME=WEIGHT",
    "pretrain --text run.yaml --output o --objective spans=1": "`--objective` must be one of",
    "pretrain --text gone.txt --output o": "A corpus file must exist. Received: gone.txt.",
    "pretrain --text book=gone.txt.gz --output o": "A corpus file must exist. Received: gone.txt.gz.",
    "pretrain --text out.txt.gz --output o": "out.txt.gz cannot be read: Not a gzipped file",
    "pretrain --text latin.txt --output o": "A corpus file must be UTF-8 text. Received: latin.txt",
    "pretrain --text short.txt --output o": "A corpus must hold lines of at least 80 characters. Received: short.txt.",
    "pretrain --text long.txt --measure-text gone.txt --output o": "A corpus file must exist. Received: gone.txt.",
    "pretrain --text long.txt --vocabulary gone.model --output o": "No such file: gone.model.",
    "adapt mini --text gone.txt --output o": "A corpus file must exist. Received: gone.txt.",
    "adapt gone/t5 --text long.txt --output o": "must be a name or a directory that is there. Received: gone/t5.",
    "sweep sweep.yaml --output o": "`experiments` in sweep.yaml must be a mapping",
    "sweep key.yaml --output o": "`step` of experiment `a` in key.yaml",
    "sweep vary.yaml --output o": "Unknown key `prompt.lenght` of experiment `a` in vary.yaml:1. Did you mean `length`?",
    "sweep task.yaml --output o": "No such task. Received: 'sst'. Did you mean `sst2`?",
    "sweep backbone.yaml --output o": "must be a name or a directory that is there. Received: gone/t5.",
    "reproduce --config key.yaml --output o": "`step` of experiment `a` in key.yaml",
}

EXPERIMENTS = {
    "key": "tasks: [sst2], step: 3",
    "vary": "tasks: [sst2], vary: {prompt.lenght: [1, 2]}",
    "task": "tasks: [sst]",
    "backbone": "tasks: [sst2], backbone: gone/t5",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    tasks = write_tasks(root)
    write_yaml(root / "run.yaml", run_values(root / "tiny", [tasks["mood"]], root / "out"))
    np.save(root / "a.npy", np.ones((2, 4), np.float32))
    (root / "out.txt.gz").write_text("no gzip")
    (root / "latin.txt").write_bytes(b"caf\xe9 " * 40)
    (root / "short.txt").write_text("a line\n")
    (root / "long.txt").write_text("a long line " * 20)
    (root / "sweep.yaml").write_text("backbone: mini")
    for name, line in EXPERIMENTS.items():
        (root / f"{name}.yaml").write_text(f"experiments: {{a: {{{line}}}}}")
    (root / "models.config").write_text(
        "model_config_list { config { name: 'a' base_path: 's3://bucket/a' model_platform: 'tensorflow' } }"
    )
    (root / "broken.config").write_text("model_config_list {")
    return root


@pytest.fixture(scope="module")
def answers(inputs):
    """What each command of `MISTAKES` says, all of them run in one process without TensorFlow."""
    options = {"cwd": inputs, "capture_output": True, "text": True, "check": True}
    done = subprocess.run([sys.executable, "-c", RUN_LINES], input="\n".join(MISTAKES), **options)
    return dict(zip(MISTAKES, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.items())
def test_a_mistake_is_told_before_tensorflow_is_loaded(answers, arguments, message):
    status, said, loaded = answers[arguments]

    assert message in said
    assert (status, loaded) == (2, [])


def test_a_port_in_use_is_told(tmp_path, capsys):
    (tmp_path / "1").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert main(["serve", str(tmp_path), "--grpc-port", str(port)]) == 2

    assert f"must be a free port. Received: {port}, which another process uses" in capsys.readouterr().err


def test_files_of_other_kinds_are_not_called_known(tmp_path, capsys):
    for name in ("README.md", ".hidden.yaml", "notes.txt"):
        (tmp_path / name).touch()

    assert main(["train", str(tmp_path / "run.yaml")]) == 2
    assert capsys.readouterr().err == f"softprompt: No such config file: {tmp_path / 'run.yaml'}.\n"
    (tmp_path / "other.yaml").touch()
    main(["train", str(tmp_path / "run.yaml")])
    assert capsys.readouterr().err.endswith("run.yaml. Known: other.yaml.\n")


# === Shipped configs ===


@pytest.mark.parametrize("name", ["sst2", "runs/sst2", "configs/runs/sst2.yaml", "runs/sst2.yaml", "sst2.yaml"])
def test_a_shipped_config_is_found_by_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert find_config(name, "runs") == shipped_configs("runs")["sst2"]


def test_a_file_that_is_there_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sst2.yaml").touch()

    assert find_config("sst2.yaml", "runs").resolve() == tmp_path / "sst2.yaml"


def test_configs_are_listed(capsys):
    assert main(["configs", "tasks"]) == 0

    lines = dict(line.split("  ") for line in capsys.readouterr().out.splitlines())
    assert lines["tasks/superglue_boolq"].endswith("superglue_boolq.yaml")
    assert {name.partition("/")[0] for name in lines} == {"tasks"}
    main(["configs"])
    assert "\nexperiments/reproduce  " in capsys.readouterr().out


# === The prompt's backbone ===


def prompt_of(name, **config):
    return TaskPrompt(prompt=np.ones((1, 4), np.float32), backbone=name, training_config=config)


def test_the_backbone_is_the_prompts(tmp_path):
    (tmp_path / "tiny").mkdir()

    assert backbone_of(prompt_of("mini")) == "mini"
    assert backbone_of(prompt_of("tiny", backbone=str(tmp_path / "tiny"))) == str(tmp_path / "tiny")
    assert backbone_of(prompt_of("t5_base_multi", backbone="gone/t5_base_multi")) == "t5_base_multi"
    assert backbone_of(prompt_of("")) == "mini"


def test_a_backbone_that_is_not_here_is_told():
    with pytest.raises(
        ConfigError, match="a prompt for 'gone/tiny' or 'tiny'. Pass its directory: --backbone DIRECTORY"
    ):
        backbone_of(prompt_of("tiny", backbone="gone/tiny"))


def test_predict_takes_the_backbone_of_the_prompt_file(tmp_path, capsys, monkeypatch):
    from softprompt_tf import PromptedT5, load_t5

    preset = write_preset(tmp_path / "tiny")
    file = tmp_path / "a.safetensors"
    PromptedT5(load_t5(preset)).save_prompt(file, task_id="a", training_config={"backbone": str(preset)})
    monkeypatch.chdir(tmp_path)  # the file names the preset by its own name, as it may travel

    assert main(["predict", str(file), "--text", "a film"]) == 0
    assert '"inputs": "a film"' in capsys.readouterr().out


# === Usage, help and Ctrl-C ===


def test_train_asks_for_a_config_alone(capsys):
    with pytest.raises(SystemExit):
        main(["train"])

    assert "the following arguments are required: config\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("trian", "there is no command 'trian'. Did you mean `train`?"),
        ("xyz", "there is no command 'xyz'. Known: adapt, "),
    ],
)
def test_a_mistyped_command_is_told_with_the_nearest_one(typed, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main([typed, "sst2"])

    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_a_run_that_cannot_start_does_not_print_its_config(inputs, capsys):
    assert main(["train", str(inputs / "run.yaml"), "task.train=gone.tsv"]) == 2

    assert capsys.readouterr().out == ""


def help_of(command, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args([command, "--help"])
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("command", "steps"), [("pretrain", 6000), ("adapt", 1000)])
def test_help_says_the_defaults(command, steps, capsys):
    text = help_of(command, capsys)

    assert f"training steps, one batch each (default: {steps})" in text
    assert "(default: 128)" in text
    assert "default: None" not in text


def test_help_begins_with_what_the_command_does(capsys):
    assert "prompt ...] Score a prompt on rows of a task; several prompts vote, or are mixed." in help_of(
        "evaluate", capsys
    )


@pytest.mark.parametrize("command", ["evaluate", "predict", "neighbors", "export", "demo", "sweep", "adapt", "inspect"])
def test_help_says_which_backbones_there_are(command, capsys):
    assert "KerasHub, Hugging Face, T5X or Mesh TensorFlow" in help_of(command, capsys)


# A shell lets its background jobs, and all that they start, ignore SIGINT. The program says what it does with it: a `preexec_fn`
# runs in a copy of this process, where gRPC's threads may write a line of their own.
@pytest.mark.parametrize(("interrupts", "sent"), [("default_int_handler", signal.SIGINT), ("SIG_IGN", signal.SIGTERM)])
def test_an_interrupted_import_ends_without_a_traceback(interrupts, sent, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGINT, signal.{interrupts})\n"
        "class Slow:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'softprompt_tf.cli.cli':\n"
        "            print('importing', flush=True)\n"
        "            try: time.sleep(60)\n"
        "            except KeyboardInterrupt: raise ImportError('as compiled modules do')\n"
        "sys.meta_path.insert(0, Slow())\n"
        "from softprompt_tf.cli.command import main\n"
        "sys.exit(main())\n"
    )
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, str(tmp_path / "slow.py"), "configs"], **streams)
    assert process.stdout.readline() == "importing\n"
    time.sleep(0.2)

    os.kill(process.pid, sent)

    assert process.communicate(timeout=30)[1] == "softprompt: interrupted\n"
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("serve", "gRPC port; 0 takes any free one (default: 8500)"),
        ("evaluate", "the rows to score (default: validation)"),
        ("query", "with all its retries; default: 30"),  # once
    ],
)
def test_help_ends_with_the_default_unless_it_says_it(command, said, capsys):
    assert f"{said} -" in help_of(command, capsys)


def test_lines_that_the_terminal_cannot_show_are_escaped_and_all_are_printed(monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    texts = ["caf\u00e9", "\U0001f600", "plain"]
    server = FakeServer()

    try:
        asked = [part for text in texts for part in ("--text", text)]
        status = main(["query", server.target, "--model-name", "t5", "--task-id", "a", *asked])
    finally:
        server.stop()

    lines = output.buffer.getvalue().decode("ascii").splitlines()
    answers = [(answer["inputs"], answer["text"]) for answer in map(json.loads, lines)]
    assert (status, answers) == (0, [(text, f"a|{text}") for text in texts])
    assert output.errors == "strict"


def test_a_name_that_is_no_text_is_printed_with_its_bytes_escaped(monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", output)

    with escaped_output():
        print("caf\u00e9 \udcff.safetensors", flush=True)

    assert output.buffer.getvalue().decode() == "caf\u00e9 \\udcff.safetensors\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_output_that_cannot_be_written_is_told(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        status = main(["configs"])

    told = "softprompt: A file or the output cannot be read or written. Received: No space left on device.\n"
    assert (status, capsys.readouterr().err) == (2, told)


def test_a_file_that_no_other_message_is_about_is_told(monkeypatch, capsys):
    def fail(parsed):
        raise OSError(30, "Read-only file system", "x.json")

    monkeypatch.setattr("softprompt_tf.cli.configs_command.run", fail)

    assert main(["configs"]) == 2
    assert "softprompt: x.json cannot be read or written. Received: Read-only file system." in capsys.readouterr().err
