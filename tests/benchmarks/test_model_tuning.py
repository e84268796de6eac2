"""Model tuning trains every weight, keeps the best evaluation, and ends after a kill as it would have without."""

import dataclasses
import json

import numpy as np
import pytest
from tiny_run import run_values, write_preset, write_tasks, write_yaml

from softprompt_tf.config import load_config
from softprompt_tf.errors import TrainingError
from softprompt_tf.tasks import load_task


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("tuning")
    write_preset(root / "tiny")
    write_tasks(root)
    return root


def config_of(place, output_dir, *overrides):
    values = run_values(place / "tiny", [place / "mood.yaml"], output_dir)
    return load_config(write_yaml(place / "run.yaml", values), overrides)


def without_time(metrics):
    return {key: value for key, value in metrics.items() if key != "seconds_per_step"}


def test_the_rate_rises_linearly_and_stays(tuning_script):
    settings = tuning_script.TuningSettings(learning_rate=0.4, warmup_steps=4)

    assert [settings.rate(step) for step in (0, 1, 3, 4, 100)] == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4])
    assert tuning_script.TuningSettings(learning_rate=0.4, warmup_steps=0).rate(0) == pytest.approx(0.4)


def test_a_tuned_model_learns_the_task_with_every_weight(tuning_script, place, tmp_path, monkeypatch):
    seen = {}
    load = tuning_script.load_t5

    def load_and_keep(source):
        seen["weights"] = load(source).backbone.weights
        seen["t5"] = load(source)
        return seen["t5"]

    monkeypatch.setattr(tuning_script, "load_t5", load_and_keep)
    settings = tuning_script.TuningSettings(
        steps=60, batch_size=8, learning_rate=1e-2, warmup_steps=10, evaluate_every=20
    )
    config = config_of(place, tmp_path / "out", f"task.test={json.dumps(str(place / 'mood_dev.jsonl'))}")

    metrics = tuning_script.tune_model(config, settings)

    assert metrics["validation"]["mood"]["accuracy"] == 1.0
    assert metrics["test"] == metrics["validation"]  # the same rows here, and the best weights
    assert [each["step"] for each in metrics["history"]] == [20, 40, 60]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8")) == metrics
    assert not (tmp_path / "out" / "state.safetensors").exists()
    pairs = zip(seen["weights"], seen["t5"].backbone.weights, strict=True)
    assert [after.path for before, after in pairs if np.array_equal(before, after)] == []


def test_a_killed_run_ends_as_one_that_was_not(tuning_script, place, tmp_path, monkeypatch):
    settings = tuning_script.TuningSettings(steps=7, batch_size=4, learning_rate=1e-2, warmup_steps=5, evaluate_every=3)
    whole = tuning_script.tune_model(config_of(place, tmp_path / "whole"), settings)
    save = tuning_script._Tuner.save

    def save_and_die(tuner, path):
        save(tuner, path)
        if tuner.step == 3:
            raise KeyboardInterrupt

    config = config_of(place, tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(tuning_script._Tuner, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            tuning_script.tune_model(config, settings)

    resumed = tuning_script.tune_model(config, settings)

    assert [each["step"] for each in whole["history"]] == [3, 6, 7]
    assert without_time(resumed) == without_time(whole)


def test_a_damaged_state_is_refused(tuning_script, place, tmp_path):
    config = config_of(place, tmp_path)
    (tmp_path / "state.safetensors").write_bytes(b"not a state")

    with pytest.raises(TrainingError, match="A state must be whole and of the same backbone"):
        tuning_script.tune_model(config, tuning_script.TuningSettings(steps=1))


def test_targets_open_with_the_sentinel_where_the_task_asks_for_it(tuning_script, place, tiny_t5, monkeypatch):
    monkeypatch.setattr(tiny_t5, "sentinel_id", lambda k: 100 + k)  # its table has no room for real ones
    task = load_task(place / "mood.yaml")

    _, plain = tuning_script._batches(task, tiny_t5, 9, 4, 1).batch(0)
    opened = dataclasses.replace(task, target_format="sentinel")
    _, targets = tuning_script._batches(opened, tiny_t5, 9, 4, 1).batch(0)

    np.testing.assert_array_equal(targets, np.concatenate([np.full((4, 1), 100), plain], axis=1))
