"""Model tuning trains every weight of a copy, keeps the best evaluation, and ends after a kill as it would have without."""

import dataclasses

import numpy as np
import pytest
from tiny_t5 import make_tiny_t5

from softprompt_tf.baselines import ModelTuner, TuningSettings, model_tuning
from softprompt_tf.errors import BackboneError, ConfigError, NonFiniteLossError, TrainingError
from softprompt_tf.evaluation.evaluation import evaluate_examples
from softprompt_tf.training.checkpoint import read_checkpoint
from softprompt_tf.training.saved_run import SavedRun

pytestmark = pytest.mark.thorough

SHORT = TuningSettings(steps=7, batch_size=4, learning_rate=1e-2, warmup_steps=5, evaluate_every=3)


@pytest.fixture(scope="module")
def tuner(tiny_t5):
    """One tuner for all tests: each run starts from the T5's own weights."""
    return ModelTuner(tiny_t5)


def weights_of(t5):
    return [np.array(weight) for weight in t5.backbone.weights]


def without_time(tuned):
    return dataclasses.replace(tuned, seconds=0.0, seconds_per_step=0.0)


def test_the_rate_rises_linearly_and_stays():
    settings = TuningSettings(learning_rate=0.4, warmup_steps=4)

    assert [settings.rate(step) for step in (0, 1, 3, 4, 100)] == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4])
    assert TuningSettings(learning_rate=0.4, warmup_steps=0).rate(0) == pytest.approx(0.4)


def test_a_tuned_model_learns_the_task_with_every_weight_of_a_copy(tiny_t5, tuner, task_data):
    before = weights_of(tiny_t5)
    settings = TuningSettings(steps=60, batch_size=8, learning_rate=1e-2, warmup_steps=10, evaluate_every=20)
    mood = task_data["mood"]

    tuned = tuner.tune([mood], settings, seed=3)

    assert tuned.metrics["mood"]["accuracy"] == 1.0
    assert evaluate_examples(tuner.answerer(mood.task), mood.task, mood.validation).metrics == tuned.metrics["mood"]
    assert [each.step for each in tuned.history] == [20, 40, 60]
    assert all(np.array_equal(*pair) for pair in zip(before, weights_of(tiny_t5), strict=True))
    assert tiny_t5.backbone.trainable_variables == []
    pairs = zip(before, tuner.t5.backbone.weights, strict=True)
    assert [weight.path for old, weight in pairs if np.array_equal(old, weight)] == []


@pytest.mark.slow
def test_a_run_does_not_depend_on_the_run_before(tiny_t5, tuner, task_data):
    tuner.tune([task_data["echo"]], SHORT, seed=1)

    again = tuner.tune([task_data["mood"]], SHORT, seed=3)

    first = ModelTuner(tiny_t5).tune([task_data["mood"]], SHORT, seed=3)
    assert without_time(again) == without_time(first)


def test_a_killed_run_ends_as_one_that_was_not(tuner, task_data, tmp_path, monkeypatch):
    data = [task_data["mood"]]
    whole = tuner.tune(data, SHORT, seed=3)
    weights = weights_of(tuner.t5)
    save = SavedRun.save

    def save_and_die(run, step, **keywords):
        save(run, step, **keywords)
        if step == 3:
            raise KeyboardInterrupt

    path = tmp_path / "state.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(SavedRun, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            tuner.tune(data, SHORT, seed=3, state_path=path)

    resumed = tuner.tune(data, SHORT, seed=3, state_path=path)

    assert [each.step for each in whole.history] == [3, 6, 7]
    assert without_time(resumed) == without_time(whole)
    assert all(np.array_equal(*pair) for pair in zip(weights, weights_of(tuner.t5), strict=True))


class Interrupted(TuningSettings):
    """Settings whose run is interrupted before its fifth step."""

    def rate(self, step):
        if step == 4:
            raise KeyboardInterrupt
        return super().rate(step)


def test_an_interrupted_run_goes_on_from_the_step_that_it_was_at(tuner, task_data, tmp_path):
    data, path = [task_data["mood"]], tmp_path / "state.safetensors"
    whole = tuner.tune(data, SHORT, seed=3)
    weights = weights_of(tuner.t5)
    with pytest.raises(KeyboardInterrupt):
        tuner.tune(data, Interrupted(**SHORT.model_dump()), seed=3, state_path=path)
    left_at = read_checkpoint(path).step

    resumed = tuner.tune(data, SHORT, seed=3, state_path=path)

    assert left_at == 4
    assert without_time(resumed) == without_time(whole)
    assert all(np.array_equal(*pair) for pair in zip(weights, weights_of(tuner.t5), strict=True))


def test_a_loss_that_is_no_number_stops_the_run(tuner, task_data):
    with pytest.raises(NonFiniteLossError, match="must be finite. Received: loss=nan at step 2"):
        tuner.tune([task_data["mood"]], SHORT.model_copy(update={"learning_rate": float("inf")}), seed=3)


def test_a_state_of_another_run_or_a_damaged_one_is_refused(tuner, task_data, tmp_path):
    path = tmp_path / "state.safetensors"
    settings = TuningSettings(steps=1, batch_size=2)
    tuner.tune([task_data["mood"]], settings, seed=1, state_path=path, run_digest="a")

    with pytest.raises(TrainingError, match="of the same run.*of a run with other settings"):
        tuner.tune([task_data["mood"]], settings, seed=1, state_path=path, run_digest="b")
    path.write_bytes(b"not a state")
    with pytest.raises(TrainingError, match="A state must be whole"):
        tuner.tune([task_data["mood"]], settings, seed=1, state_path=path, run_digest="a")


def test_a_state_of_other_rows_or_settings_is_refused_by_name(tuner, task_data, tmp_path):
    path, mood = tmp_path / "state.safetensors", task_data["mood"]
    settings = TuningSettings(steps=1, batch_size=2)
    tuner.tune([mood], settings, seed=1, state_path=path)

    with pytest.raises(TrainingError, match="data: `data.mood/train` is '"):
        tuner.tune([dataclasses.replace(mood, train=mood.train[1:])], settings, seed=1, state_path=path)
    with pytest.raises(TrainingError, match="data: `settings.batch_size` is 4, it was 2; `seed` is 2, it was 1"):
        tuner.tune([mood], TuningSettings(steps=1, batch_size=4), seed=2, state_path=path)


def test_a_finished_run_says_that_nothing_was_trained(tuner, task_data, tmp_path, capsys):
    for _ in range(2):
        tuner.tune([task_data["mood"]], TuningSettings(steps=1, batch_size=2), seed=1, state_path=tmp_path / "state")

    assert capsys.readouterr().err.count("at step 1: nothing was trained") == 1


def test_several_tasks_are_trained_in_mixed_batches_and_told_apart(tuner, task_data):
    data = [task_data["mood"], task_data["echo"]]

    batches = model_tuning._batches(tuner.t5, data, batch_size=8, seed=0)
    tuned = tuner.tune(data, SHORT, seed=1)

    rows = np.concatenate([batches.rows(step) for step in range(batches.steps_per_epoch)])
    assert sorted(rows) == list(range(32))  # 16 rows of each
    is_mixed = [len({row < 16 for row in batches.rows(step)}) == 2 for step in range(batches.steps_per_epoch)]
    assert any(is_mixed)
    assert {name: set(metrics) for name, metrics in tuned.metrics.items()} == {
        "mood": {"accuracy", "macro_f1"},
        "echo": {"exact_match"},
    }
    mood, echo = tuned.metrics["mood"], tuned.metrics["echo"]
    assert tuned.best_score == pytest.approx(
        ((mood["accuracy"] + mood["macro_f1"]) / 2 + echo["exact_match"]) / 2  # first each task's, then the tasks
    )


def test_tasks_of_two_target_formats_are_not_mixed(tuner, task_data):
    mood, echo = task_data["mood"], task_data["echo"]
    sentinel = dataclasses.replace(echo, task=dataclasses.replace(echo.task, target_format="sentinel"))

    with pytest.raises(ConfigError, match="must have the same `target_format`"):
        tuner.tune([mood, sentinel], SHORT, seed=1)


def test_targets_open_with_the_sentinel_where_the_task_asks_for_it(tuner, task_data, monkeypatch):
    monkeypatch.setattr(tuner.t5, "sentinel_id", lambda k: 100 + k)  # its table has no room for real ones
    mood = task_data["mood"]

    _, plain = model_tuning._batches(tuner.t5, [mood], 4, 1).batch(0)
    opened = dataclasses.replace(mood, task=dataclasses.replace(mood.task, target_format="sentinel"))
    _, targets = model_tuning._batches(tuner.t5, [opened], 4, 1).batch(0)

    np.testing.assert_array_equal(targets, np.concatenate([np.full((4, 1), 100), plain], axis=1))


def test_weights_of_another_dtype_are_refused():
    with pytest.raises(BackboneError, match="trains float32 weights. Received: a T5 of dtype bfloat16"):
        ModelTuner(make_tiny_t5("bfloat16"))
