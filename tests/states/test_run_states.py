"""A run of `softprompt train` on cached states: where they are used, shared and refused."""

import json

import numpy as np
import pytest
from tiny_run import run_values, write_preset, write_tasks, write_yaml

import softprompt_tf as sp
from softprompt_tf.config import load_config
from softprompt_tf.errors import ConfigError
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.experiments.prompt_tuner import PromptTuner
from softprompt_tf.runs.run import TaskData, train_run
from softprompt_tf.runs.run_identity import config_digest
from softprompt_tf.states.encoding import StateEncoder
from softprompt_tf.tasks import load_task

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    directory = tmp_path_factory.mktemp("parts")
    return write_preset(directory / "t5"), write_tasks(directory)


def run_config(parts, directory, *, method="late_prompts", tasks=("mood",), **training):
    backbone, known = parts
    values = run_values(backbone, [known[task] for task in tasks], directory / "out", **training)
    values["prompt"] = {"method": method, "length": 3}
    return load_config(write_yaml(directory / "run.yaml", values))


def counted(monkeypatch):
    calls, batches = [], StateEncoder.batches
    monkeypatch.setattr(StateEncoder, "batches", lambda *args: calls.append(len(args[1])) or batches(*args))
    return calls


def test_a_run_on_states_ends_with_the_prompt_of_a_run_without(parts, tmp_path, monkeypatch):
    calls, results = counted(monkeypatch), {}
    for states in ("off", "float32"):
        (tmp_path / states).mkdir()
        directory = tmp_path / "float32" / "out" / "states"  # in a run's own directory, where what it spills is removed
        config = run_config(
            parts, tmp_path / states, tasks=("mood", "echo"), cached_states=states, states_directory=str(directory)
        )
        results[states] = train_run(config)

    for task, path in results["float32"].prompts.items():
        expected = sp.load_prompt(results["off"].prompts[task]).tensors["prompt_behind_encoder"]
        found = sp.load_prompt(path).tensors["prompt_behind_encoder"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    histories = [json.loads((tmp_path / name / "out" / "metrics.json").read_text())["history"] for name in results]
    assert histories[0] == histories[1]
    assert calls == [32, 8, 8]  # the training rows of both tasks, and the dev rows of each
    assert len(list(directory.iterdir())) == 3

    (tmp_path / "again").mkdir()
    train_run(
        run_config(
            parts, tmp_path / "again", tasks=("mood", "echo"), cached_states="float32", states_directory=str(directory)
        )
    )
    assert len(calls) == 3  # another run on the same texts encodes nothing


def test_a_teacher_s_states_count_alike_with_and_without_cached_states(parts, tmp_path):
    one_layer = write_preset(tmp_path / "t5", num_layers=1), parts[1]
    teacher = sp.PromptedT5(sp.load_t5(one_layer[0]), sp.late_prompts(length=2, seed=9))
    teacher.save_prompt(tmp_path / "teacher.safetensors", task_id="teacher")
    distill = {"distill_from": str(tmp_path / "teacher.safetensors"), "distill_weight": 0.001}
    found = {}
    for states in ("off", "float32"):
        (tmp_path / states).mkdir()
        training = {"steps": 2, "cached_states": states, "distill_hidden_weight": 5.0, **distill}
        prompts = train_run(run_config(one_layer, tmp_path / states, **training)).prompts
        found[states] = sp.load_prompt(prompts["mood"]).tensors["prompt_behind_encoder"]

    np.testing.assert_allclose(found["float32"], found["off"], rtol=0, atol=1e-5)


def test_states_are_off_for_a_prompt_in_front(parts, tmp_path, monkeypatch):
    calls = counted(monkeypatch)
    others = tmp_path / "out" / "states" / "united.csv"
    others.parent.mkdir(parents=True)
    others.write_text("not of the run")

    train_run(run_config(parts, tmp_path, method="prompt_tuning", steps=1))

    assert calls == []
    assert others.read_text() == "not of the run"


def test_a_dtype_for_a_prompt_in_front_is_an_error(parts, tmp_path):
    config = run_config(parts, tmp_path, method="prompt_tuning", cached_states="float16")

    with pytest.raises(ConfigError, match=r"must be auto or off .* with prompt_tuning. Received: float16"):
        train_run(config)


def test_another_word_is_an_error(parts, tmp_path):
    with pytest.raises(ConfigError, match=r"`training.cached_states` must be auto, off, float16, bfloat16 or float32"):
        run_config(parts, tmp_path, cached_states="int8")


def test_the_default_belongs_to_runs_from_before_there_was_a_choice(parts, tmp_path):
    digests = {states: config_digest(run_config(parts, tmp_path, cached_states=states)) for states in ("auto", "off")}

    assert digests["auto"] != digests["off"]
    assert digests["auto"] == config_digest(run_config(parts, tmp_path))


def test_runs_of_a_sweep_share_one_cache(parts, tmp_path, monkeypatch):
    calls = counted(monkeypatch)
    tuner = None
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        config = run_config(parts, tmp_path / str(seed), cached_states="float32").model_copy(update={"seed": seed})
        task = load_task(config.tasks[0])
        tuner = tuner or PromptTuner(sp.load_t5(config.backbone))
        data = TaskData(task, task.examples("train"), task.examples("validation"))
        model, record = tuner.tune(config, data, run_digest="a")

        assert record.metrics["mood"] == evaluate_examples(model, task, data.validation).metrics

    assert calls == [16, 8]  # training and dev rows, once for both seeds
