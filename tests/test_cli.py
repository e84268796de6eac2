"""Each command prints what it did and returns 0; a mistake is one line on stderr and the status 2."""

import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import yaml
from tiny_run import run_values, write_preset, write_tasks, write_yaml

from softprompt_tf import PromptedT5, load_prompt
from softprompt_tf import backbones as t5
from softprompt_tf.cli.cli import main
from softprompt_tf.errors import VerificationError
from softprompt_tf.export import ModelServer
from softprompt_tf.export.versions import saved_model
from softprompt_tf.methods import write_prompt

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A directory with the preset `tiny`, the task files, and run.yaml, whose run goes to `out`."""
    root = tmp_path_factory.mktemp("cli")
    write_preset(root / "tiny")
    tasks = write_tasks(root)
    write_yaml(root / "run.yaml", run_values(root / "tiny", [tasks["mood"]], root / "out"))
    return root


@pytest.fixture(scope="module", autouse=True)
def backbone(inputs):
    """The tiny T5, loaded once for all commands."""
    load = functools.cache(t5.load_t5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(t5, "load_t5", load)
        yield load(str(inputs / "tiny"))


@pytest.fixture(scope="module")
def prompt(inputs, backbone):
    """A prompt file of the task `mood`, untrained."""
    from softprompt_tf.methods import TaskPrompt

    value = np.random.default_rng(2).normal(size=(5, 16)).astype(np.float32)
    fingerprints = {
        "backbone_fingerprint": backbone.fingerprint,
        "tokenizer_fingerprint": backbone.tokenizer_fingerprint,
    }
    fields = {"task_id": "mood", "template": "film: {text}", "labels": ("negative", "positive"), "backbone": "tiny"}
    return write_prompt(inputs / "mood.safetensors", TaskPrompt(prompt=value, **fields, **fingerprints))


@pytest.fixture
def run(capsys):
    """Run a command in this process; return its status and what it wrote to stdout and stderr."""

    def run_command(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run_command


@pytest.fixture
def fails(run):
    """Run a command that must fail with 2 and one line; return the line."""

    def run_command(*arguments):
        status, _, error = run(*arguments)
        lines = error.strip().splitlines()
        assert (status, len(lines)) == (2, 1), error
        assert lines[0].startswith("softprompt: ")
        return lines[0]

    return run_command


def objects_of(text):
    return [json.loads(line) for line in text.splitlines()]


# === What the commands do ===


def test_train_prints_the_config_and_the_score(run, inputs, tmp_path, monkeypatch):
    from softprompt_tf.runs import run as run_module

    monkeypatch.setattr(run_module, "load_t5", lambda source, *, dtype, devices: t5.load_t5(source))

    status, output, _ = run("train", inputs / "run.yaml", f"output_dir={tmp_path / 'out'}", "training.steps=3")

    config, _, summary = output.partition("mood: prompt in ")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())["validation"]["mood"]
    assert status == 0
    assert "steps: 3\n" in config
    lines = summary.splitlines()
    assert lines[0] == f"{tmp_path / 'out' / 'prompt.safetensors'}; the dev rows chose step 3"
    assert lines[2].split() == ["dev,", "8", "rows", f"{metrics['accuracy']:.4f}", f"{metrics['macro_f1']:.4f}"]
    assert lines[3].split()[:3] == ["majority", "baseline", "0.3750"]
    assert lines[-1].startswith("Next: softprompt export --prompt mood=")


def test_evaluate_of_several_prompts_scores_each_and_their_vote(run, inputs, prompt, tmp_path):
    other = dataclasses.replace(load_prompt(prompt), prompt=np.random.default_rng(3).normal(size=(5, 16)))
    second = write_prompt(tmp_path / "second.safetensors", other)
    options = ["--task", inputs / "mood.yaml", "--backbone", inputs / "tiny"]

    status, output, _ = run("evaluate", prompt, second, prompt, *options)

    lines = [json.loads(line) for line in output.splitlines()]
    alone = [json.loads(run("evaluate", each, *options)[1])["accuracy"] for each in (prompt, second)]
    assert status == 0
    assert [line["accuracy"] for line in lines[:3]] == [alone[0], alone[1], alone[0]]
    assert lines[3]["mean"]["accuracy"] == pytest.approx((2 * alone[0] + alone[1]) / 3)
    assert lines[3]["best"]["accuracy"] == max(alone)
    assert lines[3]["ensemble"]["accuracy"] == alone[0]  # two votes of three are the first prompt's


def test_evaluate_prints_the_metrics_and_writes_predictions(run, inputs, prompt, tmp_path):
    options = ["--task", inputs / "mood.yaml", "--backbone", inputs / "tiny", "--limit", 6]

    status, output, told = run(
        "evaluate", prompt, *options, "--predictions", tmp_path / "predictions.jsonl", "--by-label"
    )

    (report,) = objects_of(output)
    predictions = objects_of((tmp_path / "predictions.jsonl").read_text())
    right = np.mean([row["target"] == row["output"] for row in predictions])
    assert status == 0
    assert (report["task"], report["split"], report["rows"], len(predictions)) == ("mood", "validation", 6, 6)
    assert report["accuracy"] == pytest.approx(right)
    assert "macro_f1" in report
    table = told[told.index("label ") :].splitlines()
    assert [int(line.split()[1]) for line in table[1:]] == [
        sum(row["target"] == line.split()[0] for row in predictions) for line in table[1:]
    ]


def test_evaluate_says_once_that_a_prompt_is_of_another_task(run, inputs, prompt, tmp_path):
    other = write_prompt(tmp_path / "topic.safetensors", dataclasses.replace(load_prompt(prompt), task_id="topic"))
    options = ["--task", inputs / "mood.yaml", "--backbone", inputs / "tiny", "--limit", 2]

    told = []
    for prompts in ([other], [prompt, other, prompt], [prompt]):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run("evaluate", *prompts, *options)
        told.append([str(each.message) for each in caught if "trained for another task" in str(each.message)])

    assert [len(texts) for texts in told] == [1, 1, 0]
    assert told[1][0].startswith("Prompt 2 of 3 was trained for another task than 'mood': task id 'topic', not 'mood'.")


def test_predict_puts_the_template_around_each_text(run, inputs, prompt, backbone):
    status, output, _ = run("predict", prompt, "--text", "a good book", "--text", "", "--backbone", inputs / "tiny")

    rows = objects_of(output)
    expected = PromptedT5(backbone, load_prompt(prompt)).classify(["film: a good book", "film: "])
    assert status == 0
    assert [row["inputs"] for row in rows] == ["film: a good book", "film: "]
    assert [row["label"] for row in rows] == [choice.label for choice in expected]
    assert rows[0]["probability"] == pytest.approx(expected[0].probability, abs=1e-5)
    assert set(rows[0]) == {"inputs", "label", "probability", "labels", "log_probabilities"}


def test_predict_reads_rows_and_generates_without_labels(run, inputs, backbone, tmp_path):
    two_fields = PromptedT5(backbone).task_prompt("echo", template="{first} and {second}", max_target_tokens=4)
    file = write_prompt(tmp_path / "echo.safetensors", two_fields)
    (tmp_path / "rows.tsv").write_text("first\tsecond\ngood\tbad\nwarm\tdull\n")

    status, output, _ = run("predict", file, "--input", tmp_path / "rows.tsv", "--backbone", inputs / "tiny")

    rows = objects_of(output)
    assert status == 0
    assert [row["inputs"] for row in rows] == ["good and bad", "warm and dull"]
    assert set(rows[0]) == {"inputs", "text", "score"}


def test_neighbors_prints_the_nearest_pieces_of_each_row(run, inputs, backbone, tmp_path):
    # Rows of the embedding table itself: each is its own nearest piece.
    ids = backbone.tokenize(["good film"])[0]
    file = tmp_path / "words.npy"
    np.save(file, backbone.embedding_table[ids])

    status, output, _ = run("neighbors", file, "--count", 2, "--backbone", inputs / "tiny")

    pieces = backbone.tokenizer.get_vocabulary()
    assert status == 0
    lines = output.splitlines()
    assert len(lines) == len(ids)
    for row, (line, token) in enumerate(zip(lines, ids, strict=True)):
        number, nearest, cosine, *_ = line.split()
        assert (int(number), nearest, cosine) == (row, pieces[token], "1.00")


def test_convert_there_and_back_keeps_the_prompt(run, prompt, tmp_path):
    array, again, folder = tmp_path / "mood.npy", tmp_path / "again.safetensors", tmp_path / "adapter"

    outputs = [
        run("convert", prompt, array),
        run("convert", array, again),
        run("convert", prompt, folder),
        run("convert", folder, tmp_path / "from_peft.npy"),
    ]

    value = load_prompt(prompt).prompt
    assert [status for status, *_ in outputs] == [0] * 4
    assert outputs[0][1] == f"{array}: prompt of 5 rows, width 16\n"
    np.testing.assert_array_equal(np.load(array), value)
    np.testing.assert_array_equal(load_prompt(again).prompt, value)
    assert {entry.name for entry in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    np.testing.assert_array_equal(np.load(tmp_path / "from_peft.npy"), value)


@pytest.fixture(scope="module")
def base_directory(inputs, prompt):
    """An export that the command line wrote, without the check, which other tests look at."""
    arguments = ["--prompt", f"mood={prompt}", "--prompt", f"again={prompt}", "--output", str(inputs / "served")]
    assert main(["export", *arguments, "--no-verify", "--backbone", str(inputs / "tiny")]) == 0
    return inputs / "served"


def test_export_hands_on_its_tasks_and_says_whether_it_was_checked(run, inputs, prompt, tmp_path, monkeypatch):
    calls = []

    def write(directory, t5, prompts, **options):
        calls.append((t5.name, prompts, options))
        return tmp_path / str(len(calls))

    monkeypatch.setattr(saved_model, "write_saved_model", write)
    options = ["--prompt", f"mood={prompt}", "--output", tmp_path, "--backbone", inputs / "tiny"]

    first = run("export", *options)
    second = run("export", *options, "--no-verify", "--table-dtype", "bfloat16")

    after = f"Next: softprompt serve {tmp_path}\n"
    assert first[:2] == (0, f"{tmp_path / '1'}: 1 task on tiny, checked against Keras\n{after}")
    assert second[:2] == (0, f"{tmp_path / '2'}: 1 task on tiny, not checked\n{after}")
    assert calls == [
        ("tiny", {"mood": str(prompt)}, {"verify": True, "table_dtype": "float32"}),
        ("tiny", {"mood": str(prompt)}, {"verify": False, "table_dtype": "bfloat16"}),
    ]


def test_an_export_that_fails_its_check_is_a_fault_of_ours(run, inputs, prompt, tmp_path, monkeypatch):
    def differ(*arguments, **keywords):
        raise VerificationError("it answers otherwise")

    monkeypatch.setattr(saved_model, "write_saved_model", differ)

    status, _, error = run("export", "--prompt", f"a={prompt}", "--output", tmp_path, "--backbone", inputs / "tiny")

    assert (status, error) == (1, "softprompt: it answers otherwise\n")


LISTED = [("mood", ["negative", "positive"]), ("again", ["negative", "positive"])]


def test_query_asks_a_server_without_tensorflow(base_directory, prompt, backbone):
    with ModelServer(base_directory, model_name="tiny", grpc_port=0, rest_port=None) as server:
        code = (
            "import sys; from softprompt_tf.cli.cli import main; status = main(sys.argv[1:]);"
            "print([name for name in ('tensorflow', 'keras') if name in sys.modules], status)"
        )
        options = [f"127.0.0.1:{server.grpc_port}", "--model-name", "tiny", "--task-id"]
        texts = ["--text", "a good book", "--text", "a dull film", "--classify"]
        done = [
            subprocess.run([sys.executable, "-c", code, "query", *options, *rest], capture_output=True, text=True)
            for rest in (["mood", *texts], ["again", *texts[:2]], ["mod", *texts])
        ]
        listing = subprocess.run(
            [sys.executable, "-c", code, "query", *options[:-1], "--list"], capture_output=True, text=True
        )

    *tasks, end = listing.stdout.splitlines()
    assert [(task["task_id"], task["labels"]) for task in map(json.loads, tasks)] == LISTED
    assert end == "[] 0"
    classified, generated, refused = (result.stdout.splitlines() for result in done)
    expected = PromptedT5(backbone, load_prompt(prompt)).classify(["film: a good book", "film: a dull film"])
    assert [json.loads(line)["label"] for line in classified[:-1]] == [choice.label for choice in expected]
    assert set(json.loads(generated[0])) == {"inputs", "text", "score"}
    assert json.loads(generated[0])["inputs"] == "a good book"
    assert classified[-1] == generated[-1] == "[] 0"
    assert refused == ["[] 2"]
    assert "row 0: Unknown task id 'mod'. Known: mood, again." in done[2].stderr
    assert "Traceback" not in done[2].stderr


def test_serve_hands_on_its_ports_and_name(run, tmp_path, monkeypatch):
    from softprompt_tf.export.server import serve_until_stopped

    served = []
    monkeypatch.setattr(serve_until_stopped, "serve", lambda directory, **options: served.append((directory, options)))

    status, *_ = run("serve", tmp_path, "--grpc-port", 1, "--rest-port", 2, "--model-name", "t5")

    assert status == 0
    [(directory, options)] = served
    assert directory == str(tmp_path)
    assert {name: options[name] for name in ("model_name", "grpc_port", "rest_port", "poll_interval_s")} == {
        "model_name": "t5",
        "grpc_port": 1,
        "rest_port": 2,
        "poll_interval_s": 1,
    }


def test_demo_hands_on_its_directory_and_backbone(run, tmp_path, monkeypatch):
    from softprompt_tf.demo import demo

    asked = []
    monkeypatch.setattr(demo, "run_demo", lambda directory, **options: asked.append((directory, options)))

    status, *_ = run("demo", "--output", tmp_path)

    assert (status, asked) == (0, [(tmp_path, {"backbone": "mini", "steps": None})])


# === Mistakes ===


def test_a_missing_config_is_told(fails, inputs):
    assert "rum.yaml" in fails("train", inputs / "rum.yaml")


def test_an_unknown_key_is_told_with_the_nearest(fails, inputs, tmp_path):
    values = yaml.safe_load((inputs / "run.yaml").read_text())
    values["training"]["learning_rat"] = 0.1
    config = write_yaml(tmp_path / "run.yaml", values)

    line = fails("train", config)

    assert "Unknown key `training.learning_rat`" in line
    assert line.endswith("Did you mean `learning_rate`?")


def test_a_wrong_override_is_told(fails, inputs):
    assert "`training.steps` must be a whole number above 0" in fails("train", inputs / "run.yaml", "training.steps=0")


def test_a_missing_data_file_is_told_with_the_nearest(fails, inputs):
    line = fails("train", inputs / "run.yaml", f"task.train={inputs / 'mood_tran.jsonl'}")

    assert line.endswith("No such file: " + str(inputs / "mood_tran.jsonl") + ". Did you mean `mood_train.jsonl`?")


def test_a_malformed_row_is_told_with_its_line(fails, inputs, tmp_path):
    rows = (inputs / "mood_train.jsonl").read_text().splitlines()
    (tmp_path / "bad.jsonl").write_text("\n".join([*rows[:2], rows[2][:-3], *rows[3:]]))

    assert f"{tmp_path / 'bad.jsonl'}:3: " in fails(
        "train", inputs / "run.yaml", f"task.train={tmp_path / 'bad.jsonl'}"
    )


def test_an_unknown_label_is_told_with_its_line(fails, inputs, prompt, tmp_path):
    shutil.copy(inputs / "mood.yaml", tmp_path)
    (tmp_path / "mood_dev.jsonl").write_text('{"text": "a", "label": "positive"}\n{"text": "a", "label": "neutral"}\n')

    line = fails("evaluate", prompt, "--task", tmp_path / "mood.yaml", "--backbone", inputs / "tiny")

    assert "mood_dev.jsonl:2: field `label` must be one of the labels of task mood. Received: 'neutral'." in line


def test_an_input_that_is_not_utf8_is_told_with_its_line(fails, inputs, prompt, tmp_path):
    (tmp_path / "rows.csv").write_bytes(b"text\na good film\na bad f\xfflm\n")

    line = fails("predict", prompt, "--input", tmp_path / "rows.csv", "--backbone", inputs / "tiny")

    assert f"{tmp_path / 'rows.csv'}:3: must be UTF-8 text" in line


def test_a_row_without_the_templates_field_is_told(fails, inputs, prompt, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"sentence": "a good film"}\n')

    line = fails("predict", prompt, "--input", tmp_path / "rows.jsonl", "--backbone", inputs / "tiny")

    assert "rows.jsonl:1: the row has no field `text`. Its fields: sentence." in line


@pytest.fixture(scope="module")
def foreign_prompt(inputs, prompt):
    import dataclasses

    foreign = dataclasses.replace(load_prompt(prompt), backbone="t5_elsewhere", backbone_fingerprint="0" * 16)
    return write_prompt(inputs / "foreign.safetensors", foreign)


@pytest.mark.parametrize("command", ["evaluate", "predict", "neighbors", "export"])
def test_a_prompt_of_another_backbone_is_told_with_both_names(fails, inputs, foreign_prompt, tmp_path, command):
    options = {
        "evaluate": [foreign_prompt, "--task", inputs / "mood.yaml"],
        "predict": [foreign_prompt, "--text", "a"],
        "neighbors": [foreign_prompt],
        "export": ["--prompt", f"mood={foreign_prompt}", "--output", tmp_path / "base"],
    }[command]

    line = fails(command, *options, "--backbone", inputs / "tiny")

    assert "was made for t5_elsewhere" in line
    assert "Received: model tiny" in line
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("command", ["evaluate", "predict", "neighbors", "export", "convert"])
def test_a_truncated_prompt_file_is_told(fails, inputs, prompt, tmp_path, command):
    half = tmp_path / "half.safetensors"
    half.write_bytes(prompt.read_bytes()[:-100])
    options = {
        "evaluate": [half, "--task", inputs / "mood.yaml"],
        "predict": [half, "--text", "a"],
        "neighbors": [half],
        "export": ["--prompt", f"mood={half}", "--output", tmp_path / "base"],
        "convert": [half, tmp_path / "half.npy"],
    }[command]

    backbone = [] if command == "convert" else ["--backbone", inputs / "tiny"]

    assert "half.safetensors" in fails(command, *options, *backbone)
    assert [entry.name for entry in tmp_path.iterdir()] == ["half.safetensors"]


@pytest.mark.parametrize("pair", ["mood", "=file", "mood=", ""])
def test_a_prompt_option_that_is_not_a_pair_is_told(fails, tmp_path, pair):
    line = fails("export", "--prompt", pair, "--output", tmp_path)

    assert line == f"softprompt: `--prompt` must be ID=FILE, such as film=film.safetensors. Received: {pair!r}."


def test_a_task_id_given_twice_is_told(fails, prompt, tmp_path):
    line = fails("export", "--prompt", f"a={prompt}", "--prompt", f"a={prompt}", "--output", tmp_path)

    assert "Every task id may be given once. Received: 'a' twice." in line


def test_an_unknown_backbone_is_told(fails, prompt):
    assert "No backbone 'mimi'" in fails("predict", prompt, "--text", "a", "--backbone", "mimi")


def test_a_conversion_to_another_ending_is_told(fails, prompt, tmp_path):
    line = fails("convert", prompt, tmp_path / "mood.bin")

    assert line.startswith("softprompt: The output must end in .safetensors or .npy, or be a folder. Received: ")


def test_a_server_that_is_not_there_is_told(fails):
    line = fails("query", "127.0.0.1:9", "--model-name", "t5", "--task-id", "a", "--text", "a", "--timeout", "2")

    assert "127.0.0.1:9" in line
    assert "UNAVAILABLE" in line or "DEADLINE_EXCEEDED" in line


def test_a_version_in_the_place_of_the_base_directory_is_told(fails, tmp_path):
    (tmp_path / "saved_model.pb").touch()

    assert "must hold version directories" in fails("serve", tmp_path, "--grpc-port", "0")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["trian"],
        ["predict", "a.safetensors"],
        ["query", "host:1"],
        ["evaluate", "a", "--task", "b", "--split", "c"],
    ],
    ids=["no command", "unknown command", "no text", "no task id", "unknown split"],
)
def test_a_wrong_command_line_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as info:
        main(arguments)

    assert info.value.code == 2
    assert "usage: softprompt" in capsys.readouterr().err


def test_the_version_is_told(capsys):
    from softprompt_tf import __version__

    with pytest.raises(SystemExit) as info:
        main(["--version"])

    assert (info.value.code, capsys.readouterr().out) == (0, f"softprompt-tf {__version__}\n")


def test_an_interrupt_ends_with_130(run, inputs, monkeypatch):
    from softprompt_tf.runs import run as run_module

    def interrupt(config, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "train_run", interrupt)

    status, _, error = run("train", inputs / "run.yaml")

    assert (status, error) == (130, "softprompt: interrupted\n")


def test_a_text_of_bytes_that_are_not_utf8_is_told(fails, inputs, prompt):
    # As the shell hands over the byte 0xFF.
    line = fails("predict", prompt, "--text", "a good \udcff film", "--backbone", inputs / "tiny")

    assert line == "softprompt: A text must be valid Unicode. Received: 'film: a good \\udcff film'."


def test_half_of_a_character_in_an_input_file_is_told(fails, inputs, prompt, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "a good \\ud83d film"}\n')

    line = fails("predict", prompt, "--input", tmp_path / "rows.jsonl", "--backbone", inputs / "tiny")

    assert "\\ud83d" in line


def test_a_reader_that_has_left_is_no_fault(prompt, tmp_path):
    arguments = [sys.executable, "-m", "softprompt_tf.cli.cli", "convert", str(prompt), str(tmp_path / "a.npy")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(arguments, stdout=writing, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writing)

    assert done.returncode == 0
    assert "BrokenPipeError" not in done.stderr
