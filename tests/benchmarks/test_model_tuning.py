"""Model tuning of a comparison writes metrics.json as a prompt's run does, and leaves no state behind."""

import json

import pytest
from tiny_run import run_values, write_preset, write_tasks, write_yaml

from softprompt_tf.config import load_config

pytestmark = pytest.mark.thorough


def test_the_best_weights_answer_the_test_rows_and_the_metrics_are_kept(tuning_script, tmp_path):
    write_preset(tmp_path / "tiny")
    write_tasks(tmp_path)
    values = run_values(tmp_path / "tiny", [tmp_path / "mood.yaml"], tmp_path / "out")
    override = f"task.test={json.dumps(str(tmp_path / 'mood_dev.jsonl'))}"
    config = load_config(write_yaml(tmp_path / "run.yaml", values), [override])
    settings = tuning_script.TuningSettings(steps=4, batch_size=4, learning_rate=1e-2, evaluate_every=2)

    metrics = tuning_script.tune_model(config, settings)

    assert metrics["test"] == metrics["validation"]  # the same rows here, and the best weights
    assert metrics["steps_done"] == 4
    assert [each["step"] for each in metrics["history"]] == [2, 4]
    assert metrics["score"] == max(each["score"] for each in metrics["history"])
    assert json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8")) == metrics
    assert not (tmp_path / "out" / "state.safetensors").exists()
