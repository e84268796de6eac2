"""`softprompt inspect`: what it reads from prompts, what it prints, and the files that it writes."""

import functools
import json
import os

import numpy as np
import pytest
from google.protobuf import text_format

from softprompt_tf import backbones as t5
from softprompt_tf.cli.cli import main
from softprompt_tf.errors import BackboneMismatchError, DataError, PromptError
from softprompt_tf.interpretability import draw_heat_map, inspect_prompts, write_heat_map
from softprompt_tf.interpretability.inspection import initial_value
from softprompt_tf.methods import METHODS, TaskPrompt, TaskStart, init, prompt_tuning, write_prompt
from softprompt_tf.model.prompted_t5 import PromptedT5

projector_config = pytest.importorskip("tensorboard.plugins.projector.projector_config_pb2")
LABELS = ("good", "bad")
SETTINGS = {"init": "class_labels", "population_size": 50, "length": 4, "method": "prompt_tuning"}


def task_prompt(tiny_t5, value, **fields):
    known = {"backbone_fingerprint": tiny_t5.fingerprint, "tokenizer_fingerprint": tiny_t5.tokenizer_fingerprint}
    return TaskPrompt(prompt=np.asarray(value, np.float32), **{"task_id": "mood", "labels": LABELS, **known, **fields})


@pytest.fixture
def run(tiny_t5, monkeypatch, capsys):
    """Run the command on the tiny T5; return its status, stdout and stderr."""
    monkeypatch.setattr(t5, "load_t5", functools.partial(lambda name: tiny_t5))

    def run_command(*arguments):
        status = main([str(argument) for argument in ("inspect", *arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_command


@pytest.fixture
def files(tiny_t5, tmp_path):
    """Two prompts of rows of the embedding table: 10 to 13, and 12 to 15."""
    rows = {"mood": tiny_t5.embedding_table[10:14], "other": tiny_t5.embedding_table[12:16]}
    return [
        write_prompt(tmp_path / f"{name}.safetensors", task_prompt(tiny_t5, value * 2, task_id=name))
        for name, value in rows.items()
    ]


def test_the_nearest_piece_of_an_embedding_is_itself(tiny_t5):
    inspection = inspect_prompts([("mood", task_prompt(tiny_t5, tiny_t5.embedding_table[10:14]))], t5=tiny_t5, count=2)

    np.testing.assert_array_equal(inspection.prompts[0].ids[:, 0], [10, 11, 12, 13])
    vocabulary = tiny_t5.tokenizer.get_vocabulary()
    assert [row[0] for row in inspection.prompts[0].pieces] == vocabulary[10:14]


def test_label_pieces_that_are_kept_persist_and_those_overwritten_do_not(tiny_t5):
    words = [piece.replace("▁", "").casefold() for piece in tiny_t5.tokenizer.get_vocabulary()]
    ids = sorted({i for row in tiny_t5.tokenize(LABELS) for i in row if words[i]})
    start = tiny_t5.embedding_table[ids]
    trained = start.copy()
    trained[0] = tiny_t5.embedding_table[next(i for i in range(20, 100) if words[i] not in {words[k] for k in ids})]

    inspection = inspect_prompts([("mood", task_prompt(tiny_t5, trained))], t5=tiny_t5, initial=[start], count=1)

    labels = inspection.prompts[0].labels
    assert set(labels.found_at_start) == {words[i] for i in ids}
    assert set(labels.persisted) == {words[i] for i in ids[1:]} != {words[i] for i in ids}


@pytest.mark.parametrize("names", [None, ["first", "mood"]], ids=["one task", "second of two"])
def test_the_initial_prompt_is_made_again_as_the_model_made_it(tiny_t5, names):
    start = init.from_name("class_labels", LABELS, population_size=50)
    inits = start if names is None else dict.fromkeys(names, start)
    model = PromptedT5(tiny_t5, prompt_tuning(4, inits, task_ids=names, seed=7))
    task = {"name": "mood"} if names is None else [{"name": name} for name in names]
    trained = task_prompt(tiny_t5, np.zeros((4, 16)), training_config={"prompt": SETTINGS, "seed": 7, "task": task})

    value = initial_value(trained, tiny_t5)

    np.testing.assert_array_equal(value, model.prompt_value("mood" if names else None))


# Methods whose tasks have a prompt; a network, shared rows or a product makes that of the second line.
WITH_A_PROMPT = (
    *("prompt_tuning", "dept", "soft_words", "warp", "attempt"),
    *("residual", "multitask_prompts", "mpt", "superpos", "low_rank", "ulpt", "p_tuning"),
)


@pytest.mark.parametrize("method", WITH_A_PROMPT)
def test_the_initial_prompt_of_a_method_is_the_models(tiny_t5, method):
    section = METHODS[method].config(method=method)
    model = PromptedT5(tiny_t5, section.make([TaskStart("mood", LABELS)], seed=7), labels=LABELS)
    config = {"prompt": section.model_dump(mode="json"), "seed": 7, "task": {"name": "mood"}}

    value = initial_value(model.task_prompt("mood", training_config=config), tiny_t5)

    np.testing.assert_array_equal(value, model.prompt_value())


@pytest.mark.parametrize("method", ["lora", "ia3", "adapters", "prefix_tuning", "late_prompts"])
def test_a_method_without_a_prompt_has_no_initial_one(tiny_t5, method):
    section = METHODS[method].config(method=method)
    model = PromptedT5(tiny_t5, section.make([TaskStart("mood", LABELS)], seed=7), labels=LABELS)
    config = {"prompt": section.model_dump(mode="json"), "seed": 7, "task": {"name": "mood"}}

    assert initial_value(model.task_prompt("mood", training_config=config), tiny_t5) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "not_here", "init": "class_labels"},
        {"method": "prompt_tuning", "inti": "class_labels"},
        {"method": "prompt_tuning", "init": "class_labels", "length": 5},
        {"method": "multitask_prompts", "init": "class_labels", "length": 4},
    ],
    ids=["unknown method", "unknown setting", "another length", "rows that start from another task's labels"],
)
def test_the_initial_prompt_is_unknown_where_the_settings_do_not_say_it(tiny_t5, settings):
    config = {"prompt": settings, "seed": 1, "task": [{"name": "first"}, {"name": "mood"}]}

    assert initial_value(task_prompt(tiny_t5, np.zeros((4, 16)), training_config=config), tiny_t5) is None


def test_the_initial_prompt_is_unknown_without_a_run_or_its_file(tiny_t5):
    missing = {"prompt": {**SETTINGS, "init": "file:/nowhere/p.npy"}, "seed": 1, "task": {"name": "mood"}}

    assert initial_value(task_prompt(tiny_t5, np.zeros((4, 16))), tiny_t5) is None
    assert initial_value(task_prompt(tiny_t5, np.zeros((4, 16)), training_config=missing), tiny_t5) is None


def test_a_files_own_name_is_not_looked_for_in_the_working_directory(tiny_t5, tmp_path, monkeypatch):
    np.save(tmp_path / "start.npy", np.ones((4, 16), np.float32))
    monkeypatch.chdir(tmp_path)
    config = {"prompt": {**SETTINGS, "init": "file:start.npy"}, "seed": 1, "task": {"name": "mood"}}

    assert initial_value(task_prompt(tiny_t5, np.zeros((4, 16)), training_config=config), tiny_t5) is None


def test_a_prompt_of_another_backbone_is_refused(tiny_t5):
    with pytest.raises(BackboneMismatchError):
        inspect_prompts([("p", TaskPrompt(prompt=np.zeros((2, 8), np.float32)))], t5=tiny_t5)


def test_initial_prompts_must_be_as_many(tiny_t5):
    with pytest.raises(PromptError, match="`initial` must have one entry per prompt. Received: 0 of 1"):
        inspect_prompts([("p", task_prompt(tiny_t5, np.ones((2, 16))))], t5=tiny_t5, initial=[])


def test_the_command_prints_tables_and_writes_its_files(run, files, tmp_path):
    status, output, error = run(*files, "--backbone", "tiny", "--count", 2, "--output", tmp_path / "out")

    assert (status, error) == (0, "")
    assert "== mood" in output
    assert "== cosine between mean vectors" in output
    assert "words of the class labels among the neighbours:" in output
    written = sorted(
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    assert written == [
        "inspection.json",
        "matched_cosine.png",
        "matched_cosine.svg",
        "mean_cosine.png",
        "mean_cosine.svg",
        "projector/metadata.tsv",
        "projector/projector_config.pbtxt",
        "projector/tensors.tsv",
    ]
    assert (tmp_path / "out" / "mean_cosine.png").read_bytes().startswith(b"\x89PNG")


def test_the_json_holds_neighbours_and_distances(run, files, tmp_path):
    run(*files, "--backbone", "tiny", "--count", 2, "--output", tmp_path / "out")

    values = json.loads((tmp_path / "out" / "inspection.json").read_text(encoding="utf-8"))

    assert [len(prompt["neighbours"]) for prompt in values["prompts"]] == [4, 4]
    assert values["prompts"][0]["neighbours"][0][0]["cosine"] == pytest.approx(1, abs=1e-5)
    assert values["distances"]["names"] == ["mood", "other"]
    assert np.shape(values["distances"]["mean_cosine"]) == (2, 2)


def test_the_projector_files_are_what_tensorboard_reads(run, files, tiny_t5, tmp_path):
    run(*files, "--backbone", "tiny", "--count", 1, "--output", tmp_path / "out")

    folder = tmp_path / "out" / "projector"
    text = (folder / "projector_config.pbtxt").read_text(encoding="utf-8")
    config = text_format.Parse(text, projector_config.ProjectorConfig())
    (embedding,) = config.embeddings
    tensors = np.loadtxt(folder / embedding.tensor_path, delimiter="\t", dtype=np.float32)
    metadata = [
        line.split("\t") for line in (folder / embedding.metadata_path).read_text(encoding="utf-8").splitlines()
    ]
    assert list(embedding.tensor_shape) == [14, 16]  # 8 vectors, and pieces 10 to 15 once each
    assert tensors.shape == (14, 16)
    np.testing.assert_array_equal(tensors[8:], tiny_t5.embedding_table[10:16])
    assert metadata[0] == ["label", "kind", "prompt", "row"]
    assert [len(row) for row in metadata] == [4] * 15
    assert metadata[6] == ["other[1]", "prompt", "other", "1"]
    assert [row[0] for row in metadata[9:]] == tiny_t5.tokenizer.get_vocabulary()[10:16]


# === The backbone that is not named ===


LEFT_OUT = "Nearest pieces, shared words and class labels are left out. "


def named(tiny_t5, directory, *backbones, **fields):
    """Write a prompt for each backbone; return the files."""
    return [
        write_prompt(
            directory / f"{number}.safetensors",
            task_prompt(tiny_t5, tiny_t5.embedding_table[10:14], task_id=f"task{number}", backbone=backbone, **fields),
        )
        for number, backbone in enumerate(backbones)
    ]


def test_the_backbone_is_the_one_that_the_prompt_file_names(run, tiny_t5, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(t5, "load_t5", lambda name: asked.append(name) or tiny_t5)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()

    status, output, _ = run(*named(tiny_t5, tmp_path, "mine", "mine"))

    assert (status, asked) == (0, ["mine"])
    assert "nearest pieces" in output
    assert LEFT_OUT not in output


def test_where_that_backbone_is_not_here_all_else_is_told_and_one_line_says_what_is_not(run, tiny_t5, tmp_path):
    status, output, _ = run(*named(tiny_t5, tmp_path, "elsewhere", "elsewhere"))

    assert status == 0
    assert "clusters of two vectors or more: 0; vectors alone: 4" in output
    assert "== cosine between mean vectors" in output
    assert "nearest pieces" not in output
    assert output.splitlines()[-1] == (
        f"{LEFT_OUT}The prompt's backbone must be on this machine. Received: a prompt for 'elsewhere'. Pass its directory: "
        "--backbone DIRECTORY."
    )


def test_a_backbone_of_that_name_with_other_weights_is_not_it(run, tiny_t5, tmp_path):
    status, output, _ = run(*named(tiny_t5, tmp_path, "mini", backbone_fingerprint="of another T5"))

    assert status == 0
    assert output.splitlines()[-1].startswith(LEFT_OUT)
    assert output.splitlines()[-1].endswith("Pass the right one's directory: --backbone DIRECTORY.")


def test_prompts_of_several_backbones_are_compared_without_a_vocabulary(run, tiny_t5, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()

    status, output, _ = run(*named(tiny_t5, tmp_path, "mini", "mine"))

    assert status == 0
    assert f"{LEFT_OUT}The prompts must be of one backbone. Received: prompts for mine, mini." in output
    assert "== cosine between mean vectors" in output


def test_a_backbone_that_is_named_must_load_and_so_must_that_of_first_values(run, tiny_t5, tmp_path):
    (file,) = named(tiny_t5, tmp_path, "elsewhere")

    status, _, error = run(file, "--initial", file)

    assert status == 2
    assert "The prompt's backbone must be on this machine. Received: a prompt for 'elsewhere'." in error
    assert run(file, "--initial", file, "--backbone", "tiny")[0] == 0


def test_initial_files_must_be_as_many_as_prompts(run, files):
    status, _, error = run(*files, "--backbone", "tiny", "--initial", files[0])

    assert status == 2
    assert "`--initial` must be given once per prompt. Received: 1 for 2 prompts." in error


def test_a_heat_map_must_fit_its_names():
    with pytest.raises(DataError, match="a row and a column per name"):
        draw_heat_map(["a"], np.ones((2, 2)))


@pytest.mark.shared_data
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_full_disk_leaves_the_old_heat_map(tmp_path, monkeypatch, ending):
    path = tmp_path / f"map.{ending}"
    path.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=rf"map.{ending} cannot be written. Received: .*No space left"):
        write_heat_map(path, ["a"], np.ones((1, 1)))

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_released_prompts_are_compared_without_a_backbone(run, shared_data):
    names = ("sst2", "mrpc", "rte")

    status, output, _ = run(*(shared_data / "t5" / "prompts" / f"{name}.npy" for name in names))

    means = [np.load(shared_data / "t5" / "prompts" / f"{name}.npy").astype(np.float64).mean(axis=0) for name in names]
    expected = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    row = next(line for line in output.split("== cosine")[1].splitlines() if line.startswith("sst2"))
    assert status == 0
    assert row.split() == ["sst2", "1.000", f"{expected:.3f}", row.split()[3]]


def test_a_task_without_a_prompt_is_refused_by_its_method_and_tensors(tiny_t5):
    values = np.zeros((2, 2, 2, 2, 6), np.float32)
    task = TaskPrompt(tensors={"decoder_key_values": values}, task_id="rte", method="prefix_tuning")

    message = (
        r"rows \[P, H\]\. Received: Prompt 'rte' of the method prefix_tuning, with the tensors decoder_key_values\."
    )
    with pytest.raises(PromptError, match=message):
        inspect_prompts([("rte", task)], t5=tiny_t5)
