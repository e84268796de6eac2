"""A run chooses the prompt that it starts from. The trainings are stand-ins that leave a prompt and a score."""

import json
from pathlib import Path

import numpy as np
import pytest

from softprompt_tf.config import RunConfig
from softprompt_tf.errors import ConfigError, PromptError, TrainingError
from softprompt_tf.evaluation.scores import TaskScores
from softprompt_tf.methods import TaskPrompt, init, write_prompt
from softprompt_tf.runs import run, source_choice
from softprompt_tf.runs.run import RunResult
from softprompt_tf.runs.source_choice import train_from_sources
from softprompt_tf.training import TrainingResult

SCORES = {"a.safetensors": 0.5, "b.safetensors": 0.9, "c.safetensors": 0.9}
ROWS = {
    "a": [[1.0, 0.0]] * 2,
    "b": [[0.0, 1.0]] * 2,
    "c": [[1.0, 1.0]] * 2,
    "long": [[1.0, 0.1]] * 3,
    "wide": [[1.0] * 3] * 2,
}


@pytest.fixture
def library(tmp_path):
    for name, rows in ROWS.items():
        write_prompt(tmp_path / "prompts" / f"{name}.safetensors", TaskPrompt(np.array(rows, np.float32), task_id=name))
    return tmp_path / "prompts"


@pytest.fixture
def trained(monkeypatch):
    """The configs that were trained; a short run of the task itself ends with the vectors (1, 0.2)."""
    configs = []

    def train_run(config, *, on_start=None):
        configs.append(config)
        output = Path(config.output_dir)
        prompt = write_prompt(output / "prompt.safetensors", TaskPrompt(np.array([[1.0, 0.2]] * 2, np.float32)))
        scores = TaskScores({"accuracy": SCORES.get(output.name, 0.1)}, ())
        return RunResult({"film": prompt}, {"film": scores}, TrainingResult(1, 1, 0.1, (), 0.0, False), output)

    monkeypatch.setattr(run, "train_run", train_run)
    return configs


@pytest.fixture
def config(tmp_path, library):
    def make(init, **values):
        task = {
            "name": "film",
            "inputs": "{text}",
            "labels": {"0": "no", "1": "yes"},
            "train": "t.tsv",
            "test": "t.tsv",
        }
        fields = {"backbone": "mini", "task": task, "output_dir": str(tmp_path / "out"), **values}
        return RunConfig(prompt={"length": 2, "init": init}, training={"steps": 50, "evaluate_every": 20}, **fields)

    return make


def test_the_most_similar_prompt_is_chosen_after_a_tenth_of_the_steps(trained, config, library, tmp_path, capfd):
    train_from_sources(config(f"source:{library}"))

    short, last = trained
    assert (short.training.steps, short.training.evaluate_every, short.prompt.init) == (5, 5, "class_labels")
    assert short.tasks[0].test is None
    assert (last.prompt.init, last.training.steps, last.tasks[0].test) == (
        f"file:{library / 'a.safetensors'}",
        50,
        "t.tsv",
    )
    kept = json.loads((tmp_path / "out" / "source.json").read_text())
    by_hand = {"a": 1 / np.hypot(1, 0.2), "b": 0.2 / np.hypot(1, 0.2), "c": 1.2 / (np.hypot(1, 0.2) * np.sqrt(2))}
    assert kept["values"] == pytest.approx({f"{name}.safetensors": value for name, value in by_hand.items()}, abs=1e-6)
    said = capfd.readouterr().err
    assert "long.safetensors is left out. It has 3 rows, not 2." in said
    assert "wide.safetensors is left out. It has the width H=3, not 2." in said


def test_the_prompt_with_the_best_score_is_chosen_of_equal_ones_the_first(trained, config, library):
    (library / "wide.safetensors").unlink()

    train_from_sources(config(f"best_source:{library}"))

    assert [Path(each.output_dir).name for each in trained] == [*SCORES, "out"]
    assert [each.training.steps for each in trained] == [5, 5, 5, 50]
    assert trained[-1].prompt.init == f"file:{library / 'b.safetensors'}"


def test_a_run_that_goes_on_keeps_its_choice(trained, config, library):
    train_from_sources(config(f"source:{library}"))
    write_prompt(library / "0.safetensors", TaskPrompt(np.array([[1.0, 0.2]] * 2, np.float32)))  # would be chosen now
    trained.clear()

    train_from_sources(config(f"source:{library}"))

    assert [each.prompt.init for each in trained] == [f"file:{library / 'a.safetensors'}"]


@pytest.mark.parametrize("other", [{"backbone": "other"}, {"task": {"name": "song", "inputs": "{text}"}}])
def test_a_start_with_other_settings_chooses_again_before_there_is_a_checkpoint(
    trained, config, library, tmp_path, other
):
    train_from_sources(config(f"source:{library}"))
    write_prompt(library / "0.safetensors", TaskPrompt(np.array([[1.0, 0.2]] * 2, np.float32)))

    train_from_sources(config(f"source:{library}", **other))
    assert trained[-1].prompt.init == f"file:{library / '0.safetensors'}"

    (tmp_path / "out" / "checkpoints").mkdir()
    (tmp_path / "out" / "checkpoints" / "step-00000002.safetensors").touch()
    train_from_sources(config(f"source:{library}"))  # `train_run` refuses the settings
    assert trained[-1].prompt.init == f"file:{library / '0.safetensors'}"


def test_a_file_that_holds_no_choice_is_not_written_over(trained, config, library, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "source.json").write_text("{}")

    with pytest.raises(TrainingError, match="must hold the prompt that was chosen"):
        train_from_sources(config(f"source:{library}"))

    assert trained == []


def test_bundled_stands_for_the_prompts_of_the_backbone(trained, config, library, monkeypatch):
    monkeypatch.setattr(source_choice, "bundled_prompts", {"mini": library}.get)

    train_from_sources(config("source:bundled"))

    assert trained[-1].prompt.init == f"file:{library / 'a.safetensors'}"
    with pytest.raises(ConfigError, match="No prompts ship with this backbone. Received: t5_base"):
        train_from_sources(config("source:bundled", backbone="t5_base", output_dir=str(library / "other")))


def test_another_init_is_trained_as_it_is(trained, config):
    train_from_sources(config("random_uniform"))

    assert [each.prompt.init for each in trained] == ["random_uniform"]


def test_more_labels_than_rows_start_the_short_run_from_the_vocabulary(trained, config, library):
    labels = {str(k): f"word {k}" for k in range(3)}

    train_from_sources(config(f"source:{library}", task={"name": "film", "inputs": "{text}", "labels": labels}))

    assert trained[0].prompt.init == "sampled_vocabulary"


def test_several_tasks_and_prompts_that_do_not_fit_are_refused(trained, config, library):
    tasks = [{"name": name, "inputs": "{text}"} for name in ("film", "news")]
    with pytest.raises(ConfigError, match="for a run of one task. Received: 2 tasks"):
        train_from_sources(config(f"source:{library}", task=tasks))
    late = RunConfig.model_validate(
        {**config(f"source:{library}").model_dump(), "prompt": {"method": "late_prompts", "init": f"source:{library}"}}
    )
    with pytest.raises(ConfigError, match="keep a prompt in front of the text. Received: prompt.method=late_prompts"):
        train_from_sources(late)
    for name in "abc":
        (library / f"{name}.safetensors").unlink()
    with pytest.raises(ConfigError, match="Received: long.safetensors, wide.safetensors, of which none does"):
        train_from_sources(config(f"source:{library}"))


@pytest.mark.parametrize("kind", ["source", "best_source"])
def test_an_initializer_alone_cannot_choose(kind):
    with pytest.raises(PromptError, match=f"`init` with `{kind}:` is for `softprompt train`"):
        init.from_name(f"{kind}:prompts")
