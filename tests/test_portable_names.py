"""Files that travel keep the names of files, and nothing of the directories of the machine that wrote them."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
import safetensors
from tiny_run import run_values, write_preset, write_tasks, write_yaml

from softprompt_tf import load_prompt, load_t5
from softprompt_tf.config import load_config
from softprompt_tf.export import add_tasks, write_saved_model
from softprompt_tf.files.portable_names import own_name, portable
from softprompt_tf.methods import write_peft_adapter
from softprompt_tf.runs.run import train_run

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/data/train.tsv", "train.tsv"),
        ("/data/train.tsv[:100]", "train.tsv[:100]"),
        ("/data/dev.jsonl:17", "dev.jsonl:17"),
        ("/backbones/t5_base/", "t5_base"),
        ("file:/data/start.npy", "file:start.npy"),
        ("C:\\data\\train.tsv", "train.tsv"),
        ("data/train.tsv", "data/train.tsv"),
        ("row 3", "row 3"),
        ("super_glue/boolq", "super_glue/boolq"),
        ("hf://google/t5", "hf://google/t5"),
        ("text:/good /bad", "text:/good /bad"),
        ("", ""),
    ],
)
def test_a_name_is_the_last_part_of_an_absolute_path_and_any_other_text_as_it_is(text, name):
    assert own_name(text) == name


def test_a_config_keeps_its_templates_and_loses_directories(tmp_path):
    config = {
        "backbone": "/backbones/t5",
        "prompt": {"init": "file:/tasks/a.npy", "language": "/languages/b.safetensors", "sources": ("/prompts/c.npy",)},
        "training": {"distill_from": {"a": "/prompts/d.npy"}},
        "task": [{"train": "/data/a.tsv", "validation": None, "inputs": "/movie: {text}", "labels": {"0": "/s"}}],
        "seed": 3,
        "notes": [str(tmp_path), "/no/such/file: {x}"],
    }

    assert portable(config) == {
        "backbone": "t5",
        "prompt": {"init": "file:a.npy", "language": "b.safetensors", "sources": ["c.npy"]},
        "training": {"distill_from": {"a": "d.npy"}},
        "task": [{"train": "a.tsv", "validation": None, "inputs": "/movie: {text}", "labels": {"0": "/s"}}],
        "seed": 3,
        "notes": [tmp_path.name, "/no/such/file: {x}"],
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory whose name no library has, with a run and an export to which a task was added."""
    root = tmp_path_factory.mktemp("this_very_machine")
    preset, tasks = write_preset(root / "tiny"), write_tasks(root)
    values = run_values(preset, [tasks["mood"]], root / "mood", steps=2, evaluate_every=2)
    train_run(load_config(write_yaml(root / "run_mood.yaml", values)))
    t5 = load_t5(preset, name=str(preset))
    write_saved_model(root / "export", t5, {"mood": root / "mood" / "prompt.safetensors"}, verify=False)
    add_tasks(root / "export", {"echo": root / "mood" / "prompt.safetensors"}, verify=False)
    write_peft_adapter(root / "adapter", load_prompt(root / "mood" / "prompt.safetensors"))
    return root


@pytest.mark.parametrize("part", ["export", "adapter", "mood/prompt.safetensors", "mood/metrics.json"])
def test_nothing_that_travels_names_the_directory_of_the_run(place, part):
    files = [file for file in [place / part, *(place / part).rglob("*")] if file.is_file()]

    here = [b"this_very_machine", *(os.fsencode(path) for path in (Path(__file__).parents[1], sys.prefix))]
    naming = [str(file.relative_to(place)) for file in files for name in here if name in file.read_bytes()]

    assert files
    assert naming == []


def test_predictions_name_the_file_of_a_row_and_not_its_directory(place):
    lines = (place / "mood" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()

    assert json.loads(lines[0])["location"] == "mood_dev.jsonl:1"
    assert "this_very_machine" not in "".join(lines)


def test_no_string_of_a_prompt_file_is_an_absolute_path(place):
    with safetensors.safe_open(place / "mood" / "prompt.safetensors", framework="numpy") as file:
        texts = file.metadata()

    assert not any(re.search(r"(^|\")(file:)?/\w", text) for text in texts.values())
    config = json.loads(texts["training_config"])
    assert (config["backbone"], config["output_dir"]) == ("tiny", "mood")
    assert (config["task"]["train"], config["task"]["validation"]) == ("mood_train.jsonl", "mood_dev.jsonl")


def test_the_record_of_an_export_names_the_backbone_by_its_own_name(place):
    record = json.loads((place / "export" / "2" / "assets.extra" / "softprompt_tf.json").read_text(encoding="utf-8"))

    assert record["backbone"]["name"] == "tiny"
